"""Mutation testing of the wire and the three cores with mutmut: which changes of the code does no test notice?

``make mutants`` for all, ``make mutants ONLY=firmware/sos_wire/frame.py``, ``make mutants SAMPLE=600 SEED=1``. The
survivors that are known, each with its reason, stand in tests/MUTANTS.md; ``WRITE=1`` brings that file up to date.
Exit 1 when fewer than 90 % were killed, or when the list is not true any more; 2 for a wish that makes no sense.

mutmut wants packages at the root of where it works, and tests that import them from there. So each part is laid out
below .venv/mutants/ first, with the tests that bear on it and its own configuration (``tool.mutmut`` in pyproject.toml
and what is said below). Results are kept there: a run that was stopped goes on where it was while no file has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import tomli_w
from mutants_list import UNKNOWN, Mutant, Survivors, mutants_of
from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parents[1]
STAGES = ROOT / ".venv/mutants"
REACH = 0.9
# What runs out of time is noticed: a loop that does not end stops the tests, and a watchdog the pole.
KILLED = ("killed", "timeout", "segfault")
MEMORY_BYTES = 4 << 30  # a loop that does not end must not take the machine with it


@dataclass(frozen=True)
class Part:
    """``source``: what is changed; ``tests``: what bears on it, ``without`` the slow ones; ``rests_on``: beside
    these, what a result depends on; ``not_changed``: files of the source that are not."""

    name: str
    source: str
    tests: tuple[str, ...]
    rests_on: tuple[str, ...]
    without: tuple[str, ...] = ()
    not_changed: tuple[str, ...] = ()

    @property
    def stage(self) -> Path:
        return STAGES / self.name

    @property
    def inside(self) -> str:
        """Its path as a package: firmware/sos_wire is sos_wire there."""
        return self.source.split("/", 1)[1]

    def heeds(self, name: str) -> bool:
        """Whether a result may depend on that file of the stage."""
        return name.startswith((*self.rests_on, self.inside, "tests/", "pyproject.toml")) and not name.endswith(".md")

    def files(self) -> list[Path]:
        found = sorted((ROOT / self.source).glob("*.py"))
        return [path for path in found if path.name not in self.not_changed]


# Not among the tests: MicroPython, real files and processes, and what takes more than a tenth of a second, for each
# function that is looked at slows them ten times. What only they notice survives here, and its reason says so.
PARTS = (
    Part(
        "wire",
        "firmware/sos_wire",
        ("tests/wire",),
        (),
        (
            "test_bus.py",
            "test_heap.py",
            "test_fuzz.py",
            "test_vectors.py::test_both_interpreters_say_the_same",
            "test_ladder.py::test_lanes_count_beyond_65535",
            "test_ladder.py::test_the_same_seed_gives_the_same_trace",
            "test_ladder.py::test_all_arrive_once_and_in_order[all at once",
            "test_ladder.py::test_all_arrive_once_and_in_order[shared pair",
            "test_ladder.py::test_the_ticks_wrap_in_the_middle",
            "test_handshake.py::test_a_flood_of_replayed_hello_and_who_disturbs_no_session",
            "test_handshake.py::test_either_end_notices_silence",
            "test_handshake.py::test_one_way_silence_is_noticed_at_both_ends",
            "test_handshake.py::test_replayed_frames_change_nothing",
            "test_talk.py::test_beats_come_each_two_seconds_with_jitter",
            "test_talk.py::test_news_that_does_not_end_keeps_no_beat_from_being_told",
            "test_talk.py::test_wake_never_misses_what_poll_would_say",
        ),
    ),
    Part(
        "pole",
        "firmware/sos_pole",
        ("tests/pole",),
        ("sos_wire", "sos_sim/nor_flash.py", "hardware/boards"),
        (
            "test_board.py",
            "test_image.py",
            "test_on_micropython.py",
            "test_journal_cuts.py::test_a_cut_at_every_byte[",
            "test_journal_cuts.py::TestCuts",
            "test_journal.py::test_one_damaged_byte_loses_at_most_its_own_press_and_makes_none_up",
            "test_journal.py::test_a_new_flash_begins_an_incarnation_and_keeps_it_and_counts_starts",
            "test_debounce.py::test_thirty_ms_from_first_to_last_contact_is_a_press_once_and_less_is_none",
            "test_debounce.py::test_nothing_happens_before_it_said_that_it_wakes",
            "test_debounce.py::test_runs_and_samples_tell_the_same",
            "test_debounce.py::test_presses_and_releases_alternate_and_faults_end",
            "test_debounce.py::test_presses_with_250_ms_between_are_each_one",
            "test_debounce.py::test_whatever_follows_within_250_ms_of_release_is_the_same_press",
            "test_pole_truth.py::test_30_minutes_after_the_last_stage_the_lamp_rests",
            "test_pole_truth.py::test_an_unreceived_press_never_goes_idle_but_falls_silent",
        ),
        ("board.py", "ports.py"),  # the edge: they meet the hardware
    ),
    Part(
        "agent",
        "agent/sos_agent/core",
        ("tests/agent/test_core_*.py",),
        ("sos_wire", "sos_contract"),
        (
            "test_core_bus.py",
            "test_core_courier.py::test_memory_is_bounded_however_much_waits",
            "test_core_courier.py::test_a_backlog_is_drained_in_order_and_a_new_press_overtakes_it",
            "test_core_courier.py::test_a_fetch_that_the_pass_has_overtaken_is_not_used",
            "test_core_courier.py::test_a_crash_between_any_two_effects_loses_repeats_and_invents_nothing",
            "test_core_courier.py::test_a_crash_at_any_effect_of_a_start_loses_nothing",
            "test_core_age.py::test_the_disk_hears_of_a_boot_once",
            "test_core_limits.py::test_refused_alarms_remembered_are_bounded",
            "test_core_station.py::test_back_off_grows_is_jittered_and_bounded",
            "test_core_station.py::test_a_new_inbox_is_given_everything_receipted",
            "test_core_tables.py::test_the_scenarios_walk_every_row",
            "test_core_ports.py::test_a_pair_that_is_never_quiet_does_not_hide_that_its_poles_are_lost",
        ),
    ),
    Part(
        "station",
        "agent/sos_station/core",
        ("tests/station/test_core_*.py",),
        ("sos_wire/seal.py", "sos_wire/messages.py", "sos_contract", "sos_station/edge"),
        (
            "test_core_desk.py::test_lists_come_in_pages",
            "test_core_inbox.py::test_the_power_may_go_between_any_two_effects",
            "test_core_inbox.py::test_no_peer_can_stop_the_station",
            "test_core_inbox.py::test_a_hanging_disk_bounds_what_waits",
        ),
    ),
)


def lay_out(part: Part) -> None:
    """Bring the stage up to date. When a file has changed no result from before is believed; when tests have only been
    added, what was killed is dead still and the others are tried again."""
    wanted = _wanted(part)
    bears = {name: hashlib.sha256(content).hexdigest() for name, content in wanted.items() if part.heeds(name)}
    mark = part.stage / "heeded.json"
    before = json.loads(mark.read_text()) if mark.exists() else {}
    if bears == before:
        return
    if not before.items() <= bears.items():
        shutil.rmtree(part.stage, ignore_errors=True)
    for name, content in wanted.items():
        path = part.stage / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for meta in (part.stage / "mutants" / part.inside).glob("*.py.meta"):
        told = json.loads(meta.read_text(encoding="utf-8"))
        codes = told["exit_code_by_key"]
        told["exit_code_by_key"] = {
            name: code if status_by_exit_code[code] in KILLED else None for name, code in codes.items()
        }
        meta.write_text(json.dumps(told), encoding="utf-8")
    mark.write_text(json.dumps(bears))


def _wanted(part: Part) -> dict[str, bytes]:
    """What a stage holds, by path: the packages at its root, and the folders that tests look into."""
    wanted: dict[str, bytes] = {}
    for tree in ("agent", "firmware", "hardware", "sim", f"tests/{part.name}", "tests/vectors"):
        for path in sorted((ROOT / tree).rglob("*")):
            if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts):
                below = path.relative_to(ROOT)
                wanted[str(below)] = path.read_bytes()
                if tree in ("agent", "firmware", "sim"):
                    wanted[str(below.relative_to(tree))] = path.read_bytes()
    wanted["tests/conftest.py"] = (ROOT / "tests/conftest.py").read_bytes()
    wanted["pyproject.toml"] = tomli_w.dumps(_configuration(part)).encode()
    return wanted


def _configuration(part: Part) -> dict[str, object]:
    """The stage's pyproject.toml: mutmut's settings, and pytest's without a cache that two stages would share."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    mutmut, pytest = tool["mutmut"], tool["pytest"]["ini_options"]
    package = part.inside.split("/")[0]
    mutmut["source_paths"] = [package]
    mutmut["only_mutate"] = [f"{part.inside}/*"]
    mutmut["do_not_mutate"] = [f"{part.inside}/{name}" for name in part.not_changed]
    packages = sorted(
        {path.parent.name for tree in ("agent", "firmware", "sim") for path in ROOT.glob(f"{tree}/*/*.py")}
    )
    mutmut["also_copy"] = [name for name in packages if name != package] + ["agent", "firmware", "hardware"]
    tests = [path for glob in part.tests for path in sorted(ROOT.glob(glob)) if path.name not in part.without]
    mutmut["pytest_add_cli_args_test_selection"] = [str(path.relative_to(ROOT)) for path in tests]
    for test in part.without:
        how = "deselect" if "::" in test else "ignore"
        mutmut["pytest_add_cli_args"].append(f"--{how}=tests/{part.name}/{test}")
    return {"tool": {"mutmut": mutmut, "pytest": {"ini_options": {**pytest, "cache_dir": ".pytest_cache"}}}}


