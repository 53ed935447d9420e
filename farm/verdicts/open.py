# SPDX-License-Identifier: GPL-2.0-or-later
"""Which regressions of a series are open: seen in a run, and not gone in a later one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farm.records import Build, Run, Test
from farm.verdicts.judge import Fault, Judgement, Kind, looks, shows
from farm.verdicts.regressions import TELLING, Assessment, Regression, State, Where
from workers.status import Status

CLOSED = frozenset({State.FIXED, State.KNOWN, State.ONGOING})
"""What needs nobody's eyes: it is gone, it is listed, or the base has it too."""

Assessed = tuple[Run, Assessment]


def open_regressions(runs: Sequence[Assessed]) -> Iterator[tuple[Run, Regression]]:
    """Yield the open regressions of one series with the newest run that shows each.

    ``runs`` are runs of that series, the newest first. Wherever a regression was seen, only a later
    run that shows it again or looked for it settles it: a narrower one says nothing of what it left
    out.
    """
    told = set[str]()
    for number, (run, assessment) in enumerate(runs):
        for one in assessment.regressions:
            if one.state in CLOSED or one.id in told:
                continue
            later = runs[:number]
            if any(not _is_settled(run, one, where, later) for where in one.where):
                told.add(one.id)
                yield run, one


def _is_settled(run: Run, one: Regression, where: Where, later: Sequence[Assessed]) -> bool:
    """Whether a later run has its own word on a regression at one of its places."""
    return any(
        any(again.id == one.id and where in again.where for again in assessment.regressions)
        or _is_gone(run, one, where, newer, assessment)
        for newer, assessment in later
    )


def _is_gone(run: Run, one: Regression, where: Where, later: Run, assessment: Assessment) -> bool:
    """Whether a later run, which does not list a regression at a place, looked there for it.

    At its last point: what is only left out of the middle of a series may still come.
    """
    if one.kind is Kind.APPLY:
        return bool(later.points)
    tip = max((point.index for point in later.points), default=None)
    builds = [build for build in later.builds if build.point == tip and _is_at(build, where)]
    if where.node is None:
        return any(of.result is not None and of.result.status is Status.PASS for of in builds)
    wanted = {
        (test.scenario, test.clock) for test in _tests(run.builds, where) if test.id in one.tests
    }
    clean = {
        (test.scenario, test.clock)
        for test in _tests(builds, where)
        if _is_clean(test, assessment.judgements[test.id], one.fault)
    }
    return bool(wanted) and wanted <= clean


def _is_clean(test: Test, verdict: Judgement, fault: Fault) -> bool:
    """Whether a test would have shown a fault and does not, whatever else it shows."""
    return verdict.status in TELLING and looks(test, fault) > 0 and not shows(test, verdict, fault)


def _tests(builds: Sequence[Build], where: Where) -> Iterator[Test]:
    for build in builds:
        if _is_at(build, where):
            yield from (test for test in build.tests if test.node == where.node)


def _is_at(build: Build, where: Where) -> bool:
    return (build.cell.arch, build.cell.config) == (where.arch, where.config)
