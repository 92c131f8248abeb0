"""MQTT topics: ``sos/v1/<station>/...``, made and read in this one place (3.1.1, QoS 1)."""

from __future__ import annotations

from typing import NamedTuple

ROOT = "sos/v1"

# What a point publishes; `state` and `health` are retained, alarms and notices never are:
# a retained event fires again at every restart of whoever subscribes.
FROM_POINT = ("alarm", "notice", "state", "health", "progress_query", "probe", "command_answer")
# What the station publishes to one point; none of it is retained.
TO_POINT = ("receipt", "progress", "probe_answer", "command")
RETAINED = ("state", "health")


class Topic(NamedTuple):
    """A topic taken apart; ``point`` is empty for the station's own."""

    station: str
    point: str
    leaf: str


def of_point(station: str, point: str, leaf: str) -> str:
    """Topic ``leaf`` of a reporting point."""
    return f"{ROOT}/{station}/point/{point}/{leaf}"


def of_station(station: str, leaf: str) -> str:
    """Topic ``leaf`` of the station itself: ``state``."""
    return f"{ROOT}/{station}/{leaf}"


def desk_request(station: str, terminal: str) -> str:
    """Where an officer's terminal asks the station to list alarms or to change a stage."""
    return f"{ROOT}/{station}/desk/{terminal}/request"


def desk_answer(station: str, terminal: str) -> str:
    """Where the station answers that terminal."""
    return f"{ROOT}/{station}/desk/{terminal}/answer"


def parse(topic: str) -> Topic | None:
    """Take a topic apart; None if it is none of ours (a peer may publish anything)."""
    parts = topic.split("/")
    if len(parts) < 4 or "/".join(parts[:2]) != ROOT:
        return None
    if len(parts) == 4:
        return Topic(parts[2], "", parts[3])
    if len(parts) == 6 and parts[3] in ("point", "desk"):
        leaf = parts[5] if parts[3] == "point" else f"desk_{parts[5]}"
        return Topic(parts[2], parts[4], leaf)
    return None
