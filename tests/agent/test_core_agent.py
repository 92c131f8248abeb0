"""The agent's core, end to end on virtual time: one press, and what may go wrong around it."""

from __future__ import annotations

from tests.agent.core_world import World


def test_a_press_is_held_then_received_and_follows_the_officer() -> None:
    world = World()
    world.start()
    world.until(lambda: world.poles["p1"].services[-1:] == ["in_service"], 5_000)
    press = world.press()
    assert world.until(lambda: world.stage(press) == "held", 200) <= 20
    assert world.until(lambda: world.stage(press) == "received", 200) <= 30
    world.station.alarms[press] = "accepted"
    world.until(lambda: world.stage(press) == "accepted", 31_000)
    assert [stage for _, _, stage in world.poles["p1"].told] == ["held", "received", "accepted"]
