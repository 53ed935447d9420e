# SPDX-License-Identifier: GPL-2.0-or-later
"""`farm regressions`: what is open, over all runs of a series, and what one run showed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Program = Callable[..., str]

BROKEN = {"cases": {"smoke.first": "not ok # 5 of 10"}}


def listed(farm: Any, *words: str) -> list[tuple[str, str]]:
    said = farm("regressions", *words, "--json")
    assert said.status == 0
    return [(one["run"], one["title"]) for one in said.document["regressions"]]


@pytest.fixture
def broken(farm: Any, series: Any, program: Program) -> Any:
    """A run of a series whose second patch breaks a case."""
    series.patch("explain", {"doc": "x\n"})
    series.patch("break", {"program.json": program(smoke=BROKEN)})
    return farm.submit(series.write()).document


def test_a_regression_is_open_until_a_later_run_shows_that_it_is_gone(
    farm: Any, series: Any, program: Program, broken: Any
) -> None:
    found = [(broken["run"], "smoke.first: 5 of 10")]
    assert listed(farm) == listed(farm, "latest") == found
    table = farm("regressions").stdout
    for words in ("smoke.first: 5 of 10", broken["run"], "break", "case"):
        assert words in table
    # The same again is one regression, and the newest run tells of it.
    again = farm.submit(series.write()).document["run"]
    assert listed(farm) == [(again, "smoke.first: 5 of 10")]
    series.patch("mend", {"program.json": program()})
    mended = farm.submit(series.write()).document["run"]
    assert listed(farm, mended) == [(mended, "smoke.first: 5 of 10")], "patch 2 still breaks it"
    series.patches = series.patches[:1]
    assert farm.submit(series.write()).status == 0
    assert listed(farm) == []
    assert farm("regressions").stdout == "no regressions\n"
    assert listed(farm, broken["run"]) == found, "what a run showed stays"


def test_a_later_run_that_did_not_look_closes_nothing(farm: Any, series: Any, broken: Any) -> None:
    series.patches = series.patches[:1]
    assert farm.submit(series.write(scenarios=["overhead"])).document["verdict"] == "PASS"
    assert listed(farm) == [(broken["run"], "smoke.first: 5 of 10")]


def test_what_the_base_had_and_a_patch_brings_back_is_open(
    farm: Any, series: Any, program: Program
) -> None:
    series.base({"program.json": program(smoke=BROKEN)})
    series.patch("mend", {"program.json": program()})
    series.patch("break again", {"program.json": program(smoke=BROKEN)})
    said = farm.submit(series.write())
    assert said.status == 1
    states = [one["state"] for one in farm("regressions", "latest", "--json").document[
        "regressions"
    ]]  # fmt: skip
    assert states == ["ongoing", "new"]
    assert listed(farm) == [(said.document["run"], "smoke.first: 5 of 10")]


def test_a_known_issue_keeps_nothing_open(farm: Any, series: Any, program: Program) -> None:
    """The test never passes, but the case does."""
    known = {"geometry.first": "ok", "geometry.post-late": "not ok # 0 of 10"}
    broken = {**known, "geometry.first": "not ok # 5 of 10"}
    series.base({"program.json": program(geometry={"cases": known})})
    series.patch("explain", {"doc": "x\n"})
    series.patch("break", {"program.json": program(geometry={"cases": broken})})
    said = farm.submit(series.write(scenarios=["geometry"]))
    assert listed(farm) == [(said.document["run"], "geometry.first: 5 of 10")]
    series.patches = series.patches[:1]
    assert farm.submit(series.write(scenarios=["geometry"])).status == 0
    assert listed(farm) == []


def test_another_series_closes_nothing(farm: Any, series: Any, broken: Any) -> None:
    series.patches = series.patches[:1]
    assert farm.submit(series.write(series={"title": "another", "version": 1})).status == 0
    assert listed(farm) == [(broken["run"], "smoke.first: 5 of 10")]


def test_planted_faults_are_not_the_series_s(farm: Any, series: Any, program: Program) -> None:
    recipe = series.folder / "bad.yml"
    path = series.patch("explain", {"doc": "x\n"}).write()
    recipe.write_text(
        "name: bad\ntitle: a case fails\nsource: own\nedits:\n"
        '  - file: program.json\n    find: \'"smoke.first": "ok"\'\n'
        '    replace: \'"smoke.first": "not ok # x"\'\n'
    )
    assert farm.submit(path, "--plant", f"{recipe}@1").status == 1
    assert listed(farm) == []


def test_what_does_not_build_or_apply_is_open_too(farm: Any, series: Any) -> None:
    series.patch("break the build", {"broken.c": "x\n"})
    series.raw("Subject: [PATCH] odd", "--- a/doc\n+++ b/doc\n@@ -1 +1 @@\n-gone\n+x\n")
    farm.submit(series.write())
    assert [title[:14] for _, title in listed(farm)] == ["does not build", "does not apply"]
    series.patches = []
    assert farm.submit(series.patch("explain", {"doc": "x\n"}).write()).status == 0
    assert listed(farm) == []
