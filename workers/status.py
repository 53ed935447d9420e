# SPDX-License-Identifier: GPL-2.0-or-later
"""The status words of KCIDB (schema 5.3) and how several of them become one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """How a build, a test or a case ended.

    FAIL is the kernel's fault and nothing else is ever FAIL. ERROR: our own test broke. MISS: it
    did not happen. SKIP: it does not apply here. DONE: it ran and judges nothing.
    """

    FAIL = "FAIL"
    ERROR = "ERROR"
    MISS = "MISS"
    PASS = "PASS"
    DONE = "DONE"
    SKIP = "SKIP"


def worst(statuses: Iterable[Status]) -> Status:
    """Return the status that stands for all of them; none at all is MISS, for silence is no pass.

    The order is KCIDB's: FAIL, ERROR, MISS, PASS, DONE, SKIP.
    """
    order = list(Status)
    return min(statuses, key=order.index, default=Status.MISS)
