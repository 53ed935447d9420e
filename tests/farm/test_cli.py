# SPDX-License-Identifier: GPL-2.0-or-later
"""The command: exit statuses, errors on standard error, one document on standard output."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from farm import doctor
from farm.cli import live
from farm.cli import submit as submitting
from workers.errors import InfrastructureError

Program = Callable[..., str]


def refused(said: Any, message: str, status: int = 2) -> None:
    """Check that a command said one line on standard error and nothing else."""
    assert (said.status, said.stdout) == (status, ""), said
    assert said.stderr.startswith("farm: ")
    assert said.stderr.count("\n") == 1
    assert message in said.stderr


def runs(farm: Any) -> list[Any]:
    return list(farm("status", "--json").document["runs"])


def test_the_statuses_are_the_contract_s() -> None:
    assert submitting.EXIT == {"PASS": 0, "REGRESSION": 1, "INCONCLUSIVE": 3}


# Bad input leaves no run behind.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "preempt-rt"], "no config 'preempt-rt' in this series; known: preempt-none"),
        (["--scenario", "smke"], "unknown scenario 'smke'; known: "),
        (["--node", "qemu"], "no node 'qemu' in lab fake; known: actor-1, actor-2"),
        (["--lab", "moon"], "unknown lab 'moon'; known: fake, laptop"),
        (["--profile", "quik"], "unknown profile 'quik'; known: full, quick"),
        (["--tree", "/nowhere"], "--tree /nowhere: there is no such folder"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "plan"])
def test_bad_words(farm: Any, series: Any, command: str, words: list[str], message: str) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    refused(farm(command, path, "--lab", "fake", *words), message)
    assert runs(farm) == []


def test_a_manifest_that_is_not_there(farm: Any, tmp_path: Path) -> None:
    refused(farm("submit", tmp_path / "no.yml"), "no.yml")
    refused(farm("submit", tmp_path), "series.yml")


def test_a_manifest_with_a_fault_is_named_with_its_place(farm: Any, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write(colour="red")
    refused(farm.submit(path), "series.yml:")
    assert runs(farm) == []


def test_a_patch_that_cannot_be_read_is_bad_input(farm: Any, series: Any) -> None:
    path = series.raw("Subject: [PATCH] odd", "--- a/x\n+++ b/../../x\n@@ -0,0 +1 @@\n+x\n").write()
    said = farm.submit(path)
    refused(said, "0001.patch")
    assert runs(farm) == []


def test_a_base_that_cannot_be_had_is_bad_input(farm: Any, series: Any, tmp_path: Path) -> None:
    """It is found out only when the run is under way."""
    path = series.patch("explain", {"doc": "x\n"}).write(
        base={"git": str(tmp_path), "ref": "v6.12"}
    )
    said = farm.submit(path)
    assert (said.status, said.stdout) == (2, "")
    assert "v6.12 can't be had from" in said.stderr.splitlines()[-1]
    assert farm("resume").status == 2
    (run,) = runs(farm)
    assert (run["state"], run["verdict"]) == ("finished", "INCONCLUSIVE")


@pytest.mark.parametrize(
    "words", [["results"], ["resume"], ["log"], ["status", "x"], ["results", "2026"]]
)
def test_there_is_no_run_yet(farm: Any, words: list[str]) -> None:
    refused(farm(*words), "there is no run")


def test_a_run_is_found_by_a_unique_prefix(farm: Any, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    names = [farm.submit(path).document["run"] for _ in range(2)]
    assert farm("results", names[0], "--json").document["run"] == names[0]
    assert farm("results", names[1][:-1], "--json").document["run"] == names[1]
    assert farm("results", "--json").document["run"] == names[1]
    refused(farm("results", names[0][:4]), "is not unique")
    refused(farm("results", "%"), "there is no run '%'; the newest: ")
    refused(farm("log", names[0], "999"), "has no job 999")


def test_an_empty_name_is_no_run(farm: Any, series: Any) -> None:
    """As of a variable that is not set. It begins every id, and there may be only one run."""
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    for command in (
        "cancel",
        "watch",
        "resume",
        "results",
        "log",
        "trace",
        "status",
        "regressions",
    ):
        refused(farm(command, ""), "RUN is empty; farm status lists the runs")


def test_usage(farm: Any) -> None:
    for words in (["submit"], ["sumbit"], ["submit", "--colour", "x"], ["log", "latest", "x"]):
        said = farm(*words)
        assert (said.status, said.stdout) == (2, "")
        assert said.stderr


# What is wrong with the farm is said with its own status.


def test_a_database_of_a_newer_farm(farm: Any) -> None:
    app = farm.app
    with app.database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    app.close()
    refused(farm("status"), "was made by a newer version of the farm (schema 9999)")


def test_a_damaged_database(farm: Any, settings: Any) -> None:
    settings.data.mkdir(parents=True)
    (settings.data / "farm.db").write_bytes(b"scribble\n" * 1000)
    refused(farm("status"), "can't be opened", status=3)


def test_a_fault_of_the_farm_is_no_regression(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.planner.plan", lambda *words: 1 / 0)
    said = farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    assert (said.status, said.stdout) == (3, "")
    assert "ZeroDivisionError" in said.stderr


def test_what_a_fault_says_does_not_command_the_terminal(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise ValueError("odd: \x1b]0;owned\x07")

    monkeypatch.setattr("farm.planner.plan", fail)
    said = farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    assert said.stderr.endswith("\nValueError: odd: \\x1b]0;owned\\x07\n")


def test_a_fault_in_a_worker_is_no_regression(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.runner.prepare", lambda *words: 1 / 0)
    said = farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    assert (said.status, said.stdout) == (3, "")
    assert "ZeroDivisionError" in said.stderr


# Standard output holds one document and nothing else.


def test_json_is_alone_on_standard_output(farm: Any, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    said = farm.submit(path)
    assert said.document["verdict"] == "PASS"
    assert "point 0" in said.stderr
    run = said.document["run"]
    for words in (
        ["results", run], ["resume", run], ["status"], ["status", run], ["scenarios"],
        ["plan", str(path)],
    ):  # fmt: skip
        found = farm(*words, "--json")
        assert found.status == 0, words
        assert found.document["schema"] == 1


def test_progress_and_results_for_a_person(farm: Any, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    said = farm("submit", path.parent, "--lab", "fake", "--node", "actor-1")
    assert said.status == 0
    assert said.stderr == ""
    lines = said.stdout.splitlines()
    assert lines[0].startswith("run ")
    assert lines[-1].split() == ["PASS", "2", "points,", "no", "new", "fault"]
    assert "point 1 x86_64 preempt-none: build PASS" in said.stdout


@pytest.mark.parametrize("on_terminal", [False, True])
def test_progress_that_cannot_be_shown_is_shown_at_the_next_look(
    farm: Any, series: Any, on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = farm.submit(series.patch("explain", {"doc": "x\n"}).write()).document["run"]
    looks, seen = iter(range(1000)), threading.Event()
    refresh = live._View.refresh

    def busy(view: live._View) -> None:
        number = next(looks)
        if number != 2:
            raise InfrastructureError("the database is locked")
        refresh(view)
        seen.set()

    monkeypatch.setattr(live._View, "refresh", busy)
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.01)
    console, app = Console(file=io.StringIO(), force_terminal=on_terminal), farm.app
    with live.progress(app, run, console):
        assert seen.wait(30)
    app.close()


def test_plan_touches_nothing(farm: Any, series: Any, settings: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    said = farm("plan", path, "--lab", "fake", "--json")
    assert said.status == 0
    assert said.document["subjects"] == ["base", "explain"]
    assert said.document["boots"] == 4
    assert not settings.data.exists()
    assert "2 builds and 4 boots at the most" in farm("plan", path, "--lab", "fake").stdout


def test_a_finished_run_is_resumed_with_its_verdict(
    farm: Any, series: Any, program: Program
) -> None:
    bad = program(smoke={"cases": {"smoke.first": "not ok # x"}})
    said = farm.submit(series.patch("break", {"program.json": bad}).write())
    again = farm("resume", said.document["run"], "--json")
    assert (said.status, again.status) == (1, 1)
    assert again.document == said.document


def test_a_run_is_resumed_without_the_files_of_its_series(farm: Any, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    run = farm.submit(path).document["run"]
    path.unlink()
    assert farm("resume", run, "--json").document["verdict"] == "PASS"


def test_what_a_job_wrote(farm: Any, series: Any) -> None:
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    listed = farm("log").stdout
    assert listed.splitlines()[0].split() == [
        "job", "kind", "what", "state", "tries", "seconds", "said",
    ]  # fmt: skip
    shown = "".join(farm("log", "latest", str(number)).stdout for number in range(1, 6))
    assert "console.log <==" in shown
    assert "farm: begin smoke" in shown


def test_what_a_job_wrote_is_its_own(farm: Any, series: Any, settings: Any) -> None:
    """A boot without files has none: its build's log is another job's."""
    path = series.patch("explain", {"doc": "x\n"}).write()
    run = farm.submit(path, "--no-reuse").document["run"]
    jobs = {one["kind"]: str(one["job"]) for one in farm("log", run, "--json").document["jobs"]}
    (log,) = farm("log", run, jobs["build"], "--json").document["files"]
    assert log["path"].endswith("preempt-none-auto/1.log")
    shutil.rmtree(settings.runs / run / "boots")
    gone = f"nothing is there of job {jobs['boot']}: farm gc removed it\n"
    assert farm("log", run, jobs["boot"]).stdout == gone
    said = farm("log", run, jobs["prepare"], "--json").document
    assert (said["files"], said["missing"]) == ([], "it wrote nothing")
    again = farm.submit(path).document["run"]
    jobs = {one["kind"]: str(one["job"]) for one in farm("log", again, "--json").document["jobs"]}
    said = farm("log", again, jobs["build"]).stdout
    assert said.endswith(": it wrote nothing\n"), "it was in the cache"


def test_doctor_says_what_is_missing(farm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = doctor.Finding("git", doctor.MISSING, "", "apt install git")
    monkeypatch.setattr("farm.cli.inventory.examine", lambda *words: (missing,))
    said = farm("doctor", "--json")
    assert said.status == 1
    assert json.loads(said.stdout)["findings"][0]["advice"] == "apt install git"
    good = doctor.Finding("git", doctor.GOOD, "/usr/bin/git")
    monkeypatch.setattr("farm.cli.inventory.examine", lambda *words: (good,))
    assert farm("doctor").status == 0


def test_doctor_looks_at_every_program(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.what: one for one in doctor.examine(settings, lambda program: None)}
    assert found["bwrap"].state == doctor.MISSING
    assert found["bwrap"].advice == "apt install bubblewrap"
    assert found["ccache"].state == doctor.BETTER
    cross = found["aarch64-linux-gnu-gcc"]
    assert cross.state == doctor.BETTER
    assert cross.advice == "apt install gcc-aarch64-linux-gnu"
    assert cross.found == "else arm64 is not built"
    assert "sandbox" not in found
