"""The broker's side: mosquitto's configuration and access list, made from the site file and from who has a certificate.

Everybody is listed by name; mosquitto's patterns are not used, for with them a new kind of name would have rights that
nobody gave it. What is not listed is denied.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from sos_contract import topics
from sos_contract.errors import UserError
from sos_contract.payloads import MAX_PAYLOAD_BYTES
from sos_contract.site import Site
from sos_contract.who import Who

# A topic of ours is three ids of 40 characters and some words; the fixed header has 5 bytes.
MAX_PACKET_BYTES = MAX_PAYLOAD_BYTES + 512
# Messages to one receiver that it has not acknowledged: a station that drains a thousand points needs no more.
MAX_IN_FLIGHT = 100
# Messages and bytes that wait for one receiver. What falls out is asked for again: the broker is never the journal.
MAX_QUEUED = 1000
MAX_QUEUED_BYTES = 8 * 1024 * 1024
# Ours say that they are alive each 10 s; a connection that may be silent for longer holds its place for nothing.
MAX_KEEPALIVE_S = 60

_HEAD = "# Written by 'safezone site acl': a change by hand is lost at the next run.\n"


def access_list(site: Site, welcome: Collection[Who]) -> str:
    """The access list: a paragraph for each of ``welcome`` whom the site knows; it knows every officer's terminal."""
    known = [Who("station", site.station.id), *(Who("point", point.id) for point in site.point)]
    listed = [holder for holder in known if holder in welcome]
    listed += sorted(holder for holder in welcome if holder.kind == "terminal")
    return _HEAD + "".join(_paragraph(site, holder) for holder in listed)


def _paragraph(site: Site, holder: Who) -> str:
    lines = [f"topic {right} {topic}" for right, topic in _rights(site, holder)]
    return "\n".join(["", f"user {holder.common_name}", *lines, ""])


def _rights(site: Site, holder: Who) -> Iterator[tuple[str, str]]:
    station = site.station.id
    state = topics.of_station(station, "state")
    if holder.kind == "station":
        yield from (("read", topics.of_point(station, "+", leaf)) for leaf in topics.FROM_POINT)
        yield from (("write", topics.of_point(station, "+", leaf)) for leaf in topics.TO_POINT)
        yield "read", topics.desk_request(station, "+")
        yield "write", topics.desk_answer(station, "+")
        yield "readwrite", state
        return
    if holder.kind == "point":
        yield from (("write", topics.of_point(station, holder.name, leaf)) for leaf in topics.FROM_POINT)
        yield from (("read", topics.of_point(station, holder.name, leaf)) for leaf in topics.TO_POINT)
    elif holder.kind == "terminal":
        yield "write", topics.desk_request(station, holder.name)
        yield "read", topics.desk_answer(station, holder.name)
    yield "read", state


def configuration(site: Site, host: str, etc: Path, data: Path) -> str:
    """mosquitto.conf for the broker on ``host``, whose files lie in ``etc``; ``data`` is where it keeps its store.

    Raises UserError for a broker of the site on that host that is to be reached without TLS.
    """
    listeners = [_listener(broker, etc) for broker in site.station.brokers if urlsplit(broker).hostname == host]
    return f"""{_HEAD}
# Who you are is what your certificate says; there is no other way in.
per_listener_settings false
allow_anonymous false
acl_file {etc}/acl

max_packet_size {MAX_PACKET_BYTES}
max_inflight_messages {MAX_IN_FLIGHT}
max_queued_messages {MAX_QUEUED}
max_queued_bytes {MAX_QUEUED_BYTES}
max_keepalive {MAX_KEEPALIVE_S}

# None of ours leaves a session behind; the states that it retains are what is worth keeping over a restart.
persistent_client_expiration 1h
persistence true
persistence_location {data}/

# Nagle's algorithm costs a press up to 40 ms.
set_tcp_nodelay true

# Who came, who was turned away; with systemd it is in the journal.
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages true

{chr(10).join(listeners)}"""


def _listener(broker: str, etc: Path) -> str:
    url = urlsplit(broker)
    if url.scheme != "mqtts":
        raise UserError(f"broker '{broker}' is without TLS; write mqtts://{url.hostname}:8883 into the site file")
    return f"""listener {url.port or 8883}{_bound_to(url.hostname or "")}
tls_version tlsv1.3
cafile {etc}/ca.pem
certfile {etc}/cert.pem
keyfile {etc}/key.pem
crlfile {etc}/crl.pem
require_certificate true
use_identity_as_username true
"""


def _bound_to(host: str) -> str:
    """A broker for this machine alone listens to this machine alone; any other listens on all its addresses."""
    try:
        return f" {host}" if ipaddress.ip_address(host).is_loopback else ""
    except ValueError:
        return " 127.0.0.1" if host == "localhost" else ""
