# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine by itself: threads over the same claims that many machines use, and no server.

A thread that starts a process also waits for it, for the process is tied to its thread: whatever
kills the farm ends its builds and guests too.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from sqlalchemy import select

from farm.db import claims
from farm.db.claims import Claim, LostClaim
from farm.db.database import Database
from farm.db.models import JobRow, RunRow, SlotRow
from farm.runner import Worker
from farm.schedule import FINISHED, STOPPED, advance
from workers.errors import InfrastructureError
from workers.process import Cancel

LEASE_SECONDS = 30.0
RENEW_SECONDS = 5.0
IDLE_SECONDS = 0.3


def holder_name() -> str:
    """Return what names this process among all that ever ran on this host: pid and start time."""
    return f"{os.uname().nodename}:{os.getpid()}:{_start_time(os.getpid())}"


def holder_is_dead(holder: str) -> bool:
    """Whether a holder was a process of this host that is there no more."""
    node, _, rest = holder.partition(":")
    pid, _, started = rest.partition(":")
    return node == os.uname().nodename and _start_time(int(pid)) != started


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
        # By job and fence: after a lost lease another thread may have the same job.
        self._held = dict[tuple[int, int], tuple[Claim, Cancel]]()
        self._lock = threading.Lock()
        self._trouble: BaseException | None = None

    def take_over(self) -> None:
        """Free what dead processes of this host held, and queue what the run needs."""
        with self._database.transaction() as session:
            holders = session.scalars(
                select(JobRow.holder).where(JobRow.state == claims.RUNNING).distinct()
            )
            dead = tuple(one for one in holders if one is not None and holder_is_dead(one))
            claims.take_back(session, dead)
            advance(session, session.get_one(RunRow, self._run), self._worker.host)

    def drain(self) -> None:
        """Work until the run is finished or ``stop`` is called.

        Raises what broke a worker thread.
        """
        with self._database.transaction() as session:
            threads = sum(session.scalars(select(SlotRow.capacity)))
        keeper = threading.Thread(target=self._renew, name="leases", daemon=True)
        workers = [
            threading.Thread(target=self._guarded_work, name=f"worker-{number}")
            for number in range(threads)
        ]
        for thread in [keeper, *workers]:
            thread.start()
        for thread in workers:
            thread.join()
        self._stop.request("done")
        keeper.join()
        if self._trouble is not None:
            raise self._trouble

    def stop(self, reason: str) -> None:
        """Stop all jobs; they are given back, and ``farm resume`` goes on with them."""
        self._stop.request(reason)
        with self._lock:
            for _, cancel in self._held.values():
                cancel.request(reason)

    def _guarded_work(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 (raised again by drain, in the caller's thread)
            self._trouble = error
            self.stop(f"a worker failed: {error!r}")

    def _work(self) -> None:
        while not self._stop.wait(0):
            with self._database.transaction() as session:
                row = session.get_one(RunRow, self._run)
                if row.state in (FINISHED, STOPPED):
                    return
                claim = claims.claim_next(session, self._run, self._holder, LEASE_SECONDS)
                if claim is None and not claims.is_moving(session, self._run):
                    # A job whose lease ran out too often failed without anybody to go on from it.
                    advance(session, row, self._worker.host)
            if claim is None:
                self._stop.wait(IDLE_SECONDS)
                continue
            self._execute(claim)

    def _execute(self, claim: Claim) -> None:
        cancel = Cancel()
        with self._lock:
            self._held[claim.job, claim.fence] = (claim, cancel)
        if self._stop.wait(0):
            cancel.request(self._stop.reason)
        try:
            self._worker.execute(claim, cancel)
        except LostClaim:
            return
        finally:
            with self._lock:
                del self._held[claim.job, claim.fence]

    def _renew(self) -> None:
        """Prolong the leases of running jobs.

        A job whose lease can't be kept is stopped in time.
        """
        renewed = dict[tuple[int, int], float]()
        while not self._stop.wait(RENEW_SECONDS):
            with self._lock:
                held = list(self._held.values())
            now = time.monotonic()
            for claim, cancel in held:
                since = now - renewed.setdefault((claim.job, claim.fence), now)
                try:
                    with self._database.transaction() as session:
                        kept = claims.renew(session, claim, LEASE_SECONDS)
                except InfrastructureError:
                    kept = since < LEASE_SECONDS - 2 * RENEW_SECONDS
                else:
                    renewed[claim.job, claim.fence] = now
                if not kept:
                    cancel.request("the lease was lost")
