"""Each line that a certificate and the access list draw, and somebody who tries to cross it on a real mosquitto."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.keys.town import BROKER, LISTENER, POINT, STATION, TERMINAL, Peer, Town, TownBroker, knock, safezone, until

from sos_contract import topics
from sos_contract.payloads import MAX_PAYLOAD_BYTES
from sos_contract.who import Who
from sos_edge.mqtt import Tls
from sos_keys.authority import Authority, Pair

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
ALL = (*topics.FROM_POINT, *topics.TO_POINT)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The town, its secured broker running; of `merlin` there is a copy of an older, revoked certificate, too."""
    town = Town(tmp_path_factory.mktemp("town"))
    shutil.copytree(town.bundle(Who("point", "merlin")), town.folder / "stolen")
    safezone("site", "keys", "rotate", "point", "merlin", "--out", town.out)
    safezone("site", "keys", "revoke", "point", "merlin", "--old", "--out", town.out)
    town.write_acl()
    with TownBroker(town):
        yield town


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def files(town: Town, name: str, pair: Pair) -> Tls:
    """A pair of the tests' own making, as files."""
    cert, key = town.folder / f"{name}.pem", town.folder / f"{name}.key"
    cert.write_bytes(pair.cert)
    key.write_bytes(pair.key)
    return Tls(town.bundle(BROKER) / "ca.pem", cert, key)


@asynccontextmanager
async def watched(town: Town) -> AsyncIterator[Peer]:
    """Somebody who hears everything that the broker passes on."""
    listener = await Peer(town, town.tls(LISTENER)).connect()
    await listener.listen("#")
    yield listener
    listener.link.close()


async def all_heard(town: Town, listener: Peer) -> list[str]:
    """Topics that the listener has heard up to now: a word of the station's comes last and shows that all is there."""
    station = await Peer(town, town.tls(STATION)).connect()
    mark = os.urandom(8)
    await station.say(topics.of_point("town", "market", "command"), mark)
    await until(lambda: any(one.payload == mark for one in listener.heard))
    station.link.close()
    return [one.topic for one in listener.heard if one.payload != mark]


# --- at the door


def test_everybody_of_the_site_gets_in(town: Town) -> None:
    for who in (POINT, Who("point", "merlin"), STATION, TERMINAL):
        assert knock(town, town.tls(who)) == "accepted"


def test_nobody_gets_in_without_a_certificate(town: Town) -> None:
    assert knock(town, None) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_a_revoked_certificate_is_turned_away_and_its_successor_is_not(town: Town) -> None:
    stolen = town.folder / "stolen"
    assert knock(town, Tls(stolen / "ca.pem", stolen / "cert.pem", stolen / "key.pem")) == (
        "SSLV3_ALERT_CERTIFICATE_REVOKED"
    )


def test_a_revocation_holds_from_the_broker_s_next_start_and_the_refused_are_told_why(tmp_path: Path) -> None:
    """Whoever is inside stays until then: mosquitto looks at the door only. That is why the commands say *restart*."""
    town = Town(tmp_path)
    town.write_acl()

    async def main(broker: TownBroker) -> None:
        peer = await Peer(town, town.tls(POINT)).connect()
        safezone("site", "keys", "revoke", "point", "market", "--out", town.out)
        town.write_acl()
        await peer.say(topics.of_point("town", "market", "probe"))
        broker.stop()
        broker.start()
        await until(lambda: not peer.link.connected)
        peer.events.clear()
        assert "takes our certificate" in await peer.try_to_connect()
        assert knock(town, town.tls(Who("point", "merlin"))) == "accepted"

    with TownBroker(town) as broker:
        assert isinstance(broker, TownBroker)
        asyncio.run(main(broker))


def test_an_expired_certificate_is_turned_away(town: Town) -> None:
    expired = Authority(town.out / "authority").issue(POINT, [], NOW - timedelta(days=1))
    assert knock(town, files(town, "expired", expired)) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


def test_the_same_names_from_another_authority_are_turned_away(town: Town, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "authority", "town", NOW).issue(STATION, [], NOW + YEAR)
    assert knock(town, files(town, "foreign", foreign)) == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_broker_s_own_certificate_speaks_for_nobody(town: Town) -> None:
    assert knock(town, town.tls(BROKER)) == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_older_tls_is_turned_away(town: Town, version: ssl.TLSVersion) -> None:
    assert knock(town, town.tls(POINT), version=version) == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_a_certificate_that_the_access_list_does_not_name_may_do_nothing(town: Town) -> None:
    async def main() -> None:
        stranger = Authority(town.out / "authority").issue(Who("point", "nowhere"), [], NOW + YEAR)
        async with watched(town) as listener:
            peer = await Peer(town, files(town, "nowhere", stranger)).connect()
            await peer.listen("#")
            await peer.say(topics.of_point("town", "nowhere", "alarm"))
            await peer.say(topics.of_station("town", "state"))
            assert await all_heard(town, listener) == []
            assert peer.heard == []
            peer.link.close()

    run(main)


# --- what each may say

OWN = {
    POINT: {topics.of_point("town", "market", leaf) for leaf in topics.FROM_POINT},
    STATION: {topics.of_point("town", point, leaf) for point in ("market", "merlin") for leaf in topics.TO_POINT}
    | {topics.of_station("town", "state")}
    | {topics.desk_answer("town", name) for name in ("front-desk", "other")},
    TERMINAL: {topics.desk_request("town", "front-desk")},
}
EVERY = {
    *(topics.of_point("town", point, leaf) for point in ("market", "merlin", "nowhere") for leaf in (*ALL, "new-leaf")),
    *(make("town", name) for make in (topics.desk_request, topics.desk_answer) for name in ("front-desk", "other")),
    topics.of_station("town", "state"),
    topics.of_station("other-town", "state"),
    topics.of_point("other-town", "market", "alarm"),
    "sos/v2/town/state",
    "$SYS/broker/uptime",
    "anything",
}


