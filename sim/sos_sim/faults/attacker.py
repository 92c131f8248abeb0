"""Attackers: one who can reach a cable, and one who has got past a broker's lock.

The one on the cable has no key of that pole. The one on the broker can read everything and say again what was said,
kept or not, and can publish nonsense. What he cannot do, for nothing can be done about it at this end: speak in a
point's name with content of his own. That is what the broker's certificates and access lists are for.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import ClassVar

from sos_contract import topics
from sos_sim.faults.base import TAPE_FRAMES, Fault, Knob
from sos_sim.world.wire import AGENT
from sos_wire.frame import HELLO, TALK_DOWN, TALK_UP, WELCOME, WHO, build, unwrap, wrap
from sos_wire.handshake import HELLO_BODY, named_seal
from sos_wire.messages import Press, Progress
from sos_wire.seal import KEY_BYTES, Seal

_HELLO, _ALL = "sos hello", 0xFFFF


class _Attacks(Fault):
    """Does something again and again, ``per_s`` times a second on average."""

    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.2, 4.0)}
    lasts_s = (10.0, 90.0)

    def begin(self) -> None:
        self._on = True
        self.prepare()
        self._later()

    def prepare(self) -> None:
        """Before the first time."""

    def strike(self) -> None:
        """Once."""
        raise NotImplementedError

    def _later(self) -> None:
        self.field.loop.after(int(self.rng.expovariate(self.number("per_s")) * 1e6) + 1, self._again)

    def _again(self) -> None:
        if self._on:
            self.strike()
            self._later()

    def end(self) -> None:
        self._on = False


class _OnTheCable(_Attacks):
    place = "line"

    def prepare(self) -> None:
        self.tape = self.field.tape(self.where)

    def inject(self, data: bytes, towards: str, words: str) -> None:
        """Say that to one end of the cable."""
        self.field.say("attack", self.where, f"{words}, {len(data)} bytes to {towards}")
        self.field.wire(self.where).inject(data, towards)

    def poles(self) -> tuple[str, ...]:
        """Those on the cable."""
        return self.field.town.mates[self.where]

    def key(self, pole: str) -> bytes:
        """The key of a pole."""
        return self.field.pole(pole).spec.key

    def strike(self) -> None:
        raise NotImplementedError


class AttackReplay(_OnTheCable):
    """Frames that went over that cable are said again, later and in any order, to whom they were said."""

    name = "attack-wire-replay"

    def strike(self) -> None:
        if self.tape:
            talker, data = self.rng.choice(self.tape)
            self.inject(data, self.rng.choice(self.poles()) if talker == AGENT else AGENT, "replays")


class AttackReflect(_OnTheCable):
    """Frames are said back to whoever said them."""

    name = "attack-wire-reflect"

    def strike(self) -> None:
        if self.tape:
            talker, data = self.rng.choice(self.tape)
            self.inject(data, talker, "reflects")


class AttackPaste(_OnTheCable):
    """Frames are cut and pasted: the head of one with the body or the tag of another, frames of other cables too."""

    name = "attack-wire-paste"

    def prepare(self) -> None:
        super().prepare()
        self.other = self.field.tape(self.rng.choice(self.field.town.wired))

    def strike(self) -> None:
        if not self.tape or not self.other:
            return
        _, one = self.rng.choice(self.tape)
        _, two = self.rng.choice(self.other)
        raws = [raw for data in (one, two) for piece in data.split(b"\x00") if piece and (raw := unwrap(piece))]
        towards = self.rng.choice((AGENT, *self.poles()))
        if len(raws) < 2:
            self.inject(two, towards, "moves")
            return
        cut = self.rng.randrange(1, min(len(raws[0]), len(raws[-1])))
        self.inject(wrap(raws[0][:cut] + raws[-1][cut:]), towards, "pastes")


class AttackForge(_OnTheCable):
    """Frames are made up: well formed, with a header that fits and a seal that cannot; and WHO, which needs none."""

    name = "attack-wire-forge"

    def strike(self) -> None:
        pole = self.rng.choice(self.poles())
        kind = self.rng.choice((WHO, WHO, HELLO, WELCOME, TALK_UP, TALK_DOWN))
        seal = Seal(bytes(KEY_BYTES) if kind == WHO else self.rng.randbytes(KEY_BYTES))
        address = self.rng.choice((self.field.pole(pole).spec.address, _ALL))
        numbers = self.rng.getrandbits(32), self.rng.randrange(100), self.rng.getrandbits(40)
        body = b"" if kind == WHO else self.rng.randbytes(self.rng.randrange(60))
        self.inject(build(kind, address, *numbers, body, seal), pole if kind % 2 else AGENT, "forges")


class AttackOtherKey(_OnTheCable):
    """Somebody who has another pole's key says HELLO at this pole's address, and talks of presses and of stages as if a
    session were open."""

    name = "attack-wire-other-key"

    def strike(self) -> None:
        pole = self.rng.choice(self.poles())
        thief = self.rng.choice([one for one in self.field.town.wired if one != pole] or [pole])
        key = bytes(KEY_BYTES - 1) + b"\x01" if thief == pole else self.key(thief)
        address, incarnation = self.field.pole(pole).spec.address, self.rng.getrandbits(64)
        if self.rng.random() < 0.5:
            body = struct.pack(HELLO_BODY, incarnation, 1, self.rng.randrange(99), 0, 1, 0, 0)
            frame = build(HELLO, address, 0, 0, self.rng.getrandbits(30), body, named_seal(Seal(key), _HELLO))
            self.inject(frame, AGENT, "forges with another's key")
            return
        up = self.rng.random() < 0.5
        said = Press("press", incarnation, 1, 1, 1000).pack() if up else Progress(incarnation, 1, 1, "accepted").pack()
        body = bytes((2, 0, 0, 0, 0, 0, 0, 0)) + said
        numbers = self.rng.getrandbits(32), self.rng.randrange(1, 99), self.rng.getrandbits(30)
        frame = build(TALK_UP if up else TALK_DOWN, address, *numbers, body, named_seal(Seal(key), "sos up"))
        self.inject(frame, AGENT if up else pole, "forges with another's key")


class _OnTheBroker(_Attacks):
    place = "broker"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.1, 2.0)}

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """To whom it may concern."""
        self.field.zone.brokers[self.where].attack("attacker", topic, payload, retain=retain)

    def strike(self) -> None:
        raise NotImplementedError


class AttackBrokerReplay(_OnTheBroker):
    """What was published while he listened is published again, later and in any order, kept by the broker or not:
    alarms, receipts, probes and their answers, progress, officers' requests. A kept alarm is no alarm."""

    name = "attack-broker-replay"

    def prepare(self) -> None:
        self._heard: deque[tuple[str, bytes]] = deque(maxlen=TAPE_FRAMES)
        self.field.turn(self.field.zone.brokers[self.where], "record", self._record, self)

    def _record(self, _at_us: int, client: str, topic: str, payload: bytes, _retain: bool) -> None:
        if client != "attacker":
            self._heard.append((topic, payload))

    def strike(self) -> None:
        if self._heard:
            topic, payload = self.rng.choice(self._heard)
            kept = topic.rsplit("/", 1)[-1] in topics.RETAINED
            self.publish(topic, payload, retain=not kept and self.rng.random() < 0.3)

    def end(self) -> None:
        super().end()
        self.field.back(self.field.zone.brokers[self.where], "record", self)


