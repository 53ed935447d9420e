# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the host for the guest: whole with all that they load, and told when missing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from workers import tools
from workers.cpio import cpio
from workers.errors import InfrastructureError

SHELL = "sh"
"""A dynamic program that every host has."""


def test_a_program_comes_with_its_loader_and_its_libraries() -> None:
    program, *loaded = tools.files(SHELL)
    assert str(program) == shutil.which(SHELL)
    assert any(path.name.startswith("ld-") for path in loaded)
    assert any(path.name.startswith("libc.so") for path in loaded)
    assert all(path.is_absolute() and path.is_file() for path in loaded)


def test_folders_come_before_what_is_in_them() -> None:
    seen = set[str]()
    for entry in tools.entries([SHELL, SHELL]):
        parent, _, _ = entry.path.rpartition("/")
        assert entry.path not in seen
        assert parent in seen or not parent
        assert stat.S_ISDIR(entry.mode) or entry.content
        seen.add(entry.path)
    assert cpio(tools.entries([])) == cpio([])


def test_a_program_that_is_not_installed_has_no_digest() -> None:
    found = tools.digests([SHELL, "no-such-program", SHELL])
    assert list(found) == [SHELL]
    assert len(found[SHELL]) == 64
    assert tools.digests([SHELL]) == found


def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "gone.c"
    source.write_text("int gone(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int gone(void);\nint main(void) { return gone(); }\n")
    for words in (
        ["-shared", "-o", "libgone.so", "gone.c"],
        ["-o", "needy", "main.c", "-L.", "-lgone"],
    ):
        subprocess.run(["gcc", *words], cwd=tmp_path, check=True)
    (tmp_path / "libgone.so").unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InfrastructureError, match=r"needy misses a library: .*libgone\.so"):
        tools.files("needy")
