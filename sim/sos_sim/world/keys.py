"""The poles' keys that came over the wire, on a virtual disk: twin of ``sos_agent.edge.keys``."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from sos_agent.core import effects, events
from sos_sim.world.disk import SYNC_US, WRITE_US, Disk


def with_kept(config: events.Config, disk: Disk) -> events.Config:
    """``config`` as the agent finds it at a start: what it has kept counts over what it was given."""
    lines = tuple(replace(line, poles=tuple(_kept(pole, disk) for pole in line.poles)) for line in config.lines)
    return replace(config, lines=lines)


def _kept(pole: events.PoleConfig, disk: Disk) -> events.PoleConfig:
    key, following = disk.keys.get(pole.id, (pole.key, pole.next))
    return replace(pole, key=key, next=following)


class KeyStore:
    """A file that is replaced whole: a write that is cut off has happened or not. ``later`` is the program's."""

    def __init__(
        self, disk: Disk, later: Callable[[int, Callable[[], object]], object], deliver: Callable[[events.Event], None]
    ) -> None:
        self._disk = disk
        self._later = later
        self._deliver = deliver
        self._waiting: list[effects.StoreKeys] = []

    def carry_out(self, effect: effects.StoreKeys) -> None:
        """One after the other, in the order given."""
        self._waiting.append(effect)
        if len(self._waiting) == 1:
            self._write()

    def close(self, how: str) -> None:
        """The program ends: 'stop' lets the write that is under way end."""
        if self._waiting and (how == "stop" or self._disk.rng.random() < 0.5):
            self._store(self._waiting[0])

    def _write(self) -> None:
        rng = self._disk.rng
        self._later(rng.randint(*WRITE_US) + rng.randint(*SYNC_US) + self._disk.slow_us, self._written)

    def _written(self) -> None:
        effect = self._waiting[0]
        if self._disk.hang:
            self._write()
            return
        failed = not self._store(effect)
        del self._waiting[0]
        if self._waiting:
            self._write()
        self._deliver(events.KeysNotStored(effect, "disk I/O error") if failed else events.KeysStored(effect))

    def _store(self, effect: effects.StoreKeys) -> bool:
        if self._disk.failing or self._disk.full:
            return False
        self._disk.keys[effect.pole] = (effect.key, effect.next)
        return True
