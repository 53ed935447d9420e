# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the suite catch what it is meant to catch? Canaries are faults planted on purpose.

A self test is a run whose base is a series' last point, with one point for each canary, all made
from that base. A canary is caught when a case that passes on the base fails twice on it, or when it
crashes twice. A cure is the fix of a known issue of the base: its case has to fail on the base and
to pass with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import kernel_series
from farm.issues import Issue
from farm.planner import Canary, Request
from farm.records import Build, Run
from farm.verdicts.judge import Fault, Judgement, Kind
from farm.verdicts.regressions import Verdict
from kernel_series import edits
from workers.errors import UserError
from workers.prepare import Plant
from workers.status import Status, worst

SHIPPED = Path(kernel_series.__file__).parent
FOLDERS = ("canaries", "cures")


class Caught(StrEnum):
    """What became of a canary."""

    CAUGHT = "caught"
    MISSED = "missed"
    INVALID = "invalid"
    NOT_OBSERVABLE = "not-observable"


@dataclass(frozen=True)
class Result:
    """One canary: what became of it, by which case, how that showed, and the base's status in it.

    ``seconds`` are those of its build and its boots; ``complete`` says whether they all came to a
    result.
    """

    name: str
    result: Caught
    case: str | None
    how: str
    control: Status
    seconds: float
    complete: bool


def find(names: Sequence[str]) -> tuple[Canary, ...]:
    """Return canaries by the names of shipped ones, by files or by folders; without, all shipped.

    Raises UserError for an unknown name or when there is none, SeriesError for a file that is no
    recipe.
    """
    shipped = {
        path.stem: path for folder in FOLDERS for path in sorted((SHIPPED / folder).glob("*.yml"))
    }
    paths = list[Path]()
    for name in names or shipped:
        if name in shipped:
            paths.append(shipped[name])
        elif name and Path(name).is_dir():
            there = sorted(Path(name).glob("*.yml"))
            if not there:
                raise UserError(f"{name}: there is no canary in this folder", "they end in .yml")
            paths += there
        elif Path(name).is_file():
            paths.append(Path(name))
        else:
            like = difflib.get_close_matches(name, shipped, cutoff=0.0)
            known = f"one of the {len(shipped)} of {SHIPPED}, like {', '.join(like)}"
            raise UserError(f"unknown canary {name!r}", f"name a file, a folder, or {known}")
    if not paths:
        raise UserError("no canary is shipped", "name a file or a folder")
    recipes = [edits.load_recipe(path.resolve()) for path in paths]
    # All that reads a header is built again for it and once more after it: last, that is once.
    recipes.sort(key=lambda one: one.touches_header)
    return tuple(_canary(recipe) for recipe in recipes)


def plants(words: Sequence[str]) -> tuple[Plant, ...]:
    """Return what ``--plant CANARY@K`` asks for; UserError for anything else."""
    found = list[Plant]()
    for word in words:
        name, separator, at = word.rpartition("@")
        if not separator or not at.isdecimal():
            raise UserError(f"--plant {word}: not of the form CANARY@K", "K is a point's number")
        found += [Plant(canary.path, int(at)) for canary in find([name])]
    return tuple(found)


def _canary(recipe: edits.Recipe) -> Canary:
    about = (recipe.title, recipe.caught_by, recipe.needs, recipe.cures)
    return Canary(recipe.path, recipe.name, *about)


def evaluate(
    run: Run,
    request: Request,
    judgements: Mapping[str, Judgement],
    issues: Sequence[Issue],
    ended: bool,
) -> tuple[Result, ...]:
    """Return what became of each canary of a run; before its end, of those that are settled."""
    if not run.points:
        return ()
    return tuple(
        _evaluate(run, request, index, canary, judgements, issues)
        for index, canary in enumerate(request.canaries, start=1)
        if ended or _settled(run, index, judgements)
    )


def verdict(results: Sequence[Result]) -> tuple[Verdict, str]:
    """Return the verdict on the suite: PASS when everything that could be seen here was caught.

    What was not caught tells nothing about the suite where the base says nothing about it, or where
    not all that could have caught it came to a result.
    """
    if not results:
        return Verdict.INCONCLUSIVE, "nothing was planted"
    wrong = [one for one in results if one.result in (Caught.MISSED, Caught.INVALID)]
    for result in sorted(wrong, key=_is_doubtful):
        kind = Verdict.INCONCLUSIVE if _is_doubtful(result) else Verdict.REGRESSION
        return kind, f"{result.name} {result.result}: {result.how}"
    caught = sum(result.result is Caught.CAUGHT for result in results)
    rest = ", the others not observable here" if caught < len(results) else ""
    return Verdict.PASS, f"{caught} of {len(results)} caught{rest}"


