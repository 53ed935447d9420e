# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills at random moments of a real run: it must come out as if nothing had happened.

A short series (two harmless patches of kernel_series/on-top and one that breaks the feature) is
run undisturbed first. Then again and again with an empty kernel cache, each time with several
kills: SIGKILL on the farm, sometimes on QEMU or make instead, and `farm resume` until it is done.
What it found (not how long it took) is compared with the undisturbed run, and nothing may be left:
no process, no lock, no temporary file, no lane.

    .venv/bin/python tests/bench/kills.py [--kills N] [--seed S] [--each K] [--folder HOME]

With --folder the undisturbed run and the caches are kept there, for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "kernel_series" / "on-top" / "recipe.yml"
FARM = Path(sys.executable).parent / "farm"

HARMLESS = 2
"""Patches of on-top: a comment, and one that leaves the kernel as it is, bit for bit."""

BREAKING = {
    "subject": "kprobes: Optimize nothing",
    "message": "Planted: what could be optimized is turned away.",
    "edits": [
        {
            "file": "kernel/kprobes.c",
            "within": "optimize_kprobe",
            "find": "\tif (p->post_handler)\n\t\treturn;\n",
            "replace": "\treturn;\n",
        }
    ],
}

OTHERS = 0.3
"""So often a guest or a build is killed in place of the farm; as often as a job is retried."""

LATE_SECONDS = 12.0
"""A kill comes so long, on the average, after its share of the run was done."""

PATIENCE = 1800.0


