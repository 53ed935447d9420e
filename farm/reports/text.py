# SPDX-License-Identifier: GPL-2.0-or-later
"""Results for a person at a terminal.

Whatever came from a series or a guest is ``foreign``: shown as text, neither as markup nor as
commands to the terminal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farm import selftest
from farm.app import Judged
from farm.records import Build, Cell, Run, Test
from farm.reports import results
from farm.schedule import FINISHED
from farm.verdicts.judge import Judgement
from kernel_series.errors import printable
from stress.scenario import Clock
from workers.status import Status

ABREAST = 2
"""Cells side by side in a table of points."""

MOST_REMARKS = 5
"""Remarks on a patch that are shown; all are in the JSON document."""

STYLES: Mapping[str, str] = {
    "PASS": "green",
    "FAIL": "bold red",
    "ERROR": "bold magenta",
    "MISS": "yellow",
    "SKIP": "dim",
    "DONE": "green",
    "REGRESSION": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "caught": "green",
    "missed": "bold red",
    "invalid": "bold magenta",
    "not-observable": "dim",
}


def run(judged: Judged) -> RenderableType:
    """Return a run: points, what a hit costs, regressions, what was not tested, the verdict."""
    if judged.canaries is not None:
        return _canaries(judged, judged.canaries)
    found, assessment = judged.run, judged.assessment
    parts: list[RenderableType] = [_heading(found), _points(found, assessment.judgements)]
    if any(not build.cell.boots for build in found.builds):
        parts.append(_built_only(found))
    if (figures := _figures(found, assessment.judgements)) is not None:
        parts.append(figures)
    if assessment.regressions:
        parts.append(_regressions(judged))
    if any(point.remarks for point in found.points):
        parts.append(_remarks(found))
    left_out = results.not_tested(judged)
    if left_out:
        parts.append(Text("Not tested, and why", style="bold"))
        parts += [foreign(f"  {what}: {why}") for what, why in left_out]
    reason = foreign(f"  {judged.reason or assessment.reason}")
    return Group(*parts, Text.assemble(status(judged.outcome), reason))


def plan(document: Mapping[str, Any]) -> RenderableType:
    """Return what a submission would do."""
    series = document["series"]
    head = f"{series['title']}, version {series['version']}: {series['patches']} patches"
    parts: list[RenderableType] = [foreign(head, "bold")]
    parts += [foreign(f"  {number}  {one}") for number, one in enumerate(document["subjects"])]
    for cell in document["cells"]:
        only = "" if cell["boots"] else ", not booted"
        parts.append(Text(f"builds on {cell['arch']}, {cell['config']}, {cell['toolchain']}{only}"))
    scenarios = ", ".join(document["scenarios"])
    parts.append(Text(f"boots on {', '.join(document['nodes'])}: {scenarios}"))
    minutes = document["seconds"] / 60
    parts.append(
        Text(
            f"{document['builds']} builds and {document['boots']} boots at the most, about"
            f" {minutes:.0f} minutes on two cores if nothing is known yet"
        )
    )
    parts += [foreign(f"not tested: {one['what']}: {one['why']}") for one in document["not_tested"]]
    return Group(*parts)


def foreign(text: str, style: str = "") -> Text:
    """Return somebody else's text as it may be shown."""
    return Text(printable(text), style=style)


def status(text: str) -> Text:
    """Return a status word in its colour."""
    return Text(text, style=STYLES.get(text, ""))


def one_line(text: str) -> Text:
    """Return somebody else's text, cut off and not broken where its column is too narrow."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def _canaries(judged: Judged, results: Sequence[selftest.Result]) -> RenderableType:
    """Return what became of each planted fault: which case caught it, and how that showed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("canary", "result", "case", "how"):
        table.add_column(name)
    table.add_column("seconds", justify="right")
    for one in results:
        row = (one_line(one.case or ""), one_line(one.how), f"{one.seconds:.0f}")
        table.add_row(foreign(one.name), status(one.result.value), *row)
    reason = foreign(f"  {judged.reason or 'not finished'}")
    return Group(_heading(judged.run), table, Text.assemble(status(judged.outcome), reason))


def _heading(found: Run) -> RenderableType:
    title = foreign(f"{found.title}, version {found.version}", "bold")
    state = "" if found.state == FINISHED else f", {found.state}"
    about = f"run {found.id}{state}, profile {found.profile}, base {found.base or 'not there yet'}"
    if not found.sandboxed:
        about += ", WITHOUT A SANDBOX"
    return Group(title, foreign(about))


def _points(found: Run, judgements: Mapping[str, Judgement]) -> RenderableType:
    """Return a table of the points for every few cells: as many as a screen is wide."""
    cells = list(dict.fromkeys(build.cell for build in found.builds if build.cell.boots))
    groups = [cells[start : start + ABREAST] for start in range(0, len(cells), ABREAST)] or [[]]
    return Group(*(_points_in(found, group, judgements) for group in groups))


