# SPDX-License-Identifier: GPL-2.0-or-later
"""The jobs that this process holds: leases prolonged in time, jobs stopped whose lease was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from farm.db import claims
from farm.db.claims import LEASE_SECONDS, Claim
from farm.db.database import Database
from farm.repeating import repeating
from workers.errors import InfrastructureError
from workers.process import Cancel

RENEW_SECONDS = 5.0
LOOK_SECONDS = 1.0


class Leases:
    """What is held, and a thread that keeps it while ``kept`` lasts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # By job and fence: after a lost lease another thread may have the same job.
        self._held = dict[tuple[int, int], tuple[Claim, Cancel]]()
        self._renewed = dict[tuple[int, int], float]()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[Cancel]:
        """Keep a claim while the block runs, and yield what tells its stage to stop."""
        cancel = Cancel()
        with self._lock:
            self._held[claim.job, claim.fence] = (claim, cancel)
            self._renewed[claim.job, claim.fence] = time.monotonic()
        try:
            yield cancel
        finally:
            with self._lock:
                del self._held[claim.job, claim.fence]
                del self._renewed[claim.job, claim.fence]

    def stop(self, reason: str) -> None:
        """Tell the stages of all jobs to stop."""
        with self._lock:
            for _, cancel in self._held.values():
                cancel.request(reason)

    @contextmanager
    def kept(self, look: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Renew in time, in a thread of its own, while the block runs; ``look`` every second."""

        def keep() -> None:
            look()
            self.renew()

        with repeating(keep, LOOK_SECONDS, "leases"):
            yield

    def renew(self) -> None:
        """Prolong the leases that are due; stop a job in time whose lease can't be kept."""
        now = time.monotonic()
        with self._lock:
            due = [
                (key, claim, cancel)
                for key, (claim, cancel) in self._held.items()
                if now - self._renewed[key] >= RENEW_SECONDS
            ]
        for key, claim, cancel in due:
            try:
                with self._database.transaction() as session:
                    kept = claims.renew(session, claim, LEASE_SECONDS)
            except InfrastructureError:
                kept = now - self._renewed.get(key, now) < LEASE_SECONDS - 2 * RENEW_SECONDS
            else:
                with self._lock:
                    if key in self._renewed:
                        self._renewed[key] = now
            if not kept:
                cancel.request("the lease was lost")
