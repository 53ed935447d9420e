# SPDX-License-Identifier: GPL-2.0-or-later
"""The jobs that this process holds: leases prolonged in time, jobs stopped whose lease was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from farm.db import claims
from farm.db.claims import LEASE_SECONDS, Claim
from farm.db.database import Database
from farm.repeating import repeating
from workers.errors import InfrastructureError
from workers.process import Cancel

RENEW_SECONDS = 5.0
LOOK_SECONDS = 1.0

LOST = "the lease was lost"


@dataclass
class _Held:
    """A claim, what tells its stage to stop, and the seconds since its lease was prolonged."""

    claim: Claim
    cancel: Cancel
    since: float = 0.0


class Leases:
    """What is held, and threads that keep it while ``kept`` lasts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By job and fence: after a lost lease another thread may have the same job.
        self._held = dict[tuple[int, int], _Held]()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[Cancel]:
        """Keep a claim while the block runs, and yield what tells its stage to stop."""
        held = _Held(claim, Cancel())
        with self._lock:
            self._held[claim.job, claim.fence] = held
        try:
            yield held.cancel
        finally:
            with self._lock:
                del self._held[claim.job, claim.fence]

    def stop(self, reason: str) -> None:
        """Tell the stages of all jobs to stop."""
        with self._lock:
            for held in self._held.values():
                held.cancel.request(reason)

    @contextmanager
    def kept(self, look: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Renew in time, in a thread of its own, while the block runs; ``look`` every second.

        Another thread counts the time: the first may wait for the database beyond a lease's end.
        """
        last = time.monotonic()

        def count() -> None:
            nonlocal last
            now = time.monotonic()
            self.passed(now - last)
            last = now

        def keep() -> None:
            look()
            self.renew()

        with repeating(count, LOOK_SECONDS, "deadlines"), repeating(keep, LOOK_SECONDS, "leases"):
            yield

    def passed(self, seconds: float) -> None:
        """Count time; stop the jobs, while their leases last, that nothing was heard of for long.

        Time in which this process stood still does not count: what became of its leases is for
        ``renew`` to find out.
        """
        with self._lock:
            for held in self._held.values():
                held.since += min(seconds, RENEW_SECONDS)
                if held.since >= LEASE_SECONDS - 2 * RENEW_SECONDS:
                    held.cancel.request(LOST)

    def renew(self) -> None:
        """Prolong the leases that are due, and stop the jobs that others have now."""
        with self._lock:
            due = [(held, held.since) for held in self._held.values()]
        for held, since in due:
            if since < RENEW_SECONDS:
                continue
            try:
                with self._database.transaction() as session:
                    kept = claims.renew(session, held.claim, LEASE_SECONDS)
            except InfrastructureError:
                # Busy or out of reach: how long that may go on is counted.
                continue
            if not kept:
                held.cancel.request(LOST)
                continue
            with self._lock:
                # What passed meanwhile is not known to be prolonged.
                held.since -= since
