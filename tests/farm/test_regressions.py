# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole runs judged: which patch brought what, and the verdict on the series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from farm.records import (
    Build,
    Cell,
    Crash,
    Observation,
    Played,
    Purpose,
    Run,
    Setup,
    Test,
)
from farm.verdicts.judge import Kind
from farm.verdicts.open import open_regressions
from farm.verdicts.regressions import (
    Assessment,
    Effects,
    Regression,
    State,
    Verdict,
    Where,
    assess,
)
from stress.measurement import Measure
from stress.protocol import Outcome
from stress.scenario import Claim, Clock, FeatureState, Needs, Scenario
from stress.transcript import Case
from workers.boot import Ending
from workers.compiler_warnings import CompilerWarning
from workers.requests import BuildResult, Point
from workers.status import Status

SCENARIO = Scenario(
    name="s",
    title="",
    needs=Needs(),
    parameters={},
    run="s",
    limit=10,
    clocks=(Clock.ICOUNT,),
    smp=1,
    evidence=(Claim("hits", "ge", 1),),
    expect=dict.fromkeys(FeatureState, ()) | {FeatureState.PRESENT: (Claim("j", "eq", 1),)},
)
SCENARIOS = {"s": SCENARIO}
EFFECTS = Effects({Clock.ICOUNT: 0.02})
CELL = Cell("x86_64", "preempt-none", "auto")
OTHER_CELL = replace(CELL, config="preempt")
PRESENT = FeatureState.PRESENT

GOOD = Observation(
    Purpose.TEST,
    Ending.FINISHED,
    outcome=Outcome.DONE,
    intact=True,
    cases=(Case("s.a", True, False, None), Case("s.b", True, False, None)),
    evidence={"hits": 1, "j": 1},
)
BAD_A = replace(GOOD, cases=(Case("s.a", False, False, "1 of 2"), GOOD.cases[1]))
BAD_BOTH = replace(GOOD, cases=tuple(replace(case, ok=False) for case in GOOD.cases))
CRASH = replace(
    GOOD, outcome=None, ending=Ending.RESET, crash=Crash("BUG in poke", "oops", "", False)
)
SILENT = replace(GOOD, outcome=None, ending=Ending.SILENT, open_case="s.b")
BROKEN = replace(GOOD, outcome=Outcome.ERROR, reason="no memory")

PASSES = BuildResult(Status.PASS, None, 1.0)
NOT_BUILT = BuildResult(Status.FAIL, "does not build: opt.c:7: error: x", 1.0)

Seen = Sequence[Observation] | str | None
"""What was seen of a test: its boots in order, or why it was skipped, or that nothing was."""


def twice(seen: Observation) -> list[Observation]:
    return [seen, replace(seen, purpose=Purpose.CONFIRM)]


def build(
    point: int,
    seen: Seen,
    cell: Cell = CELL,
    result: BuildResult | None = PASSES,
    state: FeatureState = FeatureState.ABSENT,
) -> Build:
    tests: tuple[Test, ...] = ()
    if result is not None and result.status is Status.PASS:
        name = f"{cell.config}.{point}"
        skip = seen if isinstance(seen, str) else None
        boots = () if skip or seen is None else tuple(seen)  # type: ignore[arg-type]
        tests = (Test(name, "s", "qemu", Clock.ICOUNT, 1, skip, state, None, boots, False),)
    return Build(point, point, cell, result, "", tests)


def run(*builds: Build, reasons: Sequence[str | None] = ()) -> Run:
    last = max([one.point for one in builds] + [len(reasons) - 1])
    points = tuple(
        Point(index, f"patch {index}", "", "c", "t", "x", reason)
        for index, reason in zip(
            range(last + 1), [*reasons, *[None] * (last + 1 - len(reasons))], strict=True
        )
    )
    return Run("r", "t", 1, "quick", "finished", 0.0, 1.0, "b", True, points, builds, 0)


def series(*seen: Seen) -> Run:
    """Return a run of one cell, point after point."""
    return run(*(build(point, one) for point, one in enumerate(seen)))


