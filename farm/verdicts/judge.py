# SPDX-License-Identifier: GPL-2.0-or-later
"""One test: from its observations to a status, its cases, and the faults it shows.

The table of endings is the contract's ("Verdicts"): only what the kernel is to blame for is FAIL. A
case starts as MISS and becomes PASS only when the guest said so on its own channel, the console
shows no crash, and the evidence holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from farm.records import Observation, Purpose, Test
from stress.measurement import Measurement, measurement
from stress.protocol import Outcome
from stress.scenario import Check, Clock, FeatureState, Scenario
from workers.boot import Ending
from workers.status import Status, worst

CONFIRMED = 2
"""Runs in which a fault must show before it counts; of at most three."""

MOST_RUNS = 3

Evidence = Mapping[str, int]
"""What a guest showed, by name."""

BOOT = "boot: "
"""Begins the title of what strikes before any scenario begins."""


class Kind(StrEnum):
    """What shows a fault."""

    APPLY = "apply"
    BUILD = "build"
    WARNING = "warning"
    BOOT = "boot"
    CRASH = "crash"
    CASE = "case"
    EVIDENCE = "evidence"
    MEASUREMENT = "measurement"


@dataclass(frozen=True)
class Fault:
    """One fault: two tests show the same one when kind and ``key`` are equal.

    The key is a case's name, or the title where there is no case that keeps it: a case's reason
    holds counts that differ from run to run, and a crash is the same one in whatever case it
    strikes.
    """

    kind: Kind
    key: str
    title: str = field(compare=False)
    case: str | None = field(default=None, compare=False)
    scenario: str | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """What names it in every run: the same for the same fault."""
        return hashlib.sha256(f"{self.kind} {self.key}".encode()).hexdigest()[:12]

    @property
    def is_of_the_boot(self) -> bool:
        """Whether it strikes before any scenario begins."""
        return self.kind is Kind.BOOT or self.title.startswith(BOOT)


@dataclass(frozen=True)
class CaseVerdict:
    """One case of a scenario and how it ended."""

    name: str
    status: Status
    reason: str | None


class Need(StrEnum):
    """What has to be run before a test can be judged."""

    CONFIRM = "confirm"
    CONTROL = "control"


@dataclass(frozen=True)
class Judgement:
    """What one test means.

    ``faults`` are the kernel's. ``confirmed`` holds those that showed in two runs; ``shown`` counts
    for each in how many of ``runs`` it did. ``need`` is what would settle the matter.
    """

    status: Status
    reason: str | None
    cases: tuple[CaseVerdict, ...] = ()
    faults: tuple[Fault, ...] = ()
    confirmed: tuple[Fault, ...] = ()
    runs: int = 0
    shown: tuple[int, ...] = ()
    need: Need | None = None
    measurements: tuple[Measurement, ...] = ()


SILENT = frozenset(
    {
        Ending.NEVER_SPOKE,
        Ending.SILENT,
        Ending.OVERTIME,
        Ending.TOO_LONG,
        Ending.RESET,
        Ending.FLOODED,
    }
)
"""Endings without a word of why: only a control run tells whether the kernel is to blame."""


def judge(
    test: Test,
    scenario: Scenario,
    control: Judgement | None,
    before: Sequence[Evidence],
    icount_shift: int,
) -> Judgement:
    """Return what a test means.

    ``control`` is the judgement of the same scenario on an earlier kernel, from a run made for this
    purpose; None while there is none. ``before`` is the evidence of earlier kernels: what none of
    them has may be missing on this node altogether. A SKIP by ``test.skip`` needs no observation.
    ``icount_shift`` is for results that do not carry it themselves.
    """
    if test.skip is not None:
        return Judgement(Status.SKIP, test.skip)
    own = _own(test)
    if not own:
        why = "" if test.given_up is None else f": {test.given_up}"
        return Judgement(Status.MISS, f"no boot of it came to a result{why}")
    singles = [_single(seen, scenario, test.state, before) for seen in own]
    if any(single.status is Status.FAIL for single in singles):
        verdict = _judge_faults(singles)
    elif _is_silent(own[0]):
        verdict = _judge_silence(own, singles, control, scenario)
    else:
        verdict = singles[0]
    figures = _figures(own[0], test.clock, icount_shift)
    return replace(verdict, measurements=figures, runs=len(own))


def controls(test: Test, scenario: Scenario) -> Judgement | None:
    """Return what the control runs made on this test's kernel showed; None when there were none."""
    runs = [seen for seen in test.observations if seen.purpose is Purpose.CONTROL]
    return _single(runs[-1], scenario, test.state, ()) if runs else None


