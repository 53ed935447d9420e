# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be done next in a run, worked out anew from the database whenever something ended.

Nothing is planned ahead that could get lost: tests appear when their build is done, boots when a
test has nothing to show, follow-ups when a judgement asks for them. So a run goes on from wherever
it was cut off.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from farm import selftest
from farm.db import claims
from farm.db.database import database_now
from farm.db.models import AttemptRow, BuildRow, JobRow, PointRow, RunRow, TestRow
from farm.db.runs import BUILD, OBSERVATION, REMARKS, REQUEST, load_run
from farm.flavours import Flavour
from farm.issues import Issue, recognise
from farm.planner import Request, canary_skip, feature_state, skip_reason
from farm.profiles import NodeData, Profile
from farm.records import Build, Cell, Purpose, Run, Test
from farm.verdicts.judge import Judgement, Need, came_to_its_end, evidence
from farm.verdicts.regressions import Effects, assess, earlier, judge_all
from stress.protocol import Outcome
from stress.scenario import Clock, Scenario
from workers.errors import UserError
from workers.prepare import PrepareResult
from workers.requests import BuildResult
from workers.status import Status

PREPARE, BUILDING, BOOT = "prepare", "build", "boot"
"""Kinds of jobs; the first two are slots of their names too."""

QUEUED, STARTED, FINISHED, STOPPED = "queued", "running", "finished", "cancelled"
"""States of a run."""

ENDED = (FINISHED, STOPPED)

PREPARE_FIRST, BUILDS_NEXT, BUILD_ONLY_LAST = 3000, 2000, 0
"""Priorities: builds before boots, for boots wait for builds; among boots the tip goes first. What
is built and not booted keeps nothing waiting."""


def node_slot(name: str) -> str:
    """Return the slot that a boot on a node takes up."""
    return f"node {name}"


@dataclass(frozen=True)
class Host:
    """What scheduling knows of this host and its data files.

    ``models`` says for each node what results on it are compared by; ``tools`` are digests of the
    programs that it has for guests, by their names.
    """

    profile: Profile
    nodes: Mapping[str, NodeData]
    models: Mapping[str, str]
    scenarios: Mapping[str, Scenario]
    issues: tuple[Issue, ...] = ()
    flavours: Mapping[str, Flavour] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def effects(self) -> Effects:
        return Effects(self.profile.effects)


def submit(session: Session, run: str, title: str, version: int | None, request: Request) -> None:
    """Create a run with its first job."""
    session.add(
        RunRow(
            id=run,
            title=title,
            version=version,
            request=REQUEST.dump_python(request, mode="json"),
            state=QUEUED,
            created=session.scalar(select(database_now())),
            # Whoever submits works on it himself, or sees to it that somebody does.
            alive_until=session.scalar(select(database_now() + claims.LEASE_SECONDS)),
        )
    )
    session.flush()
    session.add(_job(run, PREPARE, PREPARE, PREPARE_FIRST, {}))


def cancel(session: Session, row: RunRow) -> bool:
    """End a run for good; False if it has ended already. What was done stays.

    Who works on it stops its jobs as soon as it looks, and the verdict is what its results came to.
    """
    if row.state in ENDED:
        return False
    row.state, row.finished = STOPPED, session.scalar(select(database_now()))
    claims.cancel(session, row.id)
    return True


def prepared(session: Session, row: RunRow, result: PrepareResult) -> None:
    """Write down the points and queue their builds, one lane for each cell, the first one ready."""
    if row.state in ENDED:
        return
    request = REQUEST.validate_python(row.request)
    row.base, row.state = result.base, STARTED
    for point in result.points:
        session.add(
            PointRow(
                run_id=row.id,
                index=point.index,
                subject=point.subject,
                author=point.author,
                commit=point.commit,
                tree=point.tree,
                chain=point.chain,
                reason=point.reason,
                parent=point.parent,
                remarks=None if point.remarks is None else REMARKS.dump_python(point.remarks),
            )
        )
    for cell in request.cells:
        for point in result.points:
            if point.commit is None:
                continue
            build = BuildRow(
                run_id=row.id,
                point=point.index,
                arch=cell.arch,
                config=cell.config,
                toolchain=cell.toolchain,
                log="",
            )
            session.add(build)
            session.flush()
            first = BUILDS_NEXT if cell.boots else BUILD_ONLY_LAST
            priority = first - point.index
            job = _job(row.id, BUILDING, BUILDING, priority, {"build": build.id}, cell.name)
            job.state = claims.READY if point.index == 0 else claims.WAITING
            session.add(job)


