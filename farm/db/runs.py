# SPDX-License-Identifier: GPL-2.0-or-later
"""Between rows and records: what verdicts and reports read, and how runs are found by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from farm.db.claims import FAILED, UNFINISHED
from farm.db.models import AttemptRow, BuildRow, JobRow, ObservationRow, PointRow, RunRow, TestRow
from farm.planner import Request
from farm.records import Attempt, Build, Cell, Observation, Purpose, Run, Test
from stress.scenario import Clock, FeatureState
from workers.errors import UserError
from workers.requests import BuildResult, Point
from workers.tags import Remark
from workers.timing import Step

REQUEST = TypeAdapter(Request)
BUILD = TypeAdapter(BuildResult)
OBSERVATION = TypeAdapter(Observation)
REMARKS = TypeAdapter(tuple[Remark, ...])
STEPS = TypeAdapter(tuple[Step, ...])

LATEST = "latest"


def find_run(session: Session, name: str) -> RunRow:
    """Return a run by its id, a unique prefix of it, or ``latest``.

    UserError lists what there is.
    """
    newest = select(RunRow).order_by(RunRow.created.desc(), RunRow.id.desc())
    if name == LATEST:
        if (row := session.scalars(newest.limit(1)).first()) is None:
            raise UserError("there is no run yet", "farm submit SERIES makes one")
        return row
    found = session.scalars(
        newest.where(RunRow.id.startswith(name, autoescape=True)).limit(2)
    ).all()
    if len(found) == 1:
        return found[0]
    recent = [row.id for row in session.scalars(newest.limit(5))]
    if found:
        raise UserError(f"run {name!r} is not unique", f"the newest: {', '.join(recent)}")
    hint = f"the newest: {', '.join(recent)}" if recent else "there is no run yet"
    raise UserError(f"there is no run {name!r}", hint)


def load_run(session: Session, row: RunRow, icount_shift: int) -> Run:
    """Return all that is known of a run."""
    request = REQUEST.validate_python(row.request)
    sources = _sources(session, row.id)
    pending = pending_tests(session, row.id)
    given_up = _given_up(session, row.id)
    cells = {cell.name: cell for cell in request.cells}
    return Run(
        id=row.id,
        title=row.title,
        version=row.version,
        profile=request.profile,
        state=row.state,
        created=row.created,
        finished=row.finished,
        base=row.base or "",
        sandboxed=request.sandbox,
        points=tuple(_point(point) for point in row.points),
        builds=tuple(
            _build(one, cells, sources, pending, given_up) for one in _builds(session, row.id)
        ),
        icount_shift=icount_shift,
        not_tested=request.not_tested,
    )


def _builds(session: Session, run: str) -> list[BuildRow]:
    """Return the builds of a run, all that hangs on them read in a few queries."""
    builds = select(BuildRow).where(BuildRow.run_id == run).order_by(BuildRow.id)
    tests = selectinload(BuildRow.tests).selectinload(TestRow.observations)
    return list(session.scalars(builds.options(tests)))


def _sources(session: Session, run: str) -> dict[str, TestRow]:
    """Return the tests, of this run or others, that tests of a run inherit from."""
    wanted = select(TestRow.inherited_from).where(TestRow.run_id == run)
    found = select(TestRow).where(TestRow.id.in_(wanted))
    tests = session.scalars(found.options(selectinload(TestRow.observations)))
    return {test.id: test for test in tests}


def load_attempts(session: Session, row: RunRow) -> tuple[Attempt, ...]:
    """Return all tries at the jobs of a run, in the order in which they began."""
    tries = (
        select(JobRow, AttemptRow)
        .join(AttemptRow, JobRow.id == AttemptRow.job_id)
        .where(JobRow.run_id == row.id)
        .order_by(AttemptRow.started, AttemptRow.job_id)
    )
    return tuple(
        Attempt(
            job=job.id,
            kind=job.kind,
            slot=job.slot,
            holder=tried.holder,
            started=tried.started,
            ended=tried.ended,
            outcome=tried.outcome,
            reason=tried.reason,
            build=job.spec.get("build"),
            tests=tuple(job.spec.get("tests", ())),
            steps=STEPS.validate_python(tried.steps or ()),
        )
        for job, tried in session.execute(tries)
    )


def pending_tests(session: Session, run: str) -> frozenset[str]:
    """Return the ids of the tests that a boot of the run, unfinished as yet, will speak of."""
    jobs = session.scalars(
        select(JobRow).where(
            JobRow.run_id == run, JobRow.kind == "boot", JobRow.state.in_(UNFINISHED)
        )
    )
    return frozenset(test for job in jobs for test in job.spec["tests"])


def _given_up(session: Session, run: str) -> Mapping[int | str, str]:
    """Return why builds (by number) and boots of tests (by id) of a run were given up."""
    tries = (
        select(JobRow, AttemptRow.reason)
        .join(AttemptRow, JobRow.id == AttemptRow.job_id)
        .where(JobRow.run_id == run, JobRow.state == FAILED, AttemptRow.reason.is_not(None))
        .order_by(JobRow.id, AttemptRow.fence)
    )
    words = dict[int | str, str]()
    for job, reason in session.execute(tries):
        named = [job.spec["build"]] if job.kind == "build" else job.spec.get("tests", [])
        # Those of the last try stay.
        words.update((name, reason or "") for name in named)
    return words


def _point(row: PointRow) -> Point:
    return Point(
        row.index,
        row.subject,
        row.author,
        row.commit,
        row.tree,
        row.chain,
        row.reason,
        row.parent,
        None if row.remarks is None else REMARKS.validate_python(row.remarks),
    )


def _build(
    row: BuildRow,
    cells: Mapping[str, Cell],
    sources: Mapping[str, TestRow],
    pending: frozenset[str],
    given_up: Mapping[int | str, str],
) -> Build:
    cell = Cell(row.arch, row.config, row.toolchain)
    return Build(
        id=row.id,
        point=row.point,
        cell=cells.get(cell.name, cell),
        result=None if row.result is None else BUILD.validate_python(row.result),
        log=row.log,
        tests=tuple(_test(test, sources, pending, given_up) for test in row.tests),
        given_up=given_up.get(row.id),
    )


def _test(
    row: TestRow,
    sources: Mapping[str, TestRow],
    pending: frozenset[str],
    given_up: Mapping[int | str, str],
) -> Test:
    source = row if row.inherited_from is None else sources[row.inherited_from]
    seen = list(_seen(source.observations))
    if source.run_id != row.run_id:
        # A control tells whether the node was well when it was made: in another run's time.
        seen = [one for one in seen if one.purpose is not Purpose.CONTROL]
    if source is not row:
        seen += _seen(row.observations)
    return Test(
        id=row.id,
        scenario=row.scenario,
        node=row.node,
        clock=Clock(row.clock),
        seed=row.seed,
        skip=row.skip,
        state=FeatureState(row.state),
        inherited_from=row.inherited_from,
        observations=tuple(seen),
        pending=row.id in pending or source.id in pending,
        given_up=given_up.get(source.id, given_up.get(row.id)),
    )


def _seen(rows: Iterable[ObservationRow]) -> Iterable[Observation]:
    return (OBSERVATION.validate_python(row.seen) for row in rows)
