"""Incidents: presses at a pole that has an open alarm join it; what is first on the officer's list.

A press that joins an incident is new all the same: it stands at ``received`` and waits until an officer accepts it,
whatever the incident's stage, since no officer has seen it and its lamp must not say that one did. Accepting it takes
it to the stage that the incident has reached: help that is on its way to this pole is on its way to this press too.
"""

from __future__ import annotations

from sos_contract.stages import CLOSED, RECEIVED

# A technician's test and a call for help at the same pole stay apart: closing the test must not close the call.
_FAMILIES = {"test_press": "test"}


def family(kind: str) -> str:
    """Alarms of one pole join one incident within a family: ``call`` or ``test``."""
    return _FAMILIES.get(kind, "call")


def join(open_incident: int | None, number: int) -> int:
    """Incident of alarm ``number``, given that of the newest open alarm of its pole and family, if there is one."""
    return number if open_incident is None else open_incident


# Places in the officer's list: calls nobody has answered first, those from just now before late ones,
# so that an outage's backlog does not hide somebody who stands at a pole now.
WAITING_LIVE, WAITING_LATE, WAITING_TEST, IN_HAND, SETTLED = range(5)


def queue(stage: str, kind: str, late: bool) -> int:
    """Place of an alarm in the officer's list; within a place the oldest is first."""
    if stage == CLOSED:
        return SETTLED
    if stage != RECEIVED:
        return IN_HAND
    if family(kind) == "test":
        return WAITING_TEST
    return WAITING_LATE if late else WAITING_LIVE
