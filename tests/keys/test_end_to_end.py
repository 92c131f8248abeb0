"""The honest agent, station and officer with the town's keys and access lists, and a point that is not honest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.edge_world import AgentProcess, PtyPole
from tests.keys.town import (
    BROKER,
    LISTENER,
    POINT,
    STATION,
    TERMINAL,
    Peer,
    Town,
    TownBroker,
    complaint,
    safezone,
    until,
)
from tests.station.processes import StationProcess, alarms, rows

from sos_contract import topics
from sos_contract.payloads import Alarm, DeskRequest, Identity, encode
from sos_contract.site import read_keys
from sos_contract.who import Who

MERLIN = Who("point", "merlin")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def pole_of(town: Town) -> PtyPole:
    """The pole of the point `market`, provisioned with its key."""
    return PtyPole(town.folder, read_keys(town.bundle(POINT) / "poles.toml", ["market-1"])["market-1"])


async def listed(site: Path, *words: str) -> list[dict[str, Any]]:
    """What an officer's terminal shows."""
    return rows(await asyncio.to_thread(alarms, site, *words, "--json"))


def test_a_press_is_accepted_by_an_officer_and_a_dishonest_neighbour_changes_nothing(tmp_path: Path) -> None:
    """A point's certificate in the wrong hands: everything that it may say is its own, and that is taken apart."""
    town = Town(tmp_path)
    town.write_acl()

    async def main() -> None:
        pole, desk = pole_of(town), town.machine(TERMINAL)
        async with AgentProcess(town.machine(POINT)) as agent:
            await until(lambda: pole.look == "in_service")
            neighbour = await Peer(town, town.tls(MERLIN)).connect()
            await misbehave(neighbour)
            await pole.press()
            await until(lambda: pole.look == "received")
            shown = await listed(desk, "list")
            assert [(one["id"]["pole"], one["stage"], one["officer"]) for one in shown] == [
                ("market-1", "received", "")
            ]
            await pretend_to_be_an_officer(neighbour, shown[0]["number"])
            # Two commands of one terminal at once: both hear both answers, each takes its own.
            for shown in await asyncio.gather(listed(desk, "list"), listed(desk, "list")):
                assert [one["stage"] for one in shown] == ["received"]
            assert [one["stage"] for one in await listed(desk, "accept", "--officer", "malee")] == ["accepted"]
            await until(lambda: pole.look == "accepted")
            assert not agent.said("connection lost")
            assert neighbour.heard == []
            neighbour.link.close()
            assert await agent.end() == 0
        pole.close()

    with TownBroker(town), StationProcess(town.machine(STATION)):
        run(main)


async def misbehave(peer: Peer) -> None:
    """Nonsense on the neighbour's own topics, and an alarm of the honest point's pole on that point's topic."""
    foreign = Alarm(id=Identity("market-1", "f" * 16, 1, 1), kind="press", pressed_at_ms=1)
    for leaf in topics.FROM_POINT:
        for payload in (b"", b"\xff\xfe", b"[" * 60_000, b'{"v":1}', b'{"v":99}'):
            await peer.say(topics.of_point("town", "merlin", leaf), payload)
    await peer.say(topics.of_point("town", "market", "alarm"), encode(foreign))


async def pretend_to_be_an_officer(peer: Peer, number: int) -> None:
    """Ask for a change of stage wherever one could be asked for."""
    request = DeskRequest(number="1", officer="nobody", action="accept", alarm=str(number))
    for name in ("front-desk", "merlin", "point.merlin"):
        await peer.say(topics.desk_request("town", name), encode(msgspec.structs.replace(request, number=name)))


