# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole runs: a miniature series through every stage, and what comes out at the end."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from farm import runner
from farm.db import claims
from farm.db.models import AttemptRow, JobRow, ObservationRow
from stress import scenario
from workers import boot as booting
from workers import folders
from workers.errors import Cancelled
from workers.process import Cancel

Program = Callable[..., str]

CRASH = """\
BUG: unable to handle page fault for address: ffffffffc0000005
#PF: supervisor write access in kernel mode
Oops: 0003 [#1] PREEMPT SMP
CPU: 0 PID: 47 Comm: init Not tainted 6.12.0-fake #1
RIP: 0010:text_poke+0x12/0x40
Call Trace:
 <TASK>
 arch_optimize_kprobes+0x80/0x100
 </TASK>
Kernel panic - not syncing: Fatal exception
"""


def enabling(series: Any, program: Program, **changes: Any) -> Any:
    """Give a series three patches: one that explains, one that enables, one that is to be bad."""
    series.patch("explain", {"doc": "x\n"})
    series.patch("enable", {"feature": "1\n", "program.json": program(optimized=True)})
    if changes:
        series.patch("break", {"program.json": program(optimized=True, **changes)})
        series.patch("explain more", {"doc": "y\n"})
    return series


def regression(said: Any) -> Any:
    assert (said.status, said.document["verdict"]) == (1, "REGRESSION"), said
    (found,) = said.document["regressions"]
    return found


def smoke(document: Any, point: int) -> Any:
    (build,) = document["points"][point]["builds"]
    (test,) = build["tests"]
    return test


def attempts(farm: Any, kind: str) -> list[AttemptRow]:
    with farm.app.database.transaction() as session:
        chosen = select(AttemptRow).join(JobRow, JobRow.id == AttemptRow.job_id)
        return list(session.scalars(chosen.where(JobRow.kind == kind).order_by(AttemptRow.fence)))


def test_all_green(farm: Any, series: Any, program: Program) -> None:
    enabling(series, program).patch("explain more", {"doc": "y\n"})
    said = farm.submit(series.write(enabling=2))
    assert said.status == 0, said
    document = said.document
    assert (document["verdict"], document["regressions"]) == ("PASS", [])
    subjects = [point["subject"] for point in document["points"]]
    assert subjects == ["base", "explain", "enable", "explain more"]
    same = [point["builds"][0]["identical_to"] for point in document["points"]]
    assert same == [None, 0, None, 2]
    found = [smoke(document, point) for point in range(4)]
    assert [test["status"] for test in found] == ["PASS"] * 4
    assert [test["inherited_from"] for test in found] == [None, found[0]["id"], None,
                                                          found[2]["id"]]  # fmt: skip
    assert {test["accelerator"] for test in found} == {"fake"}
    assert {test["attempts"] for test in found} == {1}


