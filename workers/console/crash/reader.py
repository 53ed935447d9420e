# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a console in one pass over its lines.

A line that fits a rule opens a block; the block takes lines until the report's end; then it is
described and either joins an incident that it only follows from or becomes one. The work is linear
in the length of the console, and what is kept of it is bounded.
"""

import re
from collections import deque
from dataclasses import replace

from workers.console.crash.blocks import Block
from workers.console.crash.boots import Boots, NewBoot
from workers.console.crash.incidents import Incident, Incidents
from workers.console.crash.lines import Line, lines, skipped
from workers.console.crash.report import CrashKind, CrashReport
from workers.console.crash.rule import PREFACES, Rule
from workers.console.crash.rules import REBOOT, find

BEFORE = 10
"""Lines of an excerpt before the report."""

_OPEN_LIMIT = 8
"""Reports that are read side by side, and CPUs that speak for another."""
_QUOTED = re.compile(
    r"\s*(?:(?:not )?ok \d|# farm |KTAP version|TAP version)"
    r"|.{0,40}(?:Kernel command line|Command line|command line parameters)[ :]"
)
"""Lines that may hold anything, said by somebody else: results, and the command line."""
_ASKED_BY_NMI = re.compile(r"NMI backtrace for cpu \d")


def read(console: bytes) -> tuple[CrashReport, ...]:
    """The crashes on a console, in the order of their first lines.

    Takes any bytes and never raises. Of a console longer than LIMIT the middle is not read: then
    an empty answer does not mean that there was no crash, and `skipped` in each report tells.
    """
    reader = _Reader()
    for line in lines(console):
        reader.feed(line)
    left_out = skipped(console)
    return tuple(replace(report, skipped=left_out) for report in reader.finish())


class _Reader:
    def __init__(self) -> None:
        self._boots = Boots()
        self._incidents = Incidents()
        self._before: deque[str] = deque(maxlen=BEFORE)
        self._open: dict[str, Block] = {}
        self._lent: dict[str, str] = {}

    def feed(self, line: Line) -> None:
        boot = self._boots.feed(line)
        if boot is not None:
            self._next_boot(boot)
        if boot is None or boot.first is not line:
            self._take(line)
        self._before.append(line.raw)

    def finish(self) -> tuple[CrashReport, ...]:
        self._close_all()
        return self._incidents.reports()

    def _take(self, line: Line) -> None:
        speaker = self._speaker(line)
        block = self._open.get(speaker)
        found = None if _QUOTED.match(line.text) else find(line.text)
        if found is not None and not (block is not None and block.is_ended_by(line)):
            self._reported(*found, line, speaker)
        elif block is not None and (line.kernel or not block.first.kernel):
            if block.wants(line):
                block.add(line)
            else:
                self._close(speaker)

    def _speaker(self, line: Line) -> str:
        """Whose report a line belongs to: a CPU that was asked by NMI speaks for who asked."""
        caller = line.caller
        if caller in self._open:
            return caller
        if self._open and _ASKED_BY_NMI.match(line.text):
            if len(self._lent) >= _OPEN_LIMIT:
                self._lent.clear()
            self._lent[caller] = next(reversed(self._open))
        lender = self._lent.get(caller, caller)
        return lender if lender in self._open else caller

    def _reported(self, rule: Rule, match: re.Match[str], line: Line, speaker: str) -> None:
        block = self._open.get(speaker)
        if block is not None and block.holds(rule):
            if block.rule.name in PREFACES and rule.name not in PREFACES:
                block.rule, block.match = rule, match
                block.doubtful = self._is_doubtful(rule, line)
            block.fatal = block.fatal or rule.fatal
            block.add(line)
            return
        mixed = block is not None and block.placeless and not line.caller
        if block is not None:
            block.mixed = block.mixed or mixed
            self._close(speaker)
        if rule.kind is CrashKind.PANIC:
            self._close_all()
        self._start(rule, match, line, mixed)

    def _start(self, rule: Rule, match: re.Match[str] | None, line: Line, mixed: bool) -> None:
        doubtful = self._is_doubtful(rule, line)
        if not doubtful and rule is not REBOOT:
            self._boots.kernel_spoke()
        if len(self._open) >= _OPEN_LIMIT:
            self._close(next(iter(self._open)))
        self._lent.pop(line.caller, None)
        self._open[line.caller] = Block(rule, match, line, tuple(self._before), doubtful, mixed)

    def _is_doubtful(self, rule: Rule, line: Line) -> bool:
        """Where printk writes the time, a line without it is most likely not the kernel's."""
        return not line.kernel and (rule.weak or self._boots.timed)

    def _next_boot(self, boot: NewBoot) -> None:
        culprit = self._close_all() or self._incidents.deadly()
        if culprit is not None and not boot.asked:
            culprit.add([REBOOT.title], fatal=True)
        self._incidents.next_boot()
        if culprit is None and not boot.asked:
            self._start(REBOOT, None, boot.first, mixed=False)

    def _close_all(self) -> Incident | None:
        """Close every report; the incident of one that was cut off, if there is one."""
        cut: Incident | None = None
        for speaker, block in list(self._open.items()):
            block.cut = True
            incident = self._close(speaker)
            cut = cut if block.complete else incident
        self._lent.clear()
        return cut

    def _close(self, speaker: str) -> Incident | None:
        finding = self._open.pop(speaker).describe()
        return None if finding is None else self._incidents.place(finding)
