# SPDX-License-Identifier: GPL-2.0-or-later
"""Who works on what: claims by lease, with a token that fences late writers off.

A job and the slot it takes up are claimed in one transaction. A holder that can't renew its lease
stops its job before the lease ends; when it was killed instead, the lease runs out and the job is
there for the next one. Time is the database's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from farm.db.database import database_now
from farm.db.models import AttemptRow, JobRow, RunRow, SlotRow
from workers.timing import Step

READY, WAITING, RUNNING, DONE, FAILED, CANCELLED = (
    "ready",
    "waiting",
    "running",
    "done",
    "failed",
    "cancelled",
)

UNFINISHED = (READY, WAITING, RUNNING)

LEASE_SECONDS = 30.0
"""How long a job belongs to its holder, or a run to who works on it, without a word of them."""

MOST_TRIES = 3
"""Tries at a job that infrastructure or a lost worker ended; then it is given up."""


@dataclass(frozen=True)
class Claim:
    """A job that is ours until the lease ends. ``fence`` proves it with each write."""

    job: int
    run: str
    kind: str
    spec: Mapping[str, Any]
    lane: str | None
    fence: int
    tries: int
    priority: int


class LostClaim(Exception):
    """The lease ended and somebody else may have the job: what we know is not to be written."""


def add_slot(session: Session, name: str, capacity: int) -> None:
    """Declare how many jobs a resource bears at once."""
    session.merge(SlotRow(name=name, capacity=capacity))


def claim_next(session: Session, run: str, holder: str, lease: float) -> Claim | None:
    """Claim the best ready job of a run that has a free slot; None when there is none.

    Leases that ran out are taken back first, so that any live worker mends what a dead one left.
    The holder's own are its to prolong, or to learn that another one has the job: it stood still.
    """
    take_back(session, spared=holder)
    running = select(JobRow.slot, func.count()).where(JobRow.state == RUNNING)
    used = dict(session.execute(running.group_by(JobRow.slot)).all())
    free = [
        slot for slot in session.scalars(select(SlotRow)) if used.get(slot.name, 0) < slot.capacity
    ]
    job = session.scalars(
        select(JobRow)
        .where(
            JobRow.run_id == run, JobRow.state == READY, JobRow.slot.in_([one.name for one in free])
        )
        .order_by(JobRow.priority.desc(), JobRow.id)
        .limit(1)
    ).first()
    if job is None:
        return None
    now = session.scalar(select(database_now())) or 0.0
    job.state, job.holder, job.lease_until = RUNNING, holder, now + lease
    job.fence += 1
    job.tries += 1
    session.add(AttemptRow(job_id=job.id, fence=job.fence, holder=holder, started=now))
    return Claim(job.id, run, job.kind, job.spec, job.lane, job.fence, job.tries, job.priority)


def take(
    session: Session, run: str, kind: str, slot: str, holder: str, lease: float
) -> Claim | None:
    """Claim a slot for something that no run asks for, as a job of a run; None when none is free.

    Nobody tries it again when its holder is lost.
    """
    take_back(session, spared=holder)
    used = select(func.count()).where(JobRow.state == RUNNING, JobRow.slot == slot)
    if (session.scalar(used) or 0) >= session.get_one(SlotRow, slot).capacity:
        return None
    now = session.scalar(select(database_now())) or 0.0
    job = JobRow(
        run_id=run,
        kind=kind,
        state=RUNNING,
        slot=slot,
        priority=0,
        spec={},
        holder=holder,
        fence=1,
        lease_until=now + lease,
        tries=MOST_TRIES + 1,  # beyond the last one, whatever ends it
    )
    session.add(job)
    session.flush()
    session.add(AttemptRow(job_id=job.id, fence=job.fence, holder=holder, started=now))
    return Claim(job.id, run, kind, {}, None, job.fence, job.tries, job.priority)


def is_moving(session: Session, run: str) -> bool:
    """Whether a job of the run is being done, or waits only for a slot."""
    moving = select(JobRow.id).where(JobRow.run_id == run, JobRow.state.in_((READY, RUNNING)))
    return session.scalars(moving.limit(1)).first() is not None


def renew(session: Session, claim: Claim, lease: float) -> bool:
    """Prolong a lease; False when it is ours no more."""
    done = session.execute(
        update(JobRow)
        .where(JobRow.id == claim.job, JobRow.fence == claim.fence, JobRow.state == RUNNING)
        .values(lease_until=database_now() + lease)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def finish(session: Session, claim: Claim, state: str, reason: str | None = None) -> JobRow:
    """End a claimed job, in the transaction that writes its result; LostClaim if it is not ours."""
    job = session.get(JobRow, claim.job)
    if job is None or job.fence != claim.fence or job.state != RUNNING:
        raise LostClaim(f"job {claim.job}: claim {claim.fence} is not valid any more")
    _end_attempt(session, job, state, reason)
    job.state = state
    return job


def record(session: Session, claim: Claim, steps: Sequence[Step]) -> None:
    """Write down the steps of a claimed job, for traces."""
    attempt = session.get_one(AttemptRow, (claim.job, claim.fence))
    attempt.steps = [asdict(step) for step in steps]


def give_back(session: Session, claim: Claim, outcome: str, reason: str) -> bool:
    """Return a job that could not be done; True when it will be tried again.

    After the last try it is failed, and the reason stands with its attempts.
    """
    job = finish(session, claim, FAILED, reason)
    session.get_one(AttemptRow, (claim.job, claim.fence)).outcome = outcome
    _put_back(session, job)
    return job.state == READY


def release(session: Session, claim: Claim, reason: str) -> None:
    """Return a job that was told to stop, ready for whoever goes on with the run.

    No try is used up.
    """
    job = finish(session, claim, READY, reason)
    session.get_one(AttemptRow, (claim.job, claim.fence)).outcome = CANCELLED
    job.tries -= 1
    _put_back(session, job)


def take_back(session: Session, dead: tuple[str, ...] = (), spared: str | None = None) -> int:
    """Free the jobs whose lease ended, or whose holder is known to be dead; returns how many.

    ``spared`` is a holder that is alive for certain: who asks.

    A holder that was killed uses up no try of what it held: who takes its jobs over is a person
    that goes on with a run, or the next farm on its host, and not the same worker again and again.
    """
    ended = JobRow.lease_until < database_now()
    if spared is not None:
        ended = ended & (JobRow.holder != spared)
    if dead:
        ended = ended | JobRow.holder.in_(dead)
    jobs = session.scalars(select(JobRow).where(JobRow.state == RUNNING, ended)).all()
    for job in jobs:
        killed = job.holder in dead
        reason = "its worker was killed" if killed else "its worker stopped renewing the lease"
        _end_attempt(session, job, "lost", reason)
        job.tries -= killed
        # The fence moves on with the state, so a worker that was only slow writes nothing.
        job.fence += 1
        _put_back(session, job)
    session.flush()
    return len(jobs)


def cancel(session: Session, run: str) -> None:
    """Take what nobody has begun out of a run; who holds a job of it learns that from the run."""
    begun = (JobRow.run_id == run, JobRow.state.in_((READY, WAITING)))
    session.execute(update(JobRow).where(*begun).values(state=CANCELLED))


def holders(session: Session, run: str | None = None) -> tuple[str, ...]:
    """Return who holds a job, of one run or of any."""
    held = select(JobRow.holder).where(JobRow.state == RUNNING).distinct()
    if run is not None:
        held = held.where(JobRow.run_id == run)
    return tuple(one for one in session.scalars(held) if one is not None)


def _put_back(session: Session, job: JobRow) -> None:
    """Free a job that was not done: for another try while there are some, and a run to go on."""
    job.holder = job.lease_until = None
    if session.get_one(RunRow, job.run_id).state == CANCELLED:
        job.state = CANCELLED
    else:
        job.state = READY if job.tries < MOST_TRIES else FAILED


def _end_attempt(session: Session, job: JobRow, outcome: str, reason: str | None) -> None:
    attempt = session.get(AttemptRow, (job.id, job.fence))
    if attempt is not None:
        attempt.ended = session.scalar(select(database_now()))
        attempt.outcome, attempt.reason = outcome, reason
