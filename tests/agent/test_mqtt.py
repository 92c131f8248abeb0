"""The MQTT link against a real mosquitto: one attempt at a time, each end told once, nothing hidden."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker import Broker, free_port
from tests.support.certs import Authority

from sos_edge import clock, mqtt
from sos_edge.address import HUNG_UP, Address, without_password
from sos_edge.mqtt import Connected, Disconnected, Message, MqttEvent, MqttLink, Published, Tls

WAIT_S = 30.0


class End:
    """A link and what it delivers."""

    def __init__(self, url: str, name: str = "one", tls: Tls | None = None) -> None:
        self.events: asyncio.Queue[MqttEvent] = asyncio.Queue()
        self.link = MqttLink(url, name, deliver=self.events.put_nowait, tls=tls)

    async def next(self) -> MqttEvent:
        return await asyncio.wait_for(self.events.get(), WAIT_S)

    async def connect(self, session: str = "s", will: tuple[str, bytes] | None = None) -> None:
        self.link.connect(session, will)
        event = await self.next()
        assert isinstance(event, Connected), event
        assert (event.broker, event.session) == (self.link.broker, session)

    async def refused(self) -> str:
        self.link.connect("s")
        event = await self.next()
        assert isinstance(event, Disconnected), event
        return event.reason


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_message_goes_to_who_subscribed_and_its_acknowledgement_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            end = End(broker.url)
            assert not end.link.publish("a/b", b"early")
            await end.connect()
            assert end.link.publish("a/kept", b"1", retain=True, token=7)
            assert await end.next() == Published(broker.url, 7)
            end.link.subscribe(["a/#"])
            assert await end.next() == Message(broker.url, "a/kept", b"1", True)
            assert end.link.publish("a/live", b"2" * 60_000, token=8)
            got = [await end.next(), await end.next()]
            assert Published(broker.url, 8) in got
            assert Message(broker.url, "a/live", b"2" * 60_000, False) in got
            end.link.close()

    run(main)


def test_the_will_is_said_by_the_broker_when_we_vanish_and_not_when_we_close(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            watcher, end = End(broker.url, "watcher"), End(broker.url)
            await watcher.connect()
            watcher.link.subscribe(["will"])
            await asyncio.sleep(0.1)
            await end.connect("first", ("will", b"first"))
            end.link.close()
            await end.connect("second", ("will", b"second"))
            end.link._drop(abrupt=True)
            event = await watcher.next()
            assert isinstance(event, Message)
            assert event.payload == b"second"
            watcher.link.close()

    run(main)


def test_a_broker_that_goes_is_told_once_and_the_next_attempt_is_ours_to_make(tmp_path: Path) -> None:
    async def main() -> None:
        broker = Broker(tmp_path)
        broker.start()
        end = End(broker.url)
        for _ in range(3):  # the same file number again and again
            await end.connect()
            broker.stop()
            lost = await end.next()
            assert lost == Disconnected(broker.url, "connection lost: closed by the broker or the network")
            assert not end.link.publish("a", b"lost")
            assert "nothing listens" in await end.refused()
            broker.start()
        await asyncio.sleep(0.2)
        assert end.events.empty()
        await end.connect()
        end.link.close()
        broker.stop()

    run(main)


def test_what_is_no_broker_is_said_to_be_none(tmp_path: Path) -> None:
    """It was told as a connection that was lost, and as an SSL error's name."""

    async def other_service(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(other_service, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert (
            "hung up before it answered; look whether it is a broker" in await End(f"mqtt://127.0.0.1:{port}").refused()
        )
        said = await End(f"mqtts://127.0.0.1:{port}", tls=Tls(Authority(tmp_path).ca)).refused()
        assert said == f"127.0.0.1:{port} speaks no TLS; mend its address or its port"
        server.close()

    run(main)


def test_who_takes_a_connection_and_drops_it_is_said_to_hang_up(tmp_path: Path) -> None:
    """With TLS it was told as an SSL error's name and the line of a C file."""

    async def drops(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # what is left unread makes a reset of the end
        writer.transport.abort()

    async def main() -> None:
        tls = Tls(Authority(tmp_path).ca)
        for hang_up in (drops, resets):
            server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            for url in (f"mqtt://127.0.0.1:{port}", f"mqtts://127.0.0.1:{port}"):
                assert (await End(url, tls=tls if "mqtts" in url else None).refused()).endswith(HUNG_UP)
            server.close()

    run(main)


def test_a_broker_that_hangs_is_given_up_in_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "STEP_TIMEOUT_S", 0.3)

    async def main() -> None:
        with Broker(tmp_path) as broker:
            end = End(broker.url)
            broker.freeze()
            began = time.monotonic()
            assert await end.refused() == "no answer in time"
            assert time.monotonic() - began < 4, "not the limit of this test, but the usual one"
            broker.thaw()
            await end.connect()
            end.link.close()

    run(main)


@pytest.mark.parametrize(
    ("says", "before"),
    [(bytes.fromhex("2002 0000 2002 0000"), 1), (bytes.fromhex("3005 0003 61 2f 62 2002 0000"), 0)],
    ids=["it takes us twice", "a message before it took us"],
)
def test_what_no_broker_says_ends_that_connection_alone(says: bytes, before: int) -> None:
    """The core hears of a connection once, and of nothing before it: more was a mistake of our own, and ended us."""

    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(2)
        writer.write(says)
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talks, "127.0.0.1", 0)
        end = End(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        end.link.connect("s")
        heard = [await end.next() for _ in range(before + 1)]
        assert [type(event) for event in heard] == [Connected] * before + [Disconnected]
        assert isinstance(heard[-1], Disconnected) and "is it a broker?" in heard[-1].reason
        server.close()

    run(main)


def test_what_came_for_the_connection_before_is_not_taken_for_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            end = End(broker.url)
            await end.connect("old")
            end.link._post(Message(broker.url, "late", b"", False))
            end.link.connect("new")
            assert await end.next() == Connected(broker.url, "new")
            end.link.close()
            end.link.close()

    run(main)


def test_what_is_in_flight_is_bounded_and_the_caller_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            end = End(broker.url)
            await end.connect()
            broker.freeze()
            taken = sum(end.link.publish("a", b"x" * 1000, token=n) for n in range(2 * mqtt.MAX_IN_FLIGHT))
            assert taken == mqtt.MAX_IN_FLIGHT
            broker.thaw()
            tokens = [await end.next() for _ in range(taken)]
            assert tokens == [Published(broker.url, n) for n in range(taken)]
            assert end.link.publish("a", b"", token=1)
            end.link.close()

    run(main)


def test_a_flood_of_messages_is_read_in_order_while_timers_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path, lines=["max_queued_messages 0", "max_inflight_messages 0"]) as broker:
            reader, writer = End(broker.url, "reader"), End(broker.url, "writer")
            await reader.connect()
            await writer.connect()
            reader.link.subscribe(["n"])
            await asyncio.sleep(0.1)
            sent = 0
            got: list[int] = []
            while len(got) < 3000:
                while sent < 3000 and writer.link.publish("n", str(sent).encode(), token=sent):
                    sent += 1
                await asyncio.wait_for(writer.events.get(), WAIT_S) if sent < 3000 else await asyncio.sleep(0)
                while not reader.events.empty():
                    event = reader.events.get_nowait()
                    assert isinstance(event, Message)
                    got.append(int(event.payload))
            assert got == list(range(3000))
            reader.link.close()
            writer.link.close()

    run(main)


def test_each_refusal_says_what_is_wrong(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "pole", "s3cret/word"], check=True)
    passwords.chmod(0o644)

    async def main() -> None:
        with Broker(tmp_path, lines=[f"password_file {passwords}"]) as broker:
            assert "refused: Not authorized" in await End(broker.url).refused()
            wrong = f"mqtt://pole:wrong@127.0.0.1:{broker.port}"
            assert "check user, password and client certificate" in await End(wrong).refused()
            await End(f"mqtt://pole:s3cret%2Fword@127.0.0.1:{broker.port}").connect()
            assert "mqtts:// needs [station.tls]" in await End(f"mqtts://127.0.0.1:{broker.port}").refused()
        assert "is unknown; check the site file and DNS" in await End("mqtt://no-such-host.invalid").refused()
        assert "nothing listens on" in await End(f"mqtt://127.0.0.1:{free_port()}").refused()

    run(main)