def results(part: Part) -> dict[str, str]:
    """What became of each mutant that was tried: its name -> killed, survived, no tests, timeout, ..."""
    found = {}
    for path in (part.stage / "mutants" / part.inside).glob("*.py.meta"):
        for name, code in json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            if code is not None:
                found[name] = status_by_exit_code[code]
    return found


def run(part: Part, chosen: list[Mutant]) -> dict[Mutant, str]:
    """Let mutmut try those of ``chosen`` that were not tried yet; raises RuntimeError if it could not."""
    have = results(part)
    names = [mutant.name for mutant in chosen if have.get(mutant.name) not in (*KILLED, "survived", "no tests")]
    if names:
        log = part.stage / "log"
        limits = (MEMORY_BYTES, MEMORY_BYTES)
        with log.open("wb") as out:
            done = subprocess.run(
                [
                    Path(sys.executable).parent / "mutmut",
                    "run",
                    "--max-children",
                    os.environ.get("WORKERS", "1"),
                    *names,
                ],
                cwd=part.stage,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
                check=False,
            )
        if done.returncode:
            last = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()[-1:]
            raise RuntimeError(f"mutmut failed on {part.source}: {''.join(last)} (all of it: {log})")
        have = results(part)
    return {mutant: have.get(mutant.name, "not tried") for mutant in chosen}


