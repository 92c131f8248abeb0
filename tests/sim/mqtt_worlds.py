"""One script of MQTT, played in two worlds: the twin on virtual time, and mosquitto with the real MqttLink."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.broker import Broker as Mosquitto

from sos_edge.mqtt import Message, MqttEvent, MqttLink, Published
from sos_sim.trace import Trace
from sos_sim.world.broker import Broker
from sos_sim.world.loop import Loop
from sos_sim.world.mqtt import MqttClient
from sos_sim.world.network import SECOND_US, Network

# How long the real world is listened to for what the twin did not say, after each step.
SURPLUS_S = 0.08
# The token of a message that nobody hears, published behind a subscription: acknowledged, the subscription stands.
BARRIER = -1
# A step's events are there within milliseconds; a busy machine may need more.
STEP_S = 15.0

Heard = dict[str, list[object]]


@dataclass(frozen=True)
class Step:
    """``does`` is a verb of the worlds below; ``client`` names a link, whose MQTT id is what precedes a dot."""

    does: str
    client: str = ""
    arguments: tuple[object, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.does, self.client, *map(repr, self.arguments)])[:70]


def normal(events: list[object]) -> list[object]:
    """Retained messages that come together come in any order; the rest is told in the order in which it was heard."""
    told: list[object] = []
    batch: list[Message] = []
    for event in [*events, None]:
        if isinstance(event, Message) and event.retained:
            batch.append(event)
            continue
        batch.sort(key=lambda one: one.topic)
        told += batch
        batch = []
        if event is not None:
            told.append(event)
    return told


class Twin:
    """The virtual world. ``play`` a step: what each client heard because of it."""

    def __init__(self, url: str, seed: int = 1) -> None:
        self.url = url
        self.loop = Loop()
        self.trace = Trace(keep=True)
        self.network = Network(self.loop, random.Random(f"{seed}/network"))
        self.broker = Broker(self.loop, self.trace, random.Random(f"{seed}/broker"), "1")
        self.network.add(url, self.broker)
        self.broker.start()
        self.links: dict[str, MqttClient] = {}
        self.log: list[tuple[int, str, MqttEvent]] = []  # (at_us, client, event)
        self._heard: Heard = {}

    def play(self, step: Step) -> Heard:
        self._heard = {}
        getattr(self, step.does)(step.client, *step.arguments)
        self.loop.run(self.loop.now_us + SECOND_US // 2)
        return self._heard

    def link(self, name: str) -> MqttClient:
        if name not in self.links:
            self.links[name] = self.network.host(name).link(self.url, name.split(".")[0], deliver=self._hear(name))
        return self.links[name]

    def _hear(self, name: str) -> Callable[[MqttEvent], None]:
        def hear(event: MqttEvent) -> None:
            self._heard.setdefault(name, []).append(event)
            self.log.append((self.loop.now_us, name, event))

        return hear

    def connect(self, name: str, session: str, will: tuple[str, bytes] | None = None) -> None:
        self.link(name).connect(session, will)

    def subscribe(self, name: str, *topics: str) -> None:
        self.link(name).subscribe(topics)

    def publish(self, name: str, topic: str, payload: bytes, retain: bool = False, token: int = 0) -> None:
        if not self.link(name).publish(topic, payload, retain=retain, token=token):
            self._heard.setdefault(name, []).append("not taken")

    def flood(self, name: str, topic: str, count: int) -> None:
        """So many messages, as fast as the link takes them."""
        sent = 0
        while sent < count:
            while sent < count and self.link(name).publish(topic, b"%d" % sent, token=sent):
                sent += 1
            self.loop.run(self.loop.now_us + SECOND_US // 10)

    def close(self, name: str) -> None:
        self.link(name).close()

    def die(self, name: str) -> None:
        self.network.host(name).kill()
        del self.links[name]

    def pause(self, name: str) -> None:
        self.network.host(name).freeze()

    def resume(self, name: str) -> None:
        self.network.host(name).thaw()

    def start(self, _: str) -> None:
        self.broker.start()

    def stop(self, _: str) -> None:
        self.broker.stop()

    def kill(self, _: str) -> None:
        self.broker.kill()

    def kill_and_lose(self, _: str) -> None:
        self.broker.kill(keep_store=False)

    def save(self, _: str) -> None:
        self.broker.save()

    def freeze(self, _: str) -> None:
        self.broker.freeze()

    def thaw(self, _: str) -> None:
        self.broker.thaw()


class Real:
    """mosquitto and paho. ``play`` waits for as many events as the twin told, and a little for more."""

    def __init__(self, folder: Path) -> None:
        lines = ["persistence true", f"persistence_location {folder}/"]
        self.broker = Mosquitto(folder, lines=lines)
        self.url = self.broker.url
        self.links: dict[str, MqttLink] = {}
        self._heard: Heard = {}
        self._barrier = asyncio.Event()

    async def play(self, step: Step, expected: Heard) -> Heard:
        self._heard = {}
        done = getattr(self, step.does)(step.client, *step.arguments)
        if done is not None:
            await done
        wanted = sum(map(len, expected.values()))
        deadline = asyncio.get_running_loop().time() + STEP_S
        while sum(map(len, self._heard.values())) < wanted and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.002)
        await asyncio.sleep(SURPLUS_S)
        return self._heard

    def link(self, name: str) -> MqttLink:
        if name not in self.links:
            self.links[name] = MqttLink(self.url, name.split(".")[0], deliver=self._hear(name))
        return self.links[name]

    def _hear(self, name: str) -> Callable[[MqttEvent], None]:
        def hear(event: MqttEvent) -> None:
            if isinstance(event, Published) and event.token == BARRIER:
                self._barrier.set()
            else:
                self._heard.setdefault(name, []).append(event)

        return hear

    def connect(self, name: str, session: str, will: tuple[str, bytes] | None = None) -> None:
        self.link(name).connect(session, will)

    async def subscribe(self, name: str, *topics: str) -> None:
        self._barrier.clear()
        self.link(name).subscribe(topics)
        self.link(name).publish("$barrier", b"", token=BARRIER)
        await asyncio.wait_for(self._barrier.wait(), STEP_S)

    def publish(self, name: str, topic: str, payload: bytes, retain: bool = False, token: int = 0) -> None:
        if not self.link(name).publish(topic, payload, retain=retain, token=token):
            self._heard.setdefault(name, []).append("not taken")

    async def flood(self, name: str, topic: str, count: int) -> None:
        sent = 0
        while sent < count:
            while sent < count and self.link(name).publish(topic, b"%d" % sent, token=sent):
                sent += 1
            await asyncio.sleep(0.001)

    def close(self, name: str) -> None:
        self.link(name).close()

    def die(self, name: str) -> None:
        self.links.pop(name)._drop(abrupt=True)

    def pause(self, name: str) -> None:
        sock = self.link(name)._socket
        assert sock is not None
        asyncio.get_running_loop().remove_reader(sock)

    def resume(self, name: str) -> None:
        sock = self.link(name)._socket
        assert sock is not None
        asyncio.get_running_loop().add_reader(sock, self.link(name)._readable)

    def start(self, _: str) -> None:
        self.broker.start()

    def stop(self, _: str) -> None:
        self.broker.end()

    def kill(self, _: str) -> None:
        self.broker.stop()

    def kill_and_lose(self, _: str) -> None:
        self.broker.stop()
        (self.broker.folder / "mosquitto.db").unlink(missing_ok=True)

    def save(self, _: str) -> None:
        self.broker.save()

    def freeze(self, _: str) -> None:
        self.broker.freeze()

    def thaw(self, _: str) -> None:
        self.broker.thaw()