def judged(found: Run, enabling: frozenset[int] = frozenset()) -> Assessment:
    return assess(found, SCENARIOS, EFFECTS, enabling)


def only(assessment: Assessment) -> Regression:
    (regression,) = assessment.regressions
    return regression


def test_all_green() -> None:
    found = judged(series([GOOD], [GOOD], [GOOD]))
    assert (found.verdict, found.regressions) == (Verdict.PASS, ())
    assert found.reason == "3 points, no new fault"


def test_the_first_bad_patch_is_named_and_later_ones_are_not_blamed() -> None:
    found = judged(series([GOOD], [GOOD], twice(BAD_A), [BAD_A], [GOOD]))
    assert found.verdict is Verdict.REGRESSION
    assert found.reason == "point 2: s.a: 1 of 2"
    one = only(found)
    assert (one.first_bad, one.state, one.kind, one.case) == (2, State.NEW, Kind.CASE, "s.a")
    assert one.where == (Where("x86_64", "preempt-none", "qemu"),)
    assert one.tests == ("preempt-none.2",)
    assert one.introduced is True


def test_a_fault_that_joins_another_is_a_regression_of_its_own() -> None:
    found = judged(series([GOOD], twice(BAD_A), twice(BAD_BOTH)))
    assert [(one.first_bad, one.case) for one in found.regressions] == [(1, "s.a"), (2, "s.b")]
    assert found.reason == "point 1: s.a: 1 of 2 and 1 more"


def test_a_fault_that_comes_back_is_counted_from_its_first_time() -> None:
    found = judged(series([GOOD], twice(CRASH), [GOOD], twice(CRASH)))
    one = only(found)
    assert (one.first_bad, one.tests) == (1, ("preempt-none.1", "preempt-none.3"))


def test_the_base_s_own_fault_is_listed_and_does_not_count() -> None:
    found = judged(series(twice(BAD_A), [BAD_A], [BAD_A]))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason == "point 0 in x86_64-preempt-none-auto: s is FAIL: s.a: 1 of 2"
    one = only(found)
    assert (one.first_bad, one.state, one.introduced) == (0, State.ONGOING, False)


def test_what_the_base_had_and_a_patch_brings_back_is_the_patch_s() -> None:
    found = judged(series(twice(BAD_A), [GOOD], twice(BAD_A)))
    assert found.verdict is Verdict.REGRESSION
    assert [(one.first_bad, one.state) for one in found.regressions] == [
        (0, State.ONGOING),
        (2, State.NEW),
    ]


def test_a_regression_stays_one_beside_the_base_s_own_fault() -> None:
    found = judged(series(twice(BAD_A), [BAD_A], twice(BAD_BOTH)))
    assert found.verdict is Verdict.REGRESSION
    assert [(one.first_bad, one.case) for one in found.regressions] == [(0, "s.a"), (2, "s.b")]