def test_a_lane_that_was_not_removed_at_once_is_removed_at_the_end(
    farm: Any, series: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last build came to stays so, and nothing is left over."""
    refused = list[Path]()

    def remove(folder: Path) -> None:
        if not refused:
            refused.append(folder)
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        folders.remove(folder)

    monkeypatch.setattr(runner, "remove", remove)
    said = farm.submit(enabling(series, program).write(enabling=2))
    assert (said.status, said.document["verdict"]) == (0, "PASS"), said
    assert len(refused) == 1
    assert not refused[0].exists()


def test_a_lane_that_can_not_be_removed_is_said(
    farm: Any, series: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(folder: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))

    monkeypatch.setattr(runner, "remove", remove)
    said = farm.submit(enabling(series, program).write(enabling=2))
    assert said.status == 3, said
    assert "Read-only file system" in said.stderr
    assert "lanes/x86_64-preempt-none-auto" in said.stderr
    assert "once that is mended, farm resume" in said.stderr


@pytest.mark.parametrize(
    ("act", "kind", "title"),
    [
        ({"cases": {"smoke.first": "not ok # 5 of 10 hits"}}, "case", "smoke.first: 5 of 10 hits"),
        ({"cases": {"smoke.first": ""}, "ending": "reset", "console": CRASH}, "crash",
         "BUG: unable to handle page fault"),
        ({"cases": {"smoke.first": ""}, "ending": "hang"}, "case", "hang in smoke.first"),
        ({"cases": {"smoke.first": ""}, "ending": "silent"}, "case", "hang in smoke.first"),
        ({"cases": {"smoke.first": ""}, "ending": "reset"}, "case", "reset in smoke.first"),
        ({"ending": "flood"}, "case", "endless output in no case"),
        ({"evidence": {}}, "evidence", "evidence: "),
    ],
    ids=["case", "crash", "overtime", "silence", "reset", "flood", "evidence"],
)  # fmt: skip
def test_a_patch_that_breaks_something(
    farm: Any, series: Any, program: Program, act: dict[str, Any], kind: str, title: str
) -> None:
    said = farm.submit(enabling(series, program, smoke=act).write(enabling=2))
    if kind == "evidence":
        assert {one["first_bad"] for one in said.document["regressions"]} == {3}
        found = said.document["regressions"][0]
    else:
        found = regression(said)
    assert (found["first_bad"], found["kind"], found["state"]) == (3, kind, "new")
    assert found["title"].startswith(title)
    assert found["introduced"] is True
    assert [smoke(said.document, point)["status"] for point in range(5)] == [
        "PASS", "PASS", "PASS", "FAIL", "FAIL",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"boot": "reset", "console": CRASH}, "boot: BUG: unable to handle page fault"),
        ({"boot": "silent"}, "boot: silent"),
        ({"boot": "reset"}, "reset in no case"),
    ],
    ids=["crash", "silence", "reset"],
)
def test_a_patch_that_breaks_the_boot(
    farm: Any, series: Any, program: Program, changes: dict[str, Any], title: str
) -> None:
    said = farm.submit(enabling(series, program, **changes).write(enabling=2))
    found = regression(said)
    assert found["first_bad"] == 3
    assert found["title"].startswith(title)


def test_a_slowdown(farm: Any, series: Any, program: Program) -> None:
    fast = {"measures": {"overhead.kprobe": [500, 501, 500]}}
    slow = {"measures": {"overhead.kprobe": [540, 541, 540]}}
    series.base({"program.json": program(overhead=fast)})
    series.patch("slow down", {"program.json": program(overhead=slow)})
    said = farm.submit(series.write(scenarios=["overhead"]))
    found = regression(said)
    assert (found["kind"], found["first_bad"]) == ("measurement", 1)
    assert found["title"] == "overhead.kprobe: 500 -> 540 instructions"


def test_a_patch_that_does_not_build(farm: Any, series: Any, program: Program) -> None:
    enabling(series, program)
    series.patch("break the build", {"broken.c": "x\n"})
    series.patch("go on", {"doc": "z\n"})
    series.patch("mend it", {"broken.c": None})
    said = farm.submit(series.write(enabling=2))
    found = regression(said)
    assert (found["first_bad"], found["kind"]) == (3, "build")
    assert found["title"] == "does not build: broken.c:1:1: error: expected a kernel"
    builds = [point["builds"][0]["status"] for point in said.document["points"]]
    assert builds == ["PASS", "PASS", "PASS", "FAIL", "FAIL", "PASS"]
    assert smoke(said.document, 5)["status"] == "PASS"


def test_a_patch_that_does_not_apply(farm: Any, series: Any, program: Program) -> None:
    series.patch("explain", {"doc": "x\n"})
    series.raw("Subject: [PATCH] misfit", "--- a/doc\n+++ b/doc\n@@ -1 +1 @@\n-other\n+new\n")
    series.patch("explain more", {"doc": "y\n"})
    said = farm.submit(series.write())
    found = regression(said)
    assert (found["first_bad"], found["kind"]) == (2, "apply")
    assert found["title"].startswith("does not apply: doc:1:")
    states = [point["apply"]["status"] for point in said.document["points"]]
    assert states == ["PASS", "PASS", "FAIL", "MISS"]
    assert smoke(said.document, 1)["status"] == "PASS"
    assert said.document["points"][2]["builds"] == []


def test_an_enabling_patch_that_changes_nothing(farm: Any, series: Any, program: Program) -> None:
    """The kernel is the one before, its evidence is used again, and it is not enough any more."""
    series.patch("enable", {"feature": "1\n"})
    said = farm.submit(series.write(enabling=1, scenarios=["smoke"]))
    assert said.document["points"][1]["builds"][0]["identical_to"] == 0
    assert smoke(said.document, 0)["status"] == "PASS"
    assert smoke(said.document, 1)["status"] == "FAIL"
    assert smoke(said.document, 1)["inherited_from"] == smoke(said.document, 0)["id"]
    found = regression(said)
    assert (found["first_bad"], found["kind"], found["introduced"]) == (1, "evidence", None)


def test_a_patch_that_should_enable_and_does_not(farm: Any, series: Any, program: Program) -> None:
    series.patch("enable nothing", {"doc": "x\n"})
    said = farm.submit(series.write(enabling=1))
    found = regression(said)
    assert found["title"] == "evidence: not in .config as asked: OPTPROBES=y"


def test_the_base_s_own_fault(farm: Any, series: Any, program: Program) -> None:
    bad = {"cases": {"smoke.first": "not ok # old"}}
    series.base({"program.json": program(smoke=bad)})
    series.patch("explain", {"doc": "x\n"})
    said = farm.submit(series.write())
    assert (said.status, said.document["verdict"]) == (3, "INCONCLUSIVE")
    assert [one["state"] for one in said.document["regressions"]] == ["ongoing"]


def test_a_silent_base_is_no_fault_of_anybody(farm: Any, series: Any, program: Program) -> None:
    series.base({"program.json": program(boot="silent")})
    series.patch("explain", {"doc": "x\n"})
    said = farm.submit(series.write())
    assert (said.status, said.document["regressions"]) == (3, [])
    assert "boot: silent; no control run" in said.document["reason"]


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        ("error", "ERROR", "the scenario could not run"),
        ("lost", "ERROR", "protocol: lines of the scenario are missing"),
        ("skip", "SKIP", None),
        ("garbage", "PASS", None),
    ],
)
def test_trouble_that_is_not_the_kernel_s(
    farm: Any, series: Any, program: Program, ending: str, status: str, reason: str | None
) -> None:
    series.patch("explain", {"program.json": program(smoke={"ending": ending})})
    said = farm.submit(series.write())
    assert said.status == (3 if status == "ERROR" else 0)
    assert said.document["regressions"] == []
    assert (smoke(said.document, 1)["status"], smoke(said.document, 1)["reason"]) == (
        status,
        reason,
    )


def test_dying_machines_are_tried_again_and_every_attempt_is_kept(
    farm: Any, series: Any, program: Program
) -> None:
    series.patch("explain", {"program.json": program(smoke={"ending": "dies"})})
    said = farm.submit(series.write())
    assert (said.status, said.document["regressions"]) == (3, [])
    missed = smoke(said.document, 1)
    assert missed["status"] == "MISS"
    assert missed["reason"].startswith("no boot of it came to a result: the machine died under")
    assert missed["reason"] in said.document["reason"]
    tried = attempts(farm, "boot")
    assert [one.outcome for one in tried].count("infrastructure") == 3
    assert all("the machine died" in (one.reason or "") for one in tried if one.outcome != "done")
    listed = farm("log")
    assert listed.stdout.count("the machine died") >= 1


def test_a_build_that_the_host_cut_off_is_tried_again(farm: Any, series: Any) -> None:
    full = "vmlinux:\n\t@if test -e full; then echo 'cc1: No space left on device'; exit 1; fi"
    makefile = series.files["Makefile"].replace("vmlinux:", full)
    series.base({"Makefile": makefile}).patch("fill the disk", {"full": "x\n"})
    series.patch("empty it", {"full": None})
    said = farm.submit(series.write())
    assert (said.status, said.document["regressions"]) == (3, [])
    builds = [point["builds"][0] for point in said.document["points"]]
    assert [build["status"] for build in builds] == ["PASS", "MISS", "PASS"]
    assert "No space left on device" in builds[1]["reason"]
    assert builds[1]["reason"] in said.document["reason"]
    outcomes = [one.outcome for one in attempts(farm, "build")]
    assert sorted(outcomes) == ["done", "done"] + ["infrastructure"] * 3


def test_a_late_worker_changes_nothing(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a boot ran, its lease ended and the job was given to another."""
    app, boot = farm.app, booting.boot
    late = list[str]()

    def slow(*words: Any) -> Any:
        result = boot(*words)
        if not late:
            late.append("once")
            with app.database.transaction() as session:
                running = update(JobRow).where(JobRow.kind == "boot", JobRow.state == "running")
                session.execute(running.values(lease_until=1.0))
                claims.take_back(session)
        return result

    monkeypatch.setattr(booting, "boot", slow)
    said = farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    assert said.status == 0
    assert sorted(one.outcome or "" for one in attempts(farm, "boot")) == ["done", "lost"]
    with app.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ObservationRow)) == 1
    app.close()


