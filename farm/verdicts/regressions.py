# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole run: which patch brought which fault, and the verdict on the series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from farm.issues import Issue, recognise
from farm.records import Build, Cell, Run, Test
from farm.verdicts.judge import Fault, Judgement, Kind, controls, evidence, judge, looks, shows
from stress.measurement import Measurement
from stress.scenario import Clock, Scenario
from workers.status import Status


class Verdict(StrEnum):
    """What a run says of its series."""

    PASS = "PASS"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


class State(StrEnum):
    """Where a regression is in its life."""

    NEW = "new"
    ONGOING = "ongoing"
    FIXED = "fixed"
    FLAKY = "flaky"
    KNOWN = "known"


@dataclass(frozen=True)
class Where:
    """A cell, and the node for what was seen in a boot."""

    arch: str
    config: str
    node: str | None


@dataclass(frozen=True)
class Regression:
    """One fault, with the first point that shows it.

    What the base has and a patch brings back, or brings into another cell, are two of one fault.
    ``introduced``: True, False (an enabling patch only made it visible) or None (not known).
    ``issue`` is the known issue that it is.
    """

    fault: Fault
    state: State
    where: tuple[Where, ...]
    tests: tuple[str, ...]
    first_bad: int
    confidence: float
    introduced: bool | None
    issue: str | None = None

    @property
    def id(self) -> str:
        return self.fault.id

    @property
    def kind(self) -> Kind:
        return self.fault.kind

    @property
    def title(self) -> str:
        return self.fault.title

    @property
    def case(self) -> str | None:
        return self.fault.case


@dataclass(frozen=True)
class Assessment:
    """Everything that a run's results mean."""

    verdict: Verdict
    reason: str
    judgements: Mapping[str, Judgement]
    regressions: tuple[Regression, ...]


PLAIN = frozenset({Kind.APPLY, Kind.BUILD, Kind.WARNING})
"""What shows no fault but that of the patch itself."""

TELLING = frozenset({Status.PASS, Status.FAIL})
"""What a test must be for its runs to tell of a fault that they do not show."""


@dataclass(frozen=True)
class Effects:
    """The smallest relative slowdown that counts, by clock; a clock without one is not judged."""

    minimum: Mapping[Clock, float]


@dataclass(frozen=True)
class _Seen:
    """A fault at one point of one cell, before like ones are put together."""

    fault: Fault
    where: Where
    point: int
    tests: tuple[str, ...] = ()
    confirmed: bool = True
    confidence: float = 1.0


def assess(
    run: Run,
    scenarios: Mapping[str, Scenario],
    effects: Effects,
    enabling: frozenset[int],
    issues: Sequence[Issue] = (),
) -> Assessment:
    """Judge every test, find the regressions, and give the verdict.

    ``enabling`` are the points whose patch switches a feature on: what shows there first may have
    been there, unseen, before. Faults that are known ``issues`` are listed and do not count.
    """
    judgements = judge_all(run, scenarios)
    seen = [
        *_applying(run),
        *_building(run),
        *_testing(run, judgements),
        *_measuring(run, judgements, effects),
    ]
    merged = _merged(seen, enabling, issues)
    regressions = tuple(sorted(merged, key=lambda one: one.first_bad))
    verdict, reason = _verdict(run, judgements, regressions, issues)
    return Assessment(verdict, reason, judgements, regressions)


def judge_all(run: Run, scenarios: Mapping[str, Scenario]) -> dict[str, Judgement]:
    """Return the judgement of every test by its id."""
    found = dict[str, Judgement]()
    for build in run.builds:
        for test in build.tests:
            if test.scenario not in scenarios:
                gone = f"scenario {test.scenario} is not there any more"
                found[test.id] = Judgement(Status.MISS, gone)
                continue
            scenario = _as_played(scenarios[test.scenario], test)
            control = _control(run, build, test, scenario)
            seen = (evidence(one) for one in earlier(run, build, test))
            before = [one for one in seen if one is not None]
            found[test.id] = judge(test, scenario, control, before, run.icount_shift)
    return found


def _as_played(scenario: Scenario, test: Test) -> Scenario:
    """Return a scenario with the parameters that a test ran with, whatever its profile has now."""
    setups = (seen.setup for seen in test.observations if seen.setup is not None)
    played = (one for setup in setups for one in setup.scenarios if one.name == scenario.name)
    given = next((one.parameters for one in played), {})
    return replace(scenario, parameters={**scenario.parameters, **given})


