# SPDX-License-Identifier: GPL-2.0-or-later
"""Which regressions of a series are open: seen in a run, and not gone in a later one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farm.records import Run
from farm.verdicts.judge import Kind
from farm.verdicts.regressions import Assessment, Regression, State, Where
from stress.scenario import Clock
from workers.status import Status

CLOSED = frozenset({State.FIXED, State.KNOWN, State.ONGOING})
"""What needs nobody's eyes: it is gone, it is listed, or the base has it too."""

Assessed = tuple[Run, Assessment]


def open_regressions(runs: Sequence[Assessed]) -> Iterator[tuple[Run, Regression]]:
    """Yield the open regressions of one series with the newest run that shows each.

    ``runs`` are runs of that series, the newest first. A later run closes a regression only when it
    looked at the same thing at its last point: a narrower one says nothing of what it left out.
    """
    seen = set[str]()
    for number, (run, assessment) in enumerate(runs):
        for one in assessment.regressions:
            if one.id in seen:
                continue
            seen.add(one.id)
            later = runs[:number]
            if one.state not in CLOSED and not any(_looked(run, one, *again) for again in later):
                yield run, one


def _looked(run: Run, regression: Regression, later: Run, assessment: Assessment) -> bool:
    """Whether a later run came to a result wherever a regression was seen."""
    tests = [test for build in run.builds for test in build.tests if test.id in regression.tests]
    wanted = {(test.scenario, test.clock) for test in tests}
    return all(
        _looked_at(where, regression.kind, later, assessment, wanted) for where in regression.where
    )


def _looked_at(
    where: Where, kind: Kind, later: Run, assessment: Assessment, wanted: set[tuple[str, Clock]]
) -> bool:
    if kind is Kind.APPLY:
        return bool(later.points)
    tip = max((point.index for point in later.points), default=None)
    builds = [
        build
        for build in later.builds
        if build.point == tip and (build.cell.arch, build.cell.config) == (where.arch, where.config)
    ]
    if where.node is None:
        return any(one.result is not None and one.result.status is Status.PASS for one in builds)
    passed = {
        (test.scenario, test.clock)
        for build in builds
        for test in build.tests
        if test.node == where.node and assessment.judgements[test.id].status is Status.PASS
    }
    return bool(wanted) and wanted <= passed
