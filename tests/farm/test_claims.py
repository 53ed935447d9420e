# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may do a job: claims, slots, leases, fences, and what many processes at once make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from farm.db import claims
from farm.db.claims import Claim, LostClaim
from farm.db.database import Database
from farm.db.models import AttemptRow, JobRow, RunRow


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.transaction() as opened:
        for name, capacity in (("build", 1), ("node", 2)):
            claims.add_slot(opened, name, capacity)
        yield opened


def add(session: Session, *slots: str, run: str = "r", priority: int = 0) -> list[int]:
    """Add ready jobs, one for each slot that is named."""
    if session.get(RunRow, run) is None:
        session.add(RunRow(id=run, title="t", request={}, state="running", created=0.0))
        session.flush()
    jobs = [
        JobRow(
            run_id=run,
            kind="boot",
            state=claims.READY,
            slot=slot,
            priority=priority,
            spec={"slot": slot},
            fence=0,
            tries=0,
        )
        for slot in slots
    ]
    session.add_all(jobs)
    session.flush()
    return [job.id for job in jobs]


def claim(session: Session, run: str = "r", holder: str = "me", lease: float = 60) -> Claim:
    found = claims.claim_next(session, run, holder, lease)
    assert found is not None
    return found


def expire(session: Session, job: int) -> None:
    session.execute(update(JobRow).where(JobRow.id == job).values(lease_until=1.0))


def attempts(session: Session, job: int) -> list[tuple[str | None, str | None]]:
    chosen = select(AttemptRow).where(AttemptRow.job_id == job).order_by(AttemptRow.fence)
    return [(one.outcome, one.reason) for one in session.scalars(chosen)]


def test_the_highest_priority_goes_first_then_the_oldest(session: Session) -> None:
    low = add(session, "node")
    high = add(session, "node", "build", priority=5)
    assert [claim(session).job for _ in range(3)] == [*high, *low]
    assert claims.claim_next(session, "r", "me", 60) is None


def test_a_job_waits_until_its_slot_is_free(session: Session) -> None:
    add(session, "build", "build", "node", "node", "node")
    held = [claim(session) for _ in range(3)]
    assert [one.spec["slot"] for one in held] == ["build", "node", "node"]
    assert claims.claim_next(session, "r", "me", 60) is None
    claims.finish(session, held[0], claims.DONE)
    assert claim(session).spec["slot"] == "build"


def test_slots_are_shared_by_all_runs(session: Session) -> None:
    add(session, "build", run="a")
    add(session, "build", "node", run="b")
    held = claim(session, "a")
    assert claim(session, "b").spec["slot"] == "node"
    assert claims.claim_next(session, "b", "me", 60) is None
    claims.finish(session, held, claims.DONE)
    assert claim(session, "b").spec["slot"] == "build"


def test_a_job_whose_slot_nobody_declared_is_not_claimed(session: Session) -> None:
    add(session, "elsewhere")
    assert claims.claim_next(session, "r", "me", 60) is None


def test_only_ready_jobs_are_claimed(session: Session) -> None:
    (job,) = add(session, "node")
    for state in (claims.WAITING, claims.RUNNING, claims.DONE, claims.FAILED, claims.CANCELLED):
        session.get_one(JobRow, job).state = state
        assert claims.claim_next(session, "r", "me", 60) is None


def test_a_lease_that_ends_frees_the_job_and_fences_its_holder_off(session: Session) -> None:
    (job,) = add(session, "build")
    late = claim(session, holder="slow")
    expire(session, job)
    new = claim(session, holder="quick")
    assert (new.job, new.tries) == (job, 2)
    assert new.fence > late.fence
    for write in (
        lambda: claims.finish(session, late, claims.DONE),
        lambda: claims.give_back(session, late, "infrastructure", "x"),
        lambda: claims.release(session, late, "x"),
    ):
        with pytest.raises(LostClaim):
            write()
    assert not claims.renew(session, late, 60)
    assert session.get_one(JobRow, job).holder == "quick"
    claims.finish(session, new, claims.DONE)
    assert attempts(session, job) == [
        ("lost", "its worker stopped renewing the lease"),
        ("done", None),
    ]


def test_nobody_takes_a_job_back_from_himself(session: Session) -> None:
    """After a pause idle workers may look before the lease is prolonged."""
    (job,) = add(session, "build")
    held = claim(session)
    expire(session, job)
    assert claims.claim_next(session, "r", "me", 60) is None
    assert claims.take(session, "r", "reproduce", "build", "me", 60) is None
    assert claims.renew(session, held, 60)
    expire(session, job)
    assert claim(session, holder="another").job == job


def test_a_late_writer_is_refused_even_when_nobody_has_the_job(session: Session) -> None:
    (job,) = add(session, "build")
    late = claim(session)
    expire(session, job)
    assert claims.take_back(session) == 1
    with pytest.raises(LostClaim):
        claims.finish(session, late, claims.DONE)
    assert session.get_one(JobRow, job).state == claims.READY


def test_nobody_finishes_a_job_twice(session: Session) -> None:
    add(session, "build")
    held = claim(session)
    claims.finish(session, held, claims.DONE)
    with pytest.raises(LostClaim):
        claims.finish(session, held, claims.FAILED)