@pytest.mark.parametrize("who", OWN, ids=lambda who: str(who.kind))
def test_each_is_heard_on_its_own_topics_and_on_no_other(town: Town, who: Who) -> None:
    """A forged receipt, another point's alarm, an officer's request by a point: all of them are just topics."""
    may = OWN[who] | (
        {topics.of_point("town", "nowhere", leaf) for leaf in topics.TO_POINT} if who == STATION else set()
    )

    async def main() -> None:
        async with watched(town) as listener:
            peer = await Peer(town, town.tls(who)).connect()
            for topic in sorted(EVERY):
                await peer.say(topic, retain=False)
            heard = await all_heard(town, listener)
            assert sorted(heard) == sorted(may)
            peer.link.close()

    run(main)


@pytest.mark.parametrize("who", OWN, ids=lambda who: str(who.kind))
def test_nobody_leaves_a_retained_word_on_a_topic_of_another(town: Town, who: Who) -> None:
    async def main() -> None:
        peer = await Peer(town, town.tls(who)).connect()
        for topic in sorted(EVERY - OWN[who]):
            if not (who == STATION and "nowhere" in topic):
                await peer.say(topic, b"kept", retain=True)
        async with watched(town) as listener:
            await all_heard(town, listener)
            assert [one for one in listener.heard if one.payload == b"kept"] == []
        peer.link.close()

    run(main)


def test_nobody_s_last_will_speaks_in_another_s_name(town: Town) -> None:
    """The point's neighbour cannot have it declared dead, nor the station."""

    async def main() -> None:
        async with watched(town) as listener:
            for topic in (topics.of_point("town", "merlin", "state"), topics.of_station("town", "state")):
                peer = await Peer(town, town.tls(POINT)).connect((topic, b"dead"))
                peer.link._drop(abrupt=True)
                # The same client again: before the broker lets it in, it has settled what the old connection left.
                peer.events.clear()
                await peer.connect()
                peer.link.close()
            own = topics.of_point("town", "market", "state")
            peer = await Peer(town, town.tls(POINT)).connect((own, b"gone"))
            peer.link._drop(abrupt=True)
            await until(lambda: listener.heard_of(own))
            assert set(await all_heard(town, listener)) == {own}

    run(main)


# --- what each may hear

HEARS = {
    POINT: {topics.of_point("town", "market", leaf) for leaf in topics.TO_POINT} | {topics.of_station("town", "state")},
    TERMINAL: {topics.desk_answer("town", "front-desk"), topics.of_station("town", "state")},
    STATION: {topics.of_point("town", point, leaf) for point in ("market", "merlin") for leaf in topics.FROM_POINT}
    | {topics.desk_request("town", "front-desk"), topics.of_station("town", "state")},
}


@pytest.mark.parametrize("who", HEARS, ids=lambda who: str(who.kind))
def test_each_hears_its_own_answers_and_nothing_else(town: Town, who: Who) -> None:
    """Where people press, who answers and what officers write is nobody else's to know."""

    async def main() -> None:
        peer = await Peer(town, town.tls(who)).connect()
        await peer.listen("#", "$SYS/#")
        for speaker, own in ((POINT, OWN[POINT]), (TERMINAL, OWN[TERMINAL]), (STATION, OWN[STATION])):
            other = await Peer(town, town.tls(speaker)).connect()
            for topic in sorted(own):
                await other.say(topic)
            other.link.close()
        merlin = await Peer(town, town.tls(Who("point", "merlin"))).connect()
        for leaf in topics.FROM_POINT:
            await merlin.say(topics.of_point("town", "merlin", leaf))
        merlin.link.close()
        station = await Peer(town, town.tls(STATION)).connect()
        await station.say(topics.of_station("town", "state"), b"last")
        await until(lambda: any(one.payload == b"last" for one in peer.heard))
        assert {one.topic for one in peer.heard} == HEARS[who]
        station.link.close()
        peer.link.close()

    run(main)


# --- sizes


def test_what_is_too_large_ends_the_connection_and_reaches_nobody(town: Town) -> None:
    async def main() -> None:
        async with watched(town) as listener:
            topic = topics.of_point("town", "market", "alarm")
            peer = await Peer(town, town.tls(POINT)).connect()
            await peer.say(topic, b"1" * MAX_PAYLOAD_BYTES)
            peer.link.publish(topic, b"2" * (MAX_PAYLOAD_BYTES + 1024))
            await until(lambda: not peer.link.connected)
            await all_heard(town, listener)
            assert [len(payload) for payload in listener.heard_of(topic)] == [MAX_PAYLOAD_BYTES]

    run(main)


def test_garbage_after_the_door_ends_that_connection_alone(town: Town) -> None:
    async def main() -> None:
        honest = await Peer(town, town.tls(Who("point", "merlin"))).connect()
        peer = await Peer(town, town.tls(POINT)).connect()
        assert peer.link._socket is not None
        peer.link._socket.send(b"\xf0\xff\xff\xff\xff\xff" * 100)
        await until(lambda: not peer.link.connected)
        await honest.say(topics.of_point("town", "merlin", "probe"))
        assert honest.link.connected
        honest.link.close()

    run(main)
