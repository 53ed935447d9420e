# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed folders, and files taken from a hostile build."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.cache import Cache, open_plain, read_made, sweep, take
from workers.errors import InfrastructureError, KernelFailure

ROOT = Path(__file__).parent.parent.parent
SECRET = b"not the build's"


def content(folder: Path | None) -> dict[str, str]:
    assert folder is not None
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "below" / "cache")


def test_a_folder_is_there_when_it_was_filled_to_the_end(cache: Cache) -> None:
    assert cache.find("key") is None
    with cache.filling("key") as folder:
        (folder / "file").write_text("content")
        assert cache.find("key") is None
    assert content(cache.find("key")) == {"file": "content"}
    assert [path.name for path in cache.root.iterdir()] == ["key"]


def test_a_folder_that_was_not_filled_to_the_end_is_not_there(cache: Cache) -> None:
    def fill() -> None:
        with cache.filling("key") as folder:
            (folder / "file").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill()
    assert cache.find("key") is None
    assert list(cache.root.iterdir()) == []


def test_of_two_who_fill_the_same_key_the_first_stands(cache: Cache) -> None:
    with cache.filling("key") as slow:
        with cache.filling("key") as fast:
            (fast / "file").write_text("fast")
        (slow / "file").write_text("slow")
    assert content(cache.find("key")) == {"file": "fast"}
    assert [path.name for path in cache.root.iterdir()] == ["key"]


def test_who_is_killed_while_filling_leaves_no_key(cache: Cache) -> None:
    program = """
import pathlib, sys, time
from workers.cache import Cache
with Cache(pathlib.Path(sys.argv[1])).filling("key") as folder:
    (folder / "file").write_text("half")
    print("filling", flush=True)
    time.sleep(3600)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, cache.root]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as farm:
        assert farm.stdout is not None
        assert farm.stdout.readline() == b"filling\n"
        farm.send_signal(signal.SIGKILL)
    assert cache.find("key") is None
    with cache.filling("key") as folder:
        (folder / "file").write_text("whole")
    assert content(cache.find("key")) == {"file": "whole"}


def test_two_processes_fill_the_same_key(cache: Cache) -> None:
    program = """
import pathlib, sys
from workers.cache import Cache
with Cache(pathlib.Path(sys.argv[1])).filling("key") as folder:
    print("filling", flush=True)
    sys.stdin.readline()
    (folder / "file").write_text("the same")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, cache.root]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    farms = [subprocess.Popen(words, env=environment, **pipes) for _ in range(2)]
    for farm in farms:
        assert farm.stdout is not None
        assert farm.stdout.readline() == b"filling\n"
    for farm in farms:
        farm.communicate(b"go on\n")
        assert farm.returncode == 0
    assert content(cache.find("key")) == {"file": "the same"}
    assert [path.name for path in cache.root.iterdir()] == ["key"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder that a build wrote to; beside it a file that is not the build's."""
    (tmp_path / "vmlinux").write_bytes(SECRET)
    folder = tmp_path / "out"
    (folder / "module").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["vmlinux", "module/farm_stress.ko"])
def test_a_plain_file_is_taken(name: str, made: Path, tmp_path: Path) -> None:
    (made / name).write_bytes(b"\0kernel")
    take(made, name, tmp_path / "kept", 7)
    assert (tmp_path / "kept").read_bytes() == b"\0kernel"
    assert read_made(made, name, 7) == b"\0kernel"


def nothing(path: Path) -> None:
    """Leave no file."""


def too_large(path: Path) -> None:
    path.write_bytes(bytes(1001))


def link_outside(path: Path) -> None:
    path.symlink_to(path.parent.parent / "vmlinux")


def link_inside(path: Path) -> None:
    path.with_name("kernel").write_bytes(b"kernel")
    path.symlink_to("kernel")


def broken_link(path: Path) -> None:
    path.symlink_to("/nowhere")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (nothing, "the build left no vmlinux: No such file or directory"),
        (too_large, "the build's vmlinux is no plain file of at most 1000 bytes"),
        (Path.mkdir, "the build's vmlinux is no plain file"),
        (fifo, "the build's vmlinux is no plain file"),
        (a_socket, "the build left no vmlinux: No such device or address"),
        (link_outside, "the build left no vmlinux: Too many levels of symbolic links"),
        (link_inside, "the build left no vmlinux: Too many levels of symbolic links"),
        (broken_link, "the build left no vmlinux: Too many levels of symbolic links"),
    ],
)
def test_anything_else_is_the_builds_fault(
    make: Callable[[Path], object], reason: str, made: Path, tmp_path: Path
) -> None:
    make(made / "vmlinux")
    kept = tmp_path / "kept"
    with pytest.raises(KernelFailure, match=re.escape(reason)):
        take(made, "vmlinux", kept, 1000)
    with pytest.raises(KernelFailure, match=re.escape(reason)):
        read_made(made, "vmlinux", 1000)
    assert not kept.exists()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ENOMEM, errno.ESTALE])
def test_a_host_that_can_not_read_is_not_the_builds_fault(
    code: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object, **how: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    told = f"the build's {made}/vmlinux can't be read: {os.strerror(code)}"
    with pytest.raises(InfrastructureError, match=re.escape(told)):
        take(made, "vmlinux", tmp_path / "kept", 7)


def test_a_folder_on_the_way_may_be_no_link(made: Path) -> None:
    (made / "init").symlink_to(made.parent)
    with pytest.raises(KernelFailure, match="the build left no init/vmlinux: Not a directory"):
        read_made(made, "init/vmlinux", 1000)


@pytest.mark.parametrize("make", [Path.mkdir, fifo, a_socket, link_outside, broken_link])
def test_a_machine_can_not_have_anything_else_read(
    make: Callable[[Path], object], made: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        open_plain(made / "vmlinux")
    make(made / "vmlinux")
    with pytest.raises(InfrastructureError, match="/out/vmlinux is no plain file any more"):
        open_plain(made / "vmlinux")


# Who removes, and who uses.


def test_a_folder_that_is_used_is_not_taken_away(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.filling("key") as folder:
        (folder / "file").write_text("x")
    with cache.using("key") as used, cache.using("key") as again:
        assert used == again == cache.find("key")
        assert not cache.hide("key")
    assert cache.hide("key")
    assert not cache.hide("key")
    assert cache.find("key") is None
    with cache.using("key") as gone:
        assert gone is None
    sweep(cache.root)
    assert list(cache.root.iterdir()) == []


def test_a_folder_may_go_until_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.filling("key"):
        pass
    find = Cache.find

    def find_and_lose(self: Cache, key: str) -> Path | None:
        found = find(self, key)
        if found is not None:
            Cache.hide(self, key)
        return found

    monkeypatch.setattr(Cache, "find", find_and_lose)
    with cache.using("key") as used:
        assert used == cache.root / "key"
        assert used.is_dir()


def test_what_is_found_is_younger_afterwards(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.filling("key"):
        pass
    os.utime(cache.root / "key", (1e9, 1e9))
    found = cache.find("key")
    assert found is not None
    assert found.stat().st_mtime > 1e9


def test_sweeping_leaves_what_is_being_filled(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (cache.root / ".filling-by-a-killed-one").mkdir()
    with cache.filling("key") as folder:
        sweep(cache.root)
        assert folder.is_dir()
        assert list(cache.root.iterdir()) == [folder]
    assert cache.find("key") is not None
