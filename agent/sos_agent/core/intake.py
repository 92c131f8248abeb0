"""Step 6, intake: a press is committed to the outbox, and only then the pole hears ``held``."""

from __future__ import annotations

from sos_agent.core.commands import Commands
from sos_agent.core.context import Context
from sos_agent.core.courier import Courier
from sos_agent.core.effects import StoreAlarm
from sos_agent.core.events import Stored
from sos_agent.core.lines import Delivered
from sos_agent.core.notices import Notices
from sos_agent.core.progress import Answers
from sos_agent.core.supervision import PoleLinks
from sos_agent.core.uptime import Uptime
from sos_contract.payloads import Detail, Identity
from sos_wire import messages
from sos_wire.link import LIVE

# Commits under way: sixteen poles with full windows in both lanes, twice over. A pole whose press finds no place here
# offers it again each second.
STORING_MOST = 256
NOTICES_REMEMBERED = 64  # a pole, to tell a notice said twice from a second one

_Content = tuple[Identity, str, int, int]  # with kind, time in the boot and repeats: the same press, offered again


class Intake:
    """Takes the poles' messages. The handler of ``Stored`` is the only place that answers a press."""

    def __init__(
        self,
        context: Context,
        uptime: Uptime,
        notices: Notices,
        courier: Courier,
        answers: Answers,
        links: PoleLinks,
        commands: Commands,
    ) -> None:
        self._context = context
        self._uptime = uptime
        self._notices = notices
        self._courier = courier
        self._answers = answers
        self._links = links
        self._commands = commands
        self._storing: dict[_Content, bool] = {}  # -> whether it came in the live lane
        self._noticed: dict[str, dict[tuple[int, int, int], None]] = {}

    def delivered(self, message: Delivered) -> None:
        """One message of a pole."""
        pole = message.pole
        said = messages.unpack(message.payload)
        if isinstance(said, messages.Press):
            self._press(pole, said, message)
        elif isinstance(said, messages.Detail):
            identity = Identity(pole, f"{said.incarnation:016x}", said.boot, said.press)
            self._notices.add(pole, "press_detail", on=True, detail=Detail(id=identity, held_ms=said.held_ms))
        elif isinstance(said, messages.Notice):
            self._notice(pole, said)
        else:
            self._context.counts["message_unknown"] += 1

    def _press(self, pole: str, press: messages.Press, message: Delivered) -> None:
        identity = Identity(pole, f"{press.incarnation:016x}", press.boot, press.press)
        timebase, pressed_ms = self._uptime.time_of(pole, identity.incarnation, press.boot, press.pressed_at_ms)
        content = (identity, press.kind, press.pressed_at_ms, press.repeats)
        live = message.lane == LIVE
        if content in self._storing:
            self._storing[content] |= live
            return
        if len(self._storing) >= STORING_MOST:
            self._context.counts["intake_full"] += 1
            return
        self._storing[content] = live
        self._context.emit(StoreAlarm(*content, timebase, pressed_ms, message.sealed, self._context.wall_ms))

    def stored(self, event: Stored) -> None:
        """On disk: now, and only now, the pole is told."""
        live = self._storing.pop(_content(event.effect), False)
        new = event.outcome != "duplicate"
        row = event.row
        if event.outcome == "clash":
            self._context.log(
                "error", "identity clash: another press under a known identity; kept as an alarm of its own",
                pole=row.id.pole, press=row.id.press, boot=row.id.boot, clash=row.id.clash,
            )  # fmt: skip
        elif new:
            self._context.log(
                "info", "alarm held", pole=row.id.pole, press=row.id.press, boot=row.id.boot, kind=row.kind
            )
        self._answers.stored(row, new=new)
        if new:
            self._courier.stored(row, live=live)

    def not_stored(self, effect: StoreAlarm) -> None:
        """Nothing is said: the pole shows *pressed* and offers it again."""
        self._storing.pop(_content(effect), None)
        self._context.counts["alarm_not_stored"] += 1

    def _notice(self, pole: str, notice: messages.Notice) -> None:
        if notice.kind in messages.PRESS_KINDS:
            self._context.counts["notice_impossible"] += 1
            return
        noticed = self._noticed.setdefault(pole, {})
        key = (notice.incarnation, notice.boot, notice.number)
        if key in noticed:
            self._context.counts["notice_twice"] += 1
            return
        noticed[key] = None
        while len(noticed) > NOTICES_REMEMBERED:
            del noticed[next(iter(noticed))]
        if notice.kind == "command_refused":
            self._commands.refused(pole, notice.value)  # whoever asked is told
            return
        timebase, at_ms = self._uptime.time_of(pole, f"{notice.incarnation:016x}", notice.boot, notice.at_ms)
        at = (timebase, self._context.now_ms if at_ms is None else at_ms)
        linked = notice.kind in ("link_lost", "link_back") and timebase == self._context.timebase
        ends = notice.kind == "link_back" and (pole, "link_lost") in self._notices.open_faults
        if linked and not ends and self._links.noted(pole, at[1]):
            # The pole sees the same outage from its end; only what it alone saw (we were away) is news, and the end of
            # that also where it lies near an outage of ours.
            self._context.counts["outage_told_twice"] += 1
            return
        self._notices.add(pole, notice.kind, on=bool(notice.on), value=notice.value, at=at)


def _content(effect: StoreAlarm) -> _Content:
    return effect.id, effect.kind, effect.pressed_at_ms, effect.repeats
