"""A pole's key is replaced over the wire while power, programs and messages fail: the pole always comes back."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.sim.test_world_zone import POINT, POLE, looks, received_once, served, touch

from sos_agent.core import effects as fx
from sos_contract.payloads import CommandView, DeskAnswer
from sos_sim.world.pole import PoleNode
from sos_sim.world.program import Program
from sos_sim.world.zone import Zone
from sos_wire.wrap import NONCE, fingerprint, wrap

NEW, OTHER = bytes(range(32)), bytes(range(64, 96))
ROUNDS = 8  # times that a technician asks again
FIND_OUT_S = 75


class Desk:
    """A technician who asks again until the pole runs on the new key, as ``safezone site keys replace`` does."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.old = zone.poles[POLE].spec.key
        self.outcomes: list[str] = []
        self._answers: list[DeskAnswer | None] = []

    def ask(self, action: str, **more: Any) -> DeskAnswer | None:
        self.zone.terminal("somchai").ask(action, then=self._answers.append, **more)
        assert self.zone.run_until(lambda: bool(self._answers), 20)
        return self._answers.pop()

    def order(self, command: str, **more: Any) -> CommandView | None:
        """One command and its outcome; None if the station cannot say what came of it."""
        asked = self.ask("command", pole=POLE, command=command, **more)
        if asked is None or not asked.commands:
            self.outcomes.append("not asked" if asked is None else asked.error)
            return None
        view = asked.commands[0]
        for _ in range(FIND_OUT_S):
            self.zone.run_s(1)
            answer = self.ask("commands", id=view.id)
            if answer is not None and answer.commands and answer.commands[0].outcome:
                self.outcomes.append(f"{answer.commands[0].outcome}: {answer.commands[0].words}")
                return answer.commands[0]
        self.outcomes.append("nobody answers")
        return None

    def replace(self, new: bytes = NEW) -> bool:
        nonce = len(self.outcomes).to_bytes(NONCE, "big")
        found = self.order("replace_key", wrapped=wrap(self.old, nonce, new).hex(), check=fingerprint(new))
        return found is not None and found.outcome == "done"

    def replace_at_last(self, new: bytes = NEW) -> None:
        for _ in range(ROUNDS):
            if self.replace(new):
                return
            self.zone.run_s(60)  # whatever was cut has its power again; health comes each minute
        raise AssertionError(self.outcomes)


def keep_up(zone: Zone) -> None:
    """Whoever has no power gets it again within a second, as after a cut; for good."""
    nodes: list[PoleNode | Program] = [*zone.poles.values(), *zone.agents.values(), zone.station]
    for node in nodes:
        if not node.running:
            node.start()
    zone.loop.after(1_000_000, lambda: keep_up(zone))


def runs_on(zone: Zone, key: bytes) -> None:
    """In service after a restart of everybody, too, on that key alone; a press arrives."""
    for again in (False, True):
        if again:
            zone.poles[POLE].power_cut()
            zone.agents[POINT].power_cut()
        assert zone.run_until(zone.in_service, 60), zone.agents[POINT].log
        zone.run_s(5)
        pole = zone.poles[POLE].pole
        assert pole is not None and pole.link.keys == [key]
        assert zone.agents[POINT].disk.keys == {POLE: (key, b"")}
        touch(zone)
        assert zone.run_until(looks(zone, "received"), 10)
        zone.terminal("malee").ask(
            "close", len([r for r in zone.trace.rows if r.kind == "received"]), disposition="test"
        )
        assert zone.run_until(lambda: zone.poles[POLE].look == "in_service", 10)
    received_once(zone)


def started(seed: int = 1) -> tuple[Zone, Desk]:
    zone = served(seed=seed)
    keep_up(zone)
    return zone, Desk(zone)


def test_a_key_is_replaced_without_losing_the_session_and_a_second_time() -> None:
    zone, desk = started()
    pole = zone.poles[POLE].pole
    assert pole is not None
    sessions, losses = pole.link.opened, pole.link.losses
    began_us = zone.loop.now_us
    assert desk.replace(), desk.outcomes
    assert zone.loop.now_us - began_us < 10_000_000
    assert (pole.link.opened, pole.link.losses) == (sessions + 1, losses), "the old session lives until the new one"
    runs_on(zone, NEW)
    assert desk.replace(), "asked again it is done already"
    desk.old = NEW
    assert desk.replace(OTHER)
    runs_on(zone, OTHER)


def test_the_repl_is_opened_when_nobody_waits_and_the_desk_hears_of_it() -> None:
    zone = served()
    desk = Desk(zone)
    touch(zone)
    assert zone.run_until(looks(zone, "received"), 10)
    found = desk.order("open_repl")
    assert found is not None and found.outcome == "refused" and "somebody waits for help" in found.words
    zone.terminal("malee").ask("close", 1, disposition="test")
    assert zone.run_until(looks(zone, "in_service"), 10)
    found = desk.order("open_repl")
    assert found is not None and found.outcome == "done", desk.outcomes
    assert [row.fields for row in zone.trace.rows if row.kind == "down"] == [("watchdog",), ("repl",)]


@pytest.mark.parametrize("part", range(0, 12 * 32, 19))
def test_the_pole_s_power_goes_at_any_byte_that_its_flash_writes(part: int) -> None:
    zone, desk = started(seed=part)
    flash = zone.poles[POLE].flash
    flash.tear_at = flash.writes + part
    desk.replace_at_last()
    runs_on(zone, NEW)


def test_so_many_bytes_are_written() -> None:
    """The test above cuts among all of them: the key on trial and the key that is the pole's, six slots each."""
    zone, desk = started()
    flash = zone.poles[POLE].flash
    before = flash.writes
    assert desk.replace()
    assert flash.writes - before == 12 * 32


@pytest.mark.parametrize("after", range(18))
def test_the_agent_dies_between_any_two_of_its_effects(after: int) -> None:
    zone, desk = started(seed=after)
    agent = zone.agents[POINT]
    left = [after]

    def here(effect: object) -> bool:
        """Counted from the first effect that the command has."""
        begun = left[0] < after or (isinstance(effect, fx.StoreKeys) and not agent.disk.keys)
        left[0] -= begun
        return left[0] == -1

    agent.crash_at = here
    desk.replace_at_last()
    assert left[0] < 0, "it was killed"
    runs_on(zone, NEW)


@pytest.mark.parametrize("seed", range(12))
def test_power_goes_anywhere_and_messages_are_lost(seed: int) -> None:
    zone, desk = started(seed=100 + seed)
    rng = random.Random(seed)
    wire = next(iter(zone.wires.values()))
    wire.loss = 0.2
    nodes: list[PoleNode | Program] = [zone.poles[POLE], zone.agents[POINT], zone.station]
    for _ in range(4):
        zone.loop.after(rng.randrange(6_000_000), rng.choice(nodes).power_cut)
    desk.replace_at_last()
    runs_on(zone, NEW)
