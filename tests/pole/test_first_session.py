"""The first session after a start is one like any other."""

from __future__ import annotations

from tests.pole.rig import KEY, in_service

from sos_wire.agent_end import AgentLink
from sos_wire.messages import Command
from sos_wire.wrap import wrap

NEW = bytes(range(100, 132))


def test_a_key_on_trial_is_proven_by_the_first_session_of_a_start() -> None:
    rig = in_service()
    assert rig.agent
    rig.agent.tell(Command("replace_key", 7, wrap(KEY, b"n" * 16, NEW)))
    rig.run(500)
    rig.new_agent(b"c" * 32).link = AgentLink(1, NEW, b"c" * 32)
    rig.power_on()
    assert set(rig.pole.link.keys) == {KEY, NEW}
    assert rig.run(12_000, until=lambda: rig.pole.link.opened == 1)
    rig.run(10)
    assert rig.pole.link.opened == 1 and rig.pole.link.keys == [NEW]