@pytest.mark.parametrize("base", [[BROKEN], [SILENT], None])
def test_without_a_good_point_before_it_a_fault_is_nobody_s(base: Seen) -> None:
    found = judged(series(base, twice(BAD_A)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "point 0" in found.reason
    assert only(found).confidence == 0


def test_where_the_scenario_did_not_apply_its_faults_could_not_be() -> None:
    found = judged(series("the kernel has no OPTPROBES", twice(BAD_A)))
    assert found.verdict is Verdict.REGRESSION
    assert only(found).confidence == 1


def test_a_point_without_a_result_is_passed_over_in_the_comparison() -> None:
    found = judged(series([GOOD], [BROKEN], twice(BAD_A)))
    assert (found.verdict, only(found).first_bad) == (Verdict.REGRESSION, 2)


@pytest.mark.parametrize(
    ("boots", "verdict", "confidence"),
    [
        ([CRASH], Verdict.INCONCLUSIVE, 0.667),
        ([CRASH, GOOD, GOOD], Verdict.INCONCLUSIVE, 0.4),
        ([CRASH, GOOD, CRASH], Verdict.REGRESSION, 0.6),
        ([CRASH, CRASH], Verdict.REGRESSION, 0.75),
        ([CRASH, CRASH, CRASH], Verdict.REGRESSION, 0.8),
    ],
)
def test_confidence_grows_with_repetition(
    boots: list[Observation], verdict: Verdict, confidence: float
) -> None:
    found = judged(series([GOOD], boots))
    assert (found.verdict, only(found).confidence) == (verdict, confidence)
    if verdict is Verdict.INCONCLUSIVE:
        assert only(found).state is State.FLAKY
        assert found.reason == "point 1: seen once and not again: BUG in poke"


def test_more_clean_runs_before_make_it_surer() -> None:
    found = judged(series(twice(GOOD), twice(CRASH)))
    assert only(found).confidence == 0.938


def test_what_showed_once_does_not_lead_where_another_point_is_sure() -> None:
    flake = [BAD_A, *(replace(GOOD, purpose=Purpose.CONFIRM) for _ in range(2))]
    counted = replace(BAD_A, cases=(replace(BAD_A.cases[0], reason="0 of 2"), BAD_A.cases[1]))
    found = judged(series([GOOD], [GOOD], flake, [GOOD], [GOOD], twice(counted)))
    one = only(found)
    assert (found.verdict, one.state) == (Verdict.REGRESSION, State.NEW)
    assert (one.first_bad, one.confidence, one.title) == (5, 0.75, "s.a: 0 of 2")
    assert one.tests == ("preempt-none.2", "preempt-none.5")


def test_regressions_stand_in_the_order_of_their_points() -> None:
    flake = [CRASH, *(replace(GOOD, purpose=Purpose.CONFIRM) for _ in range(2))]
    found = judged(series([GOOD], flake, twice(BAD_A), [GOOD], twice(CRASH)))
    assert [(one.first_bad, one.kind) for one in found.regressions] == [
        (2, Kind.CASE),
        (4, Kind.CRASH),
    ]
    assert found.reason == "point 2: s.a: 1 of 2 and 1 more"


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([BROKEN], "s is ERROR: no memory"),
        ([SILENT], "s is MISS: hang in s.b; no control run"),
        (None, "s is MISS: no boot of it came to a result"),
    ],
)
def test_what_is_missing_makes_it_inconclusive(seen: Seen, why: str) -> None:
    found = judged(series([GOOD], seen))
    assert (found.verdict, found.regressions) == (Verdict.INCONCLUSIVE, ())
    assert found.reason == f"point 1 in x86_64-preempt-none-auto: {why}"


def test_a_scenario_that_is_gone_makes_it_inconclusive() -> None:
    found = assess(series([GOOD], twice(BAD_A)), {}, EFFECTS, frozenset())
    assert (found.verdict, found.regressions) == (Verdict.INCONCLUSIVE, ())
    assert found.reason.endswith("s is MISS: scenario s is not there any more")


def test_an_allowed_skip_does_not() -> None:
    assert judged(series([GOOD], "not observable here")).verdict is Verdict.PASS


def test_a_run_of_skips_alone_is_no_pass() -> None:
    found = judged(series("not observable here", "not observable here"))
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "nothing passed: all was skipped",
    )


def test_nothing_built_is_no_pass() -> None:
    assert judged(run()).verdict is Verdict.INCONCLUSIVE
    unbuilt = judged(run(build(0, [GOOD]), build(1, None, result=None)))
    assert unbuilt.reason == "point 1 in x86_64-preempt-none-auto was not built"


# Silence.


def test_a_silence_counts_when_the_control_passes_and_it_is_silent_again() -> None:
    control = replace(GOOD, purpose=Purpose.CONTROL)
    found = judged(series([GOOD], [GOOD, control], twice(SILENT), twice(SILENT)))
    one = only(found)
    assert (found.verdict, one.title, one.first_bad) == (Verdict.REGRESSION, "hang in s.b", 2)


def test_a_silent_control_makes_the_node_suspect() -> None:
    control = replace(SILENT, purpose=Purpose.CONTROL)
    found = judged(series([GOOD, control], twice(SILENT)))
    assert (found.verdict, found.regressions) == (Verdict.INCONCLUSIVE, ())
    assert "the node is suspect" in found.reason


# A fault behind another.

CUT_OFF = replace(CRASH, cases=(), intact=False, open_case="s.a")


