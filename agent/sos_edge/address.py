"""A broker's address, and why it could not be reached, in words."""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# Name, TCP, TLS handshake and CONNACK each get this long; a probe is due every 5 s, so a slower broker is no help.
STEP_TIMEOUT_S = 5.0
# In TLS 1.3 a broker judges our certificate only after the handshake: all that paho sees of it is this.
HUNG_UP = "it hung up before it answered; look whether it is a broker, wants TLS, and takes our certificate"
ODD = "it takes a connection twice, or sends messages before it took it; is it a broker?"
# OpenSSL's X509_V_ERR_…: dates that our clock finds wrong, and chains that do not end at our CA.
_DATES, _FOREIGN = (9, 10), (18, 19, 20, 21)


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's URL taken apart: ``mqtt[s]://[user[:password]@]host[:port]``."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError if ``url`` is no broker's address."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"'{without_password(url)}' is no broker; write mqtt://host:port or mqtts://host:port")
        tls = parts.scheme == "mqtts"
        port = parts.port or (8883 if tls else 1883)
        return cls(parts.hostname, port, tls, unquote(parts.username or ""), unquote(parts.password or ""))

    @property
    def where(self) -> str:
        """Host and port, as a log may show them."""
        return f"{self.host}:{self.port}"


def without_password(url: str) -> str:
    """``url`` as it may stand in a log."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.split(':')[0]}{at}{tail}" if at else url


def _hint(verify_code: int) -> str:
    if verify_code in _DATES:
        return f" by this machine's clock, {time.strftime('%Y-%m-%d %H:%M')}; set the clock, or rotate the certificate"
    return "; it is not of the authority in station.tls.ca" if verify_code in _FOREIGN else ""


def explain(error: Exception, address: Address) -> str:
    """Why a connection could not be made, in words that say what to do."""
    where = address.where
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {where}; start the broker or mend its address"
    if isinstance(error, socket.gaierror):
        return f"the name {address.host} is unknown; check the site file and DNS"
    if isinstance(error, TimeoutError):
        return f"no answer from {where} in {STEP_TIMEOUT_S:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate of {where} is not good: {error.verify_message}{_hint(error.verify_code)}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | BrokenPipeError):
        return f"{where}: {HUNG_UP}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return f"{where} speaks no TLS; mend its address or its port"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {where} failed: {error.reason or error}"
    if isinstance(error, OSError) and error.errno is not None:
        file = f"{error.filename}: " if error.filename else ""
        return f"{where}: {file}{os.strerror(error.errno) if error.errno > 0 else error}"
    return str(error)
