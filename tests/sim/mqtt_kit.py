"""A small virtual world of MQTT for tests: a broker, a watcher that hears all, and client ``a`` with a will."""

from __future__ import annotations

from tests.sim.mqtt_worlds import Step, Twin

from sos_edge.mqtt import Disconnected, Message, Published
from sos_sim.world.network import SECOND_US, Path

URL = "mqtt://broker"
WILL = ("t/a", b"gone")
LOST = "connection lost: closed by the broker or the network"


def world(seed: int = 1) -> Twin:
    """A broker, a watcher that hears all, and client ``a`` with a will; connected for some seconds."""
    twin = Twin(URL, seed)
    for step in (
        Step("connect", "watcher", ("w",)),
        Step("subscribe", "watcher", ("#",)),
        Step("connect", "a", ("a", WILL)),
        Step("subscribe", "a", ("for/a",)),
    ):
        twin.play(step)
    pass_s(twin, 7)
    return twin


def path(twin: Twin, name: str = "a") -> Path:
    return twin.network.path(name, URL)


def pass_s(twin: Twin, seconds: float) -> None:
    twin.loop.run(twin.loop.now_us + int(seconds * SECOND_US))


def when(twin: Twin, name: str, kind: type, since_us: int) -> list[float]:
    """Seconds from ``since_us`` at which that client heard events of that kind."""
    return [(at_us - since_us) / SECOND_US for at_us, who, event in twin.log if who == name and type(event) is kind]


def reasons(twin: Twin, name: str = "a") -> list[str]:
    return [event.reason for _, who, event in twin.log if who == name and isinstance(event, Disconnected)]


def payloads(twin: Twin, name: str = "watcher", topic: str = "") -> list[bytes]:
    """What that client heard, of one topic or of all."""
    heard = [event for _, who, event in twin.log if who == name and isinstance(event, Message)]
    return [event.payload for event in heard if topic in ("", event.topic)]


def tokens(twin: Twin) -> list[int]:
    return [event.token for _, who, event in twin.log if who == "a" and isinstance(event, Published)]