def test_a_lease_that_is_renewed_lasts(session: Session) -> None:
    (job,) = add(session, "build")
    held = claim(session, lease=0.0)
    assert claims.renew(session, held, 60)
    assert claims.take_back(session) == 0
    claims.finish(session, held, claims.DONE)
    assert not claims.renew(session, held, 60)
    assert session.get_one(JobRow, job).state == claims.DONE


def test_leases_end_by_the_database_s_clock(session: Session) -> None:
    (job,) = add(session, "build")
    claim(session, lease=-1.0)
    assert claims.take_back(session) == 1
    assert session.get_one(JobRow, job).state == claims.READY


def test_what_a_dead_holder_had_is_free_at_once(session: Session) -> None:
    dead, alive = add(session, "node", "node")
    claim(session, holder="dead")
    claim(session, holder="alive")
    assert claims.take_back(session, ("dead",)) == 1
    assert session.get_one(JobRow, dead).state == claims.READY
    assert session.get_one(JobRow, alive).state == claims.RUNNING


def test_a_job_is_given_back_so_often_and_then_given_up(session: Session) -> None:
    (job,) = add(session, "build")
    again = [
        claims.give_back(session, claim(session), "infrastructure", f"disk full {number}")
        for number in range(claims.MOST_TRIES)
    ]
    assert again == [True] * (claims.MOST_TRIES - 1) + [False]
    assert session.get_one(JobRow, job).state == claims.FAILED
    assert claims.claim_next(session, "r", "me", 60) is None
    assert attempts(session, job) == [
        ("infrastructure", f"disk full {number}") for number in range(claims.MOST_TRIES)
    ]


def test_a_job_is_lost_so_often_and_then_given_up(session: Session) -> None:
    (job,) = add(session, "build")
    for number in range(claims.MOST_TRIES):
        claim(session, holder=str(number))
        expire(session, job)
    assert claims.claim_next(session, "r", "me", 60) is None
    assert session.get_one(JobRow, job).state == claims.FAILED
    assert not claims.is_moving(session, "r")


def test_a_job_that_was_told_to_stop_has_used_up_no_try(session: Session) -> None:
    (job,) = add(session, "build")
    for _ in range(2 * claims.MOST_TRIES):
        claims.release(session, claim(session), "interrupted")
    row = session.get_one(JobRow, job)
    assert (row.state, row.tries, row.holder) == (claims.READY, 0, None)
    assert attempts(session, job)[0] == (claims.CANCELLED, "interrupted")


def test_a_run_moves_while_a_job_is_ready_or_running(session: Session) -> None:
    first, _ = add(session, "build", "build")
    assert claims.is_moving(session, "r")
    held = [claim(session)]
    session.execute(update(JobRow).where(JobRow.id != first).values(state=claims.WAITING))
    assert claims.is_moving(session, "r")
    claims.finish(session, held[0], claims.DONE)
    assert not claims.is_moving(session, "r")


HAMMER = """
import os
from farm.db import claims
from farm.db.database import Database
begin()
database = Database(sys.argv[1])
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
holder = str(os.getpid())
first = True
while True:
    with database.transaction() as session:
        found = claims.claim_next(session, "r", holder, 60.0)
        if found is None and not claims.is_moving(session, "r"):
            break
    if found is None:
        continue
    slot = found.spec["slot"]
    os.write(log, f"+ {found.job} {slot}\\n".encode())
    # There is a slot for each at the beginning: nobody ends before all have begun.
    while first and open(sys.argv[2]).read().count("+") < 3:
        pass
    first = False
    with database.transaction() as session:
        claims.renew(session, found, 60.0)
    os.write(log, f"- {found.job} {slot}\\n".encode())
    with database.transaction() as session:
        if found.tries < 2 and found.job % 7 == 0:
            claims.give_back(session, found, "infrastructure", "again")
        else:
            claims.finish(session, found, claims.DONE)
"""


def test_many_processes_do_every_job_once_and_never_exceed_a_slot(
    database: Database, at_once: Callable[..., None], tmp_path: Path
) -> None:
    capacities = {"build": 1, "node": 2, "other": 3}
    with database.transaction() as session:
        for name, capacity in capacities.items():
            claims.add_slot(session, name, capacity)
        jobs = add(session, *(list(capacities) * 12))
    log = tmp_path / "log"
    log.touch()
    at_once(tmp_path, 3, HAMMER, str(database.engine.url), str(log))
    used, most, begun = Counter[str](), Counter[str](), Counter[int]()
    for line in log.read_text().splitlines():
        sign, job, slot = line.split()
        used[slot] += 1 if sign == "+" else -1
        most[slot] = max(most[slot], used[slot])
        begun[int(job)] += sign == "+"
    assert begun == {job: 2 if job % 7 == 0 else 1 for job in jobs}
    assert all(most[slot] <= capacity for slot, capacity in capacities.items()), most
    with database.transaction() as session:
        assert set(session.scalars(select(JobRow.state))) == {claims.DONE}
        holders = set(session.scalars(select(AttemptRow.holder)))
    assert len(holders) == 3