def all_mutants(only: str) -> list[tuple[Part, Mutant]]:
    """Those of all parts, or of one file or folder."""
    found: list[tuple[Part, Mutant]] = []
    for part in PARTS:
        for path in part.files():
            source = str(path.relative_to(ROOT))
            if source.startswith(only):
                found += [(part, one) for one in _known_mutants(path, source, Path(part.inside) / path.name)]
    return found


def _known_mutants(path: Path, source: str, inside: Path) -> list[Mutant]:
    """Kept by content: to make those of all files takes half a minute."""
    kept = STAGES / "known" / f"{path.stem}-{hashlib.sha256(source.encode() + path.read_bytes()).hexdigest()[:16]}.json"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps([astuple(mutant) for mutant in mutants_of(path, source, inside)]))
    return [Mutant(*fields) for fields in json.loads(kept.read_text())]


def _lot(seed: int, mutant: Mutant) -> bytes:
    """The lower, the sooner it is drawn. Its own alone, so that a change elsewhere leaves the rest of a sample."""
    return hashlib.sha256(repr((seed, *mutant.key)).encode()).digest()


def table(outcome: dict[Mutant, str], made: str) -> str:
    """Counts by module, in Markdown."""
    tried: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    late: Counter[str] = Counter()
    for mutant, status in outcome.items():
        tried[mutant.source] += 1
        killed[mutant.source] += status in KILLED
        late[mutant.source] += status in KILLED and status != "killed"
    rows = [
        made,
        "",
        "| module | tried | killed | of these out of time | survived | killed, % |",
        "|---|---|---|---|---|---|",
    ]
    lines = [(f"`{source}`", tried[source], killed[source], late[source]) for source in sorted(tried)]
    for name, many, dead, slow in [*lines, ("all", tried.total(), killed.total(), late.total())]:
        rows.append(f"| {name} | {many} | {dead} | {slow} | {many - dead} | {100 * dead / many:.1f} |")
    return "\n".join(rows)