def evidence(test: Test) -> Evidence | None:
    """Return what the first run that came to its end showed; None when none did."""
    whole = (seen for seen in test.observations if seen.outcome is Outcome.DONE and seen.intact)
    return next((seen.evidence for seen in whole), None)


def shows(test: Test, verdict: Judgement, fault: Fault) -> bool:
    """Whether a test shows a fault: a crash speaks for its run, and a case may fail beside it."""
    failed = (case.name for seen in _own(test) for case in seen.cases if not (case.ok or case.skip))
    return fault in verdict.faults or (fault.kind is Kind.CASE and fault.key in failed)


def looks(test: Test, fault: Fault) -> int:
    """Return how many runs of a test came so far that they would have shown a fault.

    What cuts a run off hides all that was to come after it.
    """
    return sum(_would_show(seen, fault) for seen in _own(test))


def _own(test: Test) -> list[Observation]:
    """Return the runs that were made for the test's own sake."""
    return [seen for seen in test.observations if seen.purpose is not Purpose.CONTROL]


def _would_show(seen: Observation, fault: Fault) -> bool:
    ended = seen.intact and seen.outcome in (Outcome.DONE, Outcome.SKIP)
    if fault.kind is Kind.MEASUREMENT:
        whole = seen.intact and seen.crash is None
        return whole and any(one.name == fault.key for one in seen.measures)
    if fault.kind is Kind.EVIDENCE:
        # Behind a crash it is not looked at.
        return ended and seen.outcome is Outcome.DONE and seen.crash is None
    if fault.is_of_the_boot and seen.crash is not None and not seen.before_start:
        return True
    return ended or any(case.name == fault.case for case in seen.cases)


def _is_silent(seen: Observation) -> bool:
    return seen.crash is None and seen.ending in SILENT


def _judge_faults(singles: Sequence[Judgement]) -> Judgement:
    """Judge runs of which one at least failed: a fault counts when it showed twice."""
    first = next(single for single in singles if single.status is Status.FAIL)
    counts = Counter(fault for single in singles for fault in single.faults)
    confirmed = tuple(fault for fault, count in counts.items() if count >= CONFIRMED)
    left = MOST_RUNS - len(singles)
    # With too many clean runs behind it, a fault can't be confirmed any more.
    open_ = any(count < CONFIRMED <= count + left for count in counts.values())
    return replace(
        first,
        reason=confirmed[0].title if confirmed else first.reason,
        faults=tuple(counts),
        confirmed=confirmed,
        shown=tuple(counts.values()),
        need=Need.CONFIRM if open_ else None,
    )


def _judge_silence(
    own: Sequence[Observation],
    singles: Sequence[Judgement],
    control: Judgement | None,
    scenario: Scenario,
) -> Judgement:
    """Judge a boot that ended without a word: the control decides, then a second silence."""
    first, title = singles[0], _silence(own[0])
    if control is None:
        return replace(first, reason=f"{title}; no control run", need=Need.CONTROL)
    if not came_to_its_end(control):
        reason = f"{title}; the control failed too ({control.reason}): the node is suspect"
        return replace(first, reason=reason)
    if len(own) < CONFIRMED:
        return replace(first, reason=f"{title}; to be seen again", need=Need.CONFIRM)
    if not _is_silent(own[1]):
        return replace(first, reason=f"unstable: {title}, then {singles[1].status}")
    kind = Kind.BOOT if own[0].ending is Ending.NEVER_SPOKE else Kind.CASE
    fault = Fault(kind, title, title, own[0].open_case, scenario.name)
    cases = tuple(
        replace(case, status=Status.FAIL) if case.name == own[0].open_case else case
        for case in first.cases
    )
    return replace(
        first,
        status=Status.FAIL,
        reason=title,
        cases=cases,
        faults=(fault,),
        confirmed=(fault,),
        shown=(2,),
    )


def came_to_its_end(control: Judgement) -> bool:
    """Whether a control did what the silent run did not: cases that fail tell of the node's health
    as well as those that pass.
    """
    if control.status is Status.FAIL:
        return all(fault.kind is not Kind.CRASH for fault in control.faults)
    return control.status is Status.PASS


