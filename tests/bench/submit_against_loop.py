# SPDX-License-Identifier: GPL-2.0-or-later
"""What `farm submit` costs, as a ratio to the shell loop that it replaces.

Both sides build every point of the shipped series incrementally with the same .config and
`make -jN vmlinux`, and boot each kernel with the same initramfs, scenarios and QEMU lines; neither
uses ccache or anything known from before. Pairs alternate. The loop is given its work tree, every
.config and every initramfs; the farm lays out, configures and builds its own. What reuse gains is
told apart: the first submission on an empty cache, and the same one again.

    .venv/bin/python tests/bench/submit_against_loop.py [--pairs N] [--folder FOLDER]

The scenarios are those of `make demo`, which take a kernel a few seconds; ``--suite`` takes all
that `farm submit` runs unasked.

A base takes minutes to build and is the same on both sides; ``--from-base`` gives each side what it
built of it, work tree, configuration and objects, so that only what a series adds is timed. What
tells the sides apart shows more in that ratio than in the whole one.
``--home`` is a FARM_HOME that has the series already, to go without a first submission.
"""

from __future__ import annotations

import argparse
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

from farm import settings
from farm.app import LAB, App
from farm.planner import Flags
from kernel_series import manifest
from stress.scenario import load_all
from workers import payload
from workers.build import adopt
from workers.lane import REPRODUCIBLE, Lane, host_jobs
from workers.machines import qemu
from workers.sandbox import Sandbox
from workers.trees import TreeStore

ROOT = Path(__file__).parent.parent.parent
SERIES = ROOT / "kernel_series" / "jump-optimization"
FARM = Path(sys.executable).parent / "farm"

DEMO = ("smoke", "overhead")
"""What `make demo` runs."""

SUITE = ()
"""What `farm submit` runs unasked."""


@dataclass(frozen=True)
class Boot:
    """One QEMU line of a point, with what the farm booted by it."""

    command: tuple[str, ...]
    initramfs: Path


@dataclass(frozen=True)
class Point:
    """One step of the loop."""

    commit: str
    config: Path
    boots: tuple[Boot, ...]


@dataclass(frozen=True)
class Base:
    """Point 0: its commit, its configuration, and what the farm keeps of its build."""

    commit: str
    config: Path
    kept: Path


def submit(home: Path, scenarios: tuple[str, ...], *flags: str) -> tuple[float, dict[str, Any]]:
    """Run a submission; return its seconds and its results."""
    asked = [word for name in scenarios for word in ("--scenario", name)]
    return _farm(home, "submit", SERIES, *asked, "--json", *flags)


def submit_from_base(
    home: Path, scenarios: tuple[str, ...], base: Base
) -> tuple[float, dict[str, Any]]:
    """Run a submission that reuses nothing but the base's build, which its lane is given."""
    farm = App(settings.load({"FARM_HOME": str(home)}))
    found = manifest.load(SERIES / "series.yml")
    request, _ = farm.plan(found, None, Flags(scenarios=scenarios, reuse=False), "quick", LAB)
    (cell,) = request.cells
    run = farm.submit(found, request)
    lane = Lane(farm.settings.runs / run / "lanes" / cell.name, Sandbox(), (), host_jobs())
    adopt(lane, base.kept, base.commit, TreeStore(farm.settings.cache / "trees.git"))
    farm.close()
    return _farm(home, "resume", run, "--json")


