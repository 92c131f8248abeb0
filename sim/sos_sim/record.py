"""Reads what ``safezone agent --record`` wrote (format: ``sos_agent/edge/record.py``) and tells what ailed the cable.

A recorded session cannot be played to another agent: its seals rest on nonces that come once. What can be played is
what the cable did. Headers are in clear, so that a frame that never came shows as a gap in the pole's numbers, one that
came late by its uptime, and an answer of ours that was lost by the pole's asking again. Whether a seal was right nobody
can tell without keys: a frame that was spoilt in its body alone counts as a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path

from sos_agent.edge.record import FORMAT, MOST_BYTES, VERSION
from sos_contract.errors import UserError
from sos_contract.files import read_file
from sos_wire.frame import MIN_RAW, TALK_DOWN, TALK_UP, Decoder, Frame, parse
from sos_wire.talk import ANSWER, POLL

MOST_LINES = 2_000_000
MOST_US = 1 << 53  # three centuries: as far as a float counts each microsecond
MOST_GAP = 256  # frames missing in a row; more is another session, or a number that noise has spoilt
LATE_MOST_US = 10_000_000  # frames are sent again long before; a longer way is a header that was spoilt
AGAIN_US = 1_000_000  # a pole whose beat was answered asks again after some 2 s; sooner, it did not hear the answer
TALK_BYTES = 5  # of a talk's body, before its status


@dataclass(slots=True)
class Traffic:
    """What went over one port: (time in us, towards the agent, bytes)."""

    name: str
    baud: int
    pieces: list[tuple[int, bool, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    """A whole file. ``levels``: own button -> (time in us, level: 1 closed, 0 open)."""

    point: str
    began_wall_ms: int = 0
    ports: dict[int, Traffic] = field(default_factory=dict)
    levels: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    lost: int = 0  # lines that a slow disk did not take
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that the cable did. ``what``: good, lost_up, lost_down, doubled, garbled or noise."""

    at_us: int
    what: str
    address: int = 0
    late_us: int = 0  # of a good one, beside the quickest


