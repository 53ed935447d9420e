# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: by what a fault is told to be one, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import selftest
from farm.issues import Issue, load_all, recognise
from farm.verdicts.judge import Fault, Kind
from farm.verdicts.regressions import PLAIN
from stress.scenario import load_all as load_scenarios
from workers.errors import UserError

FILE = {
    "title": "a probe is not optimized again",
    "kinds": ["case", "evidence"],
    "match": ["smoke.first", "lifecycle.*.blocked"],
    "fixed-by": "0123456789ab",
    "seen-in": "6.12.117",
}


ROOT = Path(__file__).parents[2]


def test_what_ships_fits_together() -> None:
    """A cure is of an issue that is known, and every issue that a boot can show has one."""
    issues = load_all(ROOT / "configs" / "issues")
    recipes = selftest.find(())
    booted = {one.id for one in issues if not PLAIN.issuperset(one.kinds)}
    assert booted == {one.cures for one in recipes if one.cures is not None}
    known = load_scenarios()
    assert {name for one in recipes for name in one.caught_by} <= set(known)
    cases = [pattern for one in issues for pattern in one.match if one.kinds == (Kind.CASE,)]
    assert {case.partition(".")[0] for case in cases} <= set(known)
    titles = [one for one in issues if any("WARNING" in pattern for pattern in one.match)]
    assert titles
    assert all(one.scenarios and set(one.scenarios) <= set(known) for one in titles)


def write(folder: Path, name: str, **keys: Any) -> Path:
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump(FILE | keys))
    return path


@pytest.mark.parametrize(
    ("fault", "known"),
    [
        (Fault(Kind.CASE, "k", "smoke.first: 5 of 10 hits", "smoke.first"), True),
        (Fault(Kind.CASE, "k", "t", "lifecycle.pair.blocked"), True),
        (Fault(Kind.CASE, "k", "t", "lifecycle.blocked"), False),
        (Fault(Kind.CASE, "k", "t", "smoke.first.one"), False),
        (Fault(Kind.CASE, "k", "t", "Smoke.First"), False),
        (Fault(Kind.EVIDENCE, "k", "smoke.first"), True),
        (Fault(Kind.EVIDENCE, "k", "smoke.first", "smoke.other"), False),
        (Fault(Kind.CRASH, "k", "smoke.first", "smoke.first"), False),
    ],
)
def test_a_fault_is_known_by_its_kind_and_its_case_or_title(
    tmp_path: Path, fault: Fault, known: bool
) -> None:
    write(tmp_path, "not-again")
    issues = load_all(tmp_path)
    assert issues == (
        Issue(
            "not-again",
            "a probe is not optimized again",
            (Kind.CASE, Kind.EVIDENCE),
            ("smoke.first", "lifecycle.*.blocked"),
            (),
            "0123456789ab",
        ),
    )
    assert recognise(fault, issues) == (issues[0] if known else None)


@pytest.mark.parametrize(("scenario", "known"), [("smoke", True), ("forced", False), (None, False)])
def test_a_title_may_be_known_in_some_scenarios_only(
    tmp_path: Path, scenario: str | None, known: bool
) -> None:
    write(tmp_path, "warns", kinds=["crash"], match=["WARNING in x"], scenarios=["smoke"])
    fault = Fault(Kind.CRASH, "WARNING in x", "WARNING in x", None, scenario)
    assert (recognise(fault, load_all(tmp_path)) is not None) is known


def test_the_first_issue_by_name_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "wide", match=["*"])
    write(tmp_path, "narrow", match=["smoke.first"], **{"fixed-by": None})
    found = recognise(Fault(Kind.CASE, "k", "t", "smoke.first"), load_all(tmp_path))
    assert found is not None
    assert (found.id, found.fixed_by) == ("narrow", None)


def test_no_folder_no_issue(tmp_path: Path) -> None:
    assert load_all(tmp_path / "none") == ()
    assert recognise(Fault(Kind.CASE, "k", "t", "c"), ()) is None


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"kinds": []}, "kinds"),
        ({"match": []}, "match"),
        ({"kinds": ["smell"]}, "kinds.0"),
        ({"fixed_by": "x"}, "fixed_by"),
        ({"title": None}, "title"),
    ],
)
def test_a_file_that_is_no_issue(tmp_path: Path, keys: dict[str, Any], place: str) -> None:
    path = write(tmp_path, "bad", **keys)
    with pytest.raises(UserError) as caught:
        load_all(tmp_path)
    assert str(caught.value).startswith(f"{path}: {place}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file: Input should be a valid dict"),
        ("- a list", "the file: Input should be a valid dict"),
        ("title: [", "not YAML: while parsing a flow"),
        ("title: x\n", "kinds: Field required"),
    ],
)
def test_text_that_is_no_issue(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.yml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_all(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'bad.yml'}: {said}")
    assert "\n" not in str(caught.value)