def judge(outcome: dict[Mutant, str], survivors: Survivors, alive: set[tuple[str, str, str]], only: str) -> list[str]:
    """What is wrong, a line each. ``alive``: all mutants that there are (of ``only``), tried or not."""
    wrong = []
    dead = sum(status in KILLED for status in outcome.values())
    if dead < REACH * len(outcome):
        wrong.append(f"{dead} of {len(outcome)} mutants killed, fewer than {REACH:.0%}")
    for mutant, status in outcome.items():
        reason = survivors.reasons.get(mutant.key)
        shown = f"{mutant.source}, {mutant.function}: {mutant.change}"
        if status in KILLED and reason is not None:
            wrong.append(f"listed, but killed: {shown}")
        elif status not in KILLED and reason is None:
            wrong.append(f"not listed, {status}: {shown}")
        elif status not in KILLED and reason == UNKNOWN:
            wrong.append(f"listed without a reason: {shown}")
    gone = [key for key in survivors.reasons if key[0].startswith(only) and key not in alive]
    return wrong + [f"listed, but there is no such mutant any more: {', '.join(key)}" for key in gone]


def main() -> int:
    """Exit 1 with a line for each thing that is wrong."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="a file or folder of a core or the wire")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    wish = parser.parse_args()
    began = time.time()
    for part in PARTS:
        lay_out(part)
    os.chdir(PARTS[0].stage)  # where mutmut looks for its configuration; the same for all parts in what counts here
    everything = all_mutants(wish.only)
    alive = {mutant.key for _, mutant in everything}
    if not alive:
        sys.stderr.write(f"mutants: nothing is mutated below {wish.only}; name a file of a core or of the wire\n")
        return 2
    if wish.sample:
        everything = sorted(everything, key=lambda one: _lot(wish.seed, one[1]))[: wish.sample]
    outcome: dict[Mutant, str] = {}
    for part in PARTS:
        if chosen := [mutant for owner, mutant in everything if owner is part]:
            sys.stderr.write(f"mutants: {part.source}: {len(chosen)} ...\n")
            outcome |= run(part, chosen)
    survivors = Survivors(ROOT / "tests/MUTANTS.md")
    words = [f"{name.upper()}={value}" for name, value in vars(wish).items() if value and name in ("only", "sample")]
    words += [f"SEED={wish.seed}"] if wish.sample else []
    made = f"`{' '.join(['make mutants', *words])}`, {time.strftime('%Y-%m-%d')}, {len(alive)} mutants in all:"
    counts = table(outcome, made)
    sys.stdout.write(f"{counts}\n\n{time.time() - began:.0f} s\n")
    if wish.write:
        tried = {mutant.key for mutant in outcome}
        kept = [key for key in survivors.reasons if key in alive - tried or not key[0].startswith(wish.only)]
        survivors.write(counts, [mutant for mutant, status in outcome.items() if status not in KILLED], kept)
        survivors = Survivors(ROOT / "tests/MUTANTS.md")
    wrong = judge(outcome, survivors, alive, wish.only)
    sys.stderr.writelines(f"mutants: {line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, ValueError) as error:
        sys.stderr.write(f"mutants: {error}\n")
        sys.exit(1)
