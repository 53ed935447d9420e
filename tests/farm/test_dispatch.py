# SPDX-License-Identifier: GPL-2.0-or-later
"""The local dispatcher: leases kept and lost, holders that died, workers that break."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from farm import schedule
from farm.db import claims
from farm.db.claims import Claim
from farm.db.database import Database
from farm.db.models import AttemptRow, JobRow, RunRow
from farm.dispatch import leases, local
from farm.dispatch.leases import Leases
from farm.dispatch.local import LocalDispatcher, holder_is_dead, holder_name
from workers.errors import Cancelled, InfrastructureError
from workers.process import Cancel

Stage = Callable[[Claim, Cancel], None]


@dataclass
class Worker:
    """A worker whose stages are given by the test."""

    database: Database
    stage: Stage
    host: Any = None

    def tidy(self, session: Session, run: str) -> None:
        """Nothing was booted here."""

    def clear_lanes(self, run: str) -> None:
        """Nothing was built here."""

    def execute(self, claim: Claim, cancel: Cancel) -> None:
        try:
            self.stage(claim, cancel)
        except Cancelled as error:
            with self.database.transaction() as session:
                claims.release(session, claim, str(error))
            return
        with self.database.transaction() as session:
            claims.finish(session, claim, claims.DONE)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that follow each other quickly, and a run that ends when it has no more jobs."""
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(local, "IDLE_SECONDS", 0.01)

    def advance(session: Session, row: RunRow, host: object) -> None:
        open_jobs = select(JobRow).where(JobRow.run_id == row.id)
        if all(job.state not in claims.UNFINISHED for job in session.scalars(open_jobs)):
            row.state = schedule.FINISHED

    monkeypatch.setattr(local, "advance", advance)


def add(database: Database, count: int, run: str = "r", holder: str | None = None) -> list[int]:
    with database.transaction() as session:
        claims.add_slot(session, "slot", 2)
        if session.get(RunRow, run) is None:
            session.add(RunRow(id=run, title="t", request={}, state="running", created=0.0))
            session.flush()
        jobs = [
            JobRow(
                run_id=run,
                kind="boot",
                state=claims.READY if holder is None else claims.RUNNING,
                slot="slot",
                priority=0,
                spec={},
                fence=0 if holder is None else 1,
                tries=0 if holder is None else 1,
                holder=holder,
                lease_until=None if holder is None else 4e9,
            )
            for _ in range(count)
        ]
        session.add_all(jobs)
        session.flush()
        return [job.id for job in jobs]


def states(database: Database) -> list[str]:
    with database.transaction() as session:
        return list(session.scalars(select(JobRow.state).order_by(JobRow.id)))


def outcomes(database: Database) -> list[str | None]:
    with database.transaction() as session:
        order = (AttemptRow.job_id, AttemptRow.fence)
        return list(session.scalars(select(AttemptRow.outcome).order_by(*order)))


def dispatcher(database: Database, stage: Stage, run: str = "r") -> LocalDispatcher:
    return LocalDispatcher(Worker(database, stage), run)  # type: ignore[arg-type]


def test_this_process_is_alive_and_another_is_not() -> None:
    mine = holder_name()
    assert not holder_is_dead(mine)
    process = subprocess.Popen(["true"])
    process.wait()
    node, pid, started = mine.split(":")
    assert holder_is_dead(f"{node}:{process.pid}:{started}")
    assert holder_is_dead(f"{node}:{pid}:another-boot.{started.partition('.')[2]}")
    assert not holder_is_dead(f"elsewhere:{pid}:{started}"), "other hosts are not ours to judge"


def test_all_jobs_are_done(database: Database) -> None:
    add(database, 7)
    seen = list[int]()
    dispatcher(database, lambda claim, cancel: seen.append(claim.job)).drain()
    assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]
    assert set(states(database)) == {claims.DONE}


def test_slots_are_used_side_by_side(database: Database) -> None:
    add(database, 2)
    both = threading.Barrier(2, timeout=30)
    dispatcher(database, lambda claim, cancel: both.wait() and None).drain()
    assert states(database) == [claims.DONE] * 2


def test_a_lease_is_renewed_as_long_as_the_job_runs(database: Database) -> None:
    (job,) = add(database, 1)

    def stage(claim: Claim, cancel: Cancel) -> None:
        with database.transaction() as session:
            first = session.get_one(JobRow, job).lease_until
        while True:
            with database.transaction() as session:
                if session.get_one(JobRow, job).lease_until != first:
                    return
            cancel.check()

    dispatcher(database, stage).drain()
    assert outcomes(database) == ["done"]


