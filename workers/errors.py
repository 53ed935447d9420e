# SPDX-License-Identifier: GPL-2.0-or-later
"""The four families of trouble, which everything above workers tells apart by type.

Which family an error belongs to decides what happens next: a user error ends the command with exit
status 2, a kernel failure is a result (FAIL), infrastructure is retried and ends as MISS.
``SeriesError`` and ``ScenarioError`` belong to the first family too; they live with the rooms that
raise them, which import nothing of ours.
"""

from __future__ import annotations

from kernel_series.errors import SeriesError
from stress.errors import ScenarioError


class FarmError(Exception):
    """A trouble with a message for people: what happened, where, and what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class UserError(FarmError):
    """The input or the command is wrong; nothing was lost and nothing is left running."""


class KernelFailure(FarmError):
    """The tree under test is at fault: it does not apply, build or boot."""


class InfrastructureError(FarmError):
    """The host is at fault: a tool is missing, a disk is full, a program of ours was killed."""


class ProgramMissing(InfrastructureError):
    """A program is not installed; in the midst of a run that is the host's trouble like any other.

    Where nothing has begun, the user mends it.
    """


class LostNode(FarmError):
    """The place where the kernel ran is gone, and with it what the kernel would have said.

    A family for kinds of machines that stand elsewhere; those of this host raise none of it.
    """


class Cancelled(FarmError):
    """The job was told to stop: its run was cancelled or its lease was lost."""


USER_ERRORS = (UserError, SeriesError, ScenarioError)
"""Every type that means: the input or the command is wrong."""
