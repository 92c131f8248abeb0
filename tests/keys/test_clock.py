"""A machine without a clock still gets an alarm out: dates are not looked at, everything else is."""

from __future__ import annotations

import asyncio
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.agent.edge_world import AgentProcess
from tests.keys.test_end_to_end import listed, pole_of
from tests.keys.town import BROKER, POINT, STATION, TERMINAL, Town, TownBroker, safezone, until
from tests.station.processes import StationProcess
from tests.support.broker import free_port

from sos_contract.who import Who
from sos_edge.mqtt import Tls
from sos_keys.authority import Authority, Pair

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
HERE = ["127.0.0.1"]
# An agent on a machine that woke in 1970. Only what the agent believes is changed: OpenSSL reads the true time, for
# which the broker's certificate is a year too young; to a Pi in 1970 it would be, too.
UNSET = "import sys; from sos_edge import clock; clock.wall_ms = lambda: 1000; from sos_agent.__main__ import main; "
UNSET += "sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("clock"))


def verdict(town: Town, server: Pair, *, check_dates: bool) -> str:
    """What the honest point says of a broker that shows ``server``; empty if it is content. No socket is needed."""
    cert, key = town.folder / "server.pem", town.folder / "server.key"
    cert.write_bytes(server.cert)
    key.write_bytes(server.key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(cert, key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    broker = theirs.wrap_bio(up, down, server_side=True)
    ours = town.tls(POINT).context(check_dates=check_dates)
    ours.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # as from Python 3.13 on
    point = ours.wrap_bio(down, up, server_hostname="127.0.0.1")
    for _ in range(4):
        for end in (point, broker):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    assert point.version() == "TLSv1.3"
    return ""


def sign(town: Town, who: Who, hosts: list[str], *, since: timedelta = -DAY, until: timedelta = DAY) -> Pair:
    return Authority(town.out / "authority").issue(who, hosts, NOW + until, NOW + since)


def test_dates_hold_while_the_clock_can_be_believed_and_only_then(town: Town) -> None:
    early = sign(town, BROKER, HERE, since=300 * DAY, until=400 * DAY)
    late = sign(town, BROKER, HERE, since=-3 * DAY, until=-2 * DAY)
    assert verdict(town, early, check_dates=True) == "certificate is not yet valid"
    assert verdict(town, late, check_dates=True) == "certificate has expired"
    # What the rule gives away: an expired broker's certificate is believed by a machine without a clock.
    for pair in (early, late, sign(town, BROKER, HERE)):
        assert verdict(town, pair, check_dates=False) == ""


@pytest.mark.parametrize("check_dates", [True, False])
def test_all_else_holds_with_and_without_a_clock(town: Town, tmp_path: Path, check_dates: bool) -> None:
    def says(pair: Pair) -> str:
        return verdict(town, pair, check_dates=check_dates)

    assert says(sign(town, BROKER, HERE)) == ""
    foreign = Authority.create(tmp_path / "authority", "town", NOW).issue(BROKER, HERE, NOW + DAY)
    assert "unable to get local issuer certificate" in says(foreign) or "signature failure" in says(foreign)
    assert "IP address mismatch" in says(sign(town, BROKER, ["127.0.0.2", "localhost"]))
    # Another point with its own certificate, in the broker's place.
    assert "purpose" in says(sign(town, Who("point", "merlin"), []))


def test_a_revoked_broker_is_refused_with_and_without_a_clock(tmp_path: Path) -> None:
    """Whoever stole a broker's key could else stand between the points and the station for years."""
    town = Town(tmp_path)
    stolen = Pair(*((town.bundle(BROKER) / name).read_bytes() for name in ("cert.pem", "key.pem")))
    assert verdict(town, stolen, check_dates=True) == ""
    safezone("site", "keys", "rotate", "broker", "127.0.0.1", "--out", town.out)
    safezone("site", "keys", "revoke", "broker", "127.0.0.1", "--old", "--out", town.out)
    fresh = Pair(*((town.bundle(BROKER) / name).read_bytes() for name in ("cert.pem", "key.pem")))
    for check_dates in (True, False):
        assert verdict(town, stolen, check_dates=check_dates) == "certificate revoked"
        assert verdict(town, fresh, check_dates=check_dates) == ""


def test_an_alarm_gets_out_of_a_point_without_a_clock(tmp_path: Path) -> None:
    """After a power cut a Pi wakes in 1970, and the network with the time may stay away for hours."""
    town = Town(tmp_path)
    town.write_acl()
    young = sign(town, BROKER, HERE, since=300 * DAY, until=400 * DAY)
    (tmp_path / "young.pem").write_bytes(young.cert)
    (tmp_path / "young.key").write_bytes(young.key)
    port = free_port()
    config = town.bundle(BROKER) / "mosquitto.conf"
    listener = config.read_text().split("\nlistener ")[1]
    for name in ("cert", "key"):
        bundled = town.bundle(BROKER) / f"{name}.pem"
        listener = listener.replace(str(bundled), str(tmp_path / f"young.{name.replace('cert', 'pem')}"))
    config.write_text(f"{config.read_text()}\nlistener {listener.replace(str(town.port), str(port))}")
    site = town.machine(POINT)
    site.unlink()
    site.write_text(town.file.read_text().replace(str(town.port), str(port)))

    async def main() -> None:
        pole = pole_of(town)
        async with AgentProcess(site) as careful:
            await until(lambda: careful.said("certificate is not yet valid"))
            assert await careful.end() == 0
        agent = AgentProcess(site)
        agent._words = [sys.executable, "-c", UNSET, *agent._words[3:]]
        async with agent:
            await until(lambda: pole.look == "in_service")
            await pole.press()
            await until(lambda: pole.look == "received")
            shown = await listed(town.machine(TERMINAL), "list")
            assert [(one["id"]["pole"], one["clock"]) for one in shown] == [("market-1", "unset")]
            assert await agent.end() == 0
        pole.close()

    with TownBroker(town), StationProcess(town.machine(STATION)):
        asyncio.run(main())


def test_what_the_command_signs_is_good_from_the_first_second_of_a_clock(town: Town) -> None:
    """A broker judges its clients by its own clock, and mosquitto cannot be told to look away: so nothing of ours is
    ever "not yet valid", neither a certificate nor the list of revoked ones."""
    for who in (BROKER, POINT):
        said = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        said.load_verify_locations(town.bundle(who) / "ca.pem")
        (authority,) = said.get_ca_certs()
        assert authority["notBefore"] == "Jan  1 00:00:00 1970 GMT"
    from cryptography import x509

    trust = (town.bundle(BROKER) / "crl.pem").read_bytes()
    revoked = x509.load_pem_x509_crl(trust)
    cert = x509.load_pem_x509_certificate((town.bundle(POINT) / "cert.pem").read_bytes())
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    assert cert.not_valid_before_utc == revoked.last_update_utc == begin
    assert revoked.next_update_utc is not None and revoked.next_update_utc > NOW + 19 * 365 * DAY


def test_a_site_file_without_certificates_of_ours_is_read_as_before(town: Town) -> None:
    """The CA's file of another maker holds no list of revoked ones, and none is asked for."""
    alone = town.folder / "alone.pem"
    alone.write_bytes((town.bundle(POINT) / "ca.pem").read_bytes().split(b"-----BEGIN X509 CRL")[0])
    context = Tls(alone).context(check_dates=True)
    assert not context.verify_flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