def test_a_kernel_that_is_no_script_for_a_fake_machine(farm: Any, series: Any) -> None:
    series.patch("break the script", {"program.json": "ELF\n"})
    said = farm.submit(series.write())
    assert (said.status, said.document["regressions"]) == (3, [])
    assert len(attempts(farm, "boot")) == 2


def test_the_same_again_does_nothing_twice(farm: Any, series: Any, program: Program) -> None:
    act = {"cases": {"smoke.first": "not ok # 5 of 10"}}
    path = enabling(series, program, smoke=act).write(enabling=2)
    first = farm.submit(path)
    booted = len(attempts(farm, "boot"))
    second = farm.submit(path)
    assert len(attempts(farm, "boot")) == booted
    assert second.status == first.status == 1
    assert all(one["builds"][0]["cached"] for one in second.document["points"])
    assert all(smoke(second.document, point)["inherited_from"] for point in range(5))
    verdicts = [
        {key: value for key, value in one.items() if key != "tests"}
        for said in (first, second)
        for one in said.document["regressions"]
    ]
    assert verdicts[0] == verdicts[1]


def test_without_reuse_everything_is_done_again(farm: Any, series: Any, program: Program) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    farm.submit(path)
    booted = len(attempts(farm, "boot"))
    said = farm.submit(path, "--no-reuse")
    assert said.status == 0
    assert len(attempts(farm, "boot")) == booted + 2
    assert not any(one["builds"][0]["cached"] for one in said.document["points"])


