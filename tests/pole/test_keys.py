"""The pole's key over the wire: on trial until it is proven, in flash until that is damaged, never told to anybody."""

from __future__ import annotations

import pytest
from tests.pole.rig import KEY, Agent, Rig, in_service

from sos_pole.journal import Journal
from sos_pole.records import KEY as OWN
from sos_pole.records import SLOT, TRIAL
from sos_sim.nor_flash import NorFlash
from sos_wire.agent_end import AgentLink
from sos_wire.frame import TALK_DOWN, Decoder, build, parse
from sos_wire.messages import Command
from sos_wire.seal import Seal
from sos_wire.wrap import unwrap, wrap

NEW, OTHER = bytes(range(100, 132)), bytes(range(140, 172))
NONCE = b"n" * 16


def replace(rig: Rig, new: bytes = NEW, *, under: bytes = KEY, ident: int = 7) -> None:
    assert rig.agent is not None
    rig.agent.tell(Command("replace_key", ident, wrap(under, NONCE, new)))
    rig.run(500)


def agent_with(rig: Rig, key: bytes, seed: bytes = b"c" * 32) -> Agent:
    """Another agent process, with that key."""
    agent = rig.new_agent(seed)
    agent.link = AgentLink(1, key, seed)
    return agent


def refusals(agent: Agent) -> list[int]:
    return [notice.value for notice in agent.notices() if notice.kind == "command_refused"]


def comes_up(rig: Rig) -> bool:
    return rig.run(12_000, until=lambda: rig.pole.look == "in_service")


def test_a_new_key_is_on_trial_until_an_agent_welcomes_it_and_then_the_old_one_ends() -> None:
    rig = in_service()
    replace(rig)
    assert rig.pole.link.up and set(rig.pole.link.keys) == {KEY, NEW}
    for key in (KEY, NEW):  # either agent would do: power may have gone at ours before it knew
        agent_with(rig, key)
        rig.power_on()
        assert comes_up(rig), key
    assert rig.pole.link.keys == [NEW]
    agent_with(rig, KEY)
    rig.power_on()
    assert not comes_up(rig), "the old key opens nothing any more"
    agent_with(rig, NEW)
    assert comes_up(rig)


def test_an_agent_without_the_new_key_goes_on_with_the_old_one_and_may_send_another() -> None:
    rig = in_service()
    replace(rig)
    replace(rig, OTHER)
    assert set(rig.pole.link.keys) == {KEY, OTHER} and rig.agent is not None and not refusals(rig.agent)
    agent_with(rig, NEW)
    rig.power_on()
    assert not comes_up(rig)
    agent_with(rig, OTHER)
    assert comes_up(rig)


def test_what_is_not_wrapped_under_the_pole_s_key_is_refused_and_told() -> None:
    rig = in_service()
    assert rig.agent is not None
    replace(rig, under=OTHER, ident=11)
    broken = bytearray(wrap(KEY, NONCE, NEW))
    for at in (0, 20, 55):
        broken[at] ^= 1
        rig.agent.tell(Command("replace_key", 12, bytes(broken)))
        rig.run(1500)
        broken[at] ^= 1
    rig.agent.tell(Command("replace_key", 13, b"short"))
    rig.run(2000)
    assert refusals(rig.agent) == [11, 12, 12, 12, 13] and rig.pole.unfollowed == 5
    assert rig.pole.link.keys == [KEY] and not rig.pole.journal.keys


@pytest.mark.parametrize("command", ["open_repl", "replace_key"])
def test_no_command_is_obeyed_while_somebody_waits_for_help(command: str) -> None:
    rig = in_service()
    assert rig.agent is not None
    rig.agent.stages = ("held",)
    rig.press()
    rig.agent.tell(Command(command, 5, wrap(KEY, NONCE, NEW)))
    rig.run(2000)
    assert refusals(rig.agent) == [5] and not rig.out.open_repl and not rig.pole.journal.keys


def test_the_same_key_again_is_not_written_again() -> None:
    rig = in_service()
    replace(rig)
    writes = rig.flash.writes
    replace(rig)
    assert rig.flash.writes == writes and rig.agent is not None and not refusals(rig.agent)


def kept(flash: NorFlash) -> Journal:
    journal = Journal(flash, bytes(range(16)))
    journal.open()
    return journal