def _points_in(found: Run, cells: Sequence[Cell], judgements: Mapping[str, Judgement]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("patch")  # the one that gives way on a narrow screen
    for cell in cells:
        table.add_column(f"{cell.arch} {cell.config}", no_wrap=True)
        table.add_column("tests", no_wrap=True)
    for point in found.points:
        row: list[RenderableType] = [str(point.index), one_line(point.subject)]
        if point.reason is not None:
            state = results.apply_status(found, point)
            row.append(Text.assemble(status(state.value), " does not apply"))
        for cell in cells if point.reason is None else ():
            build = next(
                one for one in found.builds if one.cell == cell and one.point == point.index
            )
            row += [_build(found, build), _tests(build.tests, judgements)]
        table.add_row(*row)
    return table


def _built_only(found: Run) -> RenderableType:
    """Return the cells that are not booted, a row for each: what was built, and how that went."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for cell in dict.fromkeys(build.cell for build in found.builds if not build.cell.boots):
        builds = [build for build in found.builds if build.cell == cell]
        counts = Counter(build.result.status if build.result else Status.MISS for build in builds)
        text = Text(" ").join(
            Text.assemble(f"{counts[one]} ", status(one.value)) for one in Status if counts[one]
        )
        seconds = sum(build.result.seconds for build in builds if build.result)
        notes = [f"{seconds:.0f} s", _targets(builds)]
        for build in builds:
            if more := results.new_warnings(found, build):
                notes.append(f"new warnings at {build.point}: {more}")
        absent = [str(one.point) for one in builds if one.result and not one.result.compiled]
        if absent:
            notes.append(f"not compiled at {', '.join(absent)}")
        table.add_row(f"{cell.arch} {cell.config}", text, foreign(", ".join(filter(None, notes))))
    return Group(Text("Built and not booted", style="bold"), table)


def _remarks(found: Run) -> RenderableType:
    """Return what checks say of the patches, the first few for each."""
    parts = [Text("Checks of the patches (no verdict hangs on them)", style="bold")]
    for point in found.points:
        remarks = point.remarks or ()
        if not remarks:
            continue
        counts = Counter(one.level for one in remarks)
        said = ", ".join(f"{count} {level}" for level, count in counts.items())
        parts.append(foreign(f"  point {point.index}: {said}"))
        for one in remarks[:MOST_REMARKS]:
            place = f" line {one.line}" if one.line else ""
            kind = f" {one.kind}" if one.kind else ""
            parts.append(foreign(f"    {one.tool} {one.level}{kind}{place}: {one.text}", "dim"))
        if len(remarks) > MOST_REMARKS:
            parts.append(Text(f"    and {len(remarks) - MOST_REMARKS} more", style="dim"))
    return Group(*parts)


def _targets(builds: Sequence[Build]) -> str:
    """Say what was built where it is less than a kernel, by the point with the most of it."""
    most = max((one.result.targets for one in builds if one.result), key=len, default=())
    if not most or most == ("vmlinux",):
        return ""
    kind = "folders" if all(target.endswith("/") for target in most) else "objects"
    return f"only {len(most)} {kind} that the series touches"


def _build(found: Run, build: Build) -> Text:
    if build.result is None:
        return status(Status.MISS.value)
    text = status(build.result.status.value)
    if build.result.status is Status.PASS:
        text.append(" known" if build.result.cached else f" {build.result.seconds:.0f} s")
    if (same := results.identical_to(found, build)) is not None:
        text.append(f" = {same}")
    if not build.result.compiled:
        text.append(" not compiled")
    if more := results.new_warnings(found, build):
        text.append(f" {more} warnings", style="yellow")
    return text


def _tests(tests: Sequence[Test], judgements: Mapping[str, Judgement]) -> Text:
    """Count the tests by status; say whether they were taken over from an equal kernel."""
    counts = Counter(judgements[test.id].status for test in tests)
    text = Text(" ").join(
        Text.assemble(f"{counts[one]} ", status(one.value)) for one in Status if counts[one]
    )
    inherited = sum(test.inherited_from is not None for test in tests)
    if inherited:
        text.append(" reused" if inherited == len(tests) else f" {inherited} reused")
    return text


def _figures(found: Run, judgements: Mapping[str, Judgement]) -> RenderableType | None:
    """Return what probes cost, point by point, as counted under icount on the first cell."""
    if not found.builds:
        return None
    first = found.builds[0].cell
    columns = defaultdict[str, dict[int, dict[str, float]]](dict)
    for build in found.builds:
        figures = [
            one
            for test in build.tests
            if build.cell == first and test.clock is Clock.ICOUNT
            for one in judgements[test.id].measurements
        ]
        for one in figures:
            columns[one.unit].setdefault(build.point, {})[one.name] = one.value
    tables = [_by_point(unit, first, columns[unit]) for unit in sorted(columns, reverse=True)]
    return Group(*tables) if tables else None


def _by_point(unit: str, cell: Cell, columns: Mapping[int, Mapping[str, float]]) -> RenderableType:
    title = Text(f"Cost in {unit}, {cell.arch} {cell.config}, by point", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for point in columns:
        table.add_column(str(point), justify="right")
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        values = (column.get(name) for column in columns.values())
        table.add_row(foreign(name), *("-" if one is None else f"{one:.0f}" for one in values))
    return Group(title, table)


def _regressions(judged: Judged) -> RenderableType:
    parts = [Text("Regressions", style="bold")]
    for one in judged.assessment.regressions:
        places = ", ".join(dict.fromkeys(f"{place.arch} {place.config}" for place in one.where))
        # Where nothing is known of the point before there is nothing to be sure of.
        sure = f", confidence {one.confidence:.2f}" if one.confidence else ""
        parts.append(foreign(f"  point {one.first_bad}: {one.title}", STYLES["FAIL"]))
        parts.append(Text(f"    {one.state}, {one.kind}{sure}; {places}"))
    return Group(*parts)
