"""The broker of the tests: its port is nobody else's, whatever else runs on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.support.broker import Broker, free_port


def test_a_port_stays_ours_before_and_between_the_brokers_lives(tmp_path: Path) -> None:
    """It was looked for and let go: two runs of the tests at once could be given the same one."""
    broker = Broker(tmp_path)
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", broker.port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", broker.port), 5)
        with broker:
            socket.create_connection(("127.0.0.1", broker.port), 5).close()
    assert len({free_port() for _ in range(20)} | {broker.port}) == 21