def advance(session: Session, row: RunRow, host: Host) -> None:
    """Queue whatever the run needs next; when it needs nothing more, give its verdict.

    UserError when a node or a scenario that it asks for went away after it was submitted.
    """
    if row.state in ENDED:
        return
    request = REQUEST.validate_python(row.request)
    _check(request, host)
    session.flush()
    _next_in_lanes(session, row)
    for build in row.builds:
        if build.result is not None and not build.tests:
            _add_tests(session, row, request, build, host)
    session.flush()
    session.expire_all()
    run = load_run(session, row, host.profile.icount_shift)
    jobs = session.scalars(select(JobRow).where(JobRow.run_id == row.id)).all()
    _add_boots(session, row, run, host, jobs)
    session.flush()
    open_jobs = select(JobRow).where(JobRow.run_id == row.id, JobRow.state.in_(claims.UNFINISHED))
    if session.scalars(open_jobs.limit(1)).first() is not None:
        return
    if _add_follow_ups(session, row, run, request, host, jobs):
        return
    _conclude(session, row, run, request, host)


def _check(request: Request, host: Host) -> None:
    for node in request.nodes:
        if node not in host.nodes:
            raise UserError(
                f"there is no node {node} in lab {request.lab} any more",
                "put it back into the lab, or submit the series anew",
            )
    for name in request.scenarios:
        if name not in host.scenarios:
            raise UserError(
                f"there is no scenario {name} any more",
                "put its file back, or submit the series anew",
            )


def _next_in_lanes(session: Session, row: RunRow) -> None:
    """In each lane, make the first build that waits ready once none before it is unfinished."""
    lanes = defaultdict[str | None, list[JobRow]](list)
    order = (
        select(JobRow).where(JobRow.run_id == row.id, JobRow.kind == BUILDING).order_by(JobRow.id)
    )
    for job in session.scalars(order):
        lanes[job.lane].append(job)
    for lane in lanes.values():
        unfinished = [job for job in lane if job.state in claims.UNFINISHED]
        if unfinished and unfinished[0].state == claims.WAITING:
            unfinished[0].state = claims.READY


def _add_tests(
    session: Session, row: RunRow, request: Request, build: BuildRow, host: Host
) -> None:
    """Make the tests of a build that is done, each with what it can inherit."""
    result = BUILD.validate_python(build.result)
    cell = Cell(build.arch, build.config, build.toolchain, boots=False)
    if result.status is not Status.PASS or cell in request.cells:
        return
    state = feature_state(request.features, build.point, result.symbols)
    position = 0
    for node in request.nodes:
        if build.arch not in host.nodes[node].arches:
            continue
        for clock in host.profile.clocks:
            for name in request.scenarios_of(build.point):
                scenario = host.scenarios[name]
                if clock not in scenario.clocks:
                    continue
                position += 1
                skip = canary_skip(request, build.point, host.nodes[node]) or skip_reason(
                    scenario, build.arch, clock, host.nodes[node], result.symbols, host.tools
                )
                reuse = _reuse_key(result, scenario, clock, host, node)
                test = TestRow(
                    id=f"{row.id}.{build.id}.{position}",
                    run_id=row.id,
                    build_id=build.id,
                    position=position,
                    scenario=name,
                    node=node,
                    clock=clock.value,
                    seed=host.profile.seed,
                    skip=skip,
                    state=state.value,
                    reuse=reuse,
                )
                if skip is None and request.reuse:
                    test.inherited_from = _source(session, row.id, reuse)
                session.add(test)
                session.flush()


