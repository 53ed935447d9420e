# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine by itself: threads over the same claims that many machines use, and no server.

A thread that starts a process also waits for it, for the process is tied to its thread: whatever
kills the farm ends its builds and guests too.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from farm.db import claims
from farm.db.claims import LEASE_SECONDS, Claim, LostClaim
from farm.db.database import Database, database_now
from farm.db.models import RunRow, SlotRow
from farm.dispatch.bell import Bell
from farm.dispatch.leases import Leases
from farm.runner import Worker
from farm.schedule import ENDED, STOPPED, advance
from workers.errors import InfrastructureError
from workers.process import Cancel

IDLE_SECONDS = 1.0
"""Between two looks of an idle worker at what other processes did; this one's own rings a bell."""


def holder_name() -> str:
    """Return what names this process among all that ever ran on this host: pid and start time."""
    return f"{os.uname().nodename}:{os.getpid()}:{_start_time(os.getpid())}"


def holder_is_dead(holder: str) -> bool:
    """Whether a holder was a process of this host that is there no more."""
    node, _, rest = holder.partition(":")
    pid, _, started = rest.partition(":")
    return node == os.uname().nodename and _start_time(int(pid)) != started


def take_back_from_the_dead(session: Session) -> None:
    """Free what processes of this host held that are there no more."""
    claims.take_back(session, tuple(one for one in claims.holders(session) if holder_is_dead(one)))


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    # The fields behind the command, which is in parentheses and may hold anything; the 22nd is the
    # start.
    return f"{boot}.{stat.rpartition(')')[2].split()[19]}"


class LocalDispatcher:
    """Works a run off with as many threads as the host has slots."""

    def __init__(self, worker: Worker, run: str) -> None:
        self._worker = worker
        self._database: Database = worker.database
        self._run = run
        self._holder = holder_name()
        self._stop = Cancel()
        self._bell = Bell()
        self._leases = Leases(worker.database)
        self._trouble: BaseException | None = None

    def take_over(self) -> None:
        """Free what dead processes of this host held, and queue what the run needs."""
        with self._database.transaction() as session:
            take_back_from_the_dead(session)
            self._worker.tidy(session, self._run)
            row = session.get_one(RunRow, self._run)
            advance(session, row, self._worker.host)
        self._worker.clear_lanes(self._run)

    def drain(self) -> None:
        """Work until the run has ended or ``stop`` is called.

        Raises what broke a worker thread, and OSError where a lane can't be removed.
        """
        with self._database.transaction() as session:
            threads = sum(session.scalars(select(SlotRow.capacity)))
        workers = [
            threading.Thread(target=self._guarded_work, name=f"worker-{number}")
            for number in range(threads)
        ]
        with self._leases.kept(self._look):
            for thread in workers:
                thread.start()
            for thread in workers:
                thread.join()
        if self._trouble is not None:
            raise self._trouble
        self._worker.clear_lanes(self._run)

    def stop(self, reason: str) -> None:
        """Stop all jobs; they are given back, and ``farm resume`` goes on with them."""
        self._stop.request(reason)
        self._bell.ring()
        self._leases.stop(reason)

    def _look(self) -> None:
        """Say that somebody works on the run, and see whether it was cancelled meanwhile."""
        try:
            with self._database.transaction() as session:
                row = session.get_one(RunRow, self._run)
                row.alive_until = session.scalar(select(database_now() + LEASE_SECONDS))
                cancelled = row.state == STOPPED
        except InfrastructureError:
            # Busy or out of reach: what that means for the jobs is the leases' to say.
            return
        if cancelled:
            self.stop("the run was cancelled")

    def _guarded_work(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 (raised again by drain, in the caller's thread)
            self._trouble = error
            self.stop(f"a worker failed: {error!r}")
        finally:
            self._bell.ring()

    def _work(self) -> None:
        while not self._stop.wait(0):
            heard = self._bell.rings
            with self._database.transaction() as session:
                row = session.get_one(RunRow, self._run)
                if row.state in ENDED:
                    return
                claim = claims.claim_next(session, self._run, self._holder, LEASE_SECONDS)
                if claim is None and not claims.is_moving(session, self._run):
                    # A job whose lease ran out too often failed without anybody to go on from it.
                    advance(session, row, self._worker.host)
            if claim is None:
                self._bell.wait(heard, IDLE_SECONDS)
                continue
            self._bell.ring()
            self._execute(claim)
            self._bell.ring()

    def _execute(self, claim: Claim) -> None:
        with self._leases.holding(claim) as cancel:
            if self._stop.wait(0):
                cancel.request(self._stop.reason)
            try:
                self._worker.execute(claim, cancel)
            except LostClaim:
                return
