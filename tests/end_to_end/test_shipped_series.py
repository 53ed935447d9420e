# SPDX-License-Identifier: GPL-2.0-or-later
"""The farm's main job on the shipped series: real sources, a real compiler, real boots."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from stress import guest
from workers.machines import qemu

POINTS = range(10)
FEATURE = 8
ELF_CLASS_32 = 1


def test_the_series_passes(submission) -> None:
    assert submission.results["verdict"] == "PASS", submission.results["reason"]
    assert submission.status == 0
    assert submission.results["regressions"] == []
    assert [point["apply"]["status"] for point in submission.results["points"]] == ["PASS"] * 10


def test_every_point_builds_without_new_warnings(submission) -> None:
    assert [build["status"] for build in submission.builds()] == ["PASS"] * 10
    assert [build["new_warnings"] for build in submission.builds()] == [0] * 10


def test_kernels_that_are_the_same_are_recognised(submission) -> None:
    same = [build["identical_to"] for build in submission.builds()]
    assert same == [None, 0, None, None, None, None, 5, 6, None, 8]


def test_patches_that_put_nothing_into_the_kernel_are_shown(submission) -> None:
    # 3 and 4 wait behind a symbol that nobody selects before 8; 9 is documentation.
    hidden = [point for point, build in enumerate(submission.builds()) if not build["compiled"]]
    assert hidden == [3, 4, 9]


def test_the_first_jump_is_seen_where_the_feature_is_switched_on(submission) -> None:
    jumps = [test["evidence"]["optimized"] for test in submission.tests("smoke", "wall")]
    assert jumps == [0] * FEATURE + [1] * (len(POINTS) - FEATURE)


def test_all_hits_were_counted_and_the_text_was_restored(submission) -> None:
    for test in submission.tests("smoke", "wall") + submission.tests("smoke", "icount"):
        assert test["evidence"]["hits"] == 1000
        assert test["evidence"]["text-restored"] == 1


def test_an_optimized_hit_costs_a_fraction(submission) -> None:
    rows = {one["name"]: one for one in submission.tests("overhead", "icount")[-1]["measurements"]}
    assert len(rows) == 7
    assert {one["unit"] for one in rows.values()} == {"instructions"}
    assert {one["mad"] for one in rows.values()} == {0.0}
    assert rows["overhead.kprobe-optimized"]["value"] * 3 < rows["overhead.kprobe"]["value"]


def test_tests_of_the_same_kernel_were_reused_and_not_run_again(submission) -> None:
    for point in (1, 6, 7, 9):
        assert all(test["inherited_from"] for test in submission.builds()[point]["tests"])


def test_tcg_runs_with_one_thread(submission) -> None:
    for test in submission.tests("smoke", "wall"):
        if test["accelerator"] == "tcg":
            assert "tcg,thread=single" in test["command"]
        assert test["command"][0] == qemu.PROGRAMS["x86_64"]


def test_the_guest_ran_in_the_sandbox_and_left_its_console(submission) -> None:
    folder = Path(submission.tests("smoke", "wall")[0]["folder"])
    assert b"Linux version 6.12" in (folder / "console.log").read_bytes()
    assert submission.results["sandboxed"] is True


def test_a_second_submission_knows_everything(submission) -> None:
    done = submission.farm.run("submit", *submission.asked)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    builds = [point["builds"][0] for point in results["points"]]
    assert all(build["cached"] for build in builds)
    assert all(test["inherited_from"] for build in builds for test in build["tests"])
    assert results["verdict"] == "PASS"


def test_init_is_built_for_i386_without_a_32_bit_libc(submission, tmp_path) -> None:
    store, commit = submission.farm.cache / "kprobes-farm/trees.git", _tip(submission)["commit"]
    nolibc = ["git", f"--git-dir={store}", "archive", commit, guest.NOLIBC]
    archive = subprocess.run(nolibc, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x"], cwd=tmp_path, input=archive, check=True)
    for name, content in guest.init_sources().items():
        (tmp_path / name).write_bytes(content)
    command = ["gcc", "-Werror", *guest.init_arguments("i386", str(tmp_path / guest.NOLIBC))]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "init").read_bytes()[4] == ELF_CLASS_32


def _tip(submission) -> dict[str, Any]:
    return submission.results["points"][-1]
