# SPDX-License-Identifier: GPL-2.0-or-later
"""Every row of the contract's table "Verdicts" that concerns one test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.records import Crash, Observation, Purpose, Test
from farm.verdicts.judge import Fault, Judgement, Kind, Need, controls, judge
from stress.measurement import Measure
from stress.protocol import Outcome
from stress.scenario import Claim, Clock, FeatureState, Needs, Scenario
from stress.transcript import Case
from workers.boot import Ending
from workers.console.crash import CrashKind
from workers.status import Status

PASS, FAIL, ERROR, MISS, SKIP = (
    Status.PASS,
    Status.FAIL,
    Status.ERROR,
    Status.MISS,
    Status.SKIP,
)
ABSENT, PRESENT = FeatureState.ABSENT, FeatureState.PRESENT

SCENARIO = Scenario(
    name="s",
    title="hits are counted and the jump is there",
    needs=Needs(),
    parameters={},
    run="s",
    limit=10,
    clocks=(Clock.WALL,),
    smp=1,
    evidence=(Claim("hits", "ge", 10), Claim("restored", "eq", 1)),
    expect={
        ABSENT: (Claim("jumps", "eq", 0),),
        FeatureState.UNSUPPORTED: (Claim("jumps", "eq", 0),),
        PRESENT: (Claim("jumps", "ge", 1),),
    },
)

SHOWN = {"hits": 10, "restored": 1, "jumps": 1}
BEFORE = [{"hits": 10, "restored": 1, "jumps": 0}]
GOOD = Judgement(PASS, None)
SILENT_TOO = Judgement(MISS, "hang in s.restore")
CRASHES = Judgement(FAIL, "BUG", faults=(Fault(Kind.CRASH, "BUG", "BUG"),))
SICK = Judgement(FAIL, "s.hits: not ok", faults=(Fault(Kind.CASE, "s.hits", "s.hits: not ok"),))

DONE = Observation(
    Purpose.TEST,
    Ending.FINISHED,
    outcome=Outcome.DONE,
    intact=True,
    cases=(Case("s.hits", True, False, None), Case("s.fast", True, True, "not here")),
    evidence=SHOWN,
)
WRONG = replace(
    DONE, cases=(DONE.cases[0], Case("s.restore", False, False, "byte 2 is 0xcc")), open_case=None
)
CRASH = replace(
    DONE,
    outcome=None,
    intact=False,
    ending=Ending.RESET,
    open_case="s.restore",
    crash=Crash("BUG: unable to handle page fault in poke", "oops", "", False),
)


def silent(ending: Ending, case: str | None = "s.restore") -> Observation:
    return replace(
        DONE, outcome=None, intact=False, ending=ending, open_case=case, evidence={}, measures=()
    )


def again(seen: Observation) -> Observation:
    return replace(seen, purpose=Purpose.CONFIRM)


def made(*seen: Observation, state: FeatureState = PRESENT, **fields: Any) -> Test:
    one = Test("t", "s", "qemu", Clock.WALL, 1, None, state, None, seen, False)
    return replace(one, **fields)


def verdict(
    *seen: Observation,
    state: FeatureState = PRESENT,
    control: Judgement | None = None,
    before: list[dict[str, int]] = BEFORE,
) -> Judgement:
    return judge(made(*seen, state=state), SCENARIO, control, before, 0)


# One run.

ONE_RUN: list[tuple[str, Observation, Status, str | None]] = [
    ("all said and shown", DONE, PASS, None),
    ("a case says not ok", WRONG, FAIL, "s.restore: byte 2 is 0xcc"),
    ("a case without a reason", replace(DONE, cases=(Case("s.a", False, False, None),)), FAIL,
     "s.a: not ok"),
    ("crash text on the console", CRASH, FAIL, "BUG: unable to handle page fault in poke"),
    ("a crash, and yet the guest said all was well", replace(DONE, crash=CRASH.crash), FAIL,
     "BUG: unable to handle page fault in poke"),
    ("a crash before anything began", replace(CRASH, before_start=True, cases=(), open_case=None),
     FAIL, "boot: BUG: unable to handle page fault in poke"),
    ("nothing was optimized", replace(DONE, evidence={**SHOWN, "jumps": 0}), FAIL,
     "evidence: jumps is 0, expected >= 1"),
    ("nothing was counted", replace(DONE, evidence={**SHOWN, "hits": 0}), FAIL,
     "evidence: hits is 0, expected >= 10"),
    ("the guest forgot to tell", replace(DONE, evidence={"hits": 10, "jumps": 1}), FAIL,
     "evidence: restored is missing, expected == 1"),
    ("no case at all", replace(DONE, cases=()), MISS, None),
    ("all cases are skipped", replace(DONE, cases=DONE.cases[1:]), SKIP, "not here"),
    ("our code broke", replace(DONE, outcome=Outcome.ERROR, reason="errno 12"), ERROR, "errno 12"),
    ("our code broke, without a word", replace(DONE, outcome=Outcome.ERROR), ERROR,
     "the scenario could not run"),
    ("lines are missing", replace(DONE, intact=False), ERROR,
     "protocol: lines of the scenario are missing"),
    ("the boot said its end, the scenario did not", replace(DONE, outcome=None, intact=False),
     ERROR, "protocol: lines of the scenario are missing"),
    ("the guest could not read its job",
     Observation(Purpose.TEST, Ending.FINISHED, reason="reading /job.json: errno 2"), ERROR,
     "reading /job.json: errno 2"),
    ("the scenario does not apply", replace(DONE, outcome=Outcome.SKIP, reason="no SMP"), SKIP,
     "no SMP"),
    ("a skip does not argue a failure away", replace(WRONG, outcome=Outcome.SKIP), FAIL,
     "s.restore: byte 2 is 0xcc"),
    ("a skip whose lines are missing", replace(DONE, outcome=Outcome.SKIP, intact=False), ERROR,
     "protocol: lines of the scenario are missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "status", "reason"), [row[1:] for row in ONE_RUN], ids=[row[0] for row in ONE_RUN]
)
def test_one_run(seen: Observation, status: Status, reason: str | None) -> None:
    found = verdict(seen)
    assert (found.status, found.reason) == (status, reason)
    assert bool(found.faults) == (status is FAIL)
    assert found.need is (Need.CONFIRM if status is FAIL else None)
    assert found.confirmed == ()
    assert found.runs == 1


def test_what_was_never_run_is_no_pass() -> None:
    assert judge(made(), SCENARIO, None, [], 0).status is MISS
    assert judge(made(skip="the kernel has no X"), SCENARIO, None, [], 0) == Judgement(
        SKIP, "the kernel has no X"
    )
    only_control = made(replace(DONE, purpose=Purpose.CONTROL))
    assert judge(only_control, SCENARIO, None, [], 0).status is MISS


def test_cases_keep_their_own_status() -> None:
    found = verdict(replace(CRASH, cases=DONE.cases))
    assert [(case.name, case.status) for case in found.cases] == [
        ("s.hits", PASS),
        ("s.fast", SKIP),
        ("s.restore", FAIL),
    ]
    missed = verdict(silent(Ending.SILENT))
    assert missed.cases[-1].status is MISS


# Evidence.

EVIDENCE: list[tuple[str, FeatureState, dict[str, int], list[dict[str, int]], Status]] = [
    ("as expected where the feature is absent", ABSENT, {**SHOWN, "jumps": 0}, BEFORE, PASS),
    ("a jump where none can be", ABSENT, SHOWN, BEFORE, FAIL),
    ("unsupported is like absent", FeatureState.UNSUPPORTED, SHOWN, BEFORE, FAIL),
    ("the first kernel that should have it", PRESENT, {**SHOWN, "jumps": 0}, BEFORE, FAIL),
    ("the base itself should have it", PRESENT, {**SHOWN, "jumps": 0}, [], FAIL),
    ("no earlier kernel was counted on this node", PRESENT, {**SHOWN, "hits": 0}, [], MISS),
    ("no earlier kernel could be counted either", PRESENT, {**SHOWN, "hits": 0},
     [{"hits": 0, "restored": 1, "jumps": 0}], MISS),
    ("one of the earlier kernels was counted", PRESENT, {**SHOWN, "hits": 0},
     [{"hits": 0, "restored": 1}, {"hits": 12, "restored": 1}], FAIL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "shown", "before", "status"),
    [row[1:] for row in EVIDENCE],
    ids=[row[0] for row in EVIDENCE],
)
def test_evidence(
    state: FeatureState, shown: dict[str, int], before: list[dict[str, int]], status: Status
) -> None:
    found = verdict(replace(DONE, evidence=shown), state=state, before=before)
    assert found.status is status
    assert (found.reason or "").startswith("evidence: ") == (status is not PASS)
    assert all(fault.kind is Kind.EVIDENCE for fault in found.faults)


def test_without_a_count_the_jump_says_nothing() -> None:
    found = verdict(replace(DONE, evidence={"hits": 0, "restored": 1, "jumps": 0}))
    assert [fault.key for fault in found.faults] == ["s.evidence.hits"]
    assert {case.name: case.status for case in found.cases}["s.evidence.jumps"] is MISS


# Faults are seen again.

OTHER = replace(CRASH, crash=Crash("WARNING in optimize", "warning", "", False))
CONFIRMS: list[tuple[str, list[Observation], int, Need | None]] = [
    ("once", [CRASH], 0, Need.CONFIRM),
    ("twice", [CRASH, CRASH], 1, None),
    ("once of two", [CRASH, DONE], 0, Need.CONFIRM),
    ("two of three", [CRASH, DONE, CRASH], 1, None),
    ("one of three", [CRASH, DONE, DONE], 0, None),
    ("another one each time", [CRASH, WRONG, OTHER], 0, None),
    ("the second one is the one that stays", [CRASH, OTHER, OTHER], 1, None),
    ("a machine that hangs in between", [CRASH, silent(Ending.SILENT)], 0, Need.CONFIRM),
    ("a case, with other counts", [WRONG, replace(WRONG, cases=(
        DONE.cases[0], Case("s.restore", False, False, "byte 3 is 0x0f")))], 1, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "confirmed", "need"), [row[1:] for row in CONFIRMS], ids=[row[0] for row in CONFIRMS]
)
def test_a_fault_counts_when_it_shows_twice(
    runs: list[Observation], confirmed: int, need: Need | None
) -> None:
    found = verdict(runs[0], *map(again, runs[1:]))
    assert found.status is FAIL
    assert (len(found.confirmed), found.need, found.runs) == (confirmed, need, len(runs))
    assert len(found.shown) == len(found.faults)
    if found.confirmed:
        assert found.reason == found.confirmed[0].title


# Silence.

SILENCES = [
    (Ending.NEVER_SPOKE, None, "boot: silent", Kind.BOOT),
    (Ending.SILENT, "s.restore", "hang in s.restore", Kind.CASE),
    (Ending.SILENT, None, "hang in no case", Kind.CASE),
    (Ending.OVERTIME, "s.restore", "hang in s.restore", Kind.CASE),
    (Ending.TOO_LONG, "s.restore", "hang in s.restore", Kind.CASE),
    (Ending.RESET, "s.restore", "reset in s.restore", Kind.CASE),
    (Ending.FLOODED, "s.restore", "endless output in s.restore", Kind.CASE),
]


@pytest.mark.parametrize(("ending", "case", "title", "kind"), SILENCES)
def test_silence_needs_a_control_and_a_second_silence(
    ending: Ending, case: str | None, title: str, kind: Kind
) -> None:
    seen = silent(ending, case)
    alone = verdict(seen)
    assert (alone.status, alone.need) == (MISS, Need.CONTROL)
    for control in (SILENT_TOO, CRASHES):
        suspect = verdict(seen, control=control)
        assert (suspect.status, suspect.need) == (MISS, None)
        assert "the node is suspect" in (suspect.reason or "")
    for control in (GOOD, SICK):
        once = verdict(seen, control=control)
        assert (once.status, once.need) == (MISS, Need.CONFIRM)
    unstable = verdict(seen, again(DONE), control=GOOD)
    assert (unstable.status, unstable.need) == (MISS, None)
    assert unstable.reason == f"unstable: {title}, then PASS"
    sure = verdict(seen, again(seen), control=GOOD)
    assert (sure.status, sure.reason, sure.need) == (FAIL, title, None)
    assert sure.faults == sure.confirmed == (Fault(kind, title, title),)
    assert [one.status for one in sure.cases if one.name == case] == ([FAIL] if case else [])


def test_a_crash_after_a_silence_is_a_crash() -> None:
    found = verdict(silent(Ending.SILENT), again(CRASH), control=GOOD)
    assert (found.status, found.need) == (FAIL, Need.CONFIRM)
    found = verdict(silent(Ending.SILENT), again(CRASH), again(CRASH), control=GOOD)
    assert [fault.title for fault in found.confirmed] == [CRASH.crash and CRASH.crash.title]


def test_controls_are_told_apart_from_the_test() -> None:
    assert controls(made(DONE), SCENARIO) is None
    control = replace(DONE, purpose=Purpose.CONTROL)
    bad = replace(CRASH, purpose=Purpose.CONTROL)
    assert judge(made(DONE, bad), SCENARIO, None, BEFORE, 0).status is PASS
    newest = controls(made(DONE, bad, control, state=PRESENT), SCENARIO)
    assert newest is not None
    assert newest.status is PASS


# Whatever a guest says.

COUNTS = st.dictionaries(
    st.sampled_from(["hits", "restored", "jumps", "x"]), st.integers(-1, 12), max_size=4
)
ANY_CASE = st.builds(
    Case, st.sampled_from(["s.a", "s.b"]), st.booleans(), st.booleans(), st.none() | st.text()
)
ANYTHING = st.builds(
    Observation,
    purpose=st.sampled_from([Purpose.TEST, Purpose.CONFIRM]),
    ending=st.sampled_from(sorted(set(Ending) - {Ending.MACHINE_DIED})),
    outcome=st.none() | st.sampled_from(sorted(Outcome)),
    reason=st.none() | st.text(),
    intact=st.booleans(),
    cases=st.lists(ANY_CASE, max_size=3).map(tuple),
    open_case=st.none() | st.just("s.c"),
    evidence=COUNTS,
    crash=st.none() | st.just(CRASH.crash),
    before_start=st.booleans(),
)


@given(
    st.lists(ANYTHING, min_size=1, max_size=4),
    st.sampled_from(sorted(FeatureState)),
    st.sampled_from([None, GOOD, SICK, SILENT_TOO]),
    st.lists(COUNTS, max_size=2),
)
def test_silence_is_no_pass_and_only_the_kernel_fails(
    seen: list[Observation],
    state: FeatureState,
    control: Judgement | None,
    before: list[dict[str, int]],
) -> None:
    found = judge(made(*seen, state=state), SCENARIO, control, before, 0)
    first = seen[0]
    if found.status is PASS:
        assert (first.outcome, first.intact, first.crash) == (Outcome.DONE, True, None)
        assert any(case.ok and not case.skip for case in first.cases)
        assert all(case.ok or case.skip for case in first.cases)
        assert all(check.holds(first.evidence) for check in SCENARIO.checks(state))
    if found.status is FAIL:
        spoke = [one for one in seen if one.crash or (one.intact and one.outcome is not None)]
        assert spoke or (control in (GOOD, SICK) and len(seen) > 1)
        assert found.faults
    assert bool(found.faults) == (found.status is FAIL)
    assert set(found.confirmed) <= set(found.faults)
    assert found.need is not Need.CONFIRM or found.runs < 3


# Measurements.


def test_measurements_are_net_costs_of_the_first_run() -> None:
    measures = (Measure("s.kprobe", 1000, (8_016_000,) * 3, (0,) * 3),)
    seen = replace(DONE, measures=measures)
    wall = judge(made(seen), SCENARIO, None, BEFORE, 4)
    assert [(one.value, one.unit) for one in wall.measurements] == [(8016.0, "ns")]
    icount = judge(made(seen, clock=Clock.ICOUNT), SCENARIO, None, BEFORE, 4)
    assert [(one.value, one.unit) for one in icount.measurements] == [(501.0, "instructions")]
    for damaged in (replace(seen, intact=False), replace(seen, crash=CRASH.crash)):
        assert judge(made(damaged), SCENARIO, None, BEFORE, 4).measurements == ()


@pytest.mark.parametrize(
    ("found", "before", "status"), [(2, 2, PASS), (1, 2, FAIL), (None, 2, FAIL), (1, 1, MISS)]
)
def test_every_cpu_of_the_machine_has_to_be_there(
    found: int | None, before: int, status: Status
) -> None:
    """A kernel that loses one is at fault, unless no earlier one found it here either."""
    told = {} if found is None else {"cpus": found}
    one = replace(DONE, cpus=2, evidence={**SHOWN, **told})
    assert judge(made(one), SCENARIO, None, [{**SHOWN, "cpus": before}], 0).status is status


def test_a_machine_check_is_the_node_s() -> None:
    crash = Crash("mce: [Hardware Error]: Machine check", CrashKind.MACHINE_CHECK.value, "", False)
    found = judge(made(replace(CRASH, crash=crash)), SCENARIO, None, BEFORE, 0)
    assert (found.status, found.faults) == (MISS, ())
