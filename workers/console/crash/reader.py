# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a console: cuts out the reports on it and decides which of them are one incident.

One pass over the lines. A line that fits a rule opens a block; the block takes lines until the
report's end; then it is described (title, frames) and either joins an incident that it only
follows from or becomes one. The work is linear in the length of the console, and what is kept of
it is bounded.
"""

import re
from collections import deque
from dataclasses import dataclass, field, replace

from workers.console.crash import frames
from workers.console.crash.boots import Boots, NewBoot
from workers.console.crash.lines import Line, lines, skipped
from workers.console.crash.report import CrashKind, CrashReport
from workers.console.crash.rule import Place, Rule
from workers.console.crash.rules import ANYWHERE, PREFACES, REBOOT, STUCK, find
from workers.console.crash.titles import stable, title

EXCERPT_LIMIT = 16_384
"""Characters of an excerpt; KCIDB's limit for a log excerpt."""
BEFORE = 10
"""Lines of an excerpt before the report."""
REPORTS_LIMIT = 100
"""Incidents that are told apart in one console: the first ones."""

_OPEN_LIMIT = 8
_ALSO_LIMIT = 8
_MEET_LIMIT = 64
_TRAILING = 3
_LEFT_OUT = "\n[... lines left out ...]\n"
_QUOTED = re.compile(
    r"\s*(?:(?:not )?ok \d|# farm |KTAP version|TAP version)"
    r"|.{0,40}(?:Kernel command line|Command line|command line parameters)[ :]"
)
"""Lines that may hold anything, said by somebody else: results, and the command line."""
_BODY = re.compile(
    r"\s*(?:\[<[0-9a-fA-F]{1,16}>\]|<[/\w#]{1,16}>|(?:\? )?[\w.$]{1,255}\+0x|0x[0-9a-f]{8}"
    r"|[0-9a-f]{8,16}\b|[RE]?[A-Z][A-Z0-9]{1,2}:? {1,3}[0-9a-f\[(]|[RE](?:IP|SP|FLAGS):?"
    r"|EIP is at|Code:|Call Trace:|Stack:|Modules linked in|CPU: ?\d|CPU \d|Pid: |Process |Comm"
    r"|Tainted: |Hardware name:|Workqueue: |task:|note: |---\[ end|(?:hard|soft)irqs last|irq event"
    r"|Sending NMI|NMI backtrace|Kernel Offset:|CR2:|PGD |#PF: |last sysfs file|Rebooting in)"
)
"""Lines that belong to registers and traces: behind a trace anything else is a new topic."""
_BORROWED = re.compile(r"NMI backtrace for cpu \d")
_EXIT_PATH = frozenset({"make_task_dead", "rewind_stack_and_make_dead", "do_exit", "oops_end"})


def read(console: bytes) -> tuple[CrashReport, ...]:
    """The crashes on a console, in the order of their first lines.

    Takes any bytes and never raises. Of a console longer than LIMIT the middle is not read: then
    an empty answer does not mean that there was no crash, and `skipped` in each report tells.
    """
    reader = _Reader()
    for line in lines(console):
        reader.feed(line)
    return reader.finish(skipped(console))


@dataclass(slots=True)
class _Block:
    """The lines of one report while it is read."""

    rule: Rule
    match: re.Match[str] | None
    first: Line
    before: tuple[str, ...]
    doubtful: bool
    """Perhaps it is not the kernel that speaks: only a trace can tell."""
    fatal: bool
    boot: int
    mixed: bool = False
    """Another report came between its lines, or it came between another's."""
    cut: bool = False
    """The boot ended, or the kernel paniced, before the report did."""
    raws: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    last: int = 0
    began: bool = False
    traced: bool = False
    named: bool = False
    ended: bool = False
    trailing: int = 0

    @property
    def complete(self) -> bool:
        """The report has all that its title needs; what still comes is its tail."""
        if self.rule.name in PREFACES:
            return False
        if self.rule.end:
            return self.ended
        return self.traced or self.named or self.rule.place is Place.NONE

    @property
    def full(self) -> bool:
        return len(self.texts) >= self.rule.reach

    def add(self, line: Line) -> None:
        self.last = line.number
        self.raws.append(line.raw)
        self.texts.append(line.text)
        self.ended = self.ended or self.is_ended_by(line)
        if self.rule.names and not self.named:
            self.named = self.rule.names.search(line.text) is not None
        if self.rule.begin and not self.began:
            self.began = self.rule.begin.search(line.text) is not None
        elif not self.traced:
            self.traced = frames.is_trace_entry(line.text)

    def is_ended_by(self, line: Line) -> bool:
        return self.rule.end is not None and self.rule.end.search(line.text) is not None

    def wants(self, line: Line) -> bool:
        """Whether a line that begins no report of its own still belongs to this one."""
        if self.complete:
            self.trailing = 0 if _BODY.match(line.text) else self.trailing + 1
        return not self.full and self.trailing <= _TRAILING

    def holds(self, rule: Rule) -> bool:
        """Whether a line that fits a rule is only a part of this report."""
        if self.complete or self.full:
            return False
        return rule.inside is ANYWHERE or self.rule.name in rule.inside


