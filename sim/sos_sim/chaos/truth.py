"""The checks: from what was seen to the promises that were broken. Pure functions of the evidence.

Margins. The promises' seconds are the product's own; what is added is for this machine: MARGIN_S for a step, a frame
and a commit of processes that share two cores, and LAG_TIMES the worst lateness of our own loop meanwhile, by which we
know how late the others may have been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sos_contract.payloads import Identity
from sos_contract.stages import RECEIVED, rank
from sos_sim.chaos.evidence import Claim, Evidence, Finding, Mint, Overdue, Stale, Touch
from sos_sim.chaos.stores import Row
from sos_wire.messages import STAGES

AGENT_LOST_S, STATION_LOST_S, NOT_DELIVERED_S = 10.0, 20.0, 20.0
MARGIN_S, LAG_TIMES = 2.0, 3.0
# Progress is synchronised each 30 s: by then a lamp knows, whatever was lost on the way. The rest is for connecting.
STALE_S = 45.0
# A pole is blind while it starts and erases; the write follows the debounce by milliseconds, or by a stop of the pole.
MINT_WITHIN_S = 30.0
# As the virtual town's checker of ages has it: seconds are shown, and a pole has a crystal.
AGE_S, AGE_PART = 3.0, 0.01


def false_claims(claims: Iterable[Claim], known: Mapping[Identity, str]) -> list[Finding]:
    """Lamps that said what was not true at that moment. ``known``: presses that were in a flash, with their kinds."""
    found = []
    for claim in claims:
        words = _falsehood(claim, known)
        if words:
            found.append(Finding("lied", claim.at_s, claim.pole, f"the lamp said {claim.look}, and {words}"))
    return found


def _falsehood(claim: Claim, known: Mapping[Identity, str]) -> str:
    if claim.look not in STAGES:
        return ""
    if claim.owner is None or claim.owner not in known:
        return "no press was in the flash"
    if known[claim.owner] == "silent_press":
        return f"press {claim.owner} was a silent one"
    if claim.look == "held" and not (claim.held or claim.stage):
        return f"no outbox had press {claim.owner}"
    if rank(claim.look) >= rank(RECEIVED):
        if not claim.stage:
            return f"press {claim.owner} was not in the inbox"
        if rank(claim.stage) < rank(claim.look):
            return f"press {claim.owner} was {claim.stage} in the inbox"
    return ""


def late_words(
    pole: str, looks: Sequence[tuple[float, str]], parts: Iterable[str], bound_s: float, seen: Evidence, now_s: float
) -> list[Finding]:
    """Where the lamp of ``pole`` said *in service* although ``parts`` were away for longer than ``bound_s``.

    ``looks``: (since when, what), in order. The pole itself must have run for as long.
    """
    found = []
    own = seen.outages.of([f"pole:{pole}"], now_s)
    for outage in seen.outages.of(parts, now_s):
        for began_s, ended_s in _spans(looks, "in_service", now_s):
            up_s = max([one.until_s for one in own if one.since_s < ended_s], default=0.0)
            since_s = max(outage.since_s, up_s)
            due_s = since_s + bound_s + MARGIN_S
            due_s += LAG_TIMES * seen.lag.worst_s(since_s, due_s)
            if min(ended_s, outage.until_s) > max(due_s, began_s):
                words = f"in service {min(ended_s, outage.until_s) - since_s:.1f} s after {outage.part} was gone"
                found.append(Finding("lied", max(due_s, began_s), pole, words))
    return found


def _spans(looks: Sequence[tuple[float, str]], wanted: str, now_s: float) -> list[tuple[float, float]]:
    ends = [at_s for at_s, _ in looks[1:]] + [now_s]
    return [(at_s, end_s) for (at_s, look), end_s in zip(looks, ends, strict=True) if look == wanted]


def silent_lamps(overdue: Iterable[Overdue], seen: Evidence, now_s: float) -> list[Finding]:
    """Presses that were not received in 20 s, and the lamp did not say so although its pole ran all the while."""
    found = []
    for one in overdue:
        away = seen.outages.of([f"pole:{one.identity.pole}"], now_s)
        if one.look == "not_delivered" or any(out.since_s < one.at_s and out.until_s > one.minted_s for out in away):
            continue
        words = (
            f"press {one.identity} was not received in {one.at_s - one.minted_s:.1f} s, and the lamp said {one.look}"
        )
        found.append(Finding("lied", one.at_s, one.identity.pole, words))
    return found


def stale_lamps(stale: Iterable[Stale], seen: Evidence) -> list[Finding]:
    """Lamps that do not come to say *received* although nothing is in the way."""
    found = []
    for one in stale:
        if one.calm_s > STALE_S + LAG_TIMES * seen.lag.worst_s(one.at_s - one.calm_s, one.at_s):
            words = f"press {one.identity} is in the inbox, nothing was wrong for {one.calm_s:.1f} s"
            found.append(Finding("stuck", one.at_s, one.identity.pole, f"{words}, and the lamp says {one.look}"))
    return found


def made_up(touches: Sequence[Touch], mints: Sequence[Mint]) -> list[Finding]:
    """Presses in a flash that no finger made, and two that one finger made."""
    found = []
    left: dict[tuple[str, str], list[Touch]] = {}
    for touch in sorted(touches, key=lambda one: one.at_s):
        left.setdefault((touch.pole, touch.kind), []).append(touch)
    for mint in sorted(mints, key=lambda one: one.at_s):
        mine = left.get((mint.identity.pole, mint.kind), [])
        before = [touch for touch in mine if touch.at_s <= mint.at_s and mint.at_s - touch.until_s < MINT_WITHIN_S]
        real = [touch for touch in before if not touch.brief]
        if real:
            mine.remove(real[-1])
        else:
            what = "a contact too brief for a press" if before else "no finger"
            found.append(Finding("forged", mint.at_s, mint.identity.pole, f"press {mint.identity} was made by {what}"))
    for (pole, _), rest in left.items():
        for touch in rest:
            if touch.sure and not touch.brief:
                words = f"a {touch.kind} of {(touch.until_s - touch.at_s) * 1000:.0f} ms became none"
                found.append(Finding("lost", touch.at_s, pole, words))
    return found


def arrived(mints: Iterable[Mint], inbox: Sequence[Row], now_s: float) -> list[Finding]:
    """Each press once in the inbox, and nothing else, each as what it was."""
    found = []
    kinds = {mint.identity: mint.kind for mint in mints}
    counts = Counter(row.identity for row in inbox)
    for identity, count in counts.items():
        if identity not in kinds:
            found.append(Finding("forged", now_s, identity.pole, f"alarm {identity} is in the inbox: nobody pressed"))
        elif count > 1:
            found.append(Finding("duplicated", now_s, identity.pole, f"alarm {identity} is {count} times in the inbox"))
    for row in inbox:
        if row.clash:
            found.append(Finding("forged", now_s, row.identity.pole, f"alarm {row.identity} has two contents"))
        elif row.identity in kinds and row.kind != kinds[row.identity]:
            words = f"alarm {row.identity} is a {row.kind} and was a {kinds[row.identity]}"
            found.append(Finding("forged", now_s, row.identity.pole, words))
    return found


def missing(mints: Iterable[Mint], inbox: Sequence[Row]) -> list[Mint]:
    """Presses that are not in the inbox."""
    there = {row.identity for row in inbox}
    return [mint for mint in mints if mint.identity not in there]


def too_old(mints: Iterable[Mint], inbox: Sequence[Row], wall_minus_mono_s: float) -> list[Finding]:
    """Alarms that were said to be older than they were. (Younger they may be by what they waited unmeasurably.)"""
    minted = {mint.identity: mint.at_s + wall_minus_mono_s for mint in mints}
    found = []
    for row in inbox:
        if row.age_s is None or row.identity not in minted:
            continue
        true_s = row.received_wall_s - minted[row.identity]
        if row.age_s - true_s > AGE_S + AGE_PART * true_s:
            words = f"alarm {row.identity} was {true_s:.1f} s old and said to be {row.age_s:.1f} s"
            found.append(Finding("lied", minted[row.identity] - wall_minus_mono_s, row.identity.pole, words))
    return found


def out_of_order(mints: Sequence[Mint], inbox: Sequence[Row], since_s: float, now_s: float) -> list[Finding]:
    """Presses of one pole that were made after ``since_s``, from when on all was well, and came in another order."""
    place = {row.identity: row.number for row in inbox}
    last: dict[str, Mint] = {}
    found = []
    for mint in sorted(mints, key=lambda one: one.at_s):
        if mint.at_s < since_s or mint.identity not in place:
            continue
        pole = mint.identity.pole
        if pole in last and place[last[pole].identity] > place[mint.identity]:
            words = f"press {mint.identity} was received before {last[pole].identity}, which was made before it"
            found.append(Finding("lied", now_s, pole, words))
        last[pole] = mint
    return found