def _farm(home: Path, *words: str | Path) -> tuple[float, dict[str, Any]]:
    started = time.monotonic()
    done = subprocess.run(
        [FARM, *words],
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
        steps.append(Point(point["commit"], _config(home, build), tuple(boots.values())))
    return steps


class Loop:
    """The bare loop, in a folder of its own: a work tree ``src`` and an output folder ``out``."""

    def __init__(self, store: Path, base: Base, work: Path) -> None:
        self._base, self._work = base, work
        self._src, self._out, self._kept = work / "src", work / "out", work / "kept"
        self._src.mkdir(parents=True)
        self._git = ["git", f"--git-dir={store}", f"--work-tree={self._src}"]
        index = str(work / "index")
        self._environment = {**os.environ, **REPRODUCIBLE, "GIT_INDEX_FILE": index}
        self._run(*self._git, "read-tree", base.commit)

    def build_base(self) -> None:
        """Build the base and keep its objects: ``run`` begins with them from then on."""
        self._begin()
        self._make()
        self._out.rename(self._kept)

    def run(self, steps: list[Point]) -> float:
        """Build and boot every point; return its seconds."""
        self._begin()
        started = time.monotonic()
        for step in steps:
            self._run(*self._git, "read-tree", "-m", "-u", step.commit)
            if step.config.read_bytes() != (self._out / ".config").read_bytes():
                shutil.copy(step.config, self._out / ".config")
            self._make()
            for boot in step.boots:
                places = {
                    qemu.KERNEL: str(self._out / "vmlinux"),
                    qemu.INITRAMFS: str(boot.initramfs),
                    qemu.FOLDER: str(self._work),
                }
                words = [_outer(word, places) for word in boot.command]
                subprocess.run(words, check=True, timeout=300, stdin=subprocess.DEVNULL)
        return time.monotonic() - started

    def _begin(self) -> None:
        """Lay out the base, with all sources older than any object."""
        self._run(*self._git, "read-tree", "--reset", "-u", self._base.commit)
        self._run(*self._git, "checkout-index", "--force", "--all")
        self._run("find", self._src, "-type", "f", "-exec", "touch", "-d", "@1", "{}", "+")
        self._run(*self._git, "update-index", "-q", "--refresh")
        shutil.rmtree(self._out, ignore_errors=True)
        if self._kept.exists():
            self._run("cp", "-a", self._kept, self._out)
        else:
            self._out.mkdir()
            shutil.copy(self._base.config, self._out / ".config")

    def _make(self) -> None:
        self._run("make", "-s", "-C", self._src, f"O={self._out}", f"-j{host_jobs()}", "vmlinux")

    def _run(self, *words: str | Path) -> None:
        subprocess.run(words, env=self._environment, check=True, stdout=subprocess.DEVNULL)


def _outer(word: str, places: dict[str, str]) -> str:
    for inner, outer in places.items():
        word = word.replace(inner, outer)
    return word


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--pairs", type=int, default=3)
    words.add_argument("--folder", type=Path)
    words.add_argument("--home", type=Path)
    words.add_argument("--from-base", action="store_true")
    words.add_argument("--suite", action="store_true")
    asked = words.parse_args()
    scenarios = SUITE if asked.suite else DEMO
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="farm-bench-") as folder:
        home, work = asked.home or Path(folder) / "home", Path(folder) / "loop"
        if asked.home is None:
            cold, _ = submit(home, scenarios)
            print(f"first submission, empty cache: {cold:.0f} s", flush=True)
        again, results = submit(home, scenarios)
        print(f"the same again: {again:.1f} s", flush=True)
        base = _base(home, results)
        bare = Loop(home / "cache" / "trees.git", base, work)
        steps = points(home, results, work)
        if asked.from_base:
            bare.build_base()
        ratios = []
        for pair in range(asked.pairs):
            sides = {"farm": 0.0, "loop": 0.0}
            # Whoever goes first finds the page cache as the other left it: take turns.
            for side in sorted(sides, reverse=bool(pair % 2)):
                if side == "loop":
                    sides[side] = bare.run(steps)
                elif asked.from_base:
                    sides[side] = submit_from_base(home, scenarios, base)[0]
                else:
                    sides[side] = submit(home, scenarios, "--no-reuse")[0]
            ratios.append(sides["farm"] / sides["loop"])
            took = f"farm {sides['farm']:.0f} s, loop {sides['loop']:.0f} s"
            print(f"pair {pair + 1}: {took}, ratio {ratios[-1]:.3f}", flush=True)
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"median ratio {statistics.median(ratios):.3f}, spread {spread}, {asked.pairs} pairs")


def _base(home: Path, results: dict[str, Any]) -> Base:
    """Return what is kept of the base's build; the newest is this series'."""
    point = results["points"][0]
    (build,) = point["builds"]
    kept = (home / "cache" / "outputs").iterdir()
    newest = max(kept, key=lambda one: one.stat().st_mtime)
    return Base(point["commit"], _config(home, build), newest)


def _config(home: Path, build: dict[str, Any]) -> Path:
    return home / "cache" / "kernels" / build["kernel"] / "config"


if __name__ == "__main__":
    main()
