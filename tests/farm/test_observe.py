# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose crash is it: from one boot to an observation for each scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.observe import observations
from farm.records import Observation, Purpose
from stress.protocol import Outcome
from stress.scenario import Clock, load_all
from stress.transcript import BootReport, ScenarioReport
from workers.boot import BootRequest, BootResult, Ending, Limits
from workers.console import crash
from workers.machines import Node

SMOKE, OVERHEAD = "smoke", "overhead"

BOOT = "[    0.000000] Linux version 6.12.0-test (farm@localhost)\n"
MARK = "[    1.000000] farm: begin {}\n"
WARNING = """\
[    2.000000] ------------[ cut here ]------------
[    2.000000] WARNING: CPU: 0 PID: 1 at kernel/kprobes.c:500 {name}+0x1/0x2
[    2.000000] Call Trace:
[    2.000000]  {name}+0x1/0x2
[    2.000000] ---[ end trace 0000000000000000 ]---
[    2.000000] quiet again
[    2.000000] quiet again
[    2.000000] quiet again
[    2.000000] quiet again
"""


def report(name: str, outcome: Outcome | None = Outcome.DONE) -> ScenarioReport:
    whole = outcome is not None
    return ScenarioReport(
        name, (), {"hits": 1}, (), outcome, None, None if whole else "x", 1, 2, whole
    )


def observed(
    tmp_path: Path,
    console: str,
    *reports: ScenarioReport,
    ending: Ending = Ending.FINISHED,
    reason: str | None = None,
) -> list[Observation]:
    (tmp_path / "console.log").write_text(console)
    known = load_all()
    request = BootRequest(
        arch="x86_64",
        kernel=tmp_path / "vmlinux",
        initramfs=tmp_path / "initramfs",
        node=Node("n", "fake", ("x86_64",), "none", 1, 64, frozenset()),
        clock=Clock.WALL,
        icount_shift=0,
        scenarios=(known[SMOKE], known[OVERHEAD]),
        seed=1,
        limits=Limits(1, 1, 1),
        folder=tmp_path,
    )
    told = BootReport(reports, ending is Ending.FINISHED, reason, 2 if reports else None, {}, 0)
    result = BootResult(ending, told, crash.read(console.encode()), 1.5, ("qemu", "-x"), "rip=0")
    return list(observations(request, result, Purpose.TEST, "tcg", "a model"))


def marks(*names: str) -> str:
    return BOOT + "".join(MARK.format(name) for name in names)


def crashes(found: list[Observation]) -> list[tuple[str | None, bool]]:
    return [
        (one.crash.title.rpartition(" ")[2] if one.crash else None, one.before_start)
        for one in found
    ]


def warning(name: str) -> str:
    return WARNING.format(name=name)


CASES: list[tuple[str, str, list[ScenarioReport], Ending, list[tuple[str | None, bool]]]] = [
    (
        "no crash",
        marks(SMOKE, OVERHEAD),
        [report(SMOKE), report(OVERHEAD)],
        Ending.FINISHED,
        [(None, False), (None, False)],
    ),
    (
        "in the first, and the boot went on",
        marks(SMOKE) + warning("poke") + marks(OVERHEAD),
        [report(SMOKE), report(OVERHEAD)],
        Ending.FINISHED,
        [("poke", False), (None, False)],
    ),
    (
        "one in each",
        marks(SMOKE) + warning("poke") + MARK.format(OVERHEAD) + warning("peek"),
        [report(SMOKE), report(OVERHEAD)],
        Ending.FINISHED,
        [("poke", False), ("peek", False)],
    ),
    (
        "in the second, which ends the boot",
        marks(SMOKE, OVERHEAD) + warning("poke"),
        [report(SMOKE), report(OVERHEAD, None)],
        Ending.RESET,
        [(None, False), ("poke", False)],
    ),
    (
        "in the first, which ends the boot: the second was not come to",
        marks(SMOKE) + warning("poke"),
        [report(SMOKE, None)],
        Ending.RESET,
        [("poke", False)],
    ),
    (
        "before init, which ends the boot",
        BOOT + warning("poke"),
        [],
        Ending.RESET,
        [("poke", True), ("poke", True)],
    ),
    (
        "before init, and the boot went on",
        BOOT + warning("poke") + MARK.format(SMOKE) + MARK.format(OVERHEAD),
        [report(SMOKE), report(OVERHEAD)],
        Ending.FINISHED,
        [("poke", True), (None, False)],
    ),
    (
        "before its first word on the port, but behind its mark",
        marks(SMOKE) + warning("poke"),
        [],
        Ending.NEVER_SPOKE,
        [("poke", False)],
    ),
    (
        "on a console without marks",
        BOOT + warning("poke"),
        [report(SMOKE), report(OVERHEAD, None)],
        Ending.SILENT,
        [(None, False), ("poke", False)],
    ),
]


@pytest.mark.parametrize(
    ("console", "reports", "ending", "wanted"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_crash_is_given_to_the_scenario_that_ran(
    tmp_path: Path,
    console: str,
    reports: list[ScenarioReport],
    ending: Ending,
    wanted: list[tuple[str | None, bool]],
) -> None:
    assert crashes(observed(tmp_path, console, *reports, ending=ending)) == wanted


def test_an_ending_is_that_of_the_scenario_that_ran_last(tmp_path: Path) -> None:
    found = observed(
        tmp_path, marks(SMOKE), report(SMOKE), report(OVERHEAD, None), ending=Ending.SILENT
    )
    assert [one.ending for one in found] == [Ending.FINISHED, Ending.SILENT]
    assert [one.diagnosis for one in found] == ["rip=0", "rip=0"]
    lost = observed(
        tmp_path, marks(SMOKE), report(SMOKE, None), report(OVERHEAD, None), ending=Ending.SILENT
    )
    assert [one.ending for one in lost] == [Ending.FINISHED, Ending.SILENT]


def test_where_nothing_began_the_ending_speaks_for_all(tmp_path: Path) -> None:
    found = observed(tmp_path, BOOT, ending=Ending.NEVER_SPOKE)
    assert [one.ending for one in found] == [Ending.NEVER_SPOKE] * 2


def test_the_guest_s_reason_for_running_nothing(tmp_path: Path) -> None:
    found = observed(tmp_path, BOOT, reason="reading /job.json: errno 2")
    assert [one.reason for one in found] == ["reading /job.json: errno 2"] * 2


def test_a_guest_that_ran_something_else_is_heard_once(tmp_path: Path) -> None:
    """Without an observation of the first scenario the boot would be made again for ever."""
    found = observed(tmp_path, BOOT, report("other"))
    assert [(one.outcome, one.intact) for one in found] == [(None, False)]


def test_what_is_kept(tmp_path: Path) -> None:
    found = observed(tmp_path, marks(SMOKE), report(SMOKE))[0]
    assert (found.evidence, found.outcome, found.intact) == ({"hits": 1}, Outcome.DONE, True)
    assert (found.seconds, found.command, found.accelerator) == (1.5, ("qemu", "-x"), "tcg")
    assert found.folder == str(tmp_path)
