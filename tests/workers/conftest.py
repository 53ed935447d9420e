# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this room share: a store, a sandbox, and a look at this host's processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.sandbox import Sandbox
from workers.trees import TreeStore

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