def earlier(run: Run, build: Build, test: Test) -> Iterator[Test]:
    """Yield the same test on the points that a point was made from, the nearest first."""
    builds = {other.point: other for other in run.builds if other.cell == build.cell}
    for point in ancestors(run, build.point):
        if point in builds:
            yield from (one for one in builds[point].tests if one.key == test.key)


def ancestors(run: Run, point: int) -> Iterator[int]:
    """Yield the points that a point was made from, the nearest first."""
    before = run.points[point].made_from
    while before is not None:
        yield before
        before = run.points[before].made_from


def _control(run: Run, build: Build, test: Test, scenario: Scenario) -> Judgement | None:
    found = (controls(one, scenario) for one in earlier(run, build, test))
    return next((control for control in found if control is not None), None)


def _applying(run: Run) -> Iterator[_Seen]:
    failed = next((point for point in run.points if point.reason is not None), None)
    if failed is not None:
        title = f"does not apply: {failed.reason}"
        fault = Fault(Kind.APPLY, title, title)
        for cell in sorted({build.cell.arch for build in run.builds} or {"any"}):
            yield _Seen(fault, Where(cell, "any", None), failed.index)


def _building(run: Run) -> Iterator[_Seen]:
    for cell, builds in _by_cell(run).items():
        where = Where(cell.arch, cell.config, None)
        failing = False
        known = frozenset[object]()
        for build in builds:
            result = build.result
            if result is None or result.status not in (Status.PASS, Status.FAIL):
                continue
            if result.status is Status.FAIL:
                # One report is enough for several points in a row.
                if not failing:
                    title = result.reason or "does not build"
                    kind = Kind.EVIDENCE if title.startswith("evidence:") else Kind.BUILD
                    yield _Seen(Fault(kind, title, title), where, build.point)
                failing = True
                continue
            failing = False
            for warning in result.warnings if build.point > 0 else ():
                if warning not in known:
                    title = f"new warning: {warning}"
                    yield _Seen(Fault(Kind.WARNING, title, title), where, build.point)
            known = frozenset(result.warnings)


def _testing(run: Run, judgements: Mapping[str, Judgement]) -> Iterator[_Seen]:
    for cell, build, test in _tests(run):
        verdict = judgements[test.id]
        if verdict.status is not Status.FAIL:
            continue
        before = list(earlier(run, build, test))
        for fault, shown in zip(verdict.faults, verdict.shown, strict=True):
            clean = _clean_runs(before, judgements, fault)
            if clean is None:
                continue
            confidence = _confidence(shown, verdict.runs, clean)
            where = Where(cell.arch, cell.config, test.node)
            confirmed = fault in verdict.confirmed
            yield _Seen(fault, where, build.point, (test.id,), confirmed, confidence)


def _clean_runs(
    before: Sequence[Test], judgements: Mapping[str, Judgement], fault: Fault
) -> float | None:
    """Return how many runs without a fault the nearest test has that tells of it; None if it shows.

    Tests in which it may have been hidden, as by a crash that cut them off before, are passed over.
    Where the scenario does not apply, its faults can't be.
    """
    for test in before:
        verdict = judgements[test.id]
        if verdict.status is Status.SKIP:
            return math.inf
        if verdict.status not in TELLING:
            continue
        if shows(test, verdict, fault):
            return None
        if runs := looks(test, fault):
            return runs
    return 0


def _confidence(bad: int, runs: int, clean: float) -> float:
    """Return how sure it is that the point before is good.

    With the fault showing in ``bad`` of ``runs`` here (Laplace's estimate of its rate), this is the
    chance that the ``clean`` runs there were not luck: syzkaller's 1 - (1 - p)^good. Where nothing
    is known, nothing is sure.
    """
    rate = (bad + 1) / (runs + 2)
    return 1.0 - math.pow(1.0 - rate, clean)


def _measuring(run: Run, judgements: Mapping[str, Judgement], effects: Effects) -> Iterator[_Seen]:
    for cell, build, test in _tests(run):
        least = effects.minimum.get(test.clock)
        if least is None or build.point == 0:
            continue
        # A kernel with the feature is not compared with one without: what the feature costs where
        # it does not apply is the series' to weigh, and stands in the report.
        like = (one for one in earlier(run, build, test) if one.state is test.state)
        before = next((judgements[one.id] for one in like if judgements[one.id].measurements), None)
        if before is None:
            continue
        old = {figure.name: figure for figure in before.measurements}
        for figure in judgements[test.id].measurements:
            if figure.name in old and _slower(old[figure.name], figure, least):
                values = f"{old[figure.name].value:.0f} -> {figure.value:.0f}"
                title = f"{figure.name}: {values} {figure.unit}"
                fault = Fault(Kind.MEASUREMENT, figure.name, title, figure.name, test.scenario)
                where = Where(cell.arch, cell.config, test.node)
                yield _Seen(fault, where, build.point, (test.id,))