def _silence(seen: Observation) -> str:
    where = seen.open_case or "no case"
    match seen.ending:
        case Ending.NEVER_SPOKE:
            return f"{BOOT}silent"
        case Ending.RESET:
            return f"reset in {where}"
        case Ending.FLOODED:
            return f"endless output in {where}"
        case _:
            return f"hang in {where}"


def _single(
    seen: Observation, scenario: Scenario, state: FeatureState, before: Sequence[Evidence]
) -> Judgement:
    """Judge one run by itself."""
    cases = [_case(case.ok, case.skip, case.name, case.reason) for case in seen.cases]
    if seen.crash is not None:
        return _crashed(seen, cases, scenario)
    if _is_silent(seen):
        if seen.open_case is not None:
            cases.append(CaseVerdict(seen.open_case, Status.MISS, "cut off"))
        return Judgement(Status.MISS, _silence(seen), tuple(cases))
    if seen.outcome is Outcome.ERROR or (seen.outcome is None and seen.reason):
        return Judgement(Status.ERROR, seen.reason or "the scenario could not run", tuple(cases))
    if seen.outcome is None or not seen.intact:
        return Judgement(Status.ERROR, "protocol: lines of the scenario are missing", tuple(cases))
    faults = [
        Fault(Kind.CASE, case.name, _failure(case), case.name, scenario.name)
        for case in cases
        if case.status is Status.FAIL
    ]
    if seen.outcome is Outcome.DONE:
        for verdict in _missing(seen, scenario, state, before):
            cases.append(verdict)
            if verdict.status is Status.FAIL:
                title = verdict.reason or verdict.name
                fault = Fault(Kind.EVIDENCE, verdict.name, title, verdict.name, scenario.name)
                faults.append(fault)
    elif not faults:
        return Judgement(Status.SKIP, seen.reason, tuple(cases))
    status = worst(case.status for case in cases)
    if status is Status.PASS:
        return Judgement(status, None, tuple(cases))
    reason = next((case.reason for case in cases if case.status is status), None)
    return Judgement(status, faults[0].title if faults else reason, tuple(cases), tuple(faults))


def _failure(case: CaseVerdict) -> str:
    return f"{case.name}: {case.reason or 'not ok'}"


def _missing(
    seen: Observation, scenario: Scenario, state: FeatureState, before: Sequence[Evidence]
) -> Iterator[CaseVerdict]:
    """Yield a verdict for each piece of evidence that does not hold.

    FAIL for what an earlier kernel has on this node. What belongs to the state of the feature is
    what this kernel was made for: no earlier one needs to have it.
    """
    # A kernel that found fewer CPUs than its machine has can't show what takes several.
    machine = (Check("cpus", "eq", seen.cpus),) if seen.cpus else ()
    checks = (*machine, *scenario.checks(state))
    general = len(machine) + len(scenario.evidence)
    counted = True
    for number, check in enumerate(checks):
        if check.holds(seen.evidence):
            continue
        known = number >= general or any(check.holds(one) for one in before)
        status = Status.FAIL if known and counted else Status.MISS
        # Where even the counting failed, the absence of a jump says nothing about the kernel.
        counted = counted and number >= general
        name = f"{scenario.name}.evidence.{check.name}"
        yield CaseVerdict(name, status, f"evidence: {check.failure(seen.evidence)}")


def _crashed(seen: Observation, cases: list[CaseVerdict], scenario: Scenario) -> Judgement:
    if seen.crash is None:
        raise AssertionError("called for crashes only")
    title = f"{BOOT}{seen.crash.title}" if seen.before_start else seen.crash.title
    if seen.crash.is_the_machine_s:
        return Judgement(Status.MISS, f"the node is suspect: {title}", tuple(cases))
    if seen.open_case is not None:
        cases.append(CaseVerdict(seen.open_case, Status.FAIL, title))
    fault = Fault(Kind.CRASH, title, title, seen.open_case, scenario.name)
    return Judgement(Status.FAIL, title, tuple(cases), (fault,))


def _case(ok: bool, skip: bool, name: str, reason: str | None) -> CaseVerdict:
    if skip:
        return CaseVerdict(name, Status.SKIP, reason)
    return CaseVerdict(name, Status.PASS if ok else Status.FAIL, reason)


def _figures(seen: Observation, clock: Clock, shift: int) -> tuple[Measurement, ...]:
    if seen.crash is not None or not seen.intact:
        return ()
    if seen.setup is not None and seen.setup.icount_shift is not None:
        shift = seen.setup.icount_shift
    return tuple(measurement(one, clock, shift) for one in seen.measures)
