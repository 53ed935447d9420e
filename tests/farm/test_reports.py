# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run looks like: the JSON document against its schema, and text that is not ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.console import Console

from farm.planner import Flags
from farm.reports import results, text
from kernel_series import manifest

SCHEMA = json.loads(
    (Path(results.__file__).parents[2] / "docs" / "schemas" / "results.json").read_text()
)
Program = Callable[..., str]

CRASH = "BUG: kernel NULL pointer dereference, address: 0000000000000008\n"


def check(document: Any) -> None:
    faults = [
        f"{fault.json_path}: {fault.message}"
        for fault in Draft202012Validator(SCHEMA).iter_errors(document)
    ]
    assert faults == []


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_run_with_a_bit_of_everything(farm: Any, series: Any, program: Program) -> None:
    slow = {"measures": {"overhead.kprobe": [500, 501, 500]}}
    series.base({"program.json": program(overhead=slow)})
    series.patch("enable", {"feature": "1\n", "program.json": program(optimized=True)})
    series.patch("explain", {"doc": "x\n"})
    act = {"ending": "reset", "console": CRASH}
    series.patch("crash", {"program.json": program(optimized=True, smoke=act)})
    series.patch("do not build", {"broken.c": "x\n"})
    series.raw("Subject: [PATCH] misfit", "--- a/doc\n+++ b/doc\n@@ -1 +1 @@\n-other\n+new\n")
    series.patch("go on", {"doc": "y\n"})
    matrix = {"arch": ["x86_64"], "config": ["preempt-none", "preempt"]}
    path = series.write(enabling=1, scenarios=["smoke", "overhead"], matrix=matrix)
    said = farm.submit(path)
    assert said.status == 1
    document = said.document
    check(document)
    assert farm("results", "--json").document == document
    assert [(one["first_bad"], one["kind"]) for one in document["regressions"]] == [
        (3, "crash"),
        (4, "build"),
        (5, "apply"),
    ]
    tests = [one for point in document["points"] for build in point["builds"]
             for one in build["tests"]]  # fmt: skip
    assert any(test["measurements"] for test in tests)
    assert {test["status"] for test in tests} >= {"PASS", "FAIL"}
    assert {"what": "config preempt", "why": "profile quick takes 1 config only"} in document[
        "not_tested"
    ]

    shown = farm("results").stdout
    for words in (
        "REGRESSION",
        "kernel NULL pointer dereference",
        "does not apply",
        "Not tested, and why",
        "Cost in instructions",
    ):
        assert words in shown

    del document["regressions"][0]["first_bad"]
    document["points"][0]["builds"][0]["status"] = "OK"
    faults = list(Draft202012Validator(SCHEMA).iter_errors(document))
    assert len(faults) == 2, "a schema that takes anything shows nothing"


def test_the_document_of_a_run_that_has_only_been_submitted(farm: Any, series: Any) -> None:
    app = farm.app
    found = manifest.load(series.patch("explain", {"doc": "x\n"}).write())
    request, _ = app.plan(found, None, Flags(), "quick", "fake")
    run = app.submit(found, request)
    document = results.document(app.judged(run))
    app.close()
    check(document)
    assert (document["state"], document["verdict"]) == ("queued", "INCONCLUSIVE")


HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]looks harmless[/] \u202egnp.exe"


def test_nobody_else_s_text_is_markup_or_commands_the_terminal() -> None:
    console = Console(force_terminal=True, width=200, color_system="truecolor")
    with console.capture() as captured:
        console.print(text.foreign(HOSTILE))
    shown = captured.get()
    assert "[bold red]looks harmless[/]" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


@given(st.text())
def test_any_text_is_shown_on_one_line_of_printable_characters(said: str) -> None:
    shown = text.foreign(said).plain
    assert shown.isprintable()
    assert said.isprintable() <= (shown == said)


def test_a_hostile_series_is_shown_as_text(
    farm: Any, series: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same strings in subject, build log, guest's reason and console."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    series.patch(
        f"explain {HOSTILE}",
        {"program.json": program(smoke={"cases": {"smoke.first": f"not ok # {HOSTILE}"}})},
    )
    makefile = series.files["Makefile"].replace(
        "modules_prepare:",
        f"modules_prepare:\n\t@printf '%s\\n' 'x.c:1: error: {HOSTILE}'; test ! -e broken",
    )
    series.patch("break the build", {"Makefile": makefile, "broken": "x\n"})
    path = series.write()
    said = farm("submit", path, "--lab", "fake", "--node", "actor-1")
    assert said.status == 1
    shown = [said.stdout, farm("results").stdout, farm("status").stdout, farm("log").stdout]
    shown += [farm("log", "latest", str(number)).stdout for number in range(1, 6)]
    shown.append(farm("plan", path).stdout)
    for one in (*shown, said.stderr):
        assert "\x1b]0;" not in one
        assert "\x1b[2J" not in one
        assert "\x07" not in one
        assert "\u202e" not in one
    assert "[bold red]looks harmless[/]" in shown[1]
    assert farm("results", "--json").stdout.isascii()
