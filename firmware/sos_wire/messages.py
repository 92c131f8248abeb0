"""Steps 4 and 5, messages: what pole and agent tell each other, a type byte first, little-endian.

``unpack`` gives None for what it does not know or cannot read; the caller counts it. Bytes after the known fields are a
later version's and are ignored. Texts are codes on the wire: the place in the tuples below, from 1.
"""

import struct

KINDS = (
    "press",
    "silent_press",
    "test_press",
    "loop_open",
    "loop_short",
    "stuck_button",
    "chatter",
    "tamper",
    "mains_lost",
    "mains_back",
    "battery_low",
    "lamp_fault",
    "pole_restarted",
    "link_lost",
    "link_back",
    "camera_fault",
    "journal_fault",
    "press_detail",
    "outbox_damaged",
    "disk_full",
    "command_refused",
    "sounder_fault",
)
PRESS_KINDS = KINDS[:3]  # alarms; all other kinds are faults and notices
STAGES = ("pressed", "held", "received", "accepted", "dispatched", "on_scene", "closed")
FAULTS = (
    "loop_open",
    "loop_short",
    "stuck_button",
    "chatter",
    "tamper",
    "mains_lost",
    "battery_low",
    "lamp_fault",
    "journal_fault",
    "sounder_fault",
)
LOOKS = (
    "starting",
    "in_service",
    "out_of_service",
    "pressed",
    "held",
    "received",
    "accepted",
    "dispatched",
    "on_scene",
    "not_delivered",
)
RESET_CAUSES = ("power_on", "watchdog", "soft", "brown_out", "unknown")
SERVICES = ("in_service", "station_lost", "starting")
COMMANDS = ("open_repl", "replace_key")
_REPLACE_KEY = 2  # its code; a wrapped key follows

_PRESS, _DETAIL, _NOTICE, _STATUS, _PROGRESS, _SERVICE, _COMMAND = 1, 2, 3, 4, 16, 17, 18
_PRESS_FIELDS, _DETAIL_FIELDS, _NOTICE_FIELDS, _STATUS_FIELDS = "<BBQIIQHB", "<BQIII", "<BBQIIQiB", "<BBHhBIIHH3s"
_PROGRESS_FIELDS, _SERVICE_FIELDS, _COMMAND_FIELDS = "<BQIIB", "<BB", "<BBI"
_UP = {_PRESS: _PRESS_FIELDS, _DETAIL: _DETAIL_FIELDS, _NOTICE: _NOTICE_FIELDS, _STATUS: _STATUS_FIELDS}
_DOWN = {_PROGRESS: _PROGRESS_FIELDS, _SERVICE: _SERVICE_FIELDS, _COMMAND: _COMMAND_FIELDS}
_MOST = 0x3FFFFFFF  # counts stop here: the largest small integer of a 32-bit board


def _name(names: "tuple[str, ...]", code: int) -> str:
    """The name with that code; raises IndexError for none of ours."""
    if code < 1:
        raise IndexError
    return names[code - 1]


def _code(names: "tuple[str, ...]", name: str) -> int:
    return names.index(name) + 1


class Press:
    """pole -> agent: one press. ``repeats`` counts further ones that a full journal could not keep apart;
    ``restored`` is 1 when it was read back from the journal after a restart."""

    def __init__(
        self,
        kind: str,
        incarnation: int,
        boot: int,
        press: int,
        pressed_at_ms: int,
        repeats: int = 0,
        restored: int = 0,
    ) -> None:
        self.kind = kind
        self.incarnation = incarnation
        self.boot = boot
        self.press = press
        self.pressed_at_ms = pressed_at_ms
        self.repeats = repeats
        self.restored = restored

    def pack(self) -> bytes:
        return struct.pack(
            _PRESS_FIELDS,
            _PRESS,
            _code(PRESS_KINDS, self.kind),
            self.incarnation,
            self.boot,
            self.press,
            self.pressed_at_ms,
            min(self.repeats, 0xFFFF),
            self.restored,
        )


class Detail:
    """pole -> agent: how long the button of that press was held."""

    def __init__(self, incarnation: int, boot: int, press: int, held_ms: int) -> None:
        self.incarnation = incarnation
        self.boot = boot
        self.press = press
        self.held_ms = held_ms

    def pack(self) -> bytes:
        held_ms = min(self.held_ms, _MOST)
        return struct.pack(_DETAIL_FIELDS, _DETAIL, self.incarnation, self.boot, self.press, held_ms)


class Notice:
    """pole -> agent: a fault began (``on`` 1) or ended (0), or something happened. ``number`` counts in that boot."""

    def __init__(
        self, kind: str, incarnation: int, boot: int, number: int, at_ms: int, value: int = 0, on: int = 1
    ) -> None:
        self.kind = kind
        self.incarnation = incarnation
        self.boot = boot
        self.number = number
        self.at_ms = at_ms
        self.value = value
        self.on = on

    def pack(self) -> bytes:
        value = max(-_MOST, min(self.value, _MOST))
        return struct.pack(
            _NOTICE_FIELDS,
            _NOTICE,
            _code(KINDS, self.kind),
            self.incarnation,
            self.boot,
            self.number,
            self.at_ms,
            value,
            self.on,
        )


