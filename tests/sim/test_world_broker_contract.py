"""The broker's and the client's twins against mosquitto and the real MqttLink: one script, the same events."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.sim.mqtt_worlds import Heard, Real, Step, Twin, normal

WILL = ("t/a", b"gone")

SCRIPT = (
    Step("publish", "a", ("x/early", b"1")),
    Step("connect", "watcher", ("w1",)),
    Step("subscribe", "watcher", ("#",)),
    # Live and retained messages, for subscriptions that were there and for new ones.
    Step("connect", "a", ("a1", WILL)),
    Step("publish", "a", ("x/1", b"live", False, 1)),
    Step("publish", "a", ("x/r", b"kept", True, 2)),
    Step("publish", "a", ("y/r", b"kept too", True, 3)),
    Step("publish", "a", ("x/deep/er", b"", False, 4)),
    Step("publish", "a", ("$apart", b"apart", True, 5)),
    Step("connect", "b", ("b1",)),
    Step("subscribe", "b", ("x/+", "y/#", "z", "+/r")),
    Step("subscribe", "b", ("x/+",)),
    Step("publish", "a", ("x/r", b"newer", True, 6)),  # b has two subscriptions to it
    Step("publish", "b", ("x/own", b"own", False, 7)),
    Step("flood", "a", ("x/many", 300)),
    # An empty payload takes a retained message away.
    Step("publish", "a", ("y/r", b"", True, 8)),
    Step("connect", "c", ("c1",)),
    Step("subscribe", "c", ("y/#", "x/#")),
    Step("close", "c"),
    # Wills: at a death, not after a goodbye, at a take-over, and before the next life of the same link.
    Step("die", "a"),
    Step("connect", "a", ("a2", WILL)),
    Step("close", "a"),
    Step("connect", "a", ("a3", WILL)),
    Step("connect", "a.other", ("a4", ("t/a", b"gone other"))),
    Step("connect", "a.other", ("a5", ("t/a", b"gone last"))),
    Step("connect", "d", ("d1", ("t/d", b"gone d"))),
    Step("subscribe", "d", ("t/#",)),
    # A client that reads nothing: 20 in flight, 1,000 behind them, the rest is dropped.
    Step("close", "watcher"),
    Step("pause", "b"),
    Step("flood", "d", ("x/flood", 1200)),
    Step("resume", "b"),
    Step("publish", "d", ("x/after", b"after", False, 9)),
    Step("connect", "watcher", ("w2",)),
    Step("subscribe", "watcher", ("t/#", "x/#")),
    # Frozen: nobody answers; thawed: all is answered, and the name resolver's answer comes, too.
    Step("freeze"),
    Step("publish", "d", ("x/frozen", b"frozen", False, 10)),
    Step("connect", "e", ("e1",)),
    Step("thaw"),
    # Killed: the store is as it was last written. Nobody's will is said.
    Step("save"),
    Step("publish", "d", ("x/late", b"late", True, 11)),
    Step("kill"),
    Step("connect", "d", ("d2",)),
    Step("publish", "d", ("x/late", b"late", True, 12)),
    Step("start"),
    Step("connect", "watcher", ("w3",)),
    Step("subscribe", "watcher", ("#",)),
    # Stopped in order: wills are said and kept.
    Step("connect", "d", ("d3", ("t/d", b"gone again"))),
    Step("publish", "d", ("x/late", b"late", True, 13)),
    Step("stop"),
    Step("start"),
    Step("connect", "watcher", ("w4",)),
    Step("subscribe", "watcher", ("#",)),
    Step("kill_and_lose"),
    Step("start"),
    Step("connect", "watcher", ("w5",)),
    Step("subscribe", "watcher", ("#",)),
    Step("close", "watcher"),
)


def test_the_twins_say_what_mosquitto_and_paho_say(tmp_path: Path) -> None:
    async def main() -> list[str]:
        real = Real(tmp_path)
        twin = Twin(real.url)
        real.broker.start()
        differ = []
        try:
            for number, step in enumerate(SCRIPT):
                expected = twin.play(step)
                heard = await real.play(step, expected)
                if _normal(heard) != _normal(expected):
                    differ.append(f"{number} {step}:\n  real {_short(heard)}\n  twin {_short(expected)}")
        finally:
            for link in real.links.values():
                link.close()
            real.broker.stop()
        return differ

    differ = asyncio.run(main())
    assert not differ, "\n".join(differ)


def _normal(heard: Heard) -> Heard:
    return {name: normal(events) for name, events in heard.items()}


def _short(heard: Heard) -> str:
    return str({name: (len(events), events[:4], events[-1:]) for name, events in heard.items()})