@pytest.mark.parametrize(
    "crash",
    [
        CUT_OFF,
        replace(CUT_OFF, open_case=None),
        replace(CUT_OFF, open_case="s.b", cases=BAD_A.cases[:1]),
    ],
    ids=["in the case", "before it", "after it failed"],
)
def test_a_crash_does_not_move_the_blame_for_what_it_hides(crash: Observation) -> None:
    found = judged(series([BAD_A], [BAD_A], twice(crash), twice(BAD_A)))
    assert [(one.first_bad, one.kind, one.state) for one in found.regressions] == [
        (0, Kind.CASE, State.ONGOING),
        (2, Kind.CRASH, State.NEW),
    ]


def test_what_is_hidden_in_the_base_is_nobody_s() -> None:
    found = judged(series(twice(CUT_OFF), twice(BAD_A)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert [(one.first_bad, one.confidence) for one in found.regressions] == [(0, 0.0), (1, 0.0)]


def test_a_crash_hides_nothing_of_the_cases_before_it() -> None:
    late = replace(CUT_OFF, open_case="s.b", cases=GOOD.cases[:1])
    found = judged(series([GOOD], twice(late), twice(BAD_A)))
    assert [(one.first_bad, one.case, one.confidence) for one in found.regressions] == [
        (1, "s.b", 0.75),
        (2, "s.a", 0.938),
    ]


def test_a_crash_in_a_scenario_hides_nothing_of_the_boot() -> None:
    boots_not = replace(CUT_OFF, open_case=None, before_start=True)
    found = judged(series(twice(CUT_OFF), twice(boots_not)))
    assert found.verdict is Verdict.REGRESSION
    assert found.reason == "point 1: boot: BUG in poke"


def test_a_warning_that_cuts_nothing_off_hides_no_case_but_evidence() -> None:
    warns = replace(GOOD, crash=CRASH.crash)
    without = replace(GOOD, evidence={"hits": 1, "j": 0})
    worse = replace(without, cases=BAD_A.cases)
    boots = [[without], twice(warns), twice(worse)]
    found = judged(run(*(build(point, seen, state=PRESENT) for point, seen in enumerate(boots))))
    assert [(one.first_bad, one.kind) for one in found.regressions] == [
        (0, Kind.EVIDENCE),
        (1, Kind.CRASH),
        (2, Kind.CASE),
    ]


# Applying, building, warnings.


def test_a_patch_that_does_not_apply() -> None:
    reasons = [None, None, "opt.c:3: the hunk does not match", "patch 2 does not apply"]
    found = judged(run(build(0, [GOOD]), build(1, [GOOD]), reasons=reasons))
    one = only(found)
    assert (found.verdict, one.kind, one.first_bad) == (Verdict.REGRESSION, Kind.APPLY, 2)
    assert one.title == "does not apply: opt.c:3: the hunk does not match"


def test_a_patch_that_does_not_build_is_reported_once() -> None:
    found = judged(
        run(
            build(0, [GOOD]),
            build(1, None, result=NOT_BUILT),
            build(2, None, result=replace(NOT_BUILT, reason="does not build: opt.c:9: error: x")),
            build(3, [GOOD]),
        )
    )
    one = only(found)
    assert (one.kind, one.first_bad, one.confidence) == (Kind.BUILD, 1, 1.0)


def test_a_base_that_does_not_build_is_inconclusive() -> None:
    found = judged(run(*(build(point, None, result=NOT_BUILT) for point in range(3))))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (only(found).state, only(found).first_bad) == (State.ONGOING, 0)


def test_a_missing_symbol_of_the_feature_is_missing_evidence() -> None:
    missing = replace(NOT_BUILT, reason="evidence: not in .config as asked: OPTPROBES=y")
    found = judged(run(build(0, [GOOD]), build(1, None, result=missing)), frozenset({1}))
    assert (found.verdict, only(found).kind) == (Verdict.REGRESSION, Kind.EVIDENCE)
    assert only(found).introduced is None


def test_new_warnings_only() -> None:
    old, new = CompilerWarning("a.c", "unused x"), CompilerWarning("b.c", "unused y")
    results = [(old,), (old,), (new, old), (new,)]
    found = judged(
        run(
            *(
                build(point, [GOOD], result=replace(PASSES, warnings=warnings))
                for point, warnings in enumerate(results)
            )
        )
    )
    one = only(found)
    assert (one.kind, one.title, one.first_bad) == (Kind.WARNING, "new warning: b.c: unused y", 2)


# Measurements.


def costs(rounds: Sequence[int]) -> Sequence[Observation]:
    measure = Measure("s.kprobe", 1, tuple(rounds), (0,) * len(rounds))
    return [replace(GOOD, measures=(measure,))]


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ([500] * 3, [500] * 3, False),
        ([500] * 3, [510] * 3, False),
        ([500] * 3, [511] * 3, True),
        ([500] * 3, [400] * 3, False),
        ([490, 500, 510], [530, 540, 550], False),
        ([490, 500, 510], [551, 561, 571], True),
        ([0] * 3, [1] * 3, True),
    ],
)
def test_a_slowdown_counts_above_the_least_effect_and_the_spread(
    before: list[int], after: list[int], worse: bool
) -> None:
    found = judged(series(costs(before), costs(after), costs(after)))
    assert bool(found.regressions) is worse
    if worse:
        one = only(found)
        assert (one.kind, one.case, one.first_bad) == (Kind.MEASUREMENT, "s.kprobe", 1)


