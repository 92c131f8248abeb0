"""An agent whose session is old hears a talk that it does not know: it must ask, or the pole speaks to nobody."""

from __future__ import annotations

from tests.wire.pair import ADDRESS, Pair, frames_of

from sos_wire.agent_end import SILENT_MS
from sos_wire.frame import TALK_UP, build
from sos_wire.lanes import NEVER
from sos_wire.seal import Seal


def test_an_old_session_hears_a_stranger_and_asks_at_once_or_when_it_may() -> None:
    stray = frames_of(build(TALK_UP, ADDRESS, 1, 1, 1, bytes(5), Seal(bytes(32))))[0]
    for called_at, wait_ms in ((NEVER, 0), (40, 40)):
        agent = Pair().open().agent
        now = agent.heard_at + SILENT_MS
        agent._called_at = NEVER if called_at == NEVER else now + called_at
        agent.receive(stray, now)
        assert agent.up and agent._call_at == now + wait_ms
