# SPDX-License-Identifier: GPL-2.0-or-later
"""What the crash reader hands out: one frozen record for each incident found on a console."""

from dataclasses import dataclass
from enum import StrEnum

EXCERPT_LIMIT = 16_384
"""Characters of an excerpt; KCIDB's limit for a log excerpt."""

_LEFT_OUT = "\n[... lines left out ...]\n"


class CrashKind(StrEnum):
    """The family of trouble, in the field's words; the values are stored and compared."""

    PANIC = "panic"
    BUG = "bug"
    OOPS = "oops"
    WARNING = "warning"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    WORKQUEUE_LOCKUP = "workqueue-lockup"
    CSD_LOCKUP = "csd-lockup"
    LOCKDEP = "lockdep"
    KASAN = "kasan"
    KFENCE = "kfence"
    KMSAN = "kmsan"
    KCSAN = "kcsan"
    UBSAN = "ubsan"
    KMEMLEAK = "kmemleak"
    SLAB = "slab"
    MEMORY = "memory"
    ATOMIC_SLEEP = "atomic-sleep"
    KPROBES = "kprobes"
    UNKNOWN_NMI = "unknown-nmi"
    MACHINE_CHECK = "machine-check"
    REBOOT = "reboot"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CrashReport:
    """One incident: the first report of a crash with everything that only followed from it.

    `title` is stable: equal faults of two boots have equal titles, whatever the addresses, PIDs,
    CPU numbers, offsets, times or compiler suffixes were. Compare and bisect on it, unless
    `corrupted` says that the report was cut off or interleaved so badly that the title lacks its
    place or may carry another report's.
    """

    title: str
    kind: CrashKind
    line: int
    """1-based number of the report's first line on the console."""
    frames: tuple[str, ...]
    """First meaningful functions of the trace, innermost first; empty where there is no trace."""
    excerpt: str
    """The report with a few lines before it: at most EXCERPT_LIMIT characters, no NUL."""
    fatal: bool
    """The kernel, or the task that ran, did not go on; what follows in this boot proves nothing."""
    corrupted: bool
    also: tuple[str, ...] = ()
    """Titles of reports that only followed from this one."""
    repeats: int = 0
    """How often a report of the same title came again in this console."""
    skipped: int = 0
    """Bytes of this console that were not read because it is longer than LIMIT."""


def clip(*parts: str) -> str:
    """The parts one below the other; if that is too long for an excerpt, its head and its tail."""
    text = "\n".join(part for part in parts if part)
    if len(text) <= EXCERPT_LIMIT:
        return text
    tail = EXCERPT_LIMIT // 4
    head = EXCERPT_LIMIT - tail - len(_LEFT_OUT)
    return f"{text[:head]}{_LEFT_OUT}{text[-tail:]}"
