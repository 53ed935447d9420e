# SPDX-License-Identifier: GPL-2.0-or-later
"""A slot of this host for something that no run asks for, held like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from farm.db import claims
from farm.db.claims import LEASE_SECONDS, LostClaim
from farm.db.database import Database
from farm.dispatch.leases import Leases
from farm.dispatch.local import IDLE_SECONDS, holder_name, take_back_from_the_dead
from workers.errors import Cancelled, InfrastructureError
from workers.process import Cancel


@dataclass(frozen=True)
class Slot:
    """A slot that is ours: the job that stands for it, and what tells its stage to stop."""

    job: int
    fence: int
    cancel: Cancel


@contextmanager
def taken(database: Database, run: str, kind: str, slot: str, stop: Cancel) -> Iterator[Slot]:
    """Wait for a slot, then hold it while the block runs; all runs count it as used.

    ``run`` is the one whose log shows it. Raises Cancelled when ``stop`` is requested meanwhile,
    and InfrastructureError where the slot could not be held to the end.
    """
    claim = None
    while claim is None:
        with database.transaction() as session:
            take_back_from_the_dead(session)
            claim = claims.take(session, run, kind, slot, holder_name(), LEASE_SECONDS)
        if claim is None:
            stop.wait(IDLE_SECONDS)
            stop.check()
    leases = Leases(database)
    outcome, reason = claims.FAILED, "it did not come to its end"

    def look() -> None:
        if stop.wait(0):
            leases.stop(stop.reason)

    try:
        try:
            with leases.holding(claim) as cancel, leases.kept(look):
                yield Slot(claim.job, claim.fence, cancel)
            outcome, reason = claims.DONE, ""
        finally:
            with database.transaction() as session:
                claims.finish(session, claim, outcome, reason or None)
    except (Cancelled, LostClaim) as error:
        stop.check()
        raise InfrastructureError(
            f"the slot {slot!r} was lost: for {LEASE_SECONDS:.0f} s its lease was not renewed",
            "nothing is known of what was done in it, call it again",
        ) from error
