"""The plug-in's zone of real processes understands the sentences of the virtual one."""

from __future__ import annotations

import pytest

from sos_contract.errors import UserError
from sos_sim.testing.live import LiveZone
from sos_sim.testing.watch import ExpectationError

pytestmark = pytest.mark.live
POLE = "market-1"


@pytest.mark.zone(points=["market"])
def test_live_zone_keeps_what_it_is_told(live_zone: LiveZone) -> None:
    live_zone.press(POLE)
    live_zone.expect(POLE).shows("received", within_s=10)
    live_zone.accept(POLE)
    live_zone.expect(POLE).shows("accepted", within_s=10)
    live_zone.expect_alarms(1, of=POLE)
    live_zone.cut(POLE)
    with pytest.raises(ExpectationError, match=r"did not show 'received' within 0.1 s(.|\n)*at first  accepted"):
        live_zone.expect(POLE).shows("received", within_s=0.1)
    assert "wire-cut" in live_zone.drawn
    live_zone.mend(POLE)
    live_zone.down(POLE)
    assert live_zone.look(POLE) == "off"
    live_zone.up(POLE)
    live_zone.expect(POLE).shows("in_service", within_s=30)
    with pytest.raises(UserError, match="did you mean 'market-1'"):
        live_zone.press("market")
    with pytest.raises(UserError, match="did you mean 'agent:market'"):
        live_zone.down("agent:marke")
