# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders that a build wrote to, which may be of any depth and permissions."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kernel_series.run import Ran
from workers import folders, process
from workers.folders import copy, remove

ROOT = Path(__file__).parent.parent.parent

DEEP = 3000
"""Folders in each other: more than Python's functions can go, and no path is so long."""


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder with DEEP others in it."""
    folder = tmp_path / "lane"
    folder.mkdir()
    at = os.open(folder, os.O_PATH)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    yield folder
    # pytest can't.
    subprocess.run(["rm", "-rf", folder], check=True)


def test_a_folder_is_removed_however_deep_it_is(deep: Path) -> None:
    remove(deep)
    assert not deep.exists()
    remove(deep)


def test_where_a_link_leads_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "lane").mkdir()
    (tmp_path / "kept").touch()
    (tmp_path / "lane" / "link").symlink_to(tmp_path)
    remove(tmp_path / "lane")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


REMOVE = """
import pathlib, sys
from workers.folders import remove
remove(pathlib.Path(sys.argv[1]))
"""


def as_an_ordinary_user(argv: Sequence[str]) -> list[str]:
    """Return a command line in which root may do no more to its own folders than others may."""
    powers = "--bounding-set=-dac_override,-dac_read_search"
    return ["setpriv", powers, *argv] if os.geteuid() == 0 else [*argv]


def test_a_folder_without_permissions_is_removed_and_a_file_keeps_its_own(tmp_path: Path) -> None:
    """A lane's files are links to those of all other lanes."""
    shared = tmp_path / "shared"
    shared.touch(0o444)
    closed = tmp_path / "lane" / "closed"
    for folder in (closed / "one" / "below", closed / "other"):
        folder.mkdir(parents=True)
        (folder / "link").hardlink_to(shared)
    for folder in (closed / "one" / "below", closed / "one", closed / "other", closed):
        folder.chmod(0)
    command = as_an_ordinary_user([sys.executable, "-c", REMOVE, str(tmp_path / "lane")])
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert not (tmp_path / "lane").exists()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o444


def test_two_remove_a_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them finds a file gone that it was about to remove; the other may not go on."""
    folder = tmp_path / "lane"
    (folder / "out").mkdir(parents=True)
    run = process.run
    rounds = list[str]()

    def outrun(argv: Sequence[str], **how: Any) -> Ran:
        if argv[0] == "rm":
            rounds.append(argv[-1])
            if len(rounds) == 1:
                return Ran(1, b"", b"rm: traversal failed: 'out': No such file or directory\n")
        return run(argv, **how)

    monkeypatch.setattr(process, "run", outrun)
    remove(folder)
    assert not folder.exists()
    assert len(rounds) == 2
    remove(folder)
    assert len(rounds) == 2


def test_what_can_not_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(argv: Sequence[str], **how: Any) -> Ran:
        return Ran(1, b"", b"rm: cannot remove 'x': Read-only file system\nrm: and more\n")

    monkeypatch.setattr(process, "run", refuse)
    told = f"{tmp_path} can't be removed: rm: cannot remove 'x': Read-only file system"
    with pytest.raises(OSError) as caught:  # noqa: PT011 (compared below)
        remove(tmp_path)
    assert str(caught.value) == told


def test_a_program_that_does_not_end_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "LIMITS", process.Limits(seconds=0.0))
    with pytest.raises(OSError, match="rm did not end within 0 s"):
        remove(tmp_path)


def test_a_copy_has_times_modes_and_links(tmp_path: Path) -> None:
    made, copied, secret = tmp_path / "made", tmp_path / "copied", tmp_path / "secret"
    (made / "kernel").mkdir(parents=True)
    copied.mkdir()
    secret.write_text("not the build's")
    for name, mode in (("kprobes.o", 0o600), ("gcc", 0o755)):
        (made / "kernel" / name).write_text(name)
        (made / "kernel" / name).chmod(mode)
        os.utime(made / "kernel" / name, ns=(10**18, 10**18 + 7))
    (made / "link").symlink_to(secret)
    os.mkfifo(made / "fifo")
    copy(made, copied)
    assert {path.name for path in copied.rglob("*")} == {
        "fifo", "gcc", "kernel", "kprobes.o", "link",
    }  # fmt: skip
    for name in ("kernel/kprobes.o", "kernel/gcc", "kernel"):
        one, other = (folder / name for folder in (made, copied))
        assert one.stat().st_mtime_ns == other.stat().st_mtime_ns
        assert one.stat().st_mode == other.stat().st_mode
    assert (copied / "link").readlink() == secret


def test_what_can_not_be_copied_is_said(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "copied").mkdir()
    with pytest.raises(OSError, match=r"lane can't be copied to .*: File name too long$") as caught:
        copy(deep, tmp_path / "copied")
    assert len(str(caught.value)) < 1000
    remove(tmp_path / "copied")
