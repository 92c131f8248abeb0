"""A little town with real keys, made by the real commands: a broker, a station, two points, officers' terminals."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.broker import Broker, free_port

from safezone.cli import main
from sos_contract.site import Site, read_site
from sos_contract.who import Who
from sos_edge.mqtt import Connected, Disconnected, Message, MqttEvent, MqttLink, Published, Tls

WAIT_S = 12.0
SITE = """version = 1
id = "town"
name = {{ th = "เมือง", en = "Town" }}
keys = "tls/poles.toml"
[station]
id = "town"
name = {{ th = "สถานี", en = "Station" }}
brokers = ["mqtts://127.0.0.1:{port}"]
data = "{folder}/inbox"
tls = {{ ca = "tls/ca.pem", cert = "tls/cert.pem", key = "tls/key.pem" }}
[[point]]
id = "market"
name = {{ th = "ตลาด", en = "Market" }}
data = "{folder}/data"
[[point.line]]
port = "{folder}/port"
[[point.line.pole]]
id = "market-1"
address = 1
[[point]]
id = "merlin"
name = {{ th = "โรงแรมเมอร์ลิน", en = "Merlin Hotel" }}
data = "{folder}/merlin-data"
[[point.line]]
port = "{folder}/merlin-port"
[[point.line.pole]]
id = "merlin-1"
address = 1
"""
# The broker's own certificate is for this address.
BROKER = Who("broker", "127.0.0.1")
POINT = Who("point", "market")
TERMINAL = Who("terminal", "front-desk")
STATION = Who("station", "town")
# Not of the site: the tests let it read everything.
LISTENER = Who("terminal", "listener")


def safezone(*words: str | Path) -> None:
    """A command that must succeed."""
    assert main([str(word) for word in words]) == 0


def complaint(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line that a command says when it is refused."""
    capsys.readouterr()
    assert main([str(word) for word in words]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("safezone: ")
    assert said.count("\n") == 1
    return said


class Town:
    """Keys and access lists in ``<folder>/keys``; ``machine()`` is what lies on one machine."""

    def __init__(self, folder: Path, *, terminals: tuple[str, ...] = ("front-desk", "listener")) -> None:
        self.folder = folder
        self.out = folder / "keys"
        self.port = free_port()
        self.url = f"mqtts://127.0.0.1:{self.port}"
        self.file = folder / "site.toml"
        self.file.write_text(SITE.format(port=self.port, folder=folder), encoding="utf-8")
        names = [word for terminal in terminals for word in ("--terminal", terminal)]
        safezone("site", "keys", "--site", self.file, "--out", self.out, *names)

    @property
    def site(self) -> Site:
        return read_site(self.file)

    def write_acl(self) -> None:
        etc = self.bundle(BROKER)
        safezone("site", "acl", "--site", self.file, "--out", self.out, "--etc", etc, "--data", self.folder)

    def bundle(self, holder: Who) -> Path:
        return self.out / holder.common_name

    def machine(self, holder: Who) -> Path:
        """The site file on the holder's machine, with its folder of keys beside it."""
        home = self.folder / f"at-{holder.common_name}"
        if not home.exists():
            home.mkdir()
            (home / "tls").symlink_to(self.bundle(holder))
            (home / "site.toml").symlink_to(self.file)
        return home / "site.toml"

    def tls(self, holder: Who) -> Tls:
        bundle = self.bundle(holder)
        return Tls(bundle / "ca.pem", bundle / "cert.pem", bundle / "key.pem")


class TownBroker(Broker):
    """mosquitto with the town's own configuration; the listener of the tests may read all."""

    def __init__(self, town: Town) -> None:
        super().__init__(town.folder / "broker", port=town.port)
        self._town = town

    def write_config(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        etc = self._town.bundle(BROKER)
        acl = self.folder / "acl"
        acl.write_text((etc / "acl").read_text() + f"\nuser {LISTENER.common_name}\ntopic read #\n")
        acl.chmod(0o600)
        text = (etc / "mosquitto.conf").read_text().replace(f"acl_file {etc}/acl", f"acl_file {acl}")
        config = self.folder / "mosquitto.conf"
        # The tests' folders belong to whoever runs them; as root, mosquitto would become another user.
        config.write_text(("user root\n" if os.geteuid() == 0 else "") + text)
        return config


class Peer:
    """Somebody with a certificate who says and hears what they like."""

    def __init__(self, town: Town, tls: Tls) -> None:
        self.events: list[MqttEvent] = []
        self._token = 0
        self.link = MqttLink(town.url, f"peer-{os.urandom(4).hex()}", deliver=self.events.append, tls=tls)

    async def connect(self, will: tuple[str, bytes] | None = None) -> Peer:
        reason = await self.try_to_connect(will)
        assert not reason, reason
        return self

    async def try_to_connect(self, will: tuple[str, bytes] | None = None) -> str:
        """Why the broker did not take us; empty if it did."""
        self.link.connect("peer", will)
        await until(lambda: any(isinstance(one, Connected | Disconnected) for one in self.events))
        return next((one.reason for one in self.events if isinstance(one, Disconnected)), "")

    async def say(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> None:
        """Publish and wait until the broker has acknowledged it: it acknowledges what it drops, too."""
        self._token += 1
        token = self._token
        assert self.link.publish(topic, payload, retain=retain, token=token)
        await until(lambda: Published(self.link.broker, token) in self.events)

    async def listen(self, *topics: str) -> None:
        """Subscribe; what is said after it and acknowledged shows that the broker has done so."""
        self.link.subscribe(topics)
        await self.say("subscribed")

    @property
    def heard(self) -> list[Message]:
        return [one for one in self.events if isinstance(one, Message)]

    def heard_of(self, topic: str) -> list[bytes]:
        return [one.payload for one in self.heard if one.topic == topic]


async def until(true: Callable[[], object]) -> None:
    """Wait until ``true()``; fails after WAIT_S."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.002)


CONNECT = bytes.fromhex("100f00044d5154540402000a0003") + b"raw"


def knock(town: Town, tls: Tls | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """Connect as the bare minimum of a client does: ``accepted``, or the broker's word of refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")  # else our own library would refuse the old versions before the broker can
    context.load_verify_locations(town.bundle(BROKER) / "ca.pem")
    if tls is not None and tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    try:
        with (
            socket.create_connection(("127.0.0.1", town.port), WAIT_S) as sock,
            context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
        ):
            # In TLS 1.3 the server judges our certificate after our part of the handshake: it says so, or sends a
            # ticket. A word of ours to a connection that it has closed would wipe its verdict out.
            select.select([secured], [], [], WAIT_S)
            secured.setblocking(False)
            with suppress(ssl.SSLWantReadError):
                secured.recv(4)
            secured.settimeout(WAIT_S)
            secured.sendall(CONNECT)
            answer = secured.recv(4)
    except ssl.SSLError as error:
        return error.reason or repr(error)
    return "accepted" if answer == bytes.fromhex("20020000") else f"refused {answer.hex()}"
