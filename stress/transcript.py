# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot as the guest told it: what each scenario said, and where the stream broke off."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stress import ktap
from stress.measurement import Measure
from stress.protocol import (
    Alive,
    BootEnd,
    CaseBegin,
    Event,
    Evidence,
    Ktap,
    Limits,
    Measured,
    Outcome,
    Reader,
    Rejection,
    ScenarioBegin,
    ScenarioEnd,
    is_name,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One case as the guest reported it. `skip` goes with `ok`; the reason is the guest's text."""

    name: str
    ok: bool
    skip: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class ScenarioReport:
    """What came of one scenario. Times are the guest's uptime in milliseconds.

    `outcome` is None when the stream stopped before the scenario's end; `open_case` is then the
    case that ran. `intact` means that nothing of it was lost, doubled or misplaced: every KTAP
    line that the guest counted is here, and the numbers fit. Without it no result may be trusted
    to be complete.
    """

    name: str
    cases: tuple[Case, ...]
    evidence: Mapping[str, int]
    measures: tuple[Measure, ...]
    outcome: Outcome | None
    reason: str | None
    open_case: str | None
    begin_ms: int
    last_ms: int
    intact: bool


@dataclass(frozen=True, slots=True)
class BootReport:
    """What came of one boot. `ended`: the guest said that it was through, with `reason` if it
    never got to run anything; `last_ms`: its last sign of life; `rejected` counts lines left out
    by Rejection; `missing` counts stamped lines that were sent and never came."""

    scenarios: tuple[ScenarioReport, ...]
    ended: bool
    reason: str | None
    last_ms: int | None
    rejected: Mapping[Rejection, int]
    missing: int


@dataclass(slots=True)
class _Open:
    """A scenario while it is being read."""

    name: str
    begin_ms: int
    last_ms: int
    cases: dict[str, Case] = field(default_factory=dict)
    evidence: dict[str, int] = field(default_factory=dict)
    measures: list[Measure] = field(default_factory=list)
    outcome: Outcome | None = None
    reason: str | None = None
    open_case: str | None = None
    plan: int | None = None
    sound: bool = True

    def report(self) -> ScenarioReport:
        planned = self.plan == len(self.cases) and self.open_case is None
        intact = self.sound and self.outcome is not None
        if self.outcome is Outcome.DONE:
            intact = intact and planned
        return ScenarioReport(
            name=self.name,
            cases=tuple(self.cases.values()),
            evidence=dict(self.evidence),
            measures=tuple(self.measures),
            outcome=self.outcome,
            reason=self.reason,
            open_case=self.open_case,
            begin_ms=self.begin_ms,
            last_ms=self.last_ms,
            intact=intact,
        )


class Transcript:
    """Collects one boot. Feed it the stream; ask `report()` at any time."""

    def __init__(self, token: str, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._reader = Reader(token, self._limits)
        self._scenarios: dict[str, _Open] = {}
        self._current: _Open | None = None
        self._last_ms: int | None = None
        self._end: BootEnd | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Take these bytes in; the events they completed, for whoever keeps the time limits."""
        events = self._reader.feed(data)
        for event in events:
            if not self._take(event):
                self._reader.reject(Rejection.DISORDER)
                if self._current is not None:
                    self._current.sound = False
        return events

    def report(self) -> BootReport:
        """All that is known so far."""
        return BootReport(
            scenarios=tuple(one.report() for one in self._scenarios.values()),
            ended=self._end is not None,
            reason=self._end.reason if self._end else None,
            last_ms=self._last_ms,
            rejected=dict(self._reader.rejected),
            missing=self._reader.missing,
        )

    def _take(self, event: Event) -> bool:
        """Whether the event made sense where it stood."""
        now = self._current
        match event:
            case ScenarioBegin(name, uptime):
                self._current = None
                if name in self._scenarios or len(self._scenarios) >= self._limits.scenarios:
                    return False
                self._current = self._scenarios[name] = _Open(name, uptime, uptime)
                self._seen_at(uptime)
            case Alive(uptime):
                self._seen_at(uptime)
            case BootEnd():
                self._current = None
                self._end = event
            case Ktap(ktap.Result(depth=1) as result):
                return now is not None and self._case(now, result)
            case Ktap(ktap.Plan(depth=1, count=count)):
                if now is None or now.plan is not None:
                    return False
                now.plan = count
            case Ktap():
                pass  # headers and the scenarios' own results: the host decides from the cases
            case _:
                return now is not None and self._in_scenario(now, event)
        return True

    def _in_scenario(self, now: _Open, event: Event) -> bool:
        match event:
            case CaseBegin(name, uptime):
                fits = name.startswith(f"{now.name}.") and now.open_case is None
                now.open_case = name
                self._seen_at(uptime)
                return fits and name not in now.cases
            case Evidence(values):
                now.evidence.update(values[: self._limits.evidence - len(now.evidence)])
                return all(name in now.evidence for name, _ in values)
            case Measured(measure):
                if len(now.measures) >= self._limits.measures:
                    return False
                now.measures.append(measure)
            case ScenarioEnd(name, outcome, reason, intact):
                self._current = None
                if name != now.name:
                    return False
                now.outcome, now.reason = outcome, reason
                now.sound = now.sound and intact
        return True

    def _case(self, now: _Open, result: ktap.Result) -> bool:
        name = result.name
        if not is_name(name) or not name.startswith(f"{now.name}."):
            return False
        if name in now.cases or len(now.cases) >= self._limits.cases:
            return False
        begun = now.open_case in (name, None)
        now.open_case = None
        now.cases[name] = Case(name, result.ok, result.skip, result.reason)
        return begun and result.number == len(now.cases)

    def _seen_at(self, uptime: int) -> None:
        self._last_ms = max(uptime, self._last_ms or 0)
        if self._current is not None:
            self._current.last_ms = max(uptime, self._current.last_ms)