def test_mutual_tls(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    server, client, stranger = ours.sign("server"), ours.sign("client"), theirs.sign("stranger")
    elsewhere = ours.sign("elsewhere", host="192.0.2.1")
    tls = Tls(ours.ca, client.cert, client.key)

    async def main() -> None:
        with Broker(tmp_path / "a", tls=(ours.ca, server.cert, server.key)) as broker:
            end = End(broker.url, tls=tls)
            await end.connect()
            end.link.subscribe(["big"])
            # Larger than a TLS record: bytes that wait inside TLS wake no selector.
            assert end.link.publish("big", b"x" * 50_000, token=1)
            assert Message(broker.url, "big", b"x" * 50_000, False) in [await end.next(), await end.next()]
            end.link.close()
            refused = await End(broker.url, tls=Tls(theirs.ca, client.cert, client.key)).refused()
            assert "is not good" in refused and refused.endswith("; it is not of the authority in station.tls.ca")
            await End(broker.url, tls=Tls(ours.ca, stranger.cert, stranger.key)).refused()
            await End(broker.url, tls=Tls(ours.ca)).refused()
            absent = tmp_path / "absent.pem"
            for files, says in (
                (Tls(absent), f"{absent}: cannot be read (No such file or directory); see [station.tls]"),
                (Tls(ours.ca, client.cert, absent), f"{absent}: cannot be read"),
                (Tls(client.key), f"{client.key}: holds no CA certificate (PEM)"),
                (Tls(ours.ca, client.cert, stranger.key), f"to which the key in {stranger.key} belongs"),
            ):
                assert says in await End(broker.url, tls=files).refused()
        with Broker(tmp_path / "b", tls=(ours.ca, elsewhere.cert, elsewhere.key)) as broker:
            assert "IP address mismatch" in await End(broker.url, tls=tls).refused()

    run(main)


def test_dates_of_certificates_count_only_when_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    expired, client = ours.sign("expired", days=0), ours.sign("client")
    tls = Tls(ours.ca, client.cert, client.key)
    time.sleep(1.1)  # certificates count in whole seconds

    async def main() -> None:
        with Broker(tmp_path / "a", tls=(ours.ca, expired.cert, expired.key)) as broker:
            monkeypatch.setattr(clock, "quality", lambda: "holdover")
            assert "certificate has expired by this machine's clock, 2" in await End(broker.url, tls=tls).refused()
            monkeypatch.setattr(clock, "quality", lambda: "unset")
            await End(broker.url, tls=tls).connect()
            # Everything else is checked all the same.
            assert "is not good" in await End(broker.url, tls=Tls(theirs.ca)).refused()

    run(main)


def test_addresses() -> None:
    assert Address.of("mqtt://h") == Address("h", 1883, False)
    assert Address.of("mqtts://u:p%40x@h:99") == Address("h", 99, True, "u", "p@x")
    assert without_password("mqtts://u:p@h:99") == "mqtts://u@h:99"
    for wrong in ("h:1883", "http://h", "mqtt://", "mqtt://h:port"):
        with pytest.raises(ValueError, match=r"mqtt|port"):
            Address.of(wrong)


def test_the_usual_round_trip_is_far_below_a_millisecond_or_two(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            end = End(broker.url)
            await end.connect()
            end.link.subscribe(["n"])
            await asyncio.sleep(0.1)
            times = []
            for _ in range(200):
                began = time.perf_counter()
                end.link.publish("n", b"x", token=1)
                await end.next()
                await end.next()
                times.append(time.perf_counter() - began)
            # Nagle's algorithm would make each of them 40 ms; the machine may be busy, so only that is excluded.
            assert sorted(times)[20] < 0.02
            end.link.close()

    run(main)