def _reuse_key(result: BuildResult, scenario: Scenario, clock: Clock, host: Host, node: str) -> str:
    """Return what a result depends on: two tests with the same key would see the same."""
    parts = (
        result.kernel_sha256,
        result.payload_sha256,
        scenario.name,
        scenario.run,
        sorted(scenario.parameters.items()),
        scenario.limit,
        [host.tools.get(name) for name in scenario.tools],
        clock.value,
        host.profile.icount_shift if clock is Clock.ICOUNT else None,
        host.models[node],
        host.profile.seed,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _source(session: Session, run: str, reuse: str) -> str | None:
    """Return the test whose observations stand for another one with the same key, if there is one.

    One of the same run may still be under way; one of another run must have told something:
    silence and trouble are not handed down, they are tried again.
    """
    same = select(TestRow).where(
        TestRow.reuse == reuse, TestRow.inherited_from.is_(None), TestRow.skip.is_(None)
    )
    for test in session.scalars(same.order_by(TestRow.id.desc())):
        if test.run_id == run or _is_telling(test):
            return test.id
    return None


def _is_telling(test: TestRow) -> bool:
    """Whether the first run of a test came to a result of the kernel's."""
    seen = (OBSERVATION.validate_python(row.seen) for row in test.observations)
    first = next((one for one in seen if one.purpose is not Purpose.CONTROL), None)
    if first is None:
        return False
    if first.crash is not None:
        return not first.crash.is_the_machine_s
    return first.intact and first.outcome in (Outcome.DONE, Outcome.SKIP)


def _add_boots(session: Session, row: RunRow, run: Run, host: Host, jobs: Sequence[JobRow]) -> None:
    """Queue a boot for the tests of each build that have nothing to show and nothing under way."""
    given_up = _given_up(jobs, Purpose.TEST)
    for build in run.builds:
        groups = defaultdict[tuple[str, Clock], list[str]](list)
        for test in build.tests:
            idle = not (test.observations or test.pending or test.skip or test.inherited_from)
            if idle and test.id not in given_up:
                groups[test.node, test.clock].append(test.id)
        for (node, _), tests in groups.items():
            session.add(_boot_job(row.id, node, build, tests, Purpose.TEST))


def _add_follow_ups(
    session: Session,
    row: RunRow,
    run: Run,
    request: Request,
    host: Host,
    jobs: Sequence[JobRow],
) -> bool:
    """Queue what judgements ask for: another run of a fault, or a control; True if there was any.

    A test that inherits is served by what its source asks for. Where the source asks for nothing,
    as on a kernel that an enabling patch left as it was, the test asks for itself.
    """
    judgements = judge_all(run, host.scenarios)
    queued = set[tuple[str, Purpose]]()
    for build in run.builds:
        # A known issue may be what a canary is: it has to be seen twice there like any other fault.
        planted = request.canaries and build.point > 0
        known = () if planted else host.issues
        for test in build.tests:
            need = judgements[test.id].need
            source = judgements.get(test.inherited_from or "")
            if need is None or (source is not None and source.need is not None):
                continue
            of, asked, purpose = build, test, Purpose.CONFIRM
            if need is Need.CONTROL:
                purpose = Purpose.CONTROL
                ended = (one for one in earlier(run, build, test) if evidence(one) is not None)
                found = next((one for one in ended if came_to_its_end(judgements[one.id])), None)
                if found is None:
                    continue
                of, asked = _build_of(run, found), found
            elif _is_old(run, build, test, judgements, known):
                continue
            # One control serves all the silent kernels behind it.
            if (asked.id, purpose) in queued or asked.id in _given_up(jobs, purpose):
                continue
            session.add(_boot_job(row.id, test.node, of, [asked.id], purpose))
            queued.add((asked.id, purpose))
    return bool(queued)


def _is_old(
    run: Run,
    build: Build,
    test: Test,
    judgements: Mapping[str, Judgement],
    issues: Sequence[Issue],
) -> bool:
    """Whether the point before shows the same faults, or all of them are known issues.

    Then nothing hangs on seeing them again.
    """
    before = next((judgements[one.id] for one in earlier(run, build, test)), None)
    old = set(before.faults) if before is not None else set()
    faults = [fault for fault in judgements[test.id].faults if not recognise(fault, issues)]
    return bool(judgements[test.id].faults) and set(faults) <= old


def _build_of(run: Run, test: Test) -> Build:
    return next(build for build in run.builds if test in build.tests)


def _given_up(jobs: Sequence[JobRow], purpose: Purpose) -> frozenset[str]:
    """Return the tests whose boots for a purpose failed for good."""
    return frozenset(
        test
        for job in jobs
        if job.kind == BOOT and job.state == claims.FAILED and job.spec["purpose"] == purpose
        for test in job.spec["tests"]
    )


def _conclude(session: Session, row: RunRow, run: Run, request: Request, host: Host) -> None:
    if request.canaries:
        results = selftest.evaluate(run, request, judge_all(run, host.scenarios), host.issues, True)
        verdict, row.reason = selftest.verdict(results)
    else:
        enabling = frozenset(feature.introduced_by for feature in request.features)
        assessment = assess(run, host.scenarios, host.effects, enabling, host.issues)
        verdict, row.reason = assessment.verdict, assessment.reason
    row.verdict = verdict.value
    if not run.points:
        row.reason = _last_words(session, row.id)
    row.state, row.finished = FINISHED, session.scalar(select(database_now()))


def refusal(session: Session, run: str) -> str | None:
    """Return what is wrong with the input of a run, if that is why it has no points."""
    attempts = select(AttemptRow.reason).join(JobRow, JobRow.id == AttemptRow.job_id)
    preparing = attempts.where(JobRow.run_id == run, JobRow.kind == PREPARE)
    return session.scalars(preparing.where(AttemptRow.outcome == claims.FAILED)).first()


def _last_words(session: Session, run: str) -> str | None:
    """Return why a run's last attempt at a job ended."""
    attempts = select(AttemptRow).join(JobRow, JobRow.id == AttemptRow.job_id)
    newest = attempts.where(JobRow.run_id == run).order_by(AttemptRow.started.desc())
    last = session.scalars(newest.limit(1)).first()
    return last.reason if last is not None else None


def _boot_job(run: str, node: str, build: Build, tests: Sequence[str], purpose: Purpose) -> JobRow:
    spec = {"build": build.id, "tests": list(tests), "purpose": purpose.value}
    return _job(run, BOOT, node_slot(node), build.point, spec)


def _job(
    run: str, kind: str, slot: str, priority: int, spec: dict[str, Any], lane: str | None = None
) -> JobRow:
    return JobRow(
        run_id=run,
        kind=kind,
        state=claims.READY,
        slot=slot,
        priority=priority,
        spec=spec,
        lane=lane,
        fence=0,
        tries=0,
    )
