# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides which reports are one incident: a crash, what only followed from it, and repetitions."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from workers.console.crash.blocks import Finding
from workers.console.crash.report import CrashKind, CrashReport, clip
from workers.console.crash.rule import STUCK

REPORTS_LIMIT = 100
"""Incidents that are told apart in one console: the first ones."""

_ALSO_LIMIT = 8
_MEET_LIMIT = 64
_ADJACENT = 10
_EXIT_PATH = frozenset({"make_task_dead", "rewind_stack_and_make_dead", "do_exit", "oops_end"})
"""What a task runs through after its oops."""


@dataclass(slots=True)
class Incident:
    """A report and what followed from it in the same boot."""

    report: CrashReport
    last: int
    """Number of the last line of all that."""
    kinds: set[CrashKind]
    tasks: set[str | None] = field(default_factory=set)
    places: set[str] = field(default_factory=set)

    def causes(self, other: Finding) -> bool:
        """Whether another report only follows from this incident."""
        kind, distance = other.rule.kind, other.report.line - self.last
        if CrashKind.PANIC in self.kinds:
            return True
        if other.rule.after & self.kinds:
            return other.rule.near is None or distance <= other.rule.near
        same_task = other.task is not None and other.task in self.tasks
        if kind in STUCK and self.kinds & STUCK:
            return same_task or not self.places.isdisjoint(other.report.frames[:1])
        return self.report.fatal and same_task and not _EXIT_PATH.isdisjoint(other.functions)

    def take(self, other: Finding) -> None:
        """Add a report that only follows from this incident."""
        if other.report.line - self.last <= _ADJACENT:
            self.report = replace(self.report, excerpt=clip(self.report.excerpt, other.text))
        self.kinds.add(other.report.kind)
        self.meet(other)
        titles = () if other.report.corrupted else (other.report.title,)
        self.add(titles, other.report.fatal)

    def repeat(self, other: Finding) -> None:
        """Count a report that is the same again."""
        self.report = replace(self.report, repeats=self.report.repeats + 1)
        self.meet(other)

    def meet(self, other: Finding) -> None:
        """Remember who was stuck where, to know them again."""
        self.last = max(self.last, other.last)
        if len(self.tasks) < _MEET_LIMIT:
            self.tasks.add(other.task)
        if len(self.places) < _MEET_LIMIT:
            self.places.update(other.report.frames[:1])

    def add(self, titles: Iterable[str], fatal: bool) -> None:
        self.report = with_titles(self.report, titles, fatal)


def with_titles(report: CrashReport, titles: Iterable[str], fatal: bool) -> CrashReport:
    """A report that also has the titles of others that followed."""
    also = dict.fromkeys([*report.also, *(title for title in titles if title != report.title)])
    return replace(report, also=tuple(also)[:_ALSO_LIMIT], fatal=report.fatal or fatal)


class Incidents:
    """The incidents of one console, boot by boot."""

    def __init__(self) -> None:
        self._past: dict[str, CrashReport] = {}
        self._here: dict[str, Incident] = {}

    def place(self, finding: Finding) -> Incident | None:
        """Find the incident that a report of this boot belongs to, or make it one.

        None if it is about the boot before, or if there are too many already.
        """
        report = finding.report
        if report.kind is CrashKind.REBOOT:
            self._keep(report)  # it tells of the boot before
            return None
        for incident in reversed(self._here.values()):
            if incident.report.title != report.title and incident.causes(finding):
                incident.take(finding)
                return incident
        if (same := self._here.get(report.title)) is not None:
            same.repeat(finding)
            return same
        if len(self._past) + len(self._here) >= REPORTS_LIMIT:
            return None
        incident = Incident(report, finding.last, {report.kind})
        incident.meet(finding)
        self._here[report.title] = incident
        return incident

    def deadly(self) -> Incident | None:
        """The first incident of this boot after which it could not go on."""
        return next((each for each in self._here.values() if each.report.fatal), None)

    def next_boot(self) -> None:
        """What comes from now on happens in another boot."""
        for incident in self._here.values():
            self._keep(incident.report)
        self._here.clear()

    def reports(self) -> tuple[CrashReport, ...]:
        """All of them, in the order of their first lines."""
        self.next_boot()
        return tuple(sorted(self._past.values(), key=lambda report: report.line))

    def _keep(self, report: CrashReport) -> None:
        if (past := self._past.get(report.title)) is not None:
            repeats = past.repeats + 1 + report.repeats
            report = replace(with_titles(past, report.also, report.fatal), repeats=repeats)
        self._past[report.title] = report
