"""The virtual world's queue of calls."""

from __future__ import annotations

from sos_sim.world.loop import Loop


def test_a_run_that_stops_leaves_the_next_call_where_it_is() -> None:
    # It was once taken off the queue before the condition was asked, and never called.
    loop, called = Loop(), []
    for at_us in (10, 20, 30):
        loop.at(at_us, lambda at_us=at_us: called.append(at_us))  # type: ignore[misc]
    assert loop.run(100, lambda: bool(called))
    assert (called, loop.now_us) == ([10], 10)
    assert not loop.run(100)
    assert (called, loop.now_us) == ([10, 20, 30], 100)