@dataclass(frozen=True, slots=True)
class _Finding:
    """A report, described, before it is known whether it stands for itself."""

    rule: Rule
    report: CrashReport
    text: str
    """Its own lines, without those before it."""
    functions: tuple[str, ...]
    """Every function of its trace, generic ones included."""
    task: str | None
    boot: int
    last: int


@dataclass(slots=True)
class _Incident:
    """A report and what followed from it."""

    report: CrashReport
    boot: int
    last: int
    fatal: bool
    excerpt: str
    kinds: set[CrashKind]
    tasks: set[str | None]
    places: set[str]
    also: list[str] = field(default_factory=list)
    repeats: int = 0

    def causes(self, other: _Finding) -> bool:
        """Whether another report only follows from this incident."""
        if other.boot != self.boot:
            return False
        kind, distance = other.rule.kind, other.report.line - self.last
        if CrashKind.PANIC in self.kinds and kind is not CrashKind.REBOOT:
            return True
        if other.rule.after & self.kinds:
            return other.rule.near is None or distance <= other.rule.near
        same_task = other.task is not None and other.task in self.tasks
        if kind in STUCK and self.kinds & STUCK:
            return same_task or not self.places.isdisjoint(other.report.frames[:1])
        return self.fatal and same_task and not _EXIT_PATH.isdisjoint(other.functions)

    def take(self, other: _Finding) -> None:
        """Add a report that only follows from this incident."""
        report = other.report
        if report.line - self.last <= BEFORE:
            self.excerpt = _clip(self.excerpt, other.text)
        self.last = max(self.last, other.last)
        self.fatal = self.fatal or report.fatal
        self.kinds.add(report.kind)
        self.meet(other)
        if not report.corrupted:
            self.note(report.title)

    def meet(self, other: _Finding) -> None:
        """Remember who was stuck where, to know them again."""
        if len(self.tasks) < _MEET_LIMIT:
            self.tasks.add(other.task)
        if len(self.places) < _MEET_LIMIT:
            self.places.update(other.report.frames[:1])

    def note(self, title: str) -> None:
        if title != self.report.title and title not in self.also and len(self.also) < _ALSO_LIMIT:
            self.also.append(title)

    def as_report(self, skipped_bytes: int) -> CrashReport:
        return replace(
            self.report,
            fatal=self.fatal,
            excerpt=self.excerpt,
            also=tuple(self.also),
            repeats=self.repeats,
            skipped=skipped_bytes,
        )


class _Reader:
    def __init__(self) -> None:
        self._boots = Boots()
        self._boot = 0
        self._before: deque[str] = deque(maxlen=BEFORE)
        self._open: dict[str, _Block] = {}
        self._lent: dict[str, str] = {}
        self._incidents: list[_Incident] = []
        self._by_title: dict[str, _Incident] = {}

    def feed(self, line: Line) -> None:
        boot = self._boots.feed(line)
        if boot is not None:
            self._next_boot(boot)
        speaker = self._speaker(line)
        block = self._open.get(speaker)
        found = None if _QUOTED.match(line.text) else find(line.text)
        if found is not None and not (block is not None and block.is_ended_by(line)):
            self._reported(*found, line, speaker)
        elif block is not None and (line.kernel or not block.first.kernel):
            if line is block.first:
                pass  # the first line of another boot
            elif block.wants(line):
                block.add(line)
            else:
                self._close(speaker)
        self._before.append(line.raw)

    def finish(self, skipped_bytes: int) -> tuple[CrashReport, ...]:
        self._close_all()
        reports = [incident.as_report(skipped_bytes) for incident in self._incidents]
        return tuple(sorted(reports, key=lambda report: report.line))

    def _speaker(self, line: Line) -> str:
        """Whose report a line belongs to: a CPU that is told to by NMI speaks for who told it."""
        caller = line.caller
        if caller in self._open:
            return caller
        if self._open and _BORROWED.match(line.text):
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
        if not self._is_doubtful(rule, line):
            self._boots.kernel_spoke()
        if rule.kind is CrashKind.PANIC:
            self._close_all()
        mixed = block is not None and not block.complete and not block.traced and not line.caller
        if block is not None and speaker in self._open:
            block.mixed = mixed
            self._close(speaker)
        self._start(rule, match, line, mixed)

    def _start(self, rule: Rule, match: re.Match[str] | None, line: Line, mixed: bool) -> None:
        if len(self._open) >= _OPEN_LIMIT:
            self._close(next(iter(self._open)))
        self._lent.pop(line.caller, None)
        block = _Block(
            rule=rule,
            match=match,
            first=line,
            before=tuple(self._before),
            doubtful=self._is_doubtful(rule, line),
            fatal=rule.fatal,
            boot=self._boot,
            mixed=mixed,
        )
        block.add(line)
        self._open[line.caller] = block

    def _is_doubtful(self, rule: Rule, line: Line) -> bool:
        """Where printk writes the time, a line without it is most likely not the kernel's."""
        return not line.kernel and (rule.weak or self._boots.timed)

    def _next_boot(self, boot: NewBoot) -> None:
        culprit = self._close_all()
        if culprit is None:
            dead = (each for each in self._incidents if each.boot == self._boot and each.fatal)
            culprit = next(dead, None)
        if culprit is not None and not boot.asked:
            culprit.fatal = True
            culprit.note(REBOOT.title)
        elif not boot.asked:
            self._start(REBOOT, None, boot.first, mixed=False)
        self._boot += 1

    def _close_all(self) -> _Incident | None:
        """Close every report; the incident of one that was cut off, if there is one."""
        cut: _Incident | None = None
        for speaker, block in list(self._open.items()):
            block.cut = True
            incident = self._close(speaker)
            cut = cut if block.complete else incident
        self._lent.clear()
        return cut

    def _close(self, speaker: str) -> _Incident | None:
        finding = _describe(self._open.pop(speaker))
        return None if finding is None else self._place(finding)

    def _place(self, finding: _Finding) -> _Incident | None:
        report = finding.report
        for incident in reversed(self._incidents):
            if report.title != incident.report.title and incident.causes(finding):
                incident.take(finding)
                return incident
        if (same := self._by_title.get(report.title)) is not None:
            same.repeats += 1
            if finding.boot == same.boot:
                same.last = finding.last
            same.meet(finding)
            return same
        if len(self._incidents) >= REPORTS_LIMIT:
            return None
        incident = _Incident(
            report=report,
            boot=finding.boot,
            last=finding.last,
            fatal=report.fatal,
            excerpt=report.excerpt,
            kinds={report.kind},
            tasks={finding.task},
            places=set(report.frames[:1]),
        )
        self._incidents.append(incident)
        self._by_title[report.title] = incident
        return incident


