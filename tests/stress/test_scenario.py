# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenario files: the shipped ones are sound, and what is wrong is named with its place."""

import re
from pathlib import Path

import pytest

from stress import guest
from stress.errors import ScenarioError
from stress.scenario import Check, Clock, FeatureState, Scenario, get, load, load_all

GOOD = """
name: demo
title: a demonstration
parameters: {hits: 10, mode: fast, verbose: false}
run: demo
limit: 5
evidence: {hits: {ge: hits, lt: 100}}
expect: {absent: {}, unsupported: {}, present: {optimized: {ge: 1}}}
"""


def write(folder: Path, text: str, name: str = "demo") -> Path:
    path = folder / f"{name}.yml"
    path.write_text(text)
    return path


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return load(write(tmp_path, GOOD))


def test_shipped_scenarios_load() -> None:
    assert {"smoke", "overhead", "memory", "events"} <= set(load_all())


def test_every_module_scenario_has_a_file_and_every_file_an_entry() -> None:
    header = guest.module_sources()["scenarios.h"].decode()
    entries = set(re.findall(r"^\tSCENARIO\((\w+)\)", header, re.MULTILINE))
    runs = {scenario.run for scenario in load_all().values()}
    assert {run for run in runs if not run.startswith("sh:")} == entries
    scripts = {run.removeprefix("sh:") + ".sh" for run in runs if run.startswith("sh:")}
    assert scripts | {guest.SHARED_SCRIPT} == set(guest.scripts())


def test_contract_of_smoke() -> None:
    smoke = get("smoke")
    assert Check("hits", "ge", 1000) in smoke.checks(FeatureState.ABSENT)
    assert Check("text-restored", "eq", 1) in smoke.checks(FeatureState.ABSENT)
    assert Check("optimized", "eq", 0) in smoke.checks(FeatureState.UNSUPPORTED)
    assert Check("optimized", "ge", 1) in smoke.checks(FeatureState.PRESENT)
    assert smoke.needs.kernel == ("KPROBES", "MODULES")


def test_contract_of_lifecycle() -> None:
    assert Check("hammered", "ge", 200) in get("lifecycle").checks(FeatureState.ABSENT)


def test_contract_of_kmemleak() -> None:
    kmemleak = get("kmemleak")
    assert Check("hits", "eq", 20) in kmemleak.checks(FeatureState.ABSENT)
    assert Check("optimized", "eq", 0) in kmemleak.checks(FeatureState.ABSENT)
    assert Check("optimized", "eq", 20) in kmemleak.checks(FeatureState.PRESENT)


@pytest.mark.parametrize("name", load_all())
def test_all_evidence_that_a_scenario_asks_for_is_said_by_the_guest(name: str) -> None:
    sources = b"".join((*guest.module_sources().values(), *guest.scripts().values())).decode()
    said = set(re.findall(r'(?:report_evidence\("|\bevidence )([a-z-]+)', sources))
    asked = {check.name for state in FeatureState for check in get(name).checks(state)}
    assert asked <= said


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ScenarioError, match=r"scenario 'smok': no such scenario; known: .*smoke"):
        get("smok")


def test_defaults(demo: Scenario) -> None:
    assert demo.clocks == (Clock.WALL,)
    assert demo.smp == 1
    assert demo.needs.kernel == demo.needs.node == ()


def test_checks_follow_parameters(demo: Scenario) -> None:
    more = demo.with_parameters({"hits": 50})
    assert more.checks(FeatureState.ABSENT) == (Check("hits", "ge", 50), Check("hits", "lt", 100))
    assert more.checks(FeatureState.PRESENT)[-1] == Check("optimized", "ge", 1)
    assert demo.parameters["hits"] == 10


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"hit": 1}, "no parameter 'hit'; known: hits, mode, verbose"),
        ({"hits": "1"}, r"hits is '1' \(str\); its type is int"),
        ({"hits": True}, r"hits is True \(bool\); its type is int"),
        ({"verbose": 1}, r"verbose is 1 \(int\); its type is bool"),
        ({"mode": "a b"}, "mode is 'a b'; use up to 63 of"),
        ({"mode": "x" * 64}, "use up to 63 of"),
        ({"hits": 2**63}, "a number must fit in 64 bits"),
    ],
)
def test_bad_overrides(demo: Scenario, override: dict[str, int | str], message: str) -> None:
    with pytest.raises(ScenarioError, match=f"scenario demo: .*{message}"):
        demo.with_parameters(override)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit: 5", "limit: 5\nspeed: 3", "speed: Extra inputs"),
        ("limit: 5", "", "limit: Field required"),
        ("limit: 5", "limit: 0", "limit: "),
        ("limit: 5", "limit: five", "limit: "),
        ("limit: 5", "limit: 5\nlimit: 6", "a key is given twice"),
        ("name: demo", "name: ../demo", "name: "),
        ("name: demo", "name: other", "its name is 'other'"),
        ("run: demo", "run: 'sh:../x'", "run: "),
        ("{ge: hits, lt: 100}", "{about: 5}", "evidence.hits.about"),
        ("{ge: hits, lt: 100}", "{ge: hit}", "evidence.hits: 'hit' is not an int parameter"),
        ("{ge: hits, lt: 100}", "{ge: verbose}", "'verbose' is not an int parameter"),
        ("{ge: hits, lt: 100}", "{ge: true}", "evidence.hits.ge"),
        ("evidence: {hits: {ge: hits, lt: 100}}", "evidence: {}", "evidence: "),
        ("absent: {}, ", "", "expect.absent: Field required"),
        ("hits: 10", "seed: 10", "'seed' is given to every scenario"),
        ("hits: 10", "hits: 99999999999999999999", "must fit in 64 bits"),
        ("limit: 5", "limit: 5\nclocks: [sun]", "clocks.0: "),
        ("limit: 5", "limit: 5\nclocks: []", "clocks: "),
        ("limit: 5", "limit: 5\nsmp: 0", "smp: "),
        ("limit: 5", "limit: 5\nneeds: {kernel: [kprobes]}", "needs.kernel.0: "),
        ("name: demo", "name: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("name: demo", "\tname", "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ScenarioError, match=re.escape(message)) as caught:
        load(path)
    assert str(path) in caught.value.place


def test_a_file_that_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"demo\.yml: "):
        load(write(tmp_path, "[1, 2]"))


@pytest.mark.parametrize(
    ("op", "value", "holds"),
    [
        ("eq", 5, True),
        ("eq", 4, False),
        ("ne", 4, True),
        ("ne", 5, False),
        ("ge", 5, True),
        ("ge", 6, False),
        ("gt", 4, True),
        ("gt", 5, False),
        ("le", 5, True),
        ("le", 4, False),
        ("lt", 6, True),
        ("lt", 5, False),
    ],
)
def test_check(op: str, value: int, holds: bool) -> None:
    assert Check("hits", op, value).holds({"hits": 5}) is holds


def test_failure_texts() -> None:
    check = Check("optimized", "ge", 1)
    assert check.failure({"optimized": 0}) == "optimized is 0, expected >= 1"
    assert not check.holds({})
    assert check.failure({}) == "optimized is missing, expected >= 1"


def test_error_text() -> None:
    assert str(ScenarioError("here", "it is wrong", "mend it")) == "here: it is wrong; mend it"
    assert str(ScenarioError("here", "it is wrong")) == "here: it is wrong"
