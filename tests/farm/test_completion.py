# SPDX-License-Identifier: GPL-2.0-or-later
"""What a shell offers behind TAB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.settings import Settings

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(farm: Any, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Complete:
    """Return what is offered for the last of some words."""
    monkeypatch.setattr("farm.cli.complete.settings.load", lambda environment: settings)

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_FARM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["farm", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        said = farm()
        assert (said.status, said.stderr) == (0, "")
        return [line for line in said.stdout.splitlines() if line]

    return ask


def test_names_of_data_files(complete: Complete) -> None:
    assert "regressions" in complete("re")
    assert complete("submit", "x", "--scenario", "smo") == ["smoke"]
    assert {"full", "quick"} <= set(complete("submit", "--profile", ""))
    assert complete("plan", "--lab", "") == ["fake", "laptop"]
    assert complete("submit", "--lab", "fake", "--node", "") == ["actor-1", "actor-2"]
    assert complete("submit", "--node", "") == ["qemu"]
    assert complete("submit", "--arch", "i") == ["i386"]
    assert "preempt-none" in complete("submit", "--config", "preempt")


def test_series_and_files(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine/series.yml", "mine/notes.txt"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert complete("submit", "mi") == ["mine/"]
    assert complete("submit", "mine/") == ["mine/series.yml"]
    assert any(name.endswith("kernel_series/on-top") for name in complete("submit", "../"))
    assert complete("submit", "nowhere/") == []


def test_runs_and_tests(
    complete: Complete, farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("_FARM_COMPLETE", raising=False)
    document = farm.submit(series.patch("explain", {"doc": "x\n"}).write()).document
    run = document["run"]
    assert complete("results", "") == ["latest", run]
    assert complete("watch", run[:-1]) == [run]
    test = document["points"][0]["builds"][0]["tests"][0]["id"]
    assert test in complete("reproduce", run)
    assert complete("cancel", "x") == []


def test_nothing_is_made_and_nothing_said_where_there_is_nothing(
    complete: Complete, settings: Settings
) -> None:
    assert complete("results", "") == []
    assert not settings.data.exists()
    settings.data.mkdir(parents=True)
    (settings.data / "farm.db").write_text("scribble")
    assert complete("results", "") == []
    assert complete("submit", "--lab", "moon", "--node", "") == []
