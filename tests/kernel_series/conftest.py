# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this room share: a way to run programs, a tree in memory, a folder to fill."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from kernel_series.run import Ran, Run
from kernel_series.tree import Tree


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kernel_history: needs a clone of the kernel's history, named by KERNEL_HISTORY",
    )


def _run(argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None) -> Ran:
    done = subprocess.run(argv, input=stdin, cwd=cwd, capture_output=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


class MemoryTree:
    """A tree of a few files."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = {p: c.encode() if isinstance(c, str) else c for p, c in files.items()}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


@pytest.fixture(scope="session")
def run() -> Run:
    return _run


@pytest.fixture(scope="session")
def tree() -> Callable[[Mapping[str, str | bytes]], Tree]:
    return MemoryTree


@pytest.fixture(scope="session")
def kernel_history() -> Path:
    """The clone that KERNEL_HISTORY names: a bare repository, or the .git of another one."""
    folder = os.environ.get("KERNEL_HISTORY")
    if not folder:
        pytest.skip("KERNEL_HISTORY does not name a clone of the kernel's history")
    return Path(folder)


@pytest.fixture
def fill(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """Write files below a fresh folder and return the folder."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return write
