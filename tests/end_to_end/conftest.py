# SPDX-License-Identifier: GPL-2.0-or-later
"""One real submission of the shipped series, and its base's kernel with guests that end badly.

Both are shared by all tests of this folder. Kernels are kept between test runs
(``FARM_TEST_CACHE``, else a folder of the user's cache); what is known of them is not: every test
run boots them anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel_series import manifest
from stress import guest
from workers import build, kconfig, payload, toolchain
from workers.build import Builder
from workers.cache import Cache
from workers.lane import Lane, host_jobs
from workers.prepare import PrepareRequest, prepare
from workers.process import Cancel
from workers.requests import BuildRequest, BuildResult
from workers.sandbox import Sandbox
from workers.status import Status
from workers.trees import TreeStore

ROOT = Path(__file__).parent.parent.parent
SERIES = ROOT / "kernel_series" / "jump-optimization" / "series.yml"

ASKED = (SERIES, "--scenario", "smoke", "--scenario", "overhead", "--json")
"""All ten points are tested with these two; the others run at the tip only (test_suite.py)."""


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
    asked: tuple[str | Path, ...] = ASKED

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
            done = farm.run("submit", *ASKED)
            kept = {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            outcome.write_text(json.dumps(kept))
    kept = json.loads(outcome.read_text())
    assert kept["stdout"], kept["stderr"]
    return Submission(farm, kept["status"], json.loads(kept["stdout"]), kept["stderr"])


# Guests that end in all ways there are

ENDINGS = Path(__file__).parent / "endings"
NAME = "kprobes-farm"
CONFIG, ARCH = "preempt-none", "x86_64"
MODULE = "farm_stress.ko"


@dataclass(frozen=True)
class Guests:
    """The kernel of the shipped series' base, and what goes with it in the place of the suite.

    ``initramfs`` holds the module of ``endings/``, ``without_init`` nothing at all, ``mute`` an
    init that never says a word. ``module`` is the module by itself.
    """

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs"

    @property
    def without_init(self) -> Path:
        return self.folder / "without-init"

    @property
    def mute(self) -> Path:
        return self.folder / "mute"

    @property
    def module(self) -> Path:
        return self.folder / MODULE

    @staticmethod
    def early(folder: Path, text: str, ending: str) -> Path:
        """Assemble a guest that ends before there is an init, as ``endings/early.S`` says."""
        made = folder / "early"
        words = [
            f"-DTEXT={json.dumps(text)}",
            f"-DENDING={ending}",
            "-o",
            made,
            ENDINGS / "early.S",
        ]
        # At 1 MiB, where every machine has memory.
        linker = "-Wl,-Ttext-segment=0x100000,-e,start"
        command = ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", linker, *words]
        subprocess.run(command, check=True)
        return made


def module_sources() -> Mapping[str, bytes]:
    """The stress module with the ways of ``endings.c`` in the place of its scenarios."""
    own = (ENDINGS / "endings.c").read_text()
    ways = "".join(f"\tSCENARIO({way}) \\\n" for way in re.findall(r"^int run_(\w+)\(", own, re.M))
    shipped = guest.module_sources()
    known = re.compile(r"(#define FARM_SCENARIOS\(SCENARIO\)).*?\n\n", re.DOTALL)
    listed, count = known.subn(rf"\1 \\\n{ways}\n", shipped["scenarios.h"].decode())
    assert count == 1, "scenarios.h has another form"
    kept = {name: shipped[name] for name in ("main.c", "report.c", "report.h", "compat.h")}
    kbuild = "obj-m := farm_stress.o\nfarm_stress-y := main.o report.o endings.o\n"
    made = {"scenarios.h": listed, "endings.c": own, "Kbuild": kbuild}
    return {**kept, **{name: text.encode() for name, text in made.items()}}


def scripts() -> Mapping[str, bytes]:
    """The ways that are shell scripts."""
    return {path.name: path.read_bytes() for path in ENDINGS.glob("*.sh")}


@pytest.fixture(scope="session")
def guests(submission: Submission) -> Guests:
    """Made once for each state of the sources; kept between test runs.

    After the submission, which builds the same base: that is not done twice.
    """
    cache = test_cache()
    cache.mkdir(parents=True, exist_ok=True)
    kept = Cache(cache / "endings")
    sources = [*SERIES.parent.glob("*.yml"), *(ROOT / "configs" / "kernel").iterdir()]
    sources += [*ENDINGS.iterdir(), ROOT / "workers" / "build.py", ROOT / "workers" / "payload.py"]
    digest = hashlib.sha256(payload.ours().encode())
    for path in sorted(sources):
        digest.update(path.name.encode() + path.read_bytes())
    key = digest.hexdigest()
    with (cache / "endings.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (found := kept.find(key)) is None:
            with kept.filling(key) as folder, tempfile.TemporaryDirectory(dir=cache) as work:
                _make_guests(folder, Path(work), cache / NAME)
            found = kept.find(key)
    assert found is not None
    return Guests(found)


def _make_guests(folder: Path, work: Path, cache: Path) -> None:
    builder = Builder(
        store=TreeStore(cache / "trees.git"),
        sandbox=Sandbox(),
        kernels=Cache(work / "kernels"),
        payloads=Cache(work / "payloads"),
        outputs=Cache(cache / "outputs"),
        ccaches=cache / "ccache",
        jobs=host_jobs(),
    )
    series = manifest.load(SERIES)
    store = builder.store
    base = prepare(PrepareRequest(series, None, "guests"), store, cache / "downloads", Cancel())
    request = BuildRequest(
        point=base.points[0],
        ancestors=(),
        config=kconfig.load(ROOT / "configs" / "kernel", CONFIG, ARCH),
        toolchain=toolchain.find("auto"),
        expected=(),
        parent_warnings=(),
        parent_kernel=None,
        log=work / "log",
    )
    result = build.build(request, builder, work / "lane", Cancel())
    assert result.status is Status.PASS, result.reason
    _collect(folder, builder, request, result, work)


def _collect(
    folder: Path, builder: Builder, request: BuildRequest, result: BuildResult, work: Path
) -> None:
    lane = Lane(work / "lane", builder.sandbox, (), builder.jobs)
    library = builder.store.subtree(request.base.commit or "", guest.NOLIBC)
    kernel = builder.kernels.find(result.kernel or "")
    assert kernel is not None
    shutil.copy(kernel / "vmlinux", folder / "vmlinux")
    gcc = toolchain.find("auto").compiler
    words = [f"ARCH={ARCH}", f"CC={gcc}", f"HOSTCC={gcc}"]
    sources, log = module_sources(), work / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest, "module_sources", lambda: sources)
        patch.setattr(guest, "scripts", scripts)
        made = payload.build("endings", builder.payloads, lane, ARCH, library, words, log, Cancel())
    shutil.copy(made, folder / "initramfs")
    shutil.copy(made.parent / MODULE, folder / MODULE)
    (folder / "without-init").write_bytes(payload.cpio([payload.Entry("dev", 0o040755)]))
    program = work / "mute.c"
    program.write_text("#include <unistd.h>\nint main(void)\n{\n\tfor (;;)\n\t\tpause();\n}\n")
    subprocess.run(["gcc", "-static", "-o", work / "mute", program], check=True)
    init = payload.Entry("init", 0o100755, (work / "mute").read_bytes())
    (folder / "mute").write_bytes(payload.cpio([init]))
