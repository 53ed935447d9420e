# SPDX-License-Identifier: GPL-2.0-or-later
"""What is queued next, seen in the jobs: lanes, boots, inheriting, follow-ups, the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from farm import profiles, schedule
from farm.db import claims
from farm.db.database import Database
from farm.db.models import BuildRow, JobRow, ObservationRow, RunRow, TestRow
from farm.db.runs import BUILD, OBSERVATION, load_run
from farm.planner import Request
from farm.records import Cell, Crash, Observation, Purpose
from farm.schedule import Host
from kernel_series.manifest import Feature
from stress.protocol import Outcome
from stress.scenario import FeatureState, load_all
from stress.transcript import Case
from workers.boot import Ending
from workers.console.crash import CrashKind
from workers.errors import UserError
from workers.prepare import PrepareResult
from workers.requests import BuildResult, Point
from workers.status import Status

CELL = Cell("x86_64", "preempt-none", "auto")
SCENARIOS = load_all()
NEEDED = tuple(sorted({name for one in SCENARIOS.values() for name in one.needs.kernel}))

CRASH = Crash("BUG in poke", "oops", "", False)


def request(**fields: object) -> Request:
    made = Request(
        manifest=Path("/series.yml"),
        tree=None,
        profile="quick",
        lab="fake",
        cells=(CELL,),
        nodes=("actor-1",),
        scenarios=("smoke", "overhead"),
        features=(Feature("optprobes", "OPTPROBES", 2),),
        not_tested=(),
        reuse=True,
        sandbox=True,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


DONE = Observation(
    Purpose.TEST,
    Ending.FINISHED,
    outcome=Outcome.DONE,
    intact=True,
    cases=(Case("smoke.a", True, False, None),),
)
CRASHED = replace(DONE, outcome=None, intact=False, crash=CRASH)
SILENT = replace(DONE, outcome=None, intact=False, ending=Ending.SILENT)


class Bench:
    """A run whose builds and boots are done by hand."""

    def __init__(
        self, database: Database, configs: Path, evidence: Callable[..., dict[str, int]]
    ) -> None:
        self.database = database
        self.evidence = evidence
        lab = profiles.load_lab(configs, "fake")
        nodes = {node.name: node for node in lab.nodes}
        profile = profiles.load_profile(configs, "quick")
        self.host = Host(profile, nodes, dict.fromkeys(nodes, "fake"), SCENARIOS)

    def submit(self, run: str, asked: Request | None = None, points: int = 3) -> None:
        """Submit a run and put its points in place."""
        made = [
            Point(index, f"patch {index}", "", "c", "t", f"x{index}") for index in range(points)
        ]
        with self.database.transaction() as session:
            schedule.submit(session, run, "title", 1, asked or request())
            (job,) = session.scalars(select(JobRow).where(JobRow.run_id == run))
            job.state = claims.DONE
            row = session.get_one(RunRow, run)
            schedule.prepared(session, row, PrepareResult("base", tuple(made), ()))
            schedule.advance(session, row, self.host)

    def jobs(self, run: str, kind: str, *states: str) -> list[JobRow]:
        with self.database.transaction() as session:
            chosen = select(JobRow).where(JobRow.run_id == run, JobRow.kind == kind)
            wanted = states or (claims.READY,)
            order = (JobRow.priority.desc(), JobRow.id)
            return list(session.scalars(chosen.where(JobRow.state.in_(wanted)).order_by(*order)))

    def build(self, run: str, kernel: str, **fields: object) -> None:
        """Do the build that is ready: a kernel with this digest."""
        (job,) = self.jobs(run, "build")
        result = BuildResult(
            Status.PASS, None, 1.0, kernel_sha256=kernel, payload_sha256="p", symbols=NEEDED
        )
        with self.database.transaction() as session:
            row = session.get_one(BuildRow, job.spec["build"])
            row.result = BUILD.dump_python(replace(result, **fields), mode="json")  # type: ignore[arg-type]
            self._end(session, job, claims.DONE)

    def boots(self, run: str) -> list[tuple[int, list[str], str]]:
        """Return the boots that are ready: point, scenarios, purpose."""
        found = []
        with self.database.transaction() as session:
            for job in self.jobs_of(session, run):
                tests = [session.get_one(TestRow, name) for name in job.spec["tests"]]
                point = session.get_one(BuildRow, job.spec["build"]).point
                found.append((point, [one.scenario for one in tests], job.spec["purpose"]))
        return found

    def jobs_of(self, session: Session, run: str) -> Sequence[JobRow]:
        chosen = select(JobRow).where(
            JobRow.run_id == run, JobRow.kind == "boot", JobRow.state == claims.READY
        )
        return session.scalars(chosen.order_by(JobRow.priority.desc(), JobRow.id)).all()

    def good(self, scenario: str, state: str) -> Observation:
        """Return what a run that passes shows."""
        return replace(DONE, evidence=self.evidence(SCENARIOS[scenario], FeatureState(state)))

    def boot(self, run: str, **seen: Observation | None) -> None:
        """Do the first boot that is ready; scenarios that are not named pass, None: not come to."""
        job = self.jobs(run, "boot")[0]
        with self.database.transaction() as session:
            for name in job.spec["tests"]:
                test = session.get_one(TestRow, name)
                one = seen.get(test.scenario, self.good(test.scenario, test.state))
                if one is None:
                    continue
                one = replace(one, purpose=Purpose(job.spec["purpose"]))
                values = OBSERVATION.dump_python(one, mode="json")
                session.add(ObservationRow(test_id=name, job_id=job.id, seen=values))
            self._end(session, job, claims.DONE)

    def fail(self, run: str, kind: str) -> None:
        """Give the first job of a kind that is ready up for good."""
        with self.database.transaction() as session:
            self._end(session, self.jobs(run, kind)[0], claims.FAILED)

    def _end(self, session: Session, job: JobRow, state: str) -> None:
        session.get_one(JobRow, job.id).state = state
        session.flush()
        schedule.advance(session, session.get_one(RunRow, job.run_id), self.host)

    def verdict(self, run: str) -> tuple[str, str | None]:
        with self.database.transaction() as session:
            row = session.get_one(RunRow, run)
            return row.state, row.verdict

    def inherited(self, run: str) -> dict[tuple[int, str], str | None]:
        with self.database.transaction() as session:
            found = load_run(session, session.get_one(RunRow, run), 0)
            return {
                (build.point, test.scenario): test.inherited_from
                for build in found.builds
                for test in build.tests
            }


@pytest.fixture
def bench(database: Database, configs: Path, evidence: Callable[..., dict[str, int]]) -> Bench:
    return Bench(database, configs, evidence)


# Lanes.


def test_a_lane_builds_its_points_in_order(bench: Bench) -> None:
    cells = (CELL, replace(CELL, config="preempt"))
    bench.submit("r", request(cells=cells), points=3)
    ready = bench.jobs("r", "build")
    assert sorted(job.lane or "" for job in ready) == sorted(cell.name for cell in cells)
    assert len(bench.jobs("r", "build", claims.WAITING)) == 4
    with bench.database.transaction() as session:
        assert {session.get_one(BuildRow, job.spec["build"]).point for job in ready} == {0}


def test_a_build_that_was_given_up_does_not_hold_its_lane(bench: Bench) -> None:
    bench.submit("r", points=2)
    bench.fail("r", "build")
    bench.build("r", "k1")
    assert bench.boots("r") == [(1, ["smoke", "overhead"], "test")]


def test_points_that_do_not_apply_are_not_built(bench: Bench) -> None:
    points = (
        Point(0, "base", "", "c", "t", "x"),
        Point(1, "misfit", "", None, None, None, "does not fit"),
    )
    with bench.database.transaction() as session:
        schedule.submit(session, "r", "title", 1, request())
        schedule.prepared(session, session.get_one(RunRow, "r"), PrepareResult("base", points, ()))
    assert len(bench.jobs("r", "build", claims.READY, claims.WAITING)) == 1


# Boots.


def test_boots_start_as_soon_as_their_build_is_there_the_tip_first(bench: Bench) -> None:
    bench.submit("r")
    bench.build("r", "k0")
    bench.build("r", "k1")
    assert [point for point, _, _ in bench.boots("r")] == [1, 0]


def test_one_boot_for_each_node_and_clock(bench: Bench, configs: Path, tmp_path: Path) -> None:
    profile = bench.host.profile.model_copy(update={"clocks": tuple(SCENARIOS["smoke"].clocks)})
    bench.host = replace(bench.host, profile=profile, models={"actor-1": "a", "actor-2": "b"})
    bench.submit("r", request(nodes=("actor-1", "actor-2")))
    bench.build("r", "k0")
    jobs = bench.jobs("r", "boot")
    assert len(jobs) == 2 * len(profile.clocks)
    assert {job.slot for job in jobs} == {"node actor-1", "node actor-2"}


def test_what_does_not_apply_is_not_booted(bench: Bench) -> None:
    bench.submit("r")
    bench.build("r", "k0", symbols=SCENARIOS["smoke"].needs.kernel)
    (boot,) = bench.boots("r")
    assert boot == (0, ["smoke"], "test")


def test_after_a_crash_the_rest_gets_a_fresh_boot(bench: Bench) -> None:
    bench.submit("r", points=1)
    bench.build("r", "k0")
    bench.boot("r", smoke=CRASHED, overhead=None)
    assert bench.boots("r") == [(0, ["overhead"], "test")]


def test_a_boot_that_was_given_up_is_not_queued_again(bench: Bench) -> None:
    bench.submit("r", points=1)
    bench.build("r", "k0")
    bench.fail("r", "boot")
    assert bench.boots("r") == []
    assert bench.verdict("r") == ("finished", "INCONCLUSIVE")


# Inheriting.


def test_the_same_kernel_is_not_booted_twice(bench: Bench) -> None:
    bench.submit("r")
    bench.build("r", "k0")
    bench.build("r", "k0")
    assert [point for point, _, _ in bench.boots("r")] == [0]
    found = bench.inherited("r")
    assert found[1, "smoke"] is not None
    assert found[0, "smoke"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"kernel_sha256": "other"},
        {"payload_sha256": "other"},
    ],
)
def test_another_kernel_or_payload_is_booted(bench: Bench, change: dict[str, object]) -> None:
    bench.submit("r")
    bench.build("r", "k0")
    bench.build("r", "k0", **change)
    assert [point for point, _, _ in bench.boots("r")] == [1, 0]


@pytest.mark.parametrize("change", ["model", "seed", "shift"])
def test_another_machine_seed_or_clock_rate_is_booted(bench: Bench, change: str) -> None:
    bench.submit("first", points=1)
    bench.build("first", "k0")
    bench.boot("first")
    update = {"seed": {"seed": 7}, "shift": {"icount_shift": 9}}.get(change, {})
    bench.host = replace(
        bench.host,
        profile=bench.host.profile.model_copy(update=update),
        models=dict.fromkeys(bench.host.nodes, "other" if change == "model" else "fake"),
    )
    bench.submit("second", points=1)
    bench.build("second", "k0")
    assert len(bench.boots("second")) == 1


def test_results_of_an_earlier_run_are_taken_over(bench: Bench) -> None:
    bench.submit("first", points=1)
    bench.build("first", "k0")
    bench.boot("first")
    bench.submit("second", points=1)
    bench.build("second", "k0")
    assert bench.boots("second") == []
    assert bench.verdict("second") == ("finished", "PASS")


def test_without_reuse_nothing_is(bench: Bench) -> None:
    bench.submit("first", points=1)
    bench.build("first", "k0")
    bench.boot("first")
    bench.submit("second", request(reuse=False), points=2)
    bench.build("second", "k0")
    bench.build("second", "k0")
    assert len(bench.boots("second")) == 2


@pytest.mark.parametrize(
    "what", ["nothing yet", "silence", "an error", "lost lines", "a machine check"]
)
def test_what_told_nothing_is_not_taken_over(bench: Bench, what: str) -> None:
    bench.submit("first", points=1)
    bench.build("first", "k0")
    passes = bench.good("smoke", "absent")
    seen = {
        "silence": SILENT,
        "an error": replace(passes, outcome=Outcome.ERROR),
        "lost lines": replace(passes, intact=False),
        "a machine check": replace(CRASHED, crash=replace(CRASH, kind=CrashKind.MACHINE_CHECK)),
    }
    if what in seen:
        bench.boot("first", smoke=seen[what])
    bench.submit("second", points=1)
    bench.build("second", "k0")
    scenarios = ["smoke", "overhead"] if what == "nothing yet" else ["smoke"]
    assert bench.boots("second") == [(0, scenarios, "test")]


def test_a_fault_that_an_earlier_run_saw_once_is_confirmed_by_this_one(bench: Bench) -> None:
    bench.submit("first", points=2)
    bench.build("first", "k0")
    bench.build("first", "k1")
    bench.boot("first", smoke=CRASHED)  # point 1, and then the run was interrupted
    bench.submit("second", points=2)
    bench.build("second", "k0")
    bench.build("second", "k1")
    assert bench.boots("second") == [(0, ["smoke", "overhead"], "test")]
    bench.boot("second")
    assert bench.boots("second") == [(1, ["smoke"], "confirm")]
    bench.boot("second", smoke=CRASHED)
    assert bench.verdict("second") == ("finished", "REGRESSION")


# Follow-ups.


def two_points(bench: Bench) -> None:
    bench.submit("r", points=2)
    bench.build("r", "k0")
    bench.build("r", "k1")


def test_a_fault_is_looked_at_up_to_three_times(bench: Bench) -> None:
    two_points(bench)
    bench.boot("r", smoke=CRASHED, overhead=None)
    bench.boot("r")
    bench.boot("r")
    assert bench.boots("r") == [(1, ["smoke"], "confirm")]
    bench.boot("r")
    assert bench.boots("r") == [(1, ["smoke"], "confirm")]
    bench.boot("r")
    assert bench.boots("r") == []
    assert bench.verdict("r") == ("finished", "INCONCLUSIVE")


def test_a_fault_that_showed_twice_needs_no_third_run(bench: Bench) -> None:
    two_points(bench)
    bench.boot("r", smoke=CRASHED)
    bench.boot("r")
    bench.boot("r", smoke=CRASHED)
    assert bench.verdict("r") == ("finished", "REGRESSION")


def test_a_fault_that_the_point_before_has_too_is_not_looked_at_again(bench: Bench) -> None:
    bench.submit("r", points=3)
    for kernel in ("k0", "k1", "k2"):
        bench.build("r", kernel)
    bench.boot("r", smoke=CRASHED)
    bench.boot("r", smoke=CRASHED)
    bench.boot("r")
    assert bench.boots("r") == [(1, ["smoke"], "confirm")]


def test_a_silence_gets_a_control_then_a_second_look(bench: Bench) -> None:
    two_points(bench)
    bench.boot("r", smoke=SILENT)
    bench.boot("r")
    assert bench.boots("r") == [(0, ["smoke"], "control")]
    bench.boot("r")
    assert bench.boots("r") == [(1, ["smoke"], "confirm")]
    bench.boot("r", smoke=SILENT)
    assert bench.verdict("r") == ("finished", "REGRESSION")


def test_one_control_serves_all_silences_behind_it(bench: Bench) -> None:
    bench.submit("r", points=4)
    for kernel in ("k0", "k1", "k2", "k3"):
        bench.build("r", kernel)
    for _ in range(3):
        bench.boot("r", smoke=SILENT)
    bench.boot("r")
    assert bench.boots("r") == [(0, ["smoke"], "control")]
    bench.boot("r")
    assert bench.boots("r") == [(point, ["smoke"], "confirm") for point in (3, 2, 1)]


def test_a_silent_control_ends_the_matter(bench: Bench) -> None:
    two_points(bench)
    bench.boot("r", smoke=SILENT)
    bench.boot("r")
    bench.boot("r", smoke=SILENT)
    assert bench.boots("r") == []
    assert bench.verdict("r") == ("finished", "INCONCLUSIVE")


def test_a_kernel_whose_cases_fail_is_a_control_too(bench: Bench) -> None:
    """It came to its end, which is what the silent one did not."""
    bench.submit("r", points=2)
    bench.build("r", "k0")
    bench.build("r", "k1")
    sick = replace(bench.good("smoke", "absent"), cases=(Case("smoke.hits", False, False, "5"),))
    bench.boot("r", smoke=SILENT)
    bench.boot("r", smoke=sick)
    assert (0, ["smoke"], "control") in bench.boots("r")


def test_a_kernel_that_warns_is_no_control_where_an_earlier_one_is_well(bench: Bench) -> None:
    bench.submit("r", points=3)
    for kernel in ("k0", "k1", "k2"):
        bench.build("r", kernel)
    bench.boot("r", smoke=SILENT)
    bench.boot("r", smoke=replace(bench.good("smoke", "absent"), crash=CRASH))
    bench.boot("r")
    assert (0, ["smoke"], "control") in bench.boots("r")


@pytest.mark.parametrize("control", [{}, {"smoke": SILENT}], ids=["good", "silent"])
def test_another_run_s_control_is_none_of_this_one_s(
    bench: Bench, control: dict[str, Observation]
) -> None:
    """It says how the node was then; the results of its kernel are taken over all the same."""
    two_points(bench)
    bench.boot("r", smoke=SILENT)
    bench.boot("r")
    bench.boot("r", **control)
    bench.submit("later", points=2)
    bench.build("later", "k0")
    bench.build("later", "k2")
    assert bench.boots("later") == [(1, ["smoke", "overhead"], "test")]
    bench.boot("later", smoke=SILENT)
    assert bench.boots("later") == [(0, ["smoke"], "control")]
    bench.boot("later")
    assert bench.boots("later") == [(1, ["smoke"], "confirm")]
    bench.boot("later", smoke=SILENT)
    assert bench.verdict("later") == ("finished", "REGRESSION")


def test_a_silence_without_a_good_kernel_before_it_has_no_control(bench: Bench) -> None:
    bench.submit("r", points=1)
    bench.build("r", "k0")
    bench.boot("r", smoke=SILENT)
    assert bench.verdict("r") == ("finished", "INCONCLUSIVE")


def test_a_follow_up_that_was_given_up_is_not_asked_for_again(bench: Bench) -> None:
    two_points(bench)
    bench.boot("r", smoke=CRASHED)
    bench.boot("r")
    bench.fail("r", "boot")
    assert bench.boots("r") == []
    assert bench.verdict("r") == ("finished", "INCONCLUSIVE")


def test_the_same_kernel_is_judged_by_what_each_point_should_have(bench: Bench) -> None:
    bench.submit("r", request(scenarios=("smoke",)), points=4)
    for _ in range(4):
        bench.build("r", "k0")
    assert bench.boots("r") == [(0, ["smoke"], "test")]
    bench.boot("r")
    assert bench.boots("r") == [(2, ["smoke"], "confirm")]
    bench.boot("r", smoke=bench.good("smoke", "absent"))
    assert bench.verdict("r") == ("finished", "REGRESSION")


# The end.


def test_all_green(bench: Bench) -> None:
    two_points(bench)
    assert bench.verdict("r") == ("running", None)
    bench.boot("r")
    bench.boot("r")
    assert bench.verdict("r") == ("finished", "PASS")


def test_advancing_twice_queues_nothing_twice(bench: Bench) -> None:
    two_points(bench)
    before = bench.boots("r")
    with bench.database.transaction() as session:
        schedule.advance(session, session.get_one(RunRow, "r"), bench.host)
    assert bench.boots("r") == before


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ({"nodes": {}}, "there is no node actor-1 in lab fake any more; put it back into the lab"),
        ({"scenarios": {"overhead": SCENARIOS["overhead"]}}, "there is no scenario smoke any more"),
    ],
    ids=["node", "scenario"],
)
def test_a_run_whose_node_or_scenario_went_away_is_refused(
    bench: Bench, gone: dict[str, object], says: str
) -> None:
    """Nothing is written, so that it goes on once that is back; a run that ended needs neither."""
    there = bench.host
    two_points(bench)
    bench.host = replace(there, **gone)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=says):
        bench.boot("r")
    bench.host = there
    bench.boot("r")
    bench.boot("r")
    assert bench.verdict("r") == ("finished", "PASS")
    bench.host = replace(there, **gone)  # type: ignore[arg-type]
    with bench.database.transaction() as session:
        schedule.advance(session, session.get_one(RunRow, "r"), bench.host)


def test_a_run_that_could_not_be_prepared_says_why(bench: Bench) -> None:
    with bench.database.transaction() as session:
        schedule.submit(session, "r", "title", 1, request())
        claims.add_slot(session, schedule.PREPARE, 1)
        claim = claims.claim_next(session, "r", "me", 10)
        assert claim is not None
        claims.finish(session, claim, claims.FAILED, "base.tarball: there is no file x")
        schedule.advance(session, session.get_one(RunRow, "r"), bench.host)
        row = session.get_one(RunRow, "r")
        assert (row.verdict, row.reason) == ("INCONCLUSIVE", "base.tarball: there is no file x")
