# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots on machines that act: every ending, and what is known of the boot afterwards."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stress.protocol import Outcome, Rejection
from stress.scenario import Clock, load_all
from stress.transcript import ScenarioReport
from workers import boot as booting
from workers.boot import MARKER, BootRequest, BootResult, Ending, Limits
from workers.cpio import Entry, cpio
from workers.errors import Cancelled, InfrastructureError, UserError
from workers.machines import Node, Running, Start
from workers.machines.fake import LONGEST_MS, Fake
from workers.process import Cancel

NODE = Node("n", "fake", ("x86_64",), "none", 2, 256, frozenset())
SCENARIOS = load_all()

CASES = {
    "smoke.a": "ok",
    "smoke.b": "not ok # 5 of 10",
    "smoke.c": "ok # SKIP not here",
    "smoke.d": "",
}
CRASH = "BUG: kernel NULL pointer dereference, address: 0000000000000008"


@pytest.fixture
def request_(tmp_path: Path) -> BootRequest:
    archive = tmp_path / "initramfs"
    archive.write_bytes(cpio([Entry("init", 0o100755, b"#!")]))
    return BootRequest(
        arch="x86_64",
        kernel=tmp_path / "vmlinux",
        initramfs=archive,
        node=NODE,
        clock=Clock.WALL,
        icount_shift=4,
        scenarios=(SCENARIOS["smoke"], SCENARIOS["overhead"]),
        seed=7,
        limits=Limits(boot=0.05, silence=0.05, whole=5),
        folder=tmp_path / "boot",
    )


def boot(request: BootRequest, program: Mapping[str, Any]) -> BootResult:
    request.kernel.write_text(json.dumps(program))
    return booting.boot(request, lambda start: Fake().start(NODE, start), Cancel())


def acts(**smoke: Any) -> dict[str, Any]:
    return {"scenarios": {"smoke": smoke, "overhead": {"cases": {"overhead.a": "ok"}}}}


def told(result: BootResult) -> dict[str, ScenarioReport]:
    return {report.name: report for report in result.report.scenarios}


def test_a_boot_that_goes_through(request_: BootRequest) -> None:
    evidence = {"hits": 10, "jumps": {"plain": 0, "optimized": 1}}
    cases = {name: line for name, line in CASES.items() if line}
    result = boot(request_, {"optimized": True, **acts(cases=cases, evidence=evidence)})
    assert (result.ending, result.report.reason, result.crashes) == (Ending.FINISHED, None, ())
    assert (result.report.rejected, result.report.missing) == ({}, 0)
    smoke, overhead = told(result).values()
    assert [(case.name, case.ok, case.skip, case.reason) for case in smoke.cases] == [
        ("smoke.a", True, False, None),
        ("smoke.b", False, False, "5 of 10"),
        ("smoke.c", True, True, "not here"),
    ]
    assert smoke.evidence == {"cpus": 2, "hits": 10, "jumps": 1}
    assert smoke.outcome is overhead.outcome is Outcome.DONE
    assert smoke.intact
    assert overhead.intact


@pytest.mark.parametrize(("clock", "shift"), [(Clock.WALL, 0), (Clock.ICOUNT, 4)])
def test_measures_are_nanoseconds_or_instructions(
    request_: BootRequest, clock: Clock, shift: int
) -> None:
    asked = replace(request_, clock=clock)
    program = acts(measures={"smoke.kprobe": [500, {"plain": 501, "optimized": 98}]})
    (measure,) = told(boot(asked, program))["smoke"].measures
    assert measure.totals == tuple(net * measure.calls << shift for net in (500, 501))
    assert set(measure.base) == {0}


OPEN = "smoke.d"
ENDINGS: list[tuple[str, Ending, Outcome | None, bool, str | None]] = [
    ("done", Ending.FINISHED, Outcome.DONE, True, None),
    ("skip", Ending.FINISHED, Outcome.SKIP, True, None),
    ("error", Ending.FINISHED, Outcome.ERROR, True, None),
    ("garbage", Ending.FINISHED, Outcome.DONE, True, None),
    ("lost", Ending.FINISHED, Outcome.DONE, False, None),
    ("another-token", Ending.SILENT, None, False, OPEN),
    ("hang", Ending.OVERTIME, None, False, OPEN),
    ("silent", Ending.SILENT, None, False, OPEN),
    ("reset", Ending.RESET, None, False, OPEN),
    ("flood", Ending.FLOODED, None, False, OPEN),
    ("dies", Ending.MACHINE_DIED, None, False, OPEN),
]


@pytest.mark.parametrize(("how", "ending", "outcome", "intact", "open_case"), ENDINGS)
def test_endings_of_a_scenario(
    request_: BootRequest,
    how: str,
    ending: Ending,
    outcome: Outcome | None,
    intact: bool,
    open_case: str | None,
) -> None:
    cases = {name: line for name, line in CASES.items() if line or outcome is None}
    result = boot(request_, acts(cases=cases, ending=how, reason="why"))
    assert result.ending is ending
    smoke = told(result)["smoke"]
    assert (smoke.outcome, smoke.intact, smoke.open_case) == (outcome, intact, open_case)
    assert len(smoke.cases) == 3
    assert ("overhead" in told(result)) == (ending is Ending.FINISHED)
    assert bool(result.diagnosis) == (ending in booting.HANGS)
    if how == "error":
        assert smoke.reason == "why"
    if how in ("another-token", "garbage"):
        assert result.report.rejected[Rejection.TOKEN] > 0


