"""Payloads and topics as anybody with a broker can send them: a value of ours or a reason, and what is read says the
same again."""

from __future__ import annotations

import msgspec
from tests.fuzz.source import Source

from sos_contract import payloads, topics
from sos_contract.payloads import (
    Alarm,
    ChangeView,
    Command,
    CommandAnswer,
    CommandView,
    DeskAnswer,
    DeskRequest,
    Detail,
    FaultView,
    Health,
    Identity,
    Notice,
    PoleHealth,
    Probe,
    ProbeAnswer,
    Progress,
    ProgressQuery,
    Receipt,
    Refused,
    State,
    decode,
    encode,
)

PACKAGES = ("sos_contract",)
PRESS = Identity("merlin-1", "00000000000000aa", 3, 17)
ASKED = CommandView(
    id="c1", pole="merlin-1", point="merlin", command="open_repl", officer="malee", terminal="t1", asked_wall_ms=1
)
POLE = PoleHealth(pole="merlin-1", link=True, faults=("tamper",))
CHANGE = ChangeView(wall_ms=1, officer="malee", stage="accepted", note="")
FAULT = FaultView(
    point="merlin",
    pole="",
    kind="mains_lost",
    since_wall_ms=1,
    last_good_wall_ms=0,
    until_wall_ms=None,
    value=0,
    count=1,
)
EXAMPLES: tuple[msgspec.Struct, ...] = (
    Alarm(id=PRESS, kind="press", pressed_at_ms=12_345, age_ms=40, clock="synced"),
    Notice(number=1, outbox="aa", pole="merlin-1", kind="press_detail", on=True, detail=Detail(id=PRESS, held_ms=900)),
    Notice(number=2, outbox="aa", pole="", kind="mains_lost", on=True, merged=3),
    State(online=True, session="s1"),
    Health(session="s1", uptime_ms=5, clock="synced", outbox_waiting=0, disk_ok=True, poles=(POLE,)),
    Probe(session="s1", number=4),
    ProbeAnswer(session="s1", number=4, inbox="bb", high_water=9),
    Receipt(inbox="bb", alarms=(PRESS,), outbox="aa", notices=(1, 2), refused=((PRESS, "no"),)),
    ProgressQuery(session="s1", alarms=(PRESS,), poles=("merlin-1",)),
    Progress(inbox="bb", stages=((PRESS, "accepted"),), missing=(PRESS,)),
    DeskRequest(number="r1", officer="malee", action="close", alarm="1", disposition="false"),
    DeskAnswer(number="r1", changes=(CHANGE,), faults=(FAULT,), commands=(ASKED,)),
    Command(id="c1", session="s1", until_ms=60_000, pole="p1", command="open_repl", officer="malee", terminal="t1"),
    CommandAnswer(id="c1", outcome="refused", words="no"),
)  # fmt: skip
KINDS = tuple(dict.fromkeys(type(example) for example in EXAMPLES))


def words() -> list[str]:
    """What a fuzzer would be long in finding: names of fields and values that mean something."""
    names = {name for example in (*EXAMPLES, PRESS) for name in example.__struct_fields__}
    return sorted({f'"{name}":' for name in names} | {"null", "true", "1e999", "9223372036854775808", '"\\u0000"'})


def seeds() -> list[bytes]:
    return [bytes([KINDS.index(type(example))]) + encode(example) for example in EXAMPLES] + [
        b"\xff" + topic.encode()
        for topic in (topics.of_point("betong", "merlin", "alarm"), topics.desk_request("betong", "t1"))
    ]


def one(data: bytes) -> None:
    source = Source(data)
    which, rest = source.number(), source.take(source.left)
    if which == 0xFF:
        topics.parse(rest.decode("utf-8", "replace"))
        return
    kind: type[msgspec.Struct] = KINDS[which % len(KINDS)]
    read = decode(rest, kind)
    if isinstance(read, Refused):
        assert read.reason
    else:
        again = encode(read)
        assert len(again) > payloads.MAX_PAYLOAD_BYTES or decode(again, kind) == read