def test_silence_is_not_handed_down(farm: Any, series: Any, program: Program) -> None:
    path = series.base({"program.json": program(boot="silent")}).patch("x", {"doc": "x\n"}).write()
    farm.submit(path)
    booted = len(attempts(farm, "boot"))
    said = farm.submit(path)
    assert said.status == 3
    assert len(attempts(farm, "boot")) > booted


def test_two_nodes_of_one_model_are_one_machine(farm: Any, series: Any, program: Program) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    said = farm("submit", path, "--lab", "fake", "--json")
    assert said.status == 0
    for point in said.document["points"]:
        (first, second) = point["builds"][0]["tests"]
        assert {first["node"], second["node"]} == {"actor-1", "actor-2"}
        assert second["inherited_from"] in (first["id"], first["inherited_from"])


def test_a_run_that_tested_nothing_is_no_pass(farm: Any, series: Any, program: Program) -> None:
    makefile = series.files["Makefile"].replace("KRETPROBES", "OTHER")
    series.base({"Makefile": makefile}).patch("explain", {"doc": "x\n"})
    said = farm.submit(series.write(scenarios=["overhead"]))
    assert (said.status, said.document["reason"]) == (3, "nothing passed: all was skipped")
    assert said.document["not_tested"]


# What went away since.

LOOKS = (["results"], ["regressions"], ["regressions", "latest"], ["gc", "--dry-run"], ["trace"],
         ["status"], ["log"], ["log", "latest", "1"])  # fmt: skip


