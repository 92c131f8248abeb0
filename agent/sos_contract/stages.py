"""The stages of an alarm and the kinds of event: one word each, from the pole to the officer's screen."""

from __future__ import annotations

from sos_wire.messages import KINDS, STAGES

PRESSED, HELD, RECEIVED, ACCEPTED, DISPATCHED, ON_SCENE, CLOSED = STAGES
ALARM_KINDS = ("press", "silent_press", "test_press")
NOTICE_KINDS = tuple(kind for kind in KINDS if kind not in ALARM_KINDS)
DISPOSITIONS = ("genuine", "false", "test", "duplicate")


def rank(stage: str) -> int:
    """Place of ``stage`` in the life of an alarm, 0 for ``pressed``; raises ValueError for no stage of ours."""
    return STAGES.index(stage)


def later(one: str, other: str) -> str:
    """The further of two stages: stages never go back."""
    return one if rank(one) >= rank(other) else other