def test_a_case_that_never_ends_is_no_whole_scenario(request_: BootRequest) -> None:
    assert not told(boot(request_, acts(cases=CASES)))["smoke"].intact


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ("silent", Ending.NEVER_SPOKE),
        ("reset", Ending.RESET),
        ("dies", Ending.MACHINE_DIED),
    ],
)
def test_endings_before_init_speaks(request_: BootRequest, how: str, ending: Ending) -> None:
    result = boot(request_, {"boot": how, "console": CRASH, **acts()})
    assert (result.ending, result.report.scenarios) == (ending, ())
    assert [crash.title for crash in result.crashes]


def test_a_scenario_that_the_guest_does_not_know(request_: BootRequest) -> None:
    result = boot(request_, {})
    assert [report.outcome for report in result.report.scenarios] == [Outcome.ERROR] * 2
    assert told(result)["smoke"].reason == "no scenario smoke"


def test_a_crash_has_its_place_on_the_console(request_: BootRequest) -> None:
    boot(request_, acts(ending="reset", console=CRASH))
    console = (request_.folder / "console.log").read_text().splitlines()
    places = [
        number for number, line in enumerate(console) if re.search(MARKER, line) or CRASH in line
    ]
    assert [re.sub(r"^\[.*?\] ", "", console[number]) for number in places] == [
        "farm: begin smoke",
        CRASH,
    ]


def test_a_whole_boot_has_a_limit(request_: BootRequest) -> None:
    """Init is alive all the time, and so is neither silence nor any scenario over its limit."""

    class Chatty:
        command: tuple[str, ...] = ()

        def __init__(self, start: Start) -> None:
            start.console.write_bytes(b"")
            start.results.write_bytes(b"")
            self._results = start.results

        def ended(self) -> int | None:
            with self._results.open("ab") as results:
                results.write(b"KTAP version 1\n")
            return None

        def cpu_seconds(self) -> float:
            return 0.0

        def stopped(self) -> bool:
            return False

        def diagnose(self) -> str:
            return "busy"

        def __enter__(self) -> Running:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    asked = replace(request_, limits=Limits(boot=60, silence=60, whole=0.1))
    result = booting.boot(asked, Chatty, Cancel())
    assert (result.ending, result.diagnosis) == (Ending.TOO_LONG, "busy")


@pytest.mark.parametrize("name", ["console.log", "results.log"])
def test_a_machine_that_puts_a_link_in_the_place_of_a_file(
    request_: BootRequest, name: str
) -> None:
    """QEMU can write to the folder with its files; who broke out of it can do that too."""

    def start(machine: Start) -> Running:
        running = Fake().start(NODE, machine)
        (machine.folder / name).rename(machine.folder / "elsewhere")
        (machine.folder / name).symlink_to("elsewhere")
        return running

    request_.kernel.write_text(json.dumps(acts(cases={"smoke.a": "ok"})))
    with pytest.raises(InfrastructureError, match=f"{name} is no plain file any more"):
        booting.boot(request_, start, Cancel())


def test_what_was_said_at_last_is_read_whatever_its_size(request_: BootRequest) -> None:
    noise = b"noise\n" * (3 * booting.CHUNK // 6)

    def start(machine: Start) -> Running:
        running = Fake().start(NODE, machine)
        machine.results.write_bytes(noise + machine.results.read_bytes())
        return running

    request_.kernel.write_text(json.dumps(acts(cases={"smoke.a": "ok"})))
    result = booting.boot(request_, start, Cancel())
    assert result.ending is Ending.FINISHED
    assert list(told(result)) == ["smoke", "overhead"]


def test_the_job_goes_with_the_initramfs_and_not_beyond(request_: BootRequest) -> None:
    seen = list[bytes]()

    def start(machine: Start) -> Running:
        seen.append(machine.initramfs.read_bytes())
        return Fake().start(NODE, machine)

    request_.kernel.write_text("{}")
    common = request_.initramfs.read_bytes()
    for _ in range(2):
        booting.boot(request_, start, Cancel())
    assert all(one.startswith(common) for one in seen)
    assert seen[0] != seen[1], "each boot has a token of its own"
    assert not (request_.folder / "initramfs").exists()
    assert request_.initramfs.read_bytes() == common


def test_a_cancelled_boot_stops_its_machine(request_: BootRequest) -> None:
    machines = list[Running]()
    cancel = Cancel()

    def start(machine: Start) -> Running:
        machines.append(Fake().start(NODE, machine))
        threading.Thread(target=cancel.request, args=("enough",)).start()
        return machines[0]

    request_.kernel.write_text(json.dumps({"boot": "silent"}))
    asked = replace(request_, limits=Limits(60, 60, 60))
    with pytest.raises(Cancelled, match="enough"):
        booting.boot(asked, start, cancel)
    assert machines[0].ended() is not None
    assert not (asked.folder / "initramfs").exists()


def test_a_machine_that_cannot_be_started_leaves_nothing(request_: BootRequest) -> None:
    def start(machine: Start) -> Running:
        raise InfrastructureError("no such machine")

    with pytest.raises(InfrastructureError):
        booting.boot(request_, start, Cancel())
    assert not (request_.folder / "initramfs").exists()


@pytest.mark.parametrize(
    "program",
    ["\x7fELF", "[]", '{"boot": "up", "colour": 1}', '{"scenarios": {"smoke": {"ending": "?"}}}'],
)
def test_a_kernel_that_is_no_program(request_: BootRequest, program: str) -> None:
    request_.kernel.write_text(program)
    with pytest.raises(UserError, match="no program for a fake machine"):
        booting.boot(request_, lambda start: Fake().start(NODE, start), Cancel())


def test_a_hang_is_longer_than_any_scenario_may_be() -> None:
    assert all(one.limit * 1000 <= LONGEST_MS for one in SCENARIOS.values())