def _describe(block: _Block) -> _Finding | None:
    """Title and frames of a report; None if nothing shows that it was the kernel that spoke."""
    rule, texts = block.rule, block.texts
    groups = {} if block.match is None else block.match.groupdict("")
    if rule.begin is not None:
        start = next((n for n, text in enumerate(texts) if rule.begin.search(text)), len(texts))
        texts = texts[start:]
    has_trace = rule.end is not None or rule.place is not Place.NONE
    trace = frames.trace(texts if has_trace else ())
    functions = trace.functions
    if block.doubtful and not functions:
        return None
    if groups.get("at"):
        functions = (frames.function(groups["at"]), *functions)
    telling = frames.meaningful(functions, stuck=rule.kind in STUCK)
    shown = telling or functions[:1]
    named = _named(rule, block.texts)
    where = named or _where(shown, trace.sure, groups.get("file", ""))
    groups |= {"where": where, "what": stable(groups.get("what") or groups.get("what2") or "")}
    needed = rule.place is Place.NEEDED
    generic = bool(functions) and not telling and rule.place is not Place.NONE
    cut_off = not block.first.whole or (block.cut and not block.ended and generic)
    jumbled = block.mixed and needed and not (groups.get("at") or named)
    text = "\n".join(block.raws)
    report = CrashReport(
        title=title(rule.title, groups),
        kind=rule.kind,
        line=block.first.number,
        frames=shown,
        excerpt=_clip("\n".join(block.before), text),
        fatal=block.fatal,
        corrupted=cut_off or jumbled or (needed and not where) or rule.kind is CrashKind.UNKNOWN,
    )
    task = groups.get("pid") or frames.pid(block.texts)
    return _Finding(rule, report, text, functions, task, block.boot, block.last)


def _named(rule: Rule, texts: list[str]) -> str:
    if rule.names is None:
        return ""
    match = next(filter(None, map(rule.names.search, texts)), None)
    return "" if match is None else f" in {frames.function(match['at'])}"


def _where(telling: tuple[str, ...], sure: bool, file: str) -> str:
    nameless = telling[:1] == (frames.NO_SYMBOL,)
    if nameless and sure and len(telling) > 1:
        return f" in {frames.NO_SYMBOL} from {telling[1]}"
    if file and (nameless or not telling):
        return f" at {file.lstrip('./')}"
    return f" in {telling[0]}" if telling else ""


def _clip(*parts: str) -> str:
    """The parts one below the other; if that is too long, its head and its tail."""
    text = "\n".join(part for part in parts if part)
    if len(text) <= EXCERPT_LIMIT:
        return text
    tail = EXCERPT_LIMIT // 4
    head = EXCERPT_LIMIT - tail - len(_LEFT_OUT)
    return f"{text[:head]}{_LEFT_OUT}{text[-tail:]}"