def _slower(old: Measurement, new: Measurement, least: float) -> bool:
    """Whether the figure grew by more than the least effect and more than both spreads explain."""
    return new.value - old.value > max(least * abs(old.value), 3 * (old.mad + new.mad))


def _merged(
    seen: Iterable[_Seen], enabling: frozenset[int], issues: Sequence[Issue]
) -> Iterator[Regression]:
    """Put the same fault in several cells together; the first point that surely shows it leads.

    What the base has is no patch's doing, and what a patch brings back is the patch's. What showed
    once and not again leads only where there is nothing better, and so does what has nothing
    before it to be compared with.
    """
    groups = dict[tuple[Fault, bool], list[_Seen]]()
    for one in sorted(seen, key=lambda one: one.point):
        groups.setdefault((one.fault, one.point == 0), []).append(one)
    for (_, old), group in groups.items():
        confirmed = [one for one in group if one.confirmed]
        leading = [one for one in confirmed if one.confidence > 0] or confirmed or group
        first = leading[0]
        fault = first.fault
        # An enabling patch may have brought a fault or only made it visible: not known without more
        # runs.
        unknown = not old and first.point in enabling and fault.kind not in PLAIN
        issue = recognise(fault, issues)
        state = State.ONGOING if old else State.NEW if confirmed else State.FLAKY
        yield Regression(
            fault=fault,
            state=state if issue is None else State.KNOWN,
            where=tuple(dict.fromkeys(one.where for one in group)),
            tests=tuple(dict.fromkeys(test for one in group for test in one.tests)),
            first_bad=first.point,
            confidence=round(max(one.confidence for one in leading if one.point == first.point), 3),
            introduced=None if unknown else not old,
            issue=None if issue is None else issue.id,
        )


def _verdict(
    run: Run,
    judgements: Mapping[str, Judgement],
    regressions: tuple[Regression, ...],
    issues: Sequence[Issue],
) -> tuple[Verdict, str]:
    # A fault without any earlier result to compare with is nobody's yet.
    new = [one for one in regressions if one.state is State.NEW and one.confidence > 0]
    if new:
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        return Verdict.REGRESSION, f"point {new[0].first_bad}: {new[0].title}{more}"
    for one in regressions:
        if one.state is State.FLAKY:
            seen = f"seen once and not again: {one.title}"
            return Verdict.INCONCLUSIVE, f"point {one.first_bad}: {seen}"
    for trouble in _inconclusive(run, judgements, issues):
        return Verdict.INCONCLUSIVE, trouble
    return Verdict.PASS, f"{len(run.points)} points, no new fault"


def _inconclusive(
    run: Run, judgements: Mapping[str, Judgement], issues: Sequence[Issue]
) -> Iterator[str]:
    """Yield what is missing for a verdict, the base's own faults first."""
    for cell, builds in _by_cell(run).items():
        for build in builds:
            place = f"point {build.point} in {cell.name}"
            if build.result is None:
                yield f"{place} was {build.not_built}"
            elif build.result.status is not Status.PASS:
                yield f"{place}: {build.result.reason}"
            for test in build.tests:
                verdict = judgements[test.id]
                if verdict.faults and all(recognise(one, issues) for one in verdict.faults):
                    continue
                if verdict.status not in (Status.PASS, Status.SKIP):
                    yield f"{place}: {test.scenario} is {verdict.status}: {verdict.reason}"
    if not run.builds:
        yield "nothing was built"
    elif judgements and all(one.status is Status.SKIP for one in judgements.values()):
        yield "nothing passed: all was skipped"


def _by_cell(run: Run) -> dict[Cell, list[Build]]:
    cells = dict[Cell, list[Build]]()
    for build in sorted(run.builds, key=lambda one: one.point):
        cells.setdefault(build.cell, []).append(build)
    return cells


def _tests(run: Run) -> Iterator[tuple[Cell, Build, Test]]:
    for cell, builds in _by_cell(run).items():
        for build in builds:
            for test in build.tests:
                yield cell, build, test
