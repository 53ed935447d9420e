# SPDX-License-Identifier: GPL-2.0-or-later
"""From what one boot showed to an observation for each of its scenarios."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from farm.records import Crash, Observation, Played, Purpose, Setup
from stress.scenario import Clock
from stress.transcript import ScenarioReport
from workers.boot import MARKER, BootRequest, BootResult, Ending
from workers.console.crash import CrashReport


def observations(
    request: BootRequest, result: BootResult, purpose: Purpose, accelerator: str, model: str
) -> tuple[Observation, ...]:
    """Return what was seen of the boot's scenarios, in order.

    A scenario that the boot did not come to has no observation, so it gets a boot of its own: what
    ended the boot is not blamed on it. Only where nothing began at all does the ending speak for
    them all.
    """
    reports = {report.name: report for report in result.report.scenarios}
    last = list(reports)[-1:]
    # Without its marks a console has no places; what ends a boot ends the scenario that began last.
    markers = _markers((request.folder / "console.log").read_bytes()) or dict.fromkeys(last, 0)
    crashes = _by_scenario(result.crashes, markers, [one.name for one in request.scenarios])
    early = crashes.pop(None, None)
    setup = _setup(request, model)
    began = bool(reports or crashes)
    found = list[Observation]()
    for scenario in request.scenarios:
        report = reports.get(scenario.name)
        crash = crashes.get(scenario.name)
        if found and began and report is None and crash is None:
            break
        # A boot that went on to the next scenario did not end in this one.
        passed = report is not None and (report.outcome is not None or [report.name] != last)
        found.append(
            _observation(
                report,
                purpose=purpose,
                ending=Ending.FINISHED if passed else result.ending,
                reason=result.report.reason,
                crash=crash or early,
                before_start=crash is None and early is not None,
                result=result,
                accelerator=accelerator,
                cpus=request.cpus,
                folder=request.folder,
                setup=setup,
            )
        )
        early = None if began else early
    return tuple(found)


def _observation(
    report: ScenarioReport | None,
    *,
    purpose: Purpose,
    ending: Ending,
    reason: str | None,
    crash: CrashReport | None,
    before_start: bool,
    result: BootResult,
    accelerator: str,
    cpus: int,
    folder: Path,
    setup: Setup,
) -> Observation:
    seen = Observation(
        purpose=purpose,
        ending=ending,
        reason=reason,
        crash=None if crash is None else _crash(crash),
        before_start=before_start,
        cpus=cpus,
        seconds=result.seconds,
        accelerator=accelerator,
        command=result.command,
        folder=str(folder),
        diagnosis=result.diagnosis,
        setup=setup,
    )
    if report is None:
        return seen
    return replace(
        seen,
        outcome=report.outcome,
        reason=report.reason,
        intact=report.intact,
        cases=report.cases,
        open_case=report.open_case,
        evidence=dict(report.evidence),
        measures=report.measures,
    )


def _setup(request: BootRequest, model: str) -> Setup:
    shift = request.icount_shift if request.clock is Clock.ICOUNT else None
    played = (
        Played(one.name, one.run, dict(one.parameters), one.limit) for one in request.scenarios
    )
    return Setup(model, shift, request.seed, tuple(played))


def _crash(report: CrashReport) -> Crash:
    return Crash(report.title, report.kind.value, report.excerpt, report.corrupted)


def _markers(console: bytes) -> dict[str, int]:
    """Return the console line at which each scenario began, by what init wrote to the log."""
    lines = console.decode(errors="replace").split("\n")
    found = dict[str, int]()
    for number, line in enumerate(lines, start=1):
        if match := re.search(MARKER, line):
            found.setdefault(match[1], number)
    return found


def _by_scenario(
    crashes: Sequence[CrashReport], markers: dict[str, int], order: Sequence[str]
) -> dict[str | None, CrashReport]:
    """Return the first crash report of each scenario; of None, what stands before all of them."""
    found = dict[str | None, CrashReport]()
    for crash in crashes:
        begun = [name for name in order if markers.get(name, crash.line) < crash.line]
        found.setdefault(begun[-1] if begun else None, crash)
    return found
