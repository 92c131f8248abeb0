"""Draws what PROTOCOL.md shows of the code, states and limits: ``.venv/bin/python -m tests.wire.draw_protocol``."""

from __future__ import annotations

import re
from pathlib import Path

from sos_wire import frame, lanes, line, link, messages, talk
from sos_wire.agent_end import ASK_MS, REPLY_MS, SILENT_MS, WHO_MIN_MS
from sos_wire.handshake import AGENT, POLE, TABLES
from sos_wire.pole_end import HELLO_MIN_MS, HELLO_SPREAD_MS, HELLO_VALID_MS, POLE_GAP_MS, SLOT_MS, SLOTS

PROTOCOL = Path(__file__).parents[2] / "firmware/sos_wire/PROTOCOL.md"
ROLES = {POLE: "pole", AGENT: "agent"}
LIMITS = (
    ("body of a frame", f"{frame.MAX_BODY} bytes"),
    ("payload of a message", f"{talk.MAX_PAYLOAD} bytes"),
    ("status in a beat", f"{talk.MAX_STATUS} bytes"),
    ("messages on the way, a lane", f"{lanes.WINDOW}"),
    ("messages that wait to be taken", f"{2 * lanes.WINDOW}"),
    ("time-out before anything was measured", f"{lanes.FIRST_TIMEOUT_MS} ms"),
    ("time-out, least and most", f"{lanes.MIN_TIMEOUT_MS} and {lanes.MAX_TIMEOUT_MS} ms"),
    ("live message, most for the first repeats", f"{talk.LIVE_REPEAT_MS} ms, {talk.LIVE_REPEATS} times"),
    ("acknowledgement waits for company, pole and agent", "{} and {} ms".format(*talk.ACK_DELAY_MS)),
    ("beat", f"{talk.BEAT_MS} ± {talk.BEAT_JITTER_MS} ms, repeated after at most {talk.BEAT_REPEAT_MS} ms"),
    ("a pole's news, unless a beat or its link need it sooner", f"{talk.URGENT_MS} ms ± a quarter"),
    ("an idle backlog begins after", f"{talk.BACKLOG_WAIT_MS} ms ± a quarter"),
    ("link lost after silence of", f"{link.LINK_LOST_MS} ms"),
    (
        "HELLO of a pole without a session",
        f"each {HELLO_MIN_MS} to {HELLO_MIN_MS + HELLO_SPREAD_MS} ms",
    ),
    ("HELLO within a session", f"at most each {HELLO_VALID_MS} ms"),
    ("wait before the answer to a WHO to everybody", f"0 to {link.WHO_WAIT_MS} ms"),
    ("WHO of an agent without a session", f"each {ASK_MS} to {2 * ASK_MS} ms"),
    (
        "WHO because of an unknown session",
        f"at most each {WHO_MIN_MS} ms, after {SILENT_MS} ms of silence",
    ),
    ("shared pair: gap of whose turn it is", f"{line.TURN_GAP_MS} ms"),
    (
        "shared pair: gap of the other poles",
        f"{POLE_GAP_MS} ms, then 0 to {SLOTS - 1} times {SLOT_MS} ms",
    ),
    ("shared pair: an unfinished frame is given up after", f"{line.STALL_MS} ms"),
    ("shared pair: time for the pole that was spoken to", f"{REPLY_MS} ms"),
)
CODES = {
    "kind of a Press or Notice": messages.KINDS,
    "stage": messages.STAGES,
    "look": messages.LOOKS,
    "reset cause": messages.RESET_CAUSES,
    "service": messages.SERVICES,
    "command": messages.COMMANDS,
}


def diagram(role: int) -> str:
    """The table of that role as a Mermaid state diagram."""
    arrows = [f"    {state} --> {after}: {event}" for (state, event), after in TABLES[role].items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> closed", *arrows, "```"])


def limits() -> str:
    return "\n".join(["| limit | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in LIMITS)])


def codes() -> str:
    rows = [
        f"| {name} | {', '.join(f'{n} `{word}`' for n, word in enumerate(words, 1))} |" for name, words in CODES.items()
    ]
    faults = ", ".join(f"{n} `{word}`" for n, word in enumerate(messages.FAULTS))
    return "\n".join(["| code | values |", "|---|---|", *rows, f"| bit of `faults` | {faults} |"])


def drawn(text: str) -> str:
    """``text`` with everything between its markers drawn anew."""
    parts = {"pole states": diagram(POLE), "agent states": diagram(AGENT), "limits": limits(), "codes": codes()}
    for name, part in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        assert re.search(pattern, text, re.DOTALL), f"no place for {name}"
        text = re.sub(pattern, lambda found, part=part: found[1] + part + "\n" + found[2], text, flags=re.DOTALL)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    PROTOCOL.write_text(drawn(PROTOCOL.read_text(encoding="utf-8")), encoding="utf-8")
