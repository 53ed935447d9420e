# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of a job: which there were, and whose CPU time they count."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workers import process
from workers.lane import Lane
from workers.process import Cancel, Limits
from workers.sandbox import Sandbox
from workers.timing import Stopwatch

BURN = "i=0; while test $i -lt 200000; do i=$((i+1)); done"
"""A shell's work of some tenths of a second on any host."""


def test_steps_are_taken_down_in_order_even_when_they_fail() -> None:
    stopwatch = Stopwatch()
    with stopwatch.step("first"):
        pass
    with pytest.raises(ZeroDivisionError), stopwatch.step("second"):
        raise ZeroDivisionError
    first, second = stopwatch.steps
    assert (first.name, second.name) == ("first", "second")
    assert first.started + first.seconds <= second.started + second.seconds


def test_a_step_counts_programs_that_were_waited_for() -> None:
    stopwatch = Stopwatch()
    with stopwatch.step("busy"):
        assert process.run(["sh", "-c", BURN]).status == 0
    with stopwatch.step("idle"):
        pass
    busy, idle = stopwatch.steps
    assert busy.cpu > 10 * idle.cpu


@pytest.mark.parametrize("enabled", [True, False])
def test_a_step_counts_what_runs_in_a_sandbox_once(enabled: bool, tmp_path: Path) -> None:
    lane = Lane(tmp_path, Sandbox(enabled), (), 1)
    for folder in (lane.src, lane.out, lane.payload, lane.given):
        folder.mkdir()
    log = tmp_path / "log"
    # Its own account at its end, to the hundredth of a second that the farm sees too.
    script = f"({BURN}); {BURN}; cat /proc/self/stat >/dev/null; times; sleep 0.5"
    with lane.stopwatch.step("burn"):
        assert lane.run(["sh", "-c", script], log, Cancel(), Limits(60.0)) == 0
    said = [word for line in log.read_text().splitlines() for word in line.split()]
    minutes = [word.rstrip("s").split("m") for word in said]
    used = sum(60 * int(minute) + float(second) for minute, second in minutes)
    assert lane.stopwatch.steps[0].cpu == pytest.approx(used, rel=0.25, abs=0.05)


def test_a_process_that_is_gone_has_used_nothing() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert process.cpu_seconds(done.pid) == 0.0