def test_a_result_is_judged_by_what_it_was_made_with() -> None:
    """Whatever its scenario and its profile have by now."""
    played = (Played("s", "s", {"least": 2}, 10),)
    (seen,) = costs([8000])
    seen = replace(seen, evidence={"hits": 2}, setup=Setup("qemu", 4, 1, played))
    now = replace(SCENARIO, parameters={"least": 3}, evidence=(Claim("hits", "ge", "least"),))
    found = assess(series([seen]), {"s": now}, EFFECTS, frozenset())
    (judgement,) = found.judgements.values()
    assert judgement.status is Status.PASS
    assert [one.value for one in judgement.measurements] == [500.0]


def test_a_clock_without_a_least_effect_is_not_judged() -> None:
    found = assess(series(costs([500]), costs([5000])), SCENARIOS, Effects({}), frozenset())
    assert found.verdict is Verdict.PASS


def test_a_figure_that_is_new_is_compared_with_nothing() -> None:
    assert judged(series([GOOD], costs([500]))).verdict is Verdict.PASS


# Who brought it.


@pytest.mark.parametrize(("enabling", "introduced"), [({1}, None), ({2}, True), (set(), True)])
def test_an_enabling_patch_may_only_have_made_a_fault_visible(
    enabling: set[int], introduced: bool | None
) -> None:
    found = judged(series([GOOD], twice(CRASH)), frozenset(enabling))
    assert only(found).introduced is introduced


def test_an_enabling_patch_that_does_not_build_is_to_blame_itself() -> None:
    found = judged(run(build(0, [GOOD]), build(1, None, result=NOT_BUILT)), frozenset({1}))
    assert only(found).introduced is True


def test_a_feature_that_the_base_has_exposes_nothing() -> None:
    assert only(judged(series(twice(BAD_A)), frozenset({0}))).introduced is False


def test_the_same_evidence_is_judged_by_what_the_point_should_have() -> None:
    without = replace(GOOD, evidence={"hits": 1, "j": 0})
    found = judged(
        run(
            build(0, [without]),
            build(1, twice(without), state=PRESENT),
        ),
        frozenset({1}),
    )
    assert (found.verdict, only(found).kind) == (Verdict.REGRESSION, Kind.EVIDENCE)


# Several cells.


def test_one_fault_in_several_cells_is_one_regression() -> None:
    found = judged(
        run(
            *(build(point, [GOOD], cell) for point in (0, 1) for cell in (CELL, OTHER_CELL)),
            build(2, twice(CRASH), OTHER_CELL),
            build(2, [GOOD], CELL),
            build(3, twice(CRASH), CELL),
            build(3, [CRASH], OTHER_CELL),
        )
    )
    one = only(found)
    assert (one.first_bad, one.title) == (2, "BUG in poke")
    assert [where.config for where in one.where] == ["preempt", "preempt-none"]
    assert one.tests == ("preempt.2", "preempt-none.3")


