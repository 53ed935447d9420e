# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this room share: a store, a sandbox, a build stage, this host's processes."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from kernel_series import manifest
from workers import kconfig, toolchain
from workers.build import Builder, build
from workers.cache import Cache
from workers.compiler_warnings import CompilerWarning
from workers.kconfig import Config
from workers.prepare import PrepareRequest, prepare
from workers.process import Cancel
from workers.requests import BuildRequest, BuildResult, Point
from workers.sandbox import Sandbox
from workers.toolchain import Toolchain
from workers.trees import TreeStore

if TYPE_CHECKING:
    from tests.conftest import MiniKernel

ROOT = Path(__file__).parent.parent.parent

DEADLINE_SECONDS = 60.0
"""How long to wait for what has to happen; reached by a failing test only."""


@pytest.fixture
def store(tmp_path: Path) -> TreeStore:
    """An empty tree store."""
    return TreeStore(tmp_path / "trees.git")


@pytest.fixture
def sandbox() -> Sandbox:
    """The real one: these tests need bubblewrap, as the farm does."""
    return Sandbox()


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """Looks until something is so, at most DEADLINE_SECONDS."""

    def look(so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not so():
            assert time.monotonic() < deadline, "it never came to be"
            time.sleep(0.01)

    return look


@pytest.fixture(scope="session")
def living() -> Callable[[str], list[int]]:
    """Lists the processes of this host, zombies left out, that have a word on their command line.

    Those inside a sandbox are seen as well.
    """

    def look(word: str) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            if word in words and state not in "ZX":
                found.append(int(folder.name))
        return found

    return look


@pytest.fixture
def for_ever(living: Callable[[str], list[int]]) -> Iterator[str]:
    """Seconds for sleep(1) that no other process of this host sleeps: its mark for ``living``."""
    mark = f"{10**6 + uuid4().int % 10**12}"
    yield mark
    for pid in living(mark):  # none, unless the test failed
        os.kill(pid, signal.SIGKILL)


@dataclass
class Bench:
    """The build stage with caches of its own and one lane, and a miniature series to build."""

    kernel: MiniKernel
    folder: Path
    builder: Builder
    config: Config
    toolchain: Toolchain
    lane: str = "lane"
    points: tuple[Point, ...] = ()
    parent_warnings: tuple[CompilerWarning, ...] = ()
    parent_kernel: str | None = None
    cancel: Cancel = field(default_factory=Cancel)

    def prepare(self) -> None:
        """Make points of what was committed to the mini kernel until now, a document if nothing."""
        if self.kernel.head == self.kernel.base:
            self.kernel.append("a document", "Documentation/kprobes.txt", "More to read.\n")
        path = self.kernel.manifest(self.folder / "series.yml")
        request = PrepareRequest(manifest.load(path), None, "run")
        self.points = prepare(request, self.builder.store, self.folder, Cancel()).points

    def request(self, index: int, **changes: Any) -> BuildRequest:
        """The request for one point, as the farm would make it."""
        if not self.points:
            self.prepare()
        request = BuildRequest(
            point=self.points[index],
            ancestors=self.points[:index],
            config=self.config,
            toolchain=self.toolchain,
            expected=(),
            parent_warnings=self.parent_warnings,
            parent_kernel=self.parent_kernel,
            log=self.log(index),
        )
        return replace(request, **changes)

    def build(self, index: int, **changes: Any) -> BuildResult:
        """Build one point in the current lane; what it came to is the next one's parent's."""
        folder = self.folder / "lanes" / self.lane
        result = build(self.request(index, **changes), self.builder, folder, self.cancel)
        self.parent_warnings = result.warnings
        self.parent_kernel = result.kernel_sha256
        return result

    def log(self, index: int) -> Path:
        """The log of a point's build."""
        return self.folder / "logs" / f"{index}.log"

    def compiled(self, index: int) -> list[str]:
        """The objects that a point's build compiled."""
        return sorted(re.findall(r"^  CC      (\S+)$", self.log(index).read_text(), re.MULTILINE))

    def kernel_of(self, result: BuildResult) -> Path:
        """The vmlinux that a result names."""
        found = self.builder.kernels.find(result.kernel or "-")
        assert found is not None
        return found / "vmlinux"

    @property
    def out(self) -> Path:
        """The output folder of the current lane."""
        return self.folder / "lanes" / self.lane / "out"


@pytest.fixture(scope="session")
def hosts_toolchain() -> Toolchain:
    """The host's gcc."""
    return toolchain.find("auto")


@pytest.fixture
def bench(
    mini_kernel: MiniKernel,
    store: TreeStore,
    sandbox: Sandbox,
    hosts_toolchain: Toolchain,
    tmp_path: Path,
) -> Bench:
    """A build stage to try; see ``Bench``."""
    builder = Builder(
        store=store,
        sandbox=sandbox,
        kernels=Cache(tmp_path / "kernels"),
        payloads=Cache(tmp_path / "payloads"),
        outputs=Cache(tmp_path / "outputs"),
        ccaches=tmp_path / "ccaches",
        jobs=2,
    )
    config = kconfig.load(ROOT / "configs" / "kernel", "preempt-none", "x86_64")
    return Bench(mini_kernel, tmp_path, builder, config, hosts_toolchain)
