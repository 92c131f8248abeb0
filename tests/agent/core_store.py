"""An outbox in memory that keeps the contract of ``sos_agent.core.effects``: it outlives agents, and can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from sos_agent.core import effects, events
from sos_contract.payloads import Identity, Quality
from sos_contract.stages import later


@dataclass
class Kept:
    row: events.AlarmRow
    receipted_wall_ms: int | None = None
    receipted: bool = False


@dataclass
class StoreTwin:
    """``do`` carries out one effect and returns its completion, or None where there is none."""

    outbox: str = "00000000000000aa"
    failing: str = ""  # the reason why nothing can be written
    full: bool = False  # no room but for alarms
    alarms: list[Kept] = field(default_factory=list)
    notices: dict[int, events.NoticeRow] = field(default_factory=dict)
    boots: dict[tuple[str, str, int], effects.StoreBoot] = field(default_factory=dict)
    timebases: dict[str, tuple[int, Quality]] = field(default_factory=dict)
    open_faults: set[tuple[str, str]] = field(default_factory=set)
    numbers: int = 0
    log: list[effects.StoreEffect] = field(default_factory=list)
    by_id: dict[tuple[str, str, int, int], list[Kept]] = field(default_factory=dict)

    def contents(self) -> events.Contents:
        """What an agent finds at its start."""
        newest: dict[str, events.AlarmRow] = {}
        for kept in self.alarms:
            row, known = kept.row, newest.get(kept.row.id.pole)
            if row.kind != "press":
                continue
            other = known is None or known.id.incarnation != row.id.incarnation
            if other or (known is not None and (row.id.boot, row.id.press) >= (known.id.boot, known.id.press)):
                newest[row.id.pole] = self._joined(row)
        boots = [
            events.BootRow(b.pole, b.incarnation, b.boot, b.timebase, b.zero_ms, *self._wall(b.timebase, b.zero_ms))
            for b in self.boots.values()
        ]
        return events.Contents(
            self.outbox, len(self.waiting()), len(self.notices), tuple(newest.values()), tuple(boots),
            tuple(sorted(self.open_faults)),
        )  # fmt: skip

    def waiting(self) -> list[Kept]:
        return [kept for kept in self.alarms if not kept.receipted]

    def stage(self, identity: Identity) -> str:
        return next(kept.row.stage for kept in self.alarms if kept.row.id == identity)

    def do(self, effect: effects.StoreEffect) -> events.Event | None:
        self.log.append(effect)
        if self.failing:
            return events.StoreFailed(effect, self.failing, full=self.full)
        if self.full and isinstance(effect, effects.StoreNotice):
            return events.StoreFailed(effect, "database or disk is full", full=True)
        act: Callable[[Any], events.Event | None] = getattr(self, f"_{type(effect).__name__}")
        return act(effect)

    def _wall(self, timebase: str, at_ms: int | None) -> tuple[int | None, Quality]:
        if timebase not in self.timebases or at_ms is None:
            return None, "unset"
        zero, quality = self.timebases[timebase]
        return zero + at_ms, quality

    def _joined(self, row: events.AlarmRow) -> events.AlarmRow:
        wall, quality = self._wall(row.timebase, row.pressed_ms)
        return replace(row, pressed_wall_ms=wall, quality=quality)

    def _same(self, identity: Identity) -> list[Kept]:
        return self.by_id.setdefault((identity.pole, identity.incarnation, identity.boot, identity.press), [])

    def _StoreAlarm(self, effect: effects.StoreAlarm) -> events.Event:  # noqa: N802
        known = self._same(effect.id)
        for kept in known:
            content = (kept.row.kind, kept.row.pressed_at_ms, kept.row.repeats)
            if content == (effect.kind, effect.pressed_at_ms, effect.repeats):
                return events.Stored(effect, "duplicate", self._joined(kept.row))
        identity = replace_clash(effect.id, len(known))
        row = events.AlarmRow(
            len(self.alarms) + 1, identity, effect.kind, effect.pressed_at_ms, effect.repeats, effect.timebase,
            effect.pressed_ms, None, "unset", "held",
        )  # fmt: skip
        kept = Kept(row)
        self.alarms.append(kept)
        known.append(kept)
        return events.Stored(effect, "clash" if identity.clash else "new", self._joined(row))

    def _find(self, identity: Identity) -> Kept | None:
        return next((kept for kept in self._same(identity) if kept.row.id == identity), None)

    def _MarkReceipted(self, effect: effects.MarkReceipted) -> events.Event:  # noqa: N802
        changed = []
        for identity in effect.ids:
            kept = self._find(identity)
            if kept is not None and not kept.receipted:
                kept.receipted = True
                kept.receipted_wall_ms = self._wall(effect.timebase, effect.at_ms)[0]
                kept.row = replace(kept.row, stage=later(kept.row.stage, "received"))
                changed.append(identity)
        return events.Receipted(effect, tuple(changed))

    def _MarkWaiting(self, effect: effects.MarkWaiting) -> events.Event:  # noqa: N802
        found = [kept for identity in effect.ids if (kept := self._find(identity)) is not None and kept.receipted]
        for kept in found:
            kept.receipted = False
        return events.MadeWaiting(effect, tuple(kept.row.id for kept in found))

    def _StoreProgress(self, effect: effects.StoreProgress) -> events.Event:  # noqa: N802
        changed = []
        unknown = tuple(one for one in effect.stages if self._find(one[0]) is None)
        for identity, stage in effect.stages:
            kept = self._find(identity)
            if kept is not None and kept.receipted and later(kept.row.stage, stage) != kept.row.stage:
                kept.row = replace(kept.row, stage=stage)
                changed.append((identity, stage))
        return events.ProgressStored(effect, tuple(changed), unknown)

    def _StoreNotice(self, effect: effects.StoreNotice) -> events.Event:  # noqa: N802
        replaced, merged = None, 0
        if effect.merge and effect.detail is None:
            for row in list(self.notices.values()):
                if (row.pole, row.kind, row.on) == (effect.pole, effect.kind, effect.on):
                    replaced, merged = row.number, row.merged + 1
                    del self.notices[row.number]
                    break
        self.numbers += 1
        wall, quality = self._wall(effect.timebase, effect.at_ms)
        self.notices[self.numbers] = events.NoticeRow(
            self.numbers, effect.pole, effect.kind, effect.on, effect.value, merged, effect.timebase, effect.at_ms,
            wall or 0, quality, effect.detail,
        )  # fmt: skip
        (self.open_faults.add if effect.on else self.open_faults.discard)((effect.pole, effect.kind))
        return events.NoticeStored(effect, self.numbers, replaced)

    def _DropNotices(self, effect: effects.DropNotices) -> events.Event:  # noqa: N802
        dropped = [number for number in effect.numbers if self.notices.pop(number, None) is not None]
        return events.NoticesDropped(effect, len(dropped))

    def _StoreBoot(self, effect: effects.StoreBoot) -> None:  # noqa: N802
        self.boots[effect.pole, effect.incarnation, effect.boot] = effect

    def _StoreTimebase(self, effect: effects.StoreTimebase) -> None:  # noqa: N802
        self.timebases[effect.timebase] = (effect.wall_at_zero_ms, effect.quality)

    def _FetchWaiting(self, effect: effects.FetchWaiting) -> events.Event:  # noqa: N802
        rows: list[events.AlarmRow] = []
        for kept in self.alarms[effect.after_row :]:  # rows count from 1 without gaps here
            if not kept.receipted:
                if len(rows) == effect.limit:
                    return events.WaitingFetched(effect, tuple(rows), False)
                rows.append(self._joined(kept.row))
        return events.WaitingFetched(effect, tuple(rows), True)

    def _FetchNotices(self, effect: effects.FetchNotices) -> events.Event:  # noqa: N802
        rows = [row for number, row in sorted(self.notices.items()) if number > effect.after_number]
        return events.NoticesFetched(effect, tuple(rows[: effect.limit]), len(rows) <= effect.limit)

    def _FetchReceipted(self, effect: effects.FetchReceipted) -> events.Event:  # noqa: N802
        rows = [
            (kept.row.row, kept.row.id)
            for kept in self.alarms[effect.after_row :]
            if kept.receipted and not (effect.open_only and kept.row.stage == "closed")
        ]
        return events.ReceiptedFetched(effect, tuple(rows[: effect.limit]), len(rows) <= effect.limit)

    def _PurgeReceipted(self, effect: effects.PurgeReceipted) -> events.Event:  # noqa: N802
        return events.Purged(effect, 0)


def replace_clash(identity: Identity, clash: int) -> Identity:
    return Identity(identity.pole, identity.incarnation, identity.boot, identity.press, clash)