def test_a_fault_of_one_cell_s_base_is_new_in_another() -> None:
    found = judged(
        run(
            build(0, twice(CRASH), CELL),
            build(0, [GOOD], OTHER_CELL),
            build(1, [CRASH], CELL),
            build(1, twice(CRASH), OTHER_CELL),
        )
    )
    assert found.verdict is Verdict.REGRESSION
    assert [(one.first_bad, one.where[0].config) for one in found.regressions] == [
        (0, "preempt-none"),
        (1, "preempt"),
    ]


def test_a_cell_that_knows_nothing_of_its_base_does_not_lead() -> None:
    found = judged(
        run(
            build(0, [BROKEN], CELL),
            build(1, twice(CRASH), CELL),
            *(build(point, [GOOD], OTHER_CELL) for point in (0, 1)),
            build(2, twice(CRASH), OTHER_CELL),
        )
    )
    assert (found.verdict, only(found).first_bad) == (Verdict.REGRESSION, 2)


# What is open.


def opened(*runs: Run) -> list[tuple[str, int]]:
    """Return what is open in runs, the newest first: by run and first bad point."""
    named = [replace(one, id=f"run {number}") for number, one in enumerate(runs)]
    found = open_regressions([(one, judged(one)) for one in named])
    return [(of.id, one.first_bad) for of, one in found]


def test_a_fault_of_one_cell_s_base_is_open_where_a_patch_brings_it() -> None:
    assert opened(
        run(
            build(0, twice(CRASH), CELL),
            build(0, [GOOD], OTHER_CELL),
            build(1, [CRASH], CELL),
            build(1, twice(CRASH), OTHER_CELL),
        )
    ) == [("run 0", 1)]


def test_a_run_settles_a_regression_where_it_looked() -> None:
    bad = run(
        *(build(0, [GOOD], cell) for cell in (CELL, OTHER_CELL)),
        *(build(1, twice(CRASH), cell) for cell in (CELL, OTHER_CELL)),
    )
    narrow = [run(*(build(point, [GOOD], cell) for point in (0, 1))) for cell in (CELL, OTHER_CELL)]
    base_s = run(*(build(point, [CRASH]) for point in (0, 1)))
    assert opened(narrow[0], bad) == [("run 1", 1)]
    assert opened(base_s, bad) == [("run 1", 1)], "the base has it in one of the cells only"
    assert opened(narrow[1], narrow[0], bad) == opened(narrow[1], base_s, bad) == []
    assert opened(narrow[0], series([GOOD], twice(CRASH)), bad) == [("run 2", 1)]
    assert opened(bad, narrow[1], bad) == [("run 0", 1)], "one regression, by its newest run"


@pytest.mark.parametrize(
    ("seen", "closes"),
    [
        ([GOOD], True),
        ([replace(BAD_BOTH, cases=(GOOD.cases[0], BAD_BOTH.cases[1]))], True),
        (twice(replace(CUT_OFF, cases=GOOD.cases[:1], open_case="s.b")), True),
        (twice(CUT_OFF), False),
        (twice(replace(CRASH, cases=BAD_A.cases)), False),
        ([SILENT], False),
        ([BROKEN], False),
        ("not observable here", False),
        (None, False),
    ],
    ids=["pass", "another case", "a crash behind it", "a crash before it", "a crash beside it",
         "silence", "error", "skip", "nothing"],
)  # fmt: skip
def test_what_closes_a_regression(seen: Seen, closes: bool) -> None:
    """Whatever else the last point shows, if only it would have shown this too."""
    bad = series([GOOD], twice(BAD_A))
    assert (("run 1", 1) not in opened(series([GOOD], seen), bad)) is closes


def test_a_slowdown_is_closed_by_a_figure_only() -> None:
    slow = series(costs([500]), costs([540]))
    assert opened(series(costs([500]), costs([500])), slow) == []
    assert opened(series([GOOD], [GOOD]), slow) == [("run 1", 1)]