def read_record(path: Path) -> Record:
    """The record in that file; raises UserError, one line, for what is none of ours or of another version."""
    try:
        return _read(path, TextIOWrapper(BytesIO(read_file(path, MOST_BYTES)), encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the record ({error.strerror}); name a file of agent --record") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a record: it is no text; name a file of agent --record") from None


def _read(path: Path, lines: Iterable[str]) -> Record:
    numbered = iter(enumerate(lines, 1))
    head = next(numbered, (1, ""))[1].split()
    name, version, point = " ".join(head[:2]), "".join(head[2:3]), "".join(head[3:4])
    if name != FORMAT or not point:
        raise UserError(f"{path}: not a record: it does not begin with '{FORMAT}'; name a file of agent --record")
    if version != str(VERSION):
        raise UserError(
            f"{path}: version {version} of the record is unknown here; this release reads version {VERSION}: "
            "play it with the release that wrote it"
        )
    record = Record(point)
    for number, line in numbered:
        if number > MOST_LINES:
            raise UserError(f"{path}: more than {MOST_LINES} lines; no agent writes so many")
        if not line.endswith("\n"):
            break  # the agent was killed while it wrote this one
        try:
            _take(record, line.rstrip("\n").split(" ", 3))
        except (ValueError, IndexError, KeyError):
            raise UserError(f"{path}:{number}: no line of a record: {line.strip()[:60]!r}") from None
    return record


def _take(record: Record, words: list[str]) -> None:
    at_us, kind = int(words[0]), words[1]
    if not 0 <= at_us < MOST_US:
        raise ValueError
    record.until_us = max(record.until_us, at_us)
    if kind == "in" or kind == "out":
        record.ports[int(words[2])].pieces.append((at_us, kind == "in", bytes.fromhex(words[3])))
    elif kind == "port":
        baud, name = words[3].split(" ", 1)
        record.ports.setdefault(int(words[2]), Traffic(name, int(baud)))
    elif kind == "level":
        record.levels.setdefault(words[3], []).append((at_us, ("0", "1").index(words[2])))
    elif kind == "lost":
        record.lost += int(words[2])
        if record.lost < 0:
            raise ValueError
    elif kind == "began":
        record.began_wall_ms = int(words[2])
    else:
        raise ValueError


# --- what ailed the cable


@dataclass(slots=True)
class _Pole:
    """What is known of the talk with one pole."""

    session: int = 0
    sequence: int = 0
    least_us: int = 0  # of arrival minus uptime: how it is when nothing is late
    heard_us: int = -1
    asked: bytes = b""  # the question that we answered last: its status
    answered_us: int = -1
    missing: list[Happened] = field(default_factory=list)  # if the number that tells of them was not spoilt itself


def diagnose(traffic: Traffic) -> list[Happened]:
    """What the cable did, in the order of time. Poles say something each 2 s, so that a loss shows within that."""
    poles: dict[int, _Pole] = {}
    decoder = Decoder()
    found: list[Happened] = []
    for at_us, towards_agent, data in traffic.pieces:
        if not towards_agent:
            _answered(poles, at_us, data)
            continue
        for piece in _pieces(decoder, data):
            frame = parse(piece) if isinstance(piece, bytes) else piece
            if isinstance(frame, Frame) and frame.kind == TALK_UP:
                found += _heard(poles.setdefault(frame.address, _Pole()), frame, at_us)
            elif isinstance(frame, str):
                long = isinstance(piece, bytes) and len(piece) >= MIN_RAW
                found.append(Happened(at_us, "garbled" if long or frame == "long" else "noise"))
    for pole in poles.values():
        found += pole.missing
    return sorted(found, key=lambda one: one.at_us)


def _pieces(decoder: Decoder, data: bytes) -> Iterator[bytes | str]:
    """Frames as they came, COBS undone, and a reason for each piece that was none."""
    bad = dict(decoder.bad)
    yield from decoder.feed(data)
    for reason, count in decoder.bad.items():
        for _ in range(count - bad[reason]):
            yield reason


def _answered(poles: dict[int, _Pole], at_us: int, data: bytes) -> None:
    for raw in Decoder().feed(data):
        frame = parse(raw)
        if isinstance(frame, Frame) and frame.kind == TALK_DOWN and frame.body and frame.body[0] & ANSWER:
            poles.setdefault(frame.address, _Pole()).answered_us = at_us


def _heard(pole: _Pole, frame: Frame, at_us: int) -> list[Happened]:
    offset_us = at_us - frame.uptime_ms * 1000
    if frame.session != pole.session:
        pole.session, pole.sequence, pole.least_us = frame.session, frame.sequence - 1, offset_us
        pole.answered_us, pole.heard_us = -1, at_us
    ahead = frame.sequence - pole.sequence
    if ahead == 0:
        return [Happened(at_us, "doubled", frame.address)]
    jumped = bool(pole.missing)
    if abs(offset_us - pole.least_us) > LATE_MOST_US or ahead > MOST_GAP or (ahead < 0 and not jumped):
        return [Happened(at_us, "garbled", frame.address)]  # a header that was spoilt
    if ahead < 0:  # the number before this one was
        pole.missing.clear()
        pole.sequence = frame.sequence
        return [Happened(pole.heard_us, "garbled", frame.address)]
    found, pole.missing = pole.missing, []
    for index in range(1, ahead):
        when_us = pole.heard_us + (at_us - pole.heard_us) * index // ahead
        pole.missing.append(Happened(when_us, "lost_up", frame.address))
    if frame.body and frame.body[0] & POLL:
        again = frame.body[TALK_BYTES:] == pole.asked and 0 <= at_us - pole.answered_us < AGAIN_US
        if again and pole.answered_us >= 0:
            found.append(Happened(pole.answered_us, "lost_down", frame.address))
        pole.asked, pole.answered_us = frame.body[TALK_BYTES:], -1
    # A crystal of 100 ppm and an oscillator of 1 % part from ours; what is late today is not taken for usual.
    pole.least_us = min(offset_us, pole.least_us + (at_us - pole.heard_us) // 100)
    pole.sequence, pole.heard_us = frame.sequence, at_us
    found.append(Happened(at_us, "good", frame.address, offset_us - pole.least_us))
    return found
