# SPDX-License-Identifier: GPL-2.0-or-later
"""One real submission of the shipped series, shared by all tests of this folder.

Kernels are kept between test runs (``FARM_TEST_CACHE``, else a folder of the user's cache); what is
known of them is not: every test run boots them anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
SERIES = ROOT / "kernel_series" / "jump-optimization" / "series.yml"


@dataclass(frozen=True)
class Farm:
    """The command, with folders of its own for data and the shared one for kernels."""

    data: Path
    cache: Path

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run ``farm`` to its end."""
        return subprocess.run(
            [Path(sys.executable).parent / "farm", *words],
            env={
                **os.environ,
                "XDG_DATA_HOME": str(self.data),
                "XDG_CACHE_HOME": str(self.cache),
                "FARM_HOME": "",
            },
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass(frozen=True)
class Submission:
    """How ``farm submit --json`` ended."""

    farm: Farm
    status: int
    results: dict[str, Any]
    progress: str

    def builds(self) -> list[dict[str, Any]]:
        """The builds of the one cell, by point."""
        return [point["builds"][0] for point in self.results["points"]]

    def tests(self, scenario: str, clock: str) -> list[dict[str, Any]]:
        """One test of each point."""
        return [
            test
            for build in self.builds()
            for test in build["tests"]
            if (test["scenario"], test["clock"]) == (scenario, clock)
        ]


def test_cache() -> Path:
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FARM_TEST_CACHE") or user / "kprobes-farm-tests")


@pytest.fixture(scope="session")
def submission(tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """The shipped series, submitted once for all workers of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp().parent / "end-to-end"
    shared.mkdir(exist_ok=True)
    farm = Farm(shared / "data", test_cache())
    outcome = shared / "outcome.json"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            done = farm.run("submit", SERIES, "--json")
            kept = {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            outcome.write_text(json.dumps(kept))
    kept = json.loads(outcome.read_text())
    assert kept["stdout"], kept["stderr"]
    return Submission(farm, kept["status"], json.loads(kept["stdout"]), kept["stderr"])