def test_an_alarm_of_another_point_s_pole_is_shown_with_who_said_it(tmp_path: Path) -> None:
    """No press is refused for what a site file does not know; a point that lies can be seen to do so."""
    town = Town(tmp_path)
    town.write_acl()
    foreign = Alarm(id=Identity("market-1", "f" * 16, 1, 1), kind="press", pressed_at_ms=1)

    async def main() -> None:
        neighbour = await Peer(town, town.tls(MERLIN)).connect()
        receipt = topics.of_point("town", "merlin", "receipt")
        await neighbour.listen(receipt, topics.of_station("town", "state"))
        await until(lambda: neighbour.heard)  # the station is there
        await neighbour.say(topics.of_point("town", "merlin", "alarm"), encode(foreign))
        await until(lambda: neighbour.heard_of(receipt))
        (shown,) = await listed(town.machine(TERMINAL), "list")
        assert (shown["point"], shown["remark"]) == ("merlin", "pole belongs to point market")
        neighbour.link.close()

    with TownBroker(town), StationProcess(town.machine(STATION)):
        run(main)


def test_a_retained_alarm_is_none_after_a_restart(tmp_path: Path) -> None:
    """The access list cannot forbid a point to have its own alarm retained; the station does not take it as new."""
    town = Town(tmp_path)
    town.write_acl()
    once = Alarm(id=Identity("merlin-1", "a" * 16, 1, 1), kind="press", pressed_at_ms=1)

    async def main() -> None:
        peer = await Peer(town, town.tls(MERLIN)).connect()
        topic = topics.of_point("town", "merlin", "alarm")
        await peer.say(topic, encode(once), retain=True)
        peer.link.close()

    with TownBroker(town):
        run(main)
        with StationProcess(town.machine(STATION)) as station:

            async def look() -> None:
                await until(lambda: "retained_refused" in station.log.read_text())
                assert await listed(town.machine(TERMINAL), "list", "--all") == []

            run(look)


def test_officers_are_told_weeks_before_a_certificate_ends(tmp_path: Path) -> None:
    """Of the point, the station and the broker: each says or shows its own end."""
    town = Town(tmp_path)
    ending = [(BROKER.kind, BROKER.name), ("station", "town"), ("point", "market")]
    for kind, name in ending:
        safezone("site", "keys", "rotate", kind, name, "--out", town.out, "--days", "50")
    town.write_acl()

    async def main() -> None:
        listener = await Peer(town, town.tls(LISTENER)).connect()
        health = topics.of_point("town", "market", "health")
        await listener.listen(health)
        pole = pole_of(town)
        async with AgentProcess(town.machine(POINT)) as agent:
            await until(lambda: listener.heard_of(health))
            wanted = {("market", ""), ("town", ""), ("town", town.url.removeprefix("mqtts://"))}
            told: set[tuple[str, str]] = set()
            for _ in range(5):  # what the listener has heard the station has yet to commit
                rows = await listed(town.machine(TERMINAL), "notices")
                told = {(one["point"], one["pole"]) for one in rows if one["kind"] == "certificate_ends"}
                if told == wanted:
                    break
            assert told == wanted
            listener.link.close()
            assert await agent.end() == 0
        pole.close()

    with TownBroker(town), StationProcess(town.machine(STATION)):
        run(main)


def test_an_officer_s_words_need_an_officer_s_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town = Town(tmp_path)
    said = complaint(capsys, "alarms", "list", "--site", town.machine(POINT))
    assert said.endswith("belongs to the point 'market'; an officer needs a terminal's own\n")
    (town.bundle(TERMINAL) / "cert.pem").unlink()
    said = complaint(capsys, "alarms", "list", "--site", town.machine(TERMINAL))
    assert said.endswith("cert.pem: cannot read our certificate (No such file or directory)\n")


def test_nobody_ends_another_s_connection_by_taking_its_name(tmp_path: Path) -> None:
    """A broker ends the older connection of one name: whoever knew an agent's could keep it off for good."""
    town = Town(tmp_path)
    town.write_acl()

    async def main() -> None:
        async with AgentProcess(town.machine(POINT)) as agent:
            await until(lambda: agent.said("armed"))
            log = town.folder / "broker" / "mosquitto.log"
            await until(lambda: "as sos-town-market" in log.read_text())
            peer = Peer(town, town.tls(MERLIN))
            peer.link._client_id = "sos-town-market"
            await peer.connect()
            assert "already connected" not in log.read_text()
            assert await agent.end() == 0
        peer.link.close()

    with TownBroker(town):
        run(main)