def _is_doubtful(result: Result) -> bool:
    return result.control is Status.MISS or not result.complete


def _evaluate(
    run: Run,
    request: Request,
    index: int,
    canary: Canary,
    judgements: Mapping[str, Judgement],
    issues: Sequence[Issue],
) -> Result:
    builds = [build for build in run.builds if build.point == index]
    tests = [test for build in builds for test in build.tests]
    seconds = sum(build.result.seconds for build in builds if build.result is not None)
    seconds += sum(seen.seconds for test in tests for seen in test.observations)
    base = {
        (build.cell, test.key): judgements[test.id]
        for build in run.builds
        if build.point == 0
        for test in build.tests
    }
    wanted = request.scenarios_of(index)
    control = worst(
        judgements[test.id].status
        for build in run.builds
        if build.point == 0
        for test in build.tests
        if test.scenario in wanted
    )
    complete = all(
        build.result is not None and build.result.status is not Status.MISS for build in builds
    ) and all(judgements[test.id].status is not Status.MISS for test in tests)

    def result(caught: Caught, how: str, case: str | None = None) -> Result:
        return Result(canary.name, caught, case, how, control, round(seconds, 1), complete)

    if (reason := run.points[index].reason) is not None:
        return result(Caught.INVALID, reason)
    if (trouble := _build_trouble(builds)) is not None:
        return result(Caught.INVALID, trouble)
    if all(judgements[test.id].status is Status.SKIP for test in tests):
        reasons = [judgements[test.id].reason or "" for test in tests]
        return result(Caught.NOT_OBSERVABLE, reasons[0] if reasons else "no scenario applies")
    pairs = [
        (judgements[test.id], base.get((build.cell, test.key)))
        for build in builds
        for test in build.tests
    ]
    if canary.cures is not None:
        return _cured(canary.cures, pairs, issues, result)
    for found, before in pairs:
        for fault in found.confirmed:
            if fault.is_of_the_boot:
                return result(Caught.INVALID, f"does not boot: {fault.title}")
            if before is not None and _passes(before, fault):
                return result(Caught.CAUGHT, fault.title, fault.case)
    return result(Caught.MISSED, _why_missed(found for found, _ in pairs))


def _settled(run: Run, index: int, judgements: Mapping[str, Judgement]) -> bool:
    """Whether nothing that is still to come can change what became of a canary."""
    builds = [build for build in run.builds if build.point in (0, index)]
    return run.points[index].reason is not None or all(
        build.result is not None
        and all(
            (test.skip or test.observations)
            and not test.pending
            and judgements[test.id].need is None
            for test in build.tests
        )
        for build in builds
    )


def _build_trouble(builds: Sequence[Build]) -> str | None:
    for build in builds:
        if build.result is None:
            return f"it was {build.not_built}"
        if build.result.status is not Status.PASS:
            return build.result.reason or "does not build"
    return None


def _passes(control: Judgement, fault: Fault) -> bool:
    """Whether the base has the failing case as PASS; of a crash, whether it shows none like it.

    Evidence that holds leaves no case behind, and a kernel may fall silent between two cases: there
    the whole test has to be PASS.
    """
    if fault.kind is Kind.CRASH:
        return fault not in control.faults
    if fault.kind is Kind.EVIDENCE or fault.case is None:
        return control.status is Status.PASS
    return any(case.name == fault.case and case.status is Status.PASS for case in control.cases)


def _cured(
    name: str,
    pairs: Sequence[tuple[Judgement, Judgement | None]],
    issues: Sequence[Issue],
    result: Callable[..., Result],
) -> Result:
    issue = next((one for one in issues if one.id == name), None)
    if issue is None:
        return result(Caught.INVALID, f"there is no known issue {name}")
    for found, before in pairs:
        sick = [fault for fault in before.faults if issue.matches(fault)] if before else []
        for fault in sick:
            if _healed(found, fault) and not any(issue.matches(one) for one in found.faults):
                return result(Caught.CAUGHT, f"without it: {fault.title}", fault.case)
            if found.status is Status.MISS:
                return result(Caught.MISSED, _why_missed([found]))
            return result(Caught.MISSED, f"still there: {fault.title}", fault.case)
    return result(Caught.MISSED, "the base does not show the issue")


def _healed(found: Judgement, fault: Fault) -> bool:
    """Whether the case of a fault passes; of a crash that cut no case off, the whole test."""
    if fault.case is None:
        return found.status is Status.PASS
    return any(case.name == fault.case and case.status is Status.PASS for case in found.cases)


def _why_missed(judgements: Iterable[Judgement]) -> str:
    found = list(judgements)
    for one in found:
        if one.status not in (Status.PASS, Status.SKIP):
            return f"{one.status}: {one.reason}"
    return f"all {sum(len(one.cases) for one in found)} cases passed or were skipped"
