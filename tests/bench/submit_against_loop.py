# SPDX-License-Identifier: GPL-2.0-or-later
"""What `farm submit` costs, as a ratio to the shell loop that it replaces.

Both sides build every point of the shipped series incrementally with the same .config and
`make -jN vmlinux`, and boot each kernel with the same initramfs, scenarios and QEMU lines; neither
uses ccache or anything known from before. Pairs alternate. The loop is given its work tree and its
initramfs; the farm lays out and builds its own. What reuse gains is told apart: the first
submission on an empty cache, and the same one again.

    .venv/bin/python tests/bench/submit_against_loop.py [PAIRS [FOLDER]]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stress.scenario import load_all
from workers import payload
from workers.lane import REPRODUCIBLE, host_jobs
from workers.machines import qemu

ROOT = Path(__file__).parent.parent.parent
SERIES = ROOT / "kernel_series" / "jump-optimization"
FARM = Path(sys.executable).parent / "farm"


@dataclass(frozen=True)
class Boot:
    """One QEMU line of a point, with what the farm booted by it."""

    command: tuple[str, ...]
    initramfs: Path


@dataclass(frozen=True)
class Point:
    """One step of the loop."""

    commit: str
    boots: tuple[Boot, ...]


def submit(home: Path, *flags: str) -> tuple[float, dict[str, Any]]:
    """Run a submission; return its seconds and its results."""
    started = time.monotonic()
    done = subprocess.run(
        [FARM, "submit", SERIES, "--json", *flags],
        env={**os.environ, "FARM_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started, json.loads(done.stdout)


def points(home: Path, results: dict[str, Any], work: Path) -> list[Point]:
    """Return the loop's steps: the boots of each point, one a clock, with their initramfs."""
    steps = []
    known = load_all()
    for point in results["points"]:
        (build,) = point["builds"]
        common = home / "cache" / "payloads" / build["payload"] / payload.INITRAMFS
        boots = dict[str, Boot]()
        for test in build["tests"]:
            initramfs = work / f"{point['index']}-{test['clock']}.initramfs"
            job = Path(test["folder"]) / payload.JOB
            told = job.read_bytes()
            asked = [known[one["name"]] for one in json.loads(told)["scenarios"]]
            programs = sorted({tool for scenario in asked for tool in scenario.tools})
            payload.with_job(common, told, initramfs, programs)
            boots[test["clock"]] = Boot(tuple(test["command"]), initramfs)
        steps.append(Point(point["commit"], tuple(boots.values())))
    return steps


def loop(store: Path, steps: list[Point], config: Path, work: Path) -> float:
    """Build and boot every point in a bare loop; return its seconds."""
    src, out = work / "src", work / "out"
    for folder in (src, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    git = ["git", f"--git-dir={store}", f"--work-tree={src}"]
    environment = {**os.environ, **REPRODUCIBLE, "GIT_INDEX_FILE": str(work / "index")}
    (work / "index").unlink(missing_ok=True)

    def run(*words: str | Path) -> None:
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)

    run(*git, "read-tree", steps[0].commit)
    run(*git, "checkout-index", "-u", "--all")
    shutil.copy(config, out / ".config")
    started = time.monotonic()
    before = steps[0].commit
    for step in steps:
        run(*git, "read-tree", "-m", "-u", before, step.commit)
        run("make", "-s", "-C", src, f"O={out}", f"-j{host_jobs()}", "olddefconfig", "vmlinux")
        for boot in step.boots:
            places = {
                qemu.KERNEL: str(out / "vmlinux"),
                qemu.INITRAMFS: str(boot.initramfs),
                qemu.FOLDER: str(work),
            }
            words = [_outer(word, places) for word in boot.command]
            subprocess.run(words, check=True, timeout=300, stdin=subprocess.DEVNULL)
        before = step.commit
    return time.monotonic() - started


def _outer(word: str, places: dict[str, str]) -> str:
    for inner, outer in places.items():
        word = word.replace(inner, outer)
    return word


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    parent = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="farm-bench-") as folder:
        home, work = Path(folder) / "home", Path(folder) / "loop"
        work.mkdir()
        cold, _ = submit(home)
        print(f"first submission, empty cache: {cold:.0f} s", flush=True)
        again, results = submit(home)
        print(f"the same again: {again:.1f} s, ratio {again / cold:.3f}", flush=True)
        first = results["points"][0]["builds"][0]
        config = home / "cache" / "kernels" / first["kernel"] / "config"
        steps = points(home, results, work)
        ratios = []
        for pair in range(pairs):
            # Whoever goes first finds the page cache as the other left it: take turns.
            if pair % 2:
                bare, farm = (
                    loop(home / "cache/trees.git", steps, config, work),
                    submit(home, "--no-reuse")[0],
                )
            else:
                farm, bare = (
                    submit(home, "--no-reuse")[0],
                    loop(home / "cache/trees.git", steps, config, work),
                )
            ratios.append(farm / bare)
            print(
                f"pair {pair + 1}: farm {farm:.0f} s, loop {bare:.0f} s, ratio {ratios[-1]:.3f}",
                flush=True,
            )
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"median ratio {statistics.median(ratios):.3f}, spread {spread}, {pairs} pairs")


if __name__ == "__main__":
    main()
