"""Whose a frame is, and who asks: addresses, fingerprints, the question itself."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from tests.wire.pair import ADDRESS, Pair, frames_of

from sos_wire.frame import EVERYBODY, TALK_DOWN, build
from sos_wire.handshake import who
from sos_wire.seal import Seal
from sos_wire.wrap import fingerprint


@pytest.mark.parametrize(("address", "ours"), [(ADDRESS, True), (EVERYBODY, True), (ADDRESS + 1, False)])
def test_a_question_to_another_pole_is_not_ours(address: int, ours: bool) -> None:
    pair = Pair().open()
    pair.run(2_000)
    pair.hear(pair.pole, who(address))
    assert pair.pole.counts["address"] == (not ours) and (pair.pole._call_at != -1) == ours


def test_only_a_question_may_be_to_everybody() -> None:
    pair = Pair().open()
    pair.hear(pair.pole, build(TALK_DOWN, EVERYBODY, 1, 1, 1, bytes(5), Seal(bytes(32))))
    assert pair.pole.counts["address"] == 1 and pair.pole.refused == 1


def test_a_question_asks_everybody_at_no_time_if_nothing_is_said() -> None:
    (frame,) = frames_of(who())
    assert (frame.address, frame.uptime_ms, frame.session, frame.sequence, frame.body) == (EVERYBODY, 0, 0, 0, b"")


def test_a_fingerprint_is_that_of_its_key() -> None:
    key = bytes(range(32))
    assert fingerprint(key) == hmac.new(key, b"sos fingerprint\0", hashlib.sha256).digest()[:8].hex()
