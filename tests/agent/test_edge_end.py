"""How an agent's process ends: what is still to come when the last things are closed."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from tests.agent.edge_world import write_site

from sos_agent.app import Runtime
from sos_agent.edge.outbox import Outbox
from sos_agent.edge.setup import read_setup
from sos_edge.log import Log
from sos_edge.systemd import Notifier


def test_a_full_disk_at_the_end_is_not_looked_at_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the outbox closed, the look whether there is room again met a closed file: a mistake of ours in the log;
    and had another file taken its number, that one would have been made as large as the reserve."""
    monkeypatch.setattr("sos_agent.app.REFILL_S", 0.01)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # the runtime puts its own there
    monkeypatch.setattr(Outbox, "disk_ok", False)
    looked: list[bool] = []

    def close(outbox: Outbox, timeout_s: float) -> bool:
        ended = really_close(outbox, timeout_s)
        looked.clear()
        time.sleep(0.1)  # the thread that closes is done, the loop has not heard of it
        return ended

    def refill(outbox: Outbox) -> bool:
        looked.append(True)
        return really_refill(outbox)

    async def main() -> None:
        setup = read_setup(write_site(tmp_path, "mqtt://127.0.0.1:1"), "market")
        monkeypatch.setattr(Outbox, "refill", refill)
        runtime = Runtime(setup, log=Log("agent", point="market"), notifier=Notifier(""))
        running = asyncio.create_task(runtime.run())
        looked.clear()
        for _ in range(1_000):
            if looked:
                break
            await asyncio.sleep(0.01)
        assert looked
        runtime.stop()
        await running

    really_close, really_refill = Outbox.close, Outbox.refill
    monkeypatch.setattr(Outbox, "close", close)
    asyncio.run(main())
    assert not looked
    assert "mistake of our own" not in caplog.text