def test_a_job_whose_lease_was_lost_is_stopped_and_done_by_its_next_holder(
    database: Database,
) -> None:
    (job,) = add(database, 1)
    reasons = list[str]()

    def stage(claim: Claim, cancel: Cancel) -> None:
        if claim.tries > 1:
            return
        with database.transaction() as session:  # as another host's sweeper would
            session.execute(update(JobRow).where(JobRow.id == job).values(lease_until=1.0))
            claims.take_back(session)
        assert cancel.wait(30)
        reasons.append(cancel.reason)
        cancel.check()

    dispatcher(database, stage).drain()
    assert reasons == ["the lease was lost"]
    assert outcomes(database) == ["lost", "done"]


def test_a_job_whose_lease_cannot_be_kept_is_stopped_in_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, 1)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.2)
    reasons = list[str]()

    def unreachable(*words: object) -> bool:
        raise InfrastructureError("the database is locked")

    def stage(claim: Claim, cancel: Cancel) -> None:
        if claim.fence == 1:
            assert cancel.wait(30)
            reasons.append(cancel.reason)
            cancel.check()

    monkeypatch.setattr(claims, "renew", unreachable)
    dispatcher(database, stage).drain()
    assert reasons == ["the lease was lost"]


def test_a_job_is_stopped_in_time_while_its_renewal_waits_for_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which lets a writer wait for another one twice as long as a lease lasts."""
    add(database, 1)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.2)
    stopped = threading.Event()
    reasons = list[str]()

    def held_up(*words: object) -> bool:
        stopped.wait(60)
        return True

    def stage(claim: Claim, cancel: Cancel) -> None:
        if claim.fence == 1:
            try:
                assert cancel.wait(30)
            finally:
                stopped.set()
            reasons.append(cancel.reason)
            cancel.check()

    monkeypatch.setattr(claims, "renew", held_up)
    dispatcher(database, stage).drain()
    assert reasons == ["the lease was lost"]


def test_time_counts_from_the_last_renewal_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 5.0)
    add(database, 1)
    with database.transaction() as session:
        claim = claims.claim_next(session, "r", "me", 30.0)
    assert claim is not None
    mine = Leases(database)
    with mine.holding(claim) as cancel:
        for _ in range(10):
            mine.passed(5.0)
            mine.renew()
        assert not cancel.wait(0)
        mine.passed(3600.0)
        assert not cancel.wait(0), "the process was stopped, and has not asked yet"
        for _ in range(14):
            mine.passed(1.0)
        assert not cancel.wait(0)
        mine.passed(1.0)
        assert cancel.wait(0), "ten seconds before the lease ends"


def test_a_job_that_is_lost_too_often_ends_the_run(database: Database) -> None:
    """Nobody finishes it, so nobody would go on from it: the dispatcher has to notice."""
    (job,) = add(database, 1)

    def stage(claim: Claim, cancel: Cancel) -> None:
        with database.transaction() as session:
            session.execute(update(JobRow).where(JobRow.id == job).values(lease_until=1.0))
            claims.take_back(session)

    dispatcher(database, stage).drain()
    assert states(database) == [claims.FAILED]
    assert outcomes(database) == ["lost"] * claims.MOST_TRIES


def test_what_breaks_a_worker_is_raised_and_stops_the_others(database: Database) -> None:
    add(database, 2)
    both = threading.Barrier(2, timeout=30)

    def stage(claim: Claim, cancel: Cancel) -> None:
        both.wait()
        if claim.job == 1:
            raise ZeroDivisionError
        assert cancel.wait(30)
        cancel.check()

    with pytest.raises(ZeroDivisionError):
        dispatcher(database, stage).drain()
    assert states(database)[1] == claims.READY


def test_stopping_gives_jobs_back(database: Database) -> None:
    add(database, 3)
    begun = threading.Event()

    def stage(claim: Claim, cancel: Cancel) -> None:
        begun.set()
        assert cancel.wait(30)
        cancel.check()

    worker = dispatcher(database, stage)
    thread = threading.Thread(target=worker.drain)
    thread.start()
    assert begun.wait(30)
    worker.stop("interrupted")
    thread.join(30)
    assert not thread.is_alive()
    assert states(database) == [claims.READY] * 3
    assert set(outcomes(database)) == {claims.CANCELLED}


def test_what_dead_processes_held_is_taken_over(database: Database) -> None:
    node = os.uname().nodename
    add(database, 1, holder=f"{node}:999999999:x.1")
    add(database, 1, run="other", holder=f"{node}:999999999:x.1")
    add(database, 1, run="third", holder=holder_name())
    worker = dispatcher(database, lambda claim, cancel: None)
    worker.take_over()
    assert states(database) == [claims.READY, claims.READY, claims.RUNNING]
    worker.drain()
    assert states(database) == [claims.DONE, claims.READY, claims.RUNNING]