@dataclass(frozen=True)
class Home:
    """A FARM_HOME with a folder for temporary files beside it."""

    folder: Path

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        paths = {"FARM_HOME": str(self.folder), "TMPDIR": str(self.temporary)}
        with (self.folder / "stderr").open("a") as said:
            return subprocess.Popen(
                [FARM, *words, "--json"],
                env={**os.environ, **paths},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def jobs_done(self) -> int:
        path = self.folder / "data" / "farm.db"
        if not path.exists():
            return 0
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
                found = database.execute("SELECT count(*) FROM jobs WHERE state = 'done'")
                return int(found.fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # its tables are not there yet

    def processes(self) -> Iterator[tuple[int, str]]:
        """Yield id and name of each process that belongs here, by its words, folders, variables."""
        mine = str(self.folder).encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                seen = (entry / "cmdline").read_bytes() + (entry / "mountinfo").read_bytes()
                name = (entry / "comm").read_text().strip()
                if mine in seen + (entry / "environ").read_bytes():
                    yield int(entry.name), name
            except OSError:
                continue

    def locks(self) -> list[str]:
        """Return the files here that somebody holds a lock on."""
        lines = Path("/proc/locks").read_text().splitlines()
        # A process that waits stands there with an arrow before its words.
        held = {line.replace("->", "").split()[5].rpartition(":")[2] for line in lines}
        files = (path for path in self.folder.rglob("*") if not path.is_symlink())
        return [str(path) for path in files if str(path.stat().st_ino) in held]

    def left_files(self) -> list[str]:
        """Return what only a run under way may have."""
        patterns = (
            "tmp/*", "cache/**/.filling-*", "cache/**/.removed-*", "cache/trees.git/**/*.lock",
            "cache/trees.git/**/tmp_*", "data/runs/*/lanes/*", "data/runs/*/boots/*/initramfs",
            "data/runs/*/boots/*/qmp",
        )  # fmt: skip
        found = (path for pattern in patterns for path in self.folder.glob(pattern))
        # Lock files of ours stay, empty; git's own say that git was cut off.
        ours = ("fetch.lock", "import-")
        return [str(path) for path in found if not path.name.startswith(ours)]


def series(folder: Path) -> Path:
    """Write the short series; returns its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["date"] = recipe["date"].isoformat()
    recipe["steps"] = [*recipe["steps"][:HARMLESS], BREAKING]
    (folder / "recipe.yml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    manifest = yaml.safe_load((RECIPE.parent / "series.yml").read_text())
    manifest["series"] = {"title": "kprobes: Two that break nothing, one that does"}
    path = folder / "series.yml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return path


def findings(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a run found, without names and times of its own."""
    run = document["run"]
    return {
        "verdict": document["verdict"],
        "reason": document["reason"],
        "regressions": json.loads(json.dumps(document["regressions"]).replace(run, "RUN")),
        "points": [
            {
                "point": {key: point[key] for key in ("index", "subject", "tree", "apply")},
                "builds": [
                    {
                        **{
                            key: build[key]
                            for key in ("status", "reason", "identical_to", "compiled",
                                        "new_warnings", "kernel_sha256", "payload_sha256")
                        },
                        "tests": [_test(test) for test in build["tests"]],
                    }
                    for build in point["builds"]
                ],
            }
            for point in document["points"]
        ],
    }  # fmt: skip


def _test(test: dict[str, Any]) -> dict[str, Any]:
    kept = ("scenario", "node", "clock", "status", "reason", "cases", "attempts")
    exact = test["clock"] == "icount"
    # By the wall clock a storm has as many rounds as the host had time for.
    evidence = test["evidence"] if exact else sorted(test["evidence"])
    figures = [one for one in test["measurements"] if one["clock"] == "icount"]
    return {**{key: test[key] for key in kept}, "evidence": evidence, "measurements": figures}


def kill_one(home: Home, farm: subprocess.Popen[str], dice: random.Random) -> str:
    """Kill the farm, or a guest or a build if there is one and the dice say so."""
    others = [one for one in home.processes() if one[1].startswith(("qemu-system", "make"))]
    if others and dice.random() < OTHERS:
        number, name = dice.choice(others)
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return f"{name}, too late"
        return name
    farm.kill()
    farm.communicate()
    return "farm"


def disturbed(
    home: Home, manifest: Path, jobs: int, kills: int, dice: random.Random
) -> tuple[dict[str, Any], list[str]]:
    """Run the series with kills at random places; returns its results and what was killed."""
    places = sorted(dice.uniform(0, jobs) for _ in range(kills))
    killed = list[str]()
    farm = home.start("submit", manifest)
    try:
        for place in places:
            deadline = time.monotonic() + PATIENCE
            while home.jobs_done() < int(place) and farm.poll() is None:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{home.folder}: no job ended for {PATIENCE:.0f} s")
                time.sleep(0.1)
            try:
                farm.wait(dice.expovariate(1 / LATE_SECONDS))
            except subprocess.TimeoutExpired:
                killed.append(kill_one(home, farm, dice))
                print(f"  after {int(place)} jobs: {killed[-1]}", flush=True)
                if farm.poll() is not None:
                    words = ("resume",) if _has_run(home) else ("submit", manifest)
                    farm = home.start(*words)
        said, _ = farm.communicate(timeout=PATIENCE)
    finally:
        farm.kill()
    return json.loads(said), killed


def _has_run(home: Home) -> bool:
    path = home.folder / "data" / "farm.db"
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            return bool(database.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.OperationalError:
        return False


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """Yield each place in which two documents differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected.keys() | found.keys():
            yield from differences(expected.get(key), found.get(key), f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif expected != found:
        yield f"{place}: {found!r}, undisturbed {expected!r}"


def reference(folder: Path) -> tuple[dict[str, Any], int]:
    """Return the undisturbed run's findings, made once, and how many jobs it had."""
    home = Home(folder / "undisturbed")
    kept = home.folder / "results.json"
    if not kept.exists():
        started = time.monotonic()
        farm = home.start("submit", series(folder / "series"))
        try:
            said, _ = farm.communicate()
        finally:
            farm.kill()
        if not said:
            raise SystemExit(f"the undisturbed run failed; see {home.folder / 'stderr'}")
        kept.write_text(said)
        print(f"undisturbed, from an empty cache: {time.monotonic() - started:.0f} s", flush=True)
    found = findings(json.loads(kept.read_text()))
    if found["verdict"] != "REGRESSION":
        raise SystemExit(f"undisturbed: {found['verdict']}: {found['reason']}")
    return found, home.jobs_done()


def warmed(folder: Path, fresh: Path) -> Home:
    """Return a new home with the undisturbed one's sources and objects, but no kernel of it."""
    for name in ("trees.git", "outputs", "ccache", "accelerator.json"):
        source, target = folder / "undisturbed" / "cache" / name, fresh / "cache" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", source, target], check=True)
    return Home(fresh)


def left(home: Home) -> list[str]:
    """Return whatever is still there; a killed farm's processes get a moment to end."""
    deadline = time.monotonic() + 10
    while (found := list(home.processes())) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [*(f"process {number} {name}" for number, name in found), *home.locks(),
            *home.left_files()]  # fmt: skip


def _stop(number: int, frame: object) -> None:
    raise SystemExit(f"stopped by signal {number}")


def main() -> None:
    signal.signal(signal.SIGTERM, _stop)
    parser = argparse.ArgumentParser(description="kill a real run at random moments")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each", type=int, default=8, help="kills a run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the undisturbed run is kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farm-kills-") as temporary:
        folder = (asked.folder or Path(temporary)).resolve()
        expected, jobs = reference(folder)
        dice = random.Random(asked.seed)
        killed, wrong, started, number = list[str](), 0, time.monotonic(), 0
        while len(killed) < asked.kills:
            number += 1
            home = warmed(folder, folder / f"run-{asked.seed}-{number}")
            began = time.monotonic()
            kills = min(asked.each, asked.kills - len(killed))
            document, names = disturbed(home, folder / "series" / "series.yml", jobs, kills, dice)
            killed += names
            told = [*differences(expected, findings(document)), *left(home)]
            took = time.monotonic() - began
            print(f"run {number}: {len(names)} kills, {took:.0f} s, {len(told)} differences")
            print("".join(f"  {line}\n" for line in told), end="", flush=True)
            wrong += bool(told)
            if not told:
                shutil.rmtree(home.folder)
        counts = ", ".join(f"{killed.count(name)} {name}" for name in sorted(set(killed)))
        print(f"{len(killed)} kills ({counts}) in {number} runs, {wrong} of them came out"
              f" differently; {time.monotonic() - started:.0f} s")  # fmt: skip
        raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