def test_one_bad_bit_anywhere_costs_no_key() -> None:
    flash = NorFlash()
    kept(flash).keep(OWN, bytes(range(48)))
    kept(flash).keep(TRIAL, bytes(range(48, 96)))
    whole = bytes(flash.bytes)
    for address in range(2 * SLOT, 15 * SLOT):
        for bit in (1, 0x80):
            spoilt = bytearray(whole)
            spoilt[address] ^= bit
            assert kept(NorFlash(content=bytes(spoilt))).keys == {OWN: bytes(range(48)), TRIAL: bytes(range(48, 96))}


def test_both_keys_go_along_when_the_bank_is_left() -> None:
    flash = NorFlash()
    journal = kept(flash)
    journal.keep(OWN, bytes(range(48)))
    generation = journal.generation
    for turn in range(60):
        assert journal.keep(TRIAL, bytes(range(turn, turn + 48)))
        while journal.due():
            journal.maintain()
    assert journal.generation > generation
    assert kept(flash).keys == {OWN: bytes(range(48)), TRIAL: bytes(range(59, 107))}


def test_a_pole_that_is_provisioned_anew_has_the_key_it_was_given() -> None:
    """What a technician brings by cable counts over what came over the wire, in whatever state that is."""
    rig = in_service()
    replace(rig)
    agent_with(rig, NEW)
    rig.power_on()
    assert comes_up(rig)
    replace(rig, OTHER, under=NEW)
    assert len(rig.pole.link.keys) == 2
    from sos_pole.pole import Pole
    from sos_wire.pole_end import PoleLine, PoleLink

    link = PoleLink(1, b"g" * 32, b"s" * 32)
    pole = Pole(Journal(rig.flash, bytes(range(16))), link, PoleLine(False, 115200, 1))
    pole.start(0)
    assert link.keys == [b"g" * 32]


def talks(wire: bytes) -> list[bytes]:
    """The frames from the agent in a session, as they stood on the wire."""
    pieces = [b"\0" + piece + b"\0" for piece in wire.split(b"\0") if piece]
    found = [(piece, parse(raw)) for piece in pieces for raw in Decoder().feed(piece)]
    return [piece for piece, frame in found if not isinstance(frame, str) and frame.kind == TALK_DOWN]


def test_the_repl_opens_for_nobody_but_the_agent_of_this_session() -> None:
    """Not without a good seal, not for another pole's agent, not for a frame played again, in this session or later."""
    rig = in_service()
    agent = rig.agent
    assert agent is not None
    session = rig.pole.link._talk
    assert session is not None
    said: list[bytes] = []
    speak = agent.speak

    def heard(now: int) -> bytes:
        said.append(speak(now))
        return said[-1]

    agent.speak = heard  # type: ignore[method-assign]
    body = b"\x02\0\0\0\0\x00\x09\0" + Command("open_repl", 1).pack()
    for seal in (Seal(bytes(32)), Seal(KEY), Seal(OTHER), session._ours):
        for number in (session._in_sequence + 1, 1000):
            rig.hear(build(TALK_DOWN, 1, session.id, number, rig.now, body, seal))
            rig.run(100)
    assert not rig.out.open_repl and rig.pole.link.counts["tag"] == 8
    agent.tell(Command("open_repl", 1))
    assert rig.run(300, until=lambda: rig.out.open_repl)
    # The board restarts with its REPL; the next start runs the pole again, and all that was ever said comes again.
    rig.power_on()
    assert rig.pole.journal.marked
    rig.power_on()
    assert not rig.pole.journal.marked
    assert comes_up(rig)
    for piece in talks(b"".join(said)):
        for times in range(2):
            rig.hear(piece)
            rig.run(20 + times)
    rig.run(500)
    assert not rig.out.open_repl and not kept(NorFlash(content=bytes(rig.flash.bytes))).marked


def test_nothing_that_is_said_holds_a_key() -> None:
    """A press, a replacement and a refusal, both directions, byte by byte; nor does what the wrapping of it shows."""
    rig = in_service()
    agent = rig.agent
    assert agent is not None
    said = bytearray()
    speak, hear = agent.speak, agent.hear

    def spoken(now: int) -> bytes:
        data = speak(now)
        said.extend(data)
        return data

    def listened(data: bytes, now: int) -> None:
        said.extend(data)
        hear(data, now)

    agent.speak, agent.hear = spoken, listened  # type: ignore[method-assign]
    rig.press()
    rig.run(3000)
    replace(rig)
    replace(rig, under=OTHER)
    rig.run(10_000)
    assert len(said) > 500 and unwrap(KEY, wrap(KEY, NONCE, NEW)) == NEW
    for key in (KEY[1:], NEW, Seal(KEY).digest(b"sos hello\0"), Seal(KEY).digest(b"sos welcome\0")):
        for at in range(len(key) - 4):
            assert key[at : at + 5] not in said