class Status:
    """pole -> agent, in its beats: the lamp's look, the supply, how it is. ``faults`` is a mask, bit n is FAULTS[n]."""

    def __init__(
        self,
        look: str,
        supply_mv: int = 0,
        temperature_dc: int = 0,
        reset_cause: str = "unknown",
        bad_frames: int = 0,
        blind_ms: int = 0,
        pending: int = 0,
        faults: int = 0,
        version: bytes = b"\x00\x00\x00",
    ) -> None:
        self.look = look
        self.supply_mv = supply_mv
        self.temperature_dc = temperature_dc
        self.reset_cause = reset_cause
        self.bad_frames = bad_frames
        self.blind_ms = blind_ms
        self.pending = pending
        self.faults = faults
        self.version = version

    def pack(self) -> bytes:
        return struct.pack(
            _STATUS_FIELDS,
            _STATUS,
            _code(LOOKS, self.look),
            max(0, min(self.supply_mv, 0xFFFF)),
            max(-0x7FFF, min(self.temperature_dc, 0x7FFF)),
            _code(RESET_CAUSES, self.reset_cause),
            min(self.bad_frames, _MOST),
            min(self.blind_ms, _MOST),
            min(self.pending, 0xFFFF),
            self.faults,
            self.version,
        )


class Progress:
    """agent -> pole: the stage that this press has truly reached."""

    def __init__(self, incarnation: int, boot: int, press: int, stage: str) -> None:
        self.incarnation = incarnation
        self.boot = boot
        self.press = press
        self.stage = stage

    def pack(self) -> bytes:
        stage = _code(STAGES, self.stage)
        return struct.pack(_PROGRESS_FIELDS, _PROGRESS, self.incarnation, self.boot, self.press, stage)


class Service:
    """agent -> pole: whether a press would now reach the station program."""

    def __init__(self, state: str) -> None:
        self.state = state

    def pack(self) -> bytes:
        return struct.pack(_SERVICE_FIELDS, _SERVICE, _code(SERVICES, self.state))


class Command:
    """agent -> pole: a service message. ``ident`` (30 bits) names it in the pole's refusal; ``wrapped``: the new key
    of ``replace_key``, see ``wrap``."""

    def __init__(self, command: str, ident: int, wrapped: bytes = b"") -> None:
        self.command = command
        self.ident = ident
        self.wrapped = wrapped

    def pack(self) -> bytes:
        return struct.pack(_COMMAND_FIELDS, _COMMAND, _code(COMMANDS, self.command), self.ident) + self.wrapped


def unpack(payload: bytes) -> "Press | Detail | Notice | Status | Progress | Service | Command | None":
    """The message in ``payload``, or None. Never raises, whatever the bytes."""
    return unpack_down(payload) or unpack_up(payload)


def unpack_down(payload: bytes) -> "Progress | Service | Command | None":
    """As ``unpack``, of what an agent says to a pole."""
    f = _fields(payload, _DOWN)
    try:
        if f[0] == _PROGRESS:
            return Progress(f[1], f[2], f[3], _name(STAGES, f[4]))
        if f[0] == _SERVICE:
            return Service(_name(SERVICES, f[1]))
        return Command(_name(COMMANDS, f[1]), f[2], payload[6:62] if f[1] == _REPLACE_KEY else b"")
    except IndexError:  # no fields, or a code that we have no name for
        return None


def unpack_up(payload: bytes) -> "Press | Detail | Notice | Status | None":
    """As ``unpack``, of what a pole says to its agent."""
    f = _fields(payload, _UP)
    try:
        if f[0] == _PRESS:
            return Press(_name(PRESS_KINDS, f[1]), f[2], f[3], f[4], f[5], f[6], f[7])
        if f[0] == _DETAIL:
            return Detail(f[1], f[2], f[3], f[4])
        if f[0] == _NOTICE:
            return Notice(_name(KINDS, f[1]), f[2], f[3], f[4], f[5], f[6], f[7])
        version: bytes = f[9]  # type: ignore[assignment]
        return Status(_name(LOOKS, f[1]), f[2], f[3], _name(RESET_CAUSES, f[4]), f[5], f[6], f[7], f[8], version)
    except IndexError:
        return None


def _fields(payload: bytes, formats: "dict[int, str]") -> "tuple[int, ...]":
    """What stands in ``payload``, its type first; nothing if it is none of these or too short."""
    layout = formats.get(payload[0], "") if payload else ""
    return struct.unpack_from(layout, payload, 0) if len(payload) >= struct.calcsize(layout) else ()
