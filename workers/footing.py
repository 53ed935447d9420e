# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest stands on while it runs: the host's time and disk. Where they fail, none of what is
seen of the guest is its own doing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from workers.cache import open_plain
from workers.console.crash import CrashKind, CrashReport
from workers.errors import InfrastructureError

STALL_SECONDS = 1.0
"""A longer time between two looks means that the host, or this process, stood still."""

HEAD = 16
"""Bytes that a file's beginning is known by: it stays what it was, whatever is written after it."""

LEAST_FREE = 1 << 20
"""Bytes of disk below which something the guest said may not have been written."""

DOUBTFUL_SECONDS = 5.0
"""A guest that was kept from running this long may take it for a lockup: its clock went on."""

LOCKUPS = frozenset(
    {
        CrashKind.SOFT_LOCKUP,
        CrashKind.HARD_LOCKUP,
        CrashKind.RCU_STALL,
        CrashKind.HUNG_TASK,
        CrashKind.WORKQUEUE_LOCKUP,
        CrashKind.CSD_LOCKUP,
    }
)
"""What a kernel reports because time went by, and for no other reason."""


class Footing:
    """Looks at the host under a guest. ``files`` are what its machine writes, in one folder.

    A machine may be kept from running for ``patience`` seconds.
    """

    def __init__(self, files: Sequence[Path], patience: float) -> None:
        self._folder = files[0].parent
        self._seen = dict.fromkeys(files, (0, b""))
        self._patience = patience
        self._stopped = 0.0
        self._longest = 0.0

    def count(self, passed: float, stopped: bool) -> float:
        """Return how many of the seconds since the last look the guest had.

        ``stopped`` says that its machine is kept from running. Raises InfrastructureError when that
        takes too long.
        """
        if stopped:
            self._stopped += passed
            self._longest = max(self._longest, self._stopped)
            if self._stopped > self._patience:
                raise InfrastructureError(
                    f"the machine was kept from running for {self._stopped:.0f} s"
                )
            return 0.0
        self._stopped = 0.0
        self._longest = max(self._longest, passed - STALL_SECONDS)
        return min(passed, STALL_SECONDS)

    def check_files(self) -> int:
        """Return the size of the largest file.

        Raises InfrastructureError where something may be lost of what the machine wrote, or where
        it put something else in a file's place.
        """
        for path, (size, head) in self._seen.items():
            with open_plain(path) as file:
                now, start = os.fstat(file.fileno()).st_size, file.read(HEAD)
            self._seen[path] = now, start
            # Machines append: what was cut off begins anew, as the guest's own words now stand.
            if now < size or not start.startswith(head):
                raise InfrastructureError(f"{path} was cut off while the guest wrote to it")
        about = os.statvfs(self._folder)
        if about.f_bavail * about.f_frsize < LEAST_FREE:
            raise InfrastructureError(f"the disk of {self._folder} is full")
        return max(size for size, _ in self._seen.values())

    def check_crashes(self, crashes: Sequence[CrashReport]) -> None:
        """Raise InfrastructureError for a lockup that the host alone may be to blame for."""
        if self._longest >= DOUBTFUL_SECONDS and any(one.kind in LOCKUPS for one in crashes):
            raise InfrastructureError(
                f"the host stood still for {self._longest:.0f} s, and the guest reports a lockup"
            )
