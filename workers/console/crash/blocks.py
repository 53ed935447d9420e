# SPDX-License-Identifier: GPL-2.0-or-later
"""A block: the lines of one report, from its first line to its end, and what they say."""

import re
from dataclasses import dataclass, field

from workers.console.crash import frames
from workers.console.crash.lines import Line
from workers.console.crash.report import CrashKind, CrashReport, clip
from workers.console.crash.rule import ANYWHERE, PREFACES, STUCK, Place, Rule
from workers.console.crash.titles import stable, title

_TRAILING = 3
"""Lines of another topic that may lie between those of a report's tail."""
_TAIL = re.compile(
    r"\s*(?:\[<[0-9a-fA-F]{1,16}>\]|<[/\w#]{1,16}>|(?:\? )?[\w.$]{1,255}\+0x|0x[0-9a-f]{8}"
    r"|[0-9a-f]{8,16}\b|[RE]?[A-Z][A-Z0-9]{1,2}:? {1,3}[0-9a-f\[(]|[RE](?:IP|SP|FLAGS):?"
    r"|EIP is at|Code:|Call Trace:|Stack:|Modules linked in|CPU: ?\d|CPU \d|Pid: |Process |Comm"
    r"|Tainted: |Hardware name:|Workqueue: |task:|note: |---\[ end|(?:hard|soft)irqs last|irq event"
    r"|Sending NMI|NMI backtrace|Kernel Offset:|CR2:|PGD |#PF: |last sysfs file|Rebooting in)"
)
"""Registers and traces: in a report's tail anything else is another topic."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A report, described, before it is known whether it stands for itself."""

    rule: Rule
    report: CrashReport
    text: str
    """The report's own lines, without those before it."""
    functions: tuple[str, ...]
    """Every function of its trace, generic ones included."""
    task: str | None
    """The PID it is about."""
    last: int
    """Number of its last line."""


@dataclass(slots=True)
class Block:
    """The lines of one report while they are read."""

    rule: Rule
    match: re.Match[str] | None
    first: Line
    before: tuple[str, ...]
    doubtful: bool
    """Perhaps it is not the kernel that speaks: only a trace can tell."""
    mixed: bool
    """Another report came between its lines, or it came between another's."""
    fatal: bool = False
    cut: bool = False
    """The boot ended, or the kernel panicked, before the report did."""
    last: int = 0
    _raws: list[str] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _began: bool = False
    _traced: bool = False
    _named: bool = False
    _ended: bool = False
    _strange: int = 0

    def __post_init__(self) -> None:
        self.add(self.first)
        self.fatal = self.rule.fatal

    @property
    def complete(self) -> bool:
        """It has all that its title needs; what still comes is its tail."""
        if self.rule.name in PREFACES:
            return False
        if self.rule.end is not None:
            return self._ended
        return self._traced or self._named or self.rule.place is Place.NONE

    @property
    def placeless(self) -> bool:
        """Nothing in it has told yet where the fault is."""
        return not self.complete and not self._traced

    def holds(self, rule: Rule) -> bool:
        """Whether a line that fits a rule is only a part of this report."""
        if self.complete or self._is_full():
            return False
        return rule.inside is ANYWHERE or self.rule.name in rule.inside

    def is_ended_by(self, line: Line) -> bool:
        return self.rule.end is not None and self.rule.end.search(line.text) is not None

    def wants(self, line: Line) -> bool:
        """Whether a line that begins no report of its own still belongs to this one."""
        if self.complete:
            self._strange = 0 if _TAIL.match(line.text) else self._strange + 1
        return not self._is_full() and self._strange <= _TRAILING

    def add(self, line: Line) -> None:
        rule = self.rule
        self.last = line.number
        self._raws.append(line.raw)
        self._texts.append(line.text)
        self._ended = self._ended or self.is_ended_by(line)
        if rule.names is not None and not self._named:
            self._named = rule.names.search(line.text) is not None
        if rule.begin is not None and not self._began:
            self._began = rule.begin.search(line.text) is not None
        elif not self._traced:
            self._traced = frames.is_trace_entry(line.text)

    def _is_full(self) -> bool:
        return len(self._texts) >= self.rule.reach

    def describe(self) -> Finding | None:
        """Title and frames; None if nothing shows that it was the kernel that spoke."""
        rule = self.rule
        groups = {} if self.match is None else self.match.groupdict("")
        trace = frames.trace(self._texts_with_trace())
        if self.doubtful and not trace.functions:
            return None
        at = (frames.function(groups["at"]),) if groups.get("at") else ()
        functions = at + trace.functions
        telling = frames.meaningful(functions, stuck=rule.kind in STUCK)
        named = self._name()
        where = named or _where(telling or functions[:1], trace.sure, groups.get("file", ""))
        what = stable(groups.get("what") or groups.get("what2") or "")
        text = "\n".join(self._raws)
        report = CrashReport(
            title=title(rule.title, groups | {"what": what, "where": where}),
            kind=rule.kind,
            line=self.first.number,
            frames=telling or functions[:1],
            excerpt=clip("\n".join(self.before), text),
            fatal=self.fatal,
            corrupted=self._is_corrupted(where, bool(at or named), bool(functions and not telling)),
        )
        task = groups.get("pid") or frames.pid(self._texts)
        return Finding(rule, report, text, functions, task, self.last)

    def _texts_with_trace(self) -> list[str]:
        rule = self.rule
        if rule.place is Place.NONE and rule.end is None:
            return []
        if rule.begin is None:
            return self._texts
        begins = (n for n, text in enumerate(self._texts) if rule.begin.search(text))
        return self._texts[next(begins, len(self._texts)) :]

    def _name(self) -> str:
        if self.rule.names is None:
            return ""
        match = next(filter(None, map(self.rule.names.search, self._texts)), None)
        return "" if match is None else f" in {frames.function(match['at'])}"

    def _is_corrupted(self, where: str, said: bool, generic: bool) -> bool:
        """Whether the title lacks its place or may have another report's.

        `said`: a line of its own says the place, not a trace. `generic`: the trace holds nothing
        but generic functions.
        """
        if not self.first.whole or self.rule.kind is CrashKind.UNKNOWN:
            return True
        if self.cut and not self._ended and generic and self.rule.place is not Place.NONE:
            return True
        return self.rule.place is Place.NEEDED and (not where or (self.mixed and not said))


def _where(functions: tuple[str, ...], sure: bool, file: str) -> str:
    nameless = functions[:1] == (frames.NO_SYMBOL,)
    if nameless and sure and len(functions) > 1:
        return f" in {frames.NO_SYMBOL} from {functions[1]}"
    if file and (nameless or not functions):
        return f" at {file.lstrip('./')}"
    return f" in {functions[0]}" if functions else ""
