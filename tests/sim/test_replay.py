"""A cable that is recorded in the virtual zone is known by what was wrong with it, and a bad record is one line."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from safezone.cli import main
from sos_agent.core import effects, events
from sos_contract.errors import UserError
from sos_contract.site import find_site, read_site
from sos_sim.record import Happened, Record, diagnose, read_record
from sos_sim.replay import Spell, not_played, scenario_of, spells_of
from sos_sim.scenario import Planned, Scenario, complaints, dump, load
from sos_sim.trace import Trace
from sos_sim.world.wire import Wire
from sos_sim.world.zone import Zone

SITE = read_site(find_site("betong"))


def recorded(folder: Path, point: str, seconds: float, ail: Callable[[Wire], object]) -> Path:
    """What the agent of that point would have recorded of a cable that ails so."""
    zone = Zone(structs.replace(SITE, point=(SITE.find_point(point),)), 3, Trace())
    zone.start()
    assert zone.run_until(zone.in_service, 30)
    line = SITE.find_point(point).line[0]
    serial, began_us = zone.serials[point], zone.loop.now_us
    lines = [f"safezone record 1 {point}", "0 began 1800000000000", f"0 port 0 {line.baud} {line.port}"]
    deliver, carry_out = serial.deliver, serial.carry_out

    def hear(event: events.Event) -> None:
        if isinstance(event, events.PortBytes):
            lines.append(f"{zone.loop.now_us - began_us} in 0 {event.data.hex()}")
        deliver(event)

    def say(effect: effects.WriteBytes) -> None:
        lines.append(f"{zone.loop.now_us - began_us} out 0 {effect.data.hex()}")
        carry_out(effect)

    serial.deliver = hear
    zone.agents[point]._does[effects.WriteBytes] = say
    ail(zone.wires[line.port])
    zone.run_s(seconds)
    path = folder / f"{point}.record"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ails(folder: Path, ail: Callable[[Wire], object], point: str = "merlin", seconds: float = 100) -> list[Spell]:
    record = read_record(recorded(folder, point, seconds, ail))
    return spells_of(diagnose(record.ports[0]))


def chance(spells: list[Spell], name: str, seconds: float = 100) -> float:
    """The mean over the whole record."""
    return (
        sum(
            float(spell.arguments[0][1]) * (spell.until_us - spell.from_us) / 1e6
            for spell in spells
            if spell.name == name
        )
        / seconds
    )


@pytest.mark.parametrize("point", ["merlin", "clock-tower"])
def test_a_good_cable_ails_nothing(tmp_path: Path, point: str) -> None:
    assert ails(tmp_path, lambda _wire: None, point) == []


def test_losses_are_found_about_as_often_as_they_were(tmp_path: Path) -> None:
    spells = ails(tmp_path, lambda wire: setattr(wire, "loss", 0.2))
    assert {spell.name for spell in spells} <= {"wire-loss", "wire-half-cut"}
    assert 0.1 < chance(spells, "wire-loss") < 0.3


def test_doubles_noise_and_delay_are_told_apart(tmp_path: Path) -> None:
    spells = ails(tmp_path, lambda wire: setattr(wire, "duplicate", 0.3))
    assert {spell.name for spell in spells} == {"wire-duplicates"}
    spells = ails(tmp_path, lambda wire: setattr(wire, "noise_per_s", 3.0))
    assert chance(spells, "wire-noise") > 0.5 and chance(spells, "wire-loss") < 0.05
    spells = ails(tmp_path, lambda wire: setattr(wire, "delay_us", 200_000))
    assert {spell.name for spell in spells} == {"wire-delay"}
    assert all(100 <= float(spell.arguments[0][1]) <= 200 for spell in spells)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cut_of_one_wire_is_found_with_its_times(tmp_path: Path, direction: str) -> None:
    def cut(wire: Wire) -> None:
        wire._loop.after(20_000_000, lambda: setattr(wire, f"cut_{direction}", True))
        wire._loop.after(26_000_000, lambda: setattr(wire, f"cut_{direction}", False))

    spells = ails(tmp_path, cut, seconds=60)
    assert [(spell.name, spell.arguments) for spell in spells] == [("wire-half-cut", (("direction", direction),))]
    assert 17.5 < spells[0].from_us / 1e6 < 22.6 and 25 < spells[0].until_us / 1e6 < 28


def test_a_spoilt_number_is_no_loss_of_many() -> None:
    """One header whose number was spoilt in a way that looks right must not make a hundred frames lost."""
    good = [Happened(second * 1_000_000, "good", 1) for second in range(10)]
    assert spells_of([*good, Happened(4_500_000, "garbled", 1)])[0] == Spell(
        0, 10_000_000, "wire-flips", (("probability", 0.09),)
    )


def test_flips_do_not_look_like_a_cable_that_loses_nearly_all(tmp_path: Path) -> None:
    record = read_record(recorded(tmp_path, "merlin", 200, lambda wire: setattr(wire, "flip", 0.2)))
    counts = Counter(one.what for one in diagnose(record.ports[0]))
    assert counts["lost_up"] < 0.3 * counts["good"] and counts["garbled"] + counts["noise"] > 0


def test_a_record_becomes_a_scenario_that_can_be_read_again(tmp_path: Path) -> None:
    path = recorded(tmp_path, "clock-tower", 90, lambda wire: setattr(wire, "loss", 0.3))
    scenario = scenario_of(read_record(path), SITE, "betong")
    assert load(dump(scenario)) == scenario
    assert {fault.name for fault in scenario.fault} <= {"wire-loss", "wire-half-cut"} and scenario.fault
    assert {fault.where for fault in scenario.fault} == {scenario.press[0].pole} <= {"clock-tower-1", "ts-centre-1"}
    assert [(touch.times, touch.every_s) for touch in scenario.press] == [(2, 30.0)]
    assert scenario_of(read_record(path), SITE, "betong", "merlin-1").fault[0].where == "merlin-1"


def test_a_recorded_button_is_pressed_as_it_was() -> None:
    record = Record(
        "merlin", levels={"own-1": [(0, 0), (1_000_000, 1), (1_003_000, 0), (1_005_000, 1), (1_400_200, 0)]}
    )
    record.until_us = 2_000_000
    scenario = scenario_of(record, SITE, "betong")
    assert [(touch.at_s, touch.ms, touch.pole) for touch in scenario.press] == [
        (31.0, 3, "merlin-1"), (31.005, 395, "merlin-1"),
    ]  # fmt: skip
    assert load(dump(scenario)) == scenario


def test_a_record_of_an_unknown_point_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"unknown point 'merlyn'; did you mean 'merlin'\?; name the site of the record"
    ):
        scenario_of(Record("merlyn"), SITE, "betong")


def test_a_cable_that_does_worse_or_less_than_a_fault_can_is_played_as_near_as_can_be() -> None:
    """Noise of hundreds of bursts a second, and doubles below a twentieth, made scenarios that were refused."""
    good = [Happened(number * 100_000, "good", 1) for number in range(300)]
    noise = [Happened(10_000_000 + number * 1000, "noise") for number in range(9_000)]
    doubled = [Happened(number * 2_500_000, "doubled", 1) for number in range(12)]
    late = [Happened(25_000_000, "good", 1, 9_000_000)]
    spells = spells_of(sorted([*good, *noise, *doubled, *late], key=lambda one: one.at_us))
    assert {spell.name: spell.arguments[0][1] for spell in spells} == {
        "wire-noise": 20.0, "wire-duplicates": 0.05, "wire-delay": 300,
    }  # fmt: skip
    fault = tuple(
        Planned(name=one.name, where="merlin-1", at_s=30 + one.from_us / 1e6, until_s=30 + one.until_us / 1e6,
                with_=dict(one.arguments))
        for one in spells
    )  # fmt: skip
    assert not complaints(Scenario(hours=0.1, fault=fault))


def test_a_pole_of_a_pair_that_was_silent_alone_is_told_of(tmp_path: Path) -> None:
    """Its end of the cable was cut, and the scenario has nothing of it."""

    def cut(wire: Wire) -> None:
        (gone,) = (end for end in wire._ends if end.name == "clock-tower-1")
        wire._loop.after(20_000_000, lambda: setattr(gone, "deaf", True))
        wire._loop.after(60_000_000, lambda: setattr(gone, "deaf", False))

    record = read_record(recorded(tmp_path, "clock-tower", 90, cut))
    (told,) = not_played(record)
    assert re.fullmatch(r"the pole at address 1 alone was not heard for [34]\d s: that is not played", told)
    assert not not_played(read_record(recorded(tmp_path, "clock-tower", 90, lambda _wire: None)))


def test_the_command_line_writes_the_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "merlin.record"
    path.write_text("safezone record 1 merlin\n1000000 level 1 own-1\n1400000 level 0 own-1\n")
    assert main(["sim", "replay", str(path)]) == 0
    assert load(capsys.readouterr().out).press[0].ms == 400
    assert main(["sim", "replay", str(tmp_path / "none")]) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1


HEAD = "safezone record 1 merlin\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a record: it does not begin with 'safezone record'; name a file of agent --record"),
        ("hello\n", "not a record: it does not begin with 'safezone record'; name a file of agent --record"),
        ("safezone record 2 merlin\n", "version 2 of the record is unknown here; this release reads version 1: "
         "play it with the release that wrote it"),
        (HEAD + "5 in 0 00\n", "no line of a record: '5 in 0 00'"),
        (HEAD + "0 port 0 115200 a\n5 in 0 xx\n", "no line of a record: '5 in 0 xx'"),
        (HEAD + "5 level 7 own-1\n", "no line of a record: '5 level 7 own-1'"),
        (HEAD + "5 lost -4\n", "no line of a record: '5 lost -4'"),
        (HEAD + "five in 0 00\n", "no line of a record: 'five in 0 00'"),
        (HEAD + "5 dance 1 2\n", "no line of a record: '5 dance 1 2'"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "merlin.record"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_record(path)
    assert str(error.value).endswith(words) and str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the record \(No such file or directory\)"):
        read_record(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is no text"):
        read_record(tmp_path / "binary")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match="it is a pipe or a device"):
            read_record(path)


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "merlin.record"
    path.write_text(HEAD + "0 port 0 115200 /dev/ttyUSB0\n7 in 0 0001\n8 level 1 own-1\n9 in 0 00")
    record: Record = read_record(path)
    assert record.ports[0].pieces == [(7, True, b"\x00\x01")] and record.until_us == 8
    assert record.levels == {"own-1": [(8, 1)]}