class AttackBrokerNonsense(_OnTheBroker):
    """Payloads that are no JSON, of unknown versions, too large, of the wrong shape, for strangers' points, or
    answers of an inbox that nobody knows, on every topic that there is."""

    name = "attack-broker-nonsense"
    _PAYLOADS = (
        b"", b"\x00\xff", b"{}", b"[]", b'{"v":1}', b'{"v":99,"id":1}', b'{"v":1,"online":"yes"}', b"9" * 70_000,
        b'{"v":1,"inbox":"ffffffffffffffff","alarms":[["a","00000000000000aa",1,1]],"stages":[]}',
        b'{"v":1,"session":"x","number":1,"inbox":"ffffffffffffffff","high_water":0}',
        b'{"v":1,"id":{"pole":"","incarnation":"zz","boot":-1,"press":1},"kind":"press","pressed_at_ms":0}',
    )  # fmt: skip

    def strike(self) -> None:
        station = self.field.zone.site.station.id
        point = self.rng.choice((*self.field.town.points, "nowhere"))
        leaf = self.rng.choice((*topics.FROM_POINT, *topics.TO_POINT))
        topic = self.rng.choice((
            topics.of_point(station, point, leaf), topics.of_point("elsewhere", point, leaf),
            topics.desk_request(station, "0"), "sos/v1", "sos/v9/x/y", f"{topics.of_point(station, point, leaf)}/more",
        ))  # fmt: skip
        self.publish(
            topic, self.rng.choice(self._PAYLOADS), retain=leaf not in topics.RETAINED and self.rng.random() < 0.3
        )


class AttackBrokerSteals(_OnTheBroker):
    """Somebody connects under the id of one of our programs, which is thrown out for that, and goes."""

    name = "attack-broker-steals"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.02, 0.3)}

    def strike(self) -> None:
        broker = self.field.zone.brokers[self.where]
        clients = broker.clients()
        if clients:
            broker.steal("attacker", self.rng.choice(clients))


ATTACKER: tuple[type[Fault], ...] = (
    AttackReplay, AttackReflect, AttackPaste, AttackForge, AttackOtherKey, AttackBrokerReplay, AttackBrokerNonsense,
    AttackBrokerSteals,
)  # fmt: skip
