"""Many seeds on all cores: what was found, what was visited, and whether that was enough to say anything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import connection

from sos_contract.errors import SafezoneError
from sos_sim.checkers.base import PROMISES
from sos_sim.coverage import KINDS_A_RUN, PRESSES_AN_HOUR, wanted
from sos_sim.draw import draw
from sos_sim.play import Result, play

# Below so much virtual time a campaign is a sample: what it visits is told, and not demanded.
COVERED_H = 100.0
# Latencies kept of each run for the figures of the whole.
MS_KEPT = 2_000

Around = Callable[[], AbstractContextManager[object]]


@dataclass
class Summary:
    """All runs of a campaign together."""

    runs: int = 0
    presses: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PROMISES, 0))
    visited: set[str] = field(default_factory=set)
    kinds: int = 0
    bad: list[Result] = field(default_factory=list)  # runs with findings, the first few
    ms: list[float] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Take a run."""
        self.runs += 1
        self.presses += result.presses
        self.virtual_s += result.virtual_s
        for promise, count in result.counts.items():
            self.counts[promise] += count
        self.visited |= result.visited
        self.kinds += result.kinds
        self.ms += result.ms[:: max(1, len(result.ms) // MS_KEPT)]
        self.counters.update(result.counters)
        if result.broken:
            self.bad.append(result)

    @property
    def broken(self) -> int:
        """Findings in all."""
        return sum(self.counts.values())

    def line(self) -> dict[str, int | float]:
        """The last line that `safezone soak --json` prints."""
        return {
            "runs": self.runs,
            "presses": self.presses,
            **self.counts,
            "virtual_s": round(self.virtual_s, 1),
            "wall_s": round(self.wall_s, 1),
        }

    def lacking(self) -> list[str]:
        """What the campaign did not visit and should have, in words."""
        words = sorted(wanted() - self.visited)
        hours = self.virtual_s / 3600
        if self.runs and self.kinds < KINDS_A_RUN * self.runs:
            words.append(f"only {self.kinds / self.runs:.1f} kinds of fault a run")
        if hours and self.presses < PRESSES_AN_HOUR * hours:
            words.append(f"only {self.presses / hours:.0f} presses an hour")
        return words

    def demanded(self) -> bool:
        """Whether it is long enough to have visited everything."""
        return self.virtual_s >= COVERED_H * 3600


def run_seed(seed: int, hours: float, site: str, around: Around = nullcontext) -> Result:
    """Draw and play the scenario of that seed. ``around``: a context in which it is played."""
    with around():
        return play(draw(seed, hours, site))


def run_seeds(
    seeds: Sequence[int],
    hours: float,
    site: str,
    jobs: int,
    around: Around = nullcontext,
    *,
    stop_at_first: bool = False,
) -> Iterator[Result]:
    """The results, as they come. ``jobs`` processes at most; the seeds' results do not depend on how many.

    Raises SafezoneError, one line, where one of the processes is killed.
    """
    one = partial(run_seed, hours=hours, site=site, around=around)
    if jobs == 1 or len(seeds) == 1:
        for seed in seeds:
            result = one(seed)
            yield result
            if stop_at_first and result.broken:
                return
        return
    with ProcessPoolExecutor(max_workers=min(jobs, len(seeds)), initializer=_end_with_us) as pool:
        try:
            yield from _in_pool(pool, one, iter(seeds), 2 * jobs, stop_at_first)
        except (KeyboardInterrupt, GeneratorExit):  # nobody wants what is under way, which may last for minutes
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
        except BrokenProcessPool:
            why = "one of the campaign's processes was killed, perhaps for want of memory"
            raise SafezoneError(f"{why}; play with fewer: --jobs {max(1, jobs // 2)}") from None


def _in_pool(
    pool: ProcessPoolExecutor, one: Callable[[int], Result], todo: Iterator[int], most: int, stop_at_first: bool
) -> Iterator[Result]:
    running: set[Future[Result]] = set()
    while True:
        for seed in islice(todo, most - len(running)):
            running.add(pool.submit(one, seed))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            result = future.result()
            yield result
            if stop_at_first and result.broken:
                pool.shutdown(wait=True, cancel_futures=True)
                return


def _end_with_us() -> None:
    """In each process of the pool: Ctrl-C ends it at once, and so does our end, however we came to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def campaign(results: Iterator[Result], total: int, *, show: bool, seen: Callable[[Result], object]) -> Summary:
    """Take all results; ``show`` a bar to a person on standard error; ``seen`` hears of each."""
    summary, began = Summary(), time.perf_counter()
    with _bar(total) if show else nullcontext(lambda summary: None) as advance:
        for result in results:
            summary.add(result)
            seen(result)
            summary.wall_s = time.perf_counter() - began
            advance(summary)
    summary.wall_s = time.perf_counter() - began
    return summary


class _bar:  # noqa: N801  (used as a function)
    """``with _bar(10) as advance: advance(summary)``."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("soak"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}"), console=Console(file=sys.stderr),
        )  # fmt: skip
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Callable[[Summary], None]:
        self._progress.start()
        return self._advance

    def _advance(self, summary: Summary) -> None:
        rate = summary.virtual_s / summary.wall_s if summary.wall_s else 0.0
        words = f"{summary.presses} presses, {summary.broken} findings, {rate:.0f} x real time"
        self._progress.update(self._task, completed=summary.runs, description=words)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def cores() -> int:
    """Processes that may run at once here."""
    return len(os.sched_getaffinity(0))
