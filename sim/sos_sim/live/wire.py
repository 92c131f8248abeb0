"""The cable between a serial port and its poles: full duplex for one, a shared half-duplex pair for several, or USB."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sos_sim.live.pair import Hear, Pair
from sos_sim.live.port import Port
from sos_sim.live.spoil import Spoil

AGENT = ""  # the name of the port's end
Direction = Literal["both", "up", "down"]  # up: from the pole to the agent


def _ignore(data: bytes) -> None:
    """An end that only talks."""


class Cable:
    """A serial line at ``baud``. ``shared``: one half-duplex pair for all poles, on which talkers collide.

    Plugged in when made. ``echo``: the adapters hear themselves. ``noise``: the chance of each byte to be spoilt.
    """

    power_cycles_port = False  # the adapter belongs to the agent's side and stays when a pole restarts

    def __init__(
        self,
        path: Path,
        *,
        baud: int = 115200,
        shared: bool = False,
        echo: bool = False,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.shared = shared
        self.port = Port(path, self._from_port)
        self.up = Pair(baud, echo=echo and shared, noise=noise, seed=seed)
        self.down = self.up if shared else Pair(baud, noise=noise, seed=seed + 1)
        self.down.join(AGENT, _ignore)
        self.up.join(AGENT, self.port.write)
        self.poles: list[str] = []
        self.port.plug()

    def attach(self, pole: str, hear: Hear) -> None:
        """Connect a pole; ``hear`` gets what reaches it."""
        if self.poles and not self.shared and pole not in self.poles:
            raise ValueError(f"{self.port.path} is no shared pair: {self.poles[0]} hangs on it already")
        if pole in self.poles:
            return
        self.poles.append(pole)
        self.up.join(pole, hear if self.shared else _ignore)
        if not self.shared:
            self.down.join(pole, hear)

    @property
    def busy(self) -> bool:
        """Whether more bytes are on their way to the poles."""
        return self.down.busy

    def say(self, pole: str, data: bytes, at: float) -> None:
        """The pole sends, beginning at ``at`` or when what it sent before is over."""
        self.up.talk(pole, data, at)

    def hush(self, pole: str) -> None:
        """The pole went silent in the middle of whatever it was sending."""
        self.up.hush(pole)

    def cut(self, pole: str | None = None, direction: Direction = "both") -> None:
        """Cut the wire of that pole, of all by default; ``up`` or ``down`` cuts one direction only."""
        if self.shared and pole is None:
            self.up.cut(AGENT, deaf=direction != "down", mute=direction != "up")
            return
        for name in [pole] if pole else self.poles:
            if direction != "down":
                self.up.cut(name, deaf=False)
            if direction != "up":
                self.down.cut(name, mute=False)

    def mend(self, pole: str | None = None) -> None:
        """Undo all cuts of that pole, of all by default."""
        names = [pole] if pole else [*self.poles, AGENT]
        for name in names:
            self.up.mend(name)
            self.down.mend(name)

    def weather(self, spoil: Spoil) -> None:
        """What happens to all that is said on this cable from now on; ``Spoil()`` is fair weather."""
        self.up.weather(spoil)
        if self.down is not self.up:
            self.down.weather(spoil)

    def unplug(self) -> None:
        """Pull the adapter out of the agent's machine."""
        self.port.unplug()

    def replug(self, path: Path | None = None) -> None:
        """Put it in again, under another name if one is given."""
        self.port.plug(path)

    def close(self) -> None:
        """Take everything away."""
        self.port.unplug()
        self.up.close()
        if self.down is not self.up:
            self.down.close()

    def _from_port(self, data: bytes) -> None:
        self.down.talk(AGENT, data)


class UsbCable:
    """The board's own USB port: no baud rate, flow control both ways, and gone whenever the board restarts."""

    power_cycles_port = True
    shared = False
    busy = False

    def __init__(self, path: Path) -> None:
        self.port = Port(path, self._from_port)
        self._hear: Hear = _ignore
        self._cut: set[Direction] = set()

    def attach(self, pole: str, hear: Hear) -> None:
        self._hear = hear

    def say(self, pole: str, data: bytes, at: float) -> None:
        if not self._cut & {"both", "up"}:
            self.port.write(data)

    def hush(self, pole: str) -> None:
        """Nothing is under way for longer than a moment."""

    def cut(self, pole: str | None = None, direction: Direction = "both") -> None:
        """Bytes are lost in that direction; a cable pulled out is ``unplug``."""
        self._cut.add(direction)

    def mend(self, pole: str | None = None) -> None:
        self._cut.clear()

    def unplug(self) -> None:
        self.port.unplug()

    def replug(self, path: Path | None = None) -> None:
        self.port.plug(path)

    def close(self) -> None:
        self.port.unplug()

    def _from_port(self, data: bytes) -> None:
        if not self._cut & {"both", "down"}:
            self._hear(data)