def test_a_run_whose_scenario_went_away(
    farm: Any, series: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be looked at and keeps its verdict; what the scenario showed is not told any more."""
    series.patch("explain", {"doc": "x\n"})
    said = farm.submit(series.write(scenarios=["smoke", "overhead"]))
    left = {name: one for name, one in scenario.load_all().items() if name != "overhead"}
    monkeypatch.setattr("stress.scenario.load_all", lambda: left)
    for words in LOOKS:
        assert farm(*words).status == 0, words
    found = farm("resume", "--json")
    assert (found.status, found.document["verdict"]) == (0, "PASS")
    gone = found.document["points"][1]["builds"][0]["tests"][1]
    again = farm("reproduce", gone["id"])
    assert (gone["scenario"], again.status) == ("overhead", 2)
    assert "there is no scenario overhead any more; put its file back" in again.stderr
    tests = found.document["points"][1]["builds"][0]["tests"]
    assert {test["scenario"]: (test["status"], test["reason"]) for test in tests} == {
        "smoke": ("PASS", None),
        "overhead": ("MISS", "scenario overhead is not there any more"),
    }
    assert said.status == 0


def test_a_run_whose_profile_went_away(
    farm: Any, series: Any, program: Program, settings: Any
) -> None:
    """It is judged by what its results carry, and its regressions stay open."""
    profiles = settings.configs / "profiles"
    bad = program(smoke={"cases": {"smoke.first": "not ok # 5 of 10"}})
    path = series.patch("break", {"program.json": bad}).write()
    shutil.copy(profiles / "quick.yml", profiles / "passing.yml")
    said = farm.submit(path, "--profile", "passing")
    (profiles / "passing.yml").unlink()
    for words in LOOKS:
        assert farm(*words).status == 0, words
    assert farm("results", "--json").document == said.document
    (found,) = farm("regressions", "--json").document["regressions"]
    assert found["title"] == "smoke.first: 5 of 10"


def test_a_folder_is_one_s_own_until_the_block_ends(tmp_path: Path) -> None:
    stop, begun = Cancel(), list[str]()
    folder = tmp_path / "builds" / "lane"

    def second() -> None:
        with runner.alone(folder, Cancel()):
            begun.append("second")

    waiting = threading.Thread(target=second)
    with runner.alone(folder, Cancel()):
        waiting.start()
        stop.request("the lease was lost")
        with pytest.raises(Cancelled, match="the lease was lost"), runner.alone(folder, stop):
            begun.append("third")
        begun.append("first")
    waiting.join(30)
    assert begun == ["first", "second"]


def test_who_lost_his_lease_leaves_the_lane_before_the_next_one_begins(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when he stood still: his compilers went on."""
    build, lock_on = runner.build, runner.lock_on
    inside, most, next_one = list[str](), list[int](), threading.Event()

    def building(asked: Any, *words: Any) -> Any:
        inside.append(asked.log.name)
        most.append(len(inside))
        try:
            if len(most) == 1:
                app = farm.app
                with app.database.transaction() as session:
                    running = update(JobRow).where(JobRow.state == claims.RUNNING)
                    session.execute(running.values(lease_until=1.0))
                    assert claims.take_back(session) == 1
                app.close()
                assert next_one.wait(30)
            else:
                next_one.set()
            return build(asked, *words)
        finally:
            inside.pop()

    @contextmanager
    def looking(folder: Path, how: int) -> Iterator[None]:
        try:
            with lock_on(folder, how):
                yield
        except BlockingIOError:
            next_one.set()
            raise

    monkeypatch.setattr(runner, "build", building)
    monkeypatch.setattr(runner, "lock_on", looking)
    said = farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    assert (said.status, most) == (0, [1, 1, 1])
    assert [one.outcome for one in attempts(farm, "build")] == ["lost", "done", "done"]
