# SPDX-License-Identifier: GPL-2.0-or-later
"""What a row of the table of crash reports holds, and the families of rows.

The table itself is in rules.py.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import partial

from workers.console.crash.frames import SYMBOL
from workers.console.crash.report import CrashKind


class Place(Enum):
    """Whether a title names the function where the fault is."""

    NEEDED = "without it the report is corrupted"
    OPTIONAL = "if the report tells it"
    NONE = "the text alone is the title"


@dataclass(frozen=True, slots=True)
class Rule:
    """One wording of one kind of report."""

    name: str
    kind: CrashKind
    hint: str
    """A text that every such line holds: looked for first, because that is cheap."""
    pattern: re.Pattern[str]
    """Finds the report's first line. Groups: `what` (or `what2`) goes into the title, freed of
    numbers and addresses; `at` is the function at fault, `file` its file, `pid` its task."""
    title: str
    """`{what}`, `{where}` (" in FUNCTION", " at FILE" or nothing) and other groups by name."""
    place: Place = Place.NEEDED
    names: re.Pattern[str] | None = None
    """A later line whose group `at` is the function at fault."""
    begin: re.Pattern[str] | None = None
    """The line after which the trace counts; earlier ones tell the history of locks."""
    end: re.Pattern[str] | None = None
    """The report's last line. Without it the report ends behind its trace."""
    reach: int = 100
    """How many lines there may be up to the end, or up to the trace."""
    fatal: bool = False
    weak: bool = False
    """User space may say the same: counts only with printk's prefix or a trace."""
    inside: frozenset[str] = frozenset()
    """In an open report of these rules such a line is a part of that report."""
    after: frozenset[CrashKind] = frozenset()
    """Behind a report of these kinds this one only follows from it ..."""
    near: int | None = 100
    """... if it comes within so many lines (None: anywhere in the same boot)."""
    ignore: re.Pattern[str] | None = None
    """Lines that the pattern finds and that are no report."""


ANYWHERE = frozenset({"*"})
"""For Rule.inside: a part of whatever report is open."""
PREFACES = frozenset({"cut-here", "execute-nx"})
"""Rules for lines that announce a report; the line that follows says which."""
STUCK = frozenset(
    {CrashKind.SOFT_LOCKUP, CrashKind.HARD_LOCKUP, CrashKind.RCU_STALL}
    | {CrashKind.HUNG_TASK, CrashKind.WORKQUEUE_LOCKUP, CrashKind.CSD_LOCKUP}
)
"""Kinds that tell of no progress: several watchers report the same stuck CPU or task."""

DEAD = frozenset({CrashKind.OOPS, CrashKind.BUG, CrashKind.KPROBES})
"""Kinds that kill the task that ran."""
STOPPED = DEAD | {CrashKind.HARD_LOCKUP, CrashKind.CSD_LOCKUP}
"""Who waits for a task that died, or for a CPU that does not answer, is no new fault."""

AT = rf"(?P<at>{SYMBOL})"
FILE = r"(?P<file>[\w./+-]{1,200}):\d{1,6}"
_END_TRACE = re.compile(r"---\[ end trace")
_END_PANIC = re.compile(r"---\[ end Kernel panic|Rebooting in \d")

# Families of rows: what their reports have in common.
Text = partial(Rule, place=Place.NONE)
Panic = partial(Rule, place=Place.NONE, end=_END_PANIC, fatal=True)
Traced = partial(Rule, end=_END_TRACE, reach=250)
Dying = partial(Rule, end=_END_TRACE, reach=250, fatal=True)
Header = partial(  # written by die(), alone or behind a line that says more
    Dying,
    inside=frozenset({"page-fault", "double-fault", "stack-guard", "missing-endbr", "cfi"})
    | {"ubsan-trap", "kprobe-unrecoverable", "kretprobe-lost", "bug", "oops", "die"}
    | {"early-exception"},
)
Stuck = partial(Rule, after=STOPPED, near=None)
Stall = partial(Rule, after=STOPPED, near=None, place=Place.OPTIONAL, reach=400)
Lockdep = partial(Rule, begin=re.compile(r"stack backtrace:"), reach=3000)
Sanitizer = partial(Rule, end=re.compile(r"={50}"), reach=400)
