# SPDX-License-Identifier: GPL-2.0-or-later
"""A lane's folders, notes and programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workers import lane as lanes
from workers.errors import Cancelled, InfrastructureError, KernelFailure
from workers.lane import Lane, host_jobs, tail
from workers.process import Cancel, Limits
from workers.sandbox import Sandbox
from workers.trees import TreeStore

if TYPE_CHECKING:
    from tests.conftest import MiniKernel


@pytest.fixture
def lane(tmp_path: Path, sandbox: Sandbox) -> Lane:
    return Lane(tmp_path / "lanes" / "cell", sandbox, (), 2)


@pytest.fixture
def commits(mini_kernel: MiniKernel, store: TreeStore) -> list[str]:
    """Two commits in the store: the second changes kernel/kprobes.c."""
    second = mini_kernel.append("second", "kernel/kprobes.c", "int second;\n")
    return [
        store.import_git(f"base-{number}", str(mini_kernel.folder), commit)
        for number, commit in enumerate((mini_kernel.base, second))
    ]


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(lane: Lane, commits: list[str], store: TreeStore, tmp_path: Path) -> Run:
    """Runs a shell script in the lane; returns its status and the whole log."""
    lane.bring_to(commits[0], store)
    log = tmp_path / "log"

    def script(text: str, **how: str) -> tuple[int, str]:
        status = lane.run(["sh", "-c", text], log, Cancel(), Limits(seconds=60.0), **how)
        return status, log.read_text()

    return script


def test_the_first_commit_starts_the_lane_anew(
    lane: Lane, commits: list[str], store: TreeStore
) -> None:
    assert (lane.commit, lane.configured) == (None, None)
    lane.bring_to(commits[0], store)
    assert lane.commit == commits[0]
    assert (lane.src / "Makefile").stat().st_mtime == 0
    for folder in (lane.out, lane.payload, lane.given):
        assert list(folder.iterdir()) == []


def test_the_next_commit_leaves_what_was_built(
    lane: Lane, commits: list[str], store: TreeStore
) -> None:
    lane.bring_to(commits[0], store)
    (lane.out / "object").write_text("built")
    lane.was_configured(commits[0])
    lane.bring_to(commits[0], store)
    lane.bring_to(commits[1], store)
    assert (lane.src / "kernel" / "kprobes.c").read_text().endswith("int second;\n")
    assert (lane.src / "Makefile").stat().st_mtime == 0
    assert (lane.out / "object").read_text() == "built"
    assert (lane.commit, lane.configured) == (commits[1], commits[0])
    lane.was_configured(None)
    assert lane.configured is None


@pytest.mark.parametrize("trouble", [Cancelled("x"), InfrastructureError("x"), OSError("x")])
@pytest.mark.parametrize("next_commit", [0, 1])
def test_what_was_cut_off_is_wiped(
    trouble: Exception, next_commit: int, lane: Lane, commits: list[str], store: TreeStore
) -> None:
    lane.bring_to(commits[0], store)

    def cut_off() -> None:
        with lane.building():
            (lane.out / "half").write_text("half an object")
            raise trouble

    with pytest.raises(type(trouble)):
        cut_off()
    again = Lane(lane.folder, lane.sandbox, (), 2)  # in another process, perhaps
    assert again.commit is None
    again.bring_to(commits[next_commit], store)
    assert list(lane.out.iterdir()) == []
    assert again.commit == commits[next_commit]


def test_a_build_that_failed_by_itself_keeps_the_lane(
    lane: Lane, commits: list[str], store: TreeStore
) -> None:
    lane.bring_to(commits[0], store)

    def fail() -> None:
        with lane.building():
            (lane.out / "object").write_text("built")
            raise KernelFailure("does not build")

    with pytest.raises(KernelFailure):
        fail()
    assert lane.commit == commits[0]
    lane.bring_to(commits[1], store)
    assert (lane.out / "object").exists()


def test_a_work_tree_that_was_not_laid_out_to_the_end_is_wiped(
    lane: Lane, commits: list[str], store: TreeStore
) -> None:
    lane.bring_to(commits[0], store)
    (lane.folder / "commit").write_text("")  # killed before the first letter
    (lane.out / "object").write_text("built")
    lane.bring_to(commits[1], store)
    assert list(lane.out.iterdir()) == []


def test_a_folder_without_permissions_is_wiped_too(
    lane: Lane, commits: list[str], store: TreeStore
) -> None:
    lane.bring_to(commits[0], store)
    closed = lane.out / "closed"
    (closed / "below").mkdir(parents=True)
    (closed / "below").chmod(0)
    closed.chmod(0)
    (lane.folder / "building").touch()
    lane.bring_to(commits[1], store)
    assert list(lane.out.iterdir()) == []


def test_the_output_of_an_earlier_build_is_adopted_with_its_times_and_links(
    lane: Lane, commits: list[str], store: TreeStore, tmp_path: Path
) -> None:
    kept, secret = tmp_path / "kept", tmp_path / "secret"
    (kept / "kernel").mkdir(parents=True)
    secret.write_text("not the build's")
    (kept / "kernel" / "kprobes.o").write_text("object")
    os.utime(kept / "kernel" / "kprobes.o", (10**9, 10**9))
    (kept / "link").symlink_to(secret)
    lane.adopt(kept, commits[0], store)
    assert {path.name for path in lane.out.iterdir()} == {"kernel", "link"}
    assert (lane.out / "kernel" / "kprobes.o").stat().st_mtime == 10**9
    assert (lane.out / "link").readlink() == secret
    assert (lane.commit, lane.configured) == (commits[0], commits[0])


def test_what_is_adopted_is_older_than_what_a_later_commit_changes(
    lane: Lane, commits: list[str], store: TreeStore, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "object").write_text("of the base")
    lane.adopt(kept, commits[0], store)
    lane.bring_to(commits[1], store)
    built = (lane.out / "object").stat().st_mtime_ns
    assert (lane.src / "kernel" / "kprobes.c").stat().st_mtime_ns > built
    assert (lane.src / "init" / "main.c").stat().st_mtime_ns < built


# programs


def test_a_program_sees_fixed_paths_and_a_fixed_clock(run: Run) -> None:
    status, said = run("pwd; env | grep KBUILD | sort; ls / | tr '\\n' ' '")
    assert status == 0
    assert said.splitlines()[:-1] == [
        "/out",
        "KBUILD_BUILD_HOST=farm",
        "KBUILD_BUILD_TIMESTAMP=2020-01-01",
        "KBUILD_BUILD_USER=farm",
        "KBUILD_BUILD_VERSION=1",
    ]
    assert {"src", "out", "payload", "given"} <= set(said.splitlines()[-1].split())


def test_a_build_writes_to_its_output_and_its_payload_alone(run: Run, lane: Lane) -> None:
    script = "for at in src given payload out; do (echo x > /$at/new) 2>/dev/null && echo $at; done"
    assert run(script) == (0, "payload\nout\n")
    assert not (lane.src / "new").exists()


def test_a_log_grows(run: Run) -> None:
    assert run("echo one; exit 3") == (3, "one\n")
    assert run("pwd >&2", folder="/payload") == (0, "one\n/payload\n")


def test_of_compiler_caches_the_first_alone_is_written_to(
    run: Run, lane: Lane, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert "CCACHE" not in run("env")[1]
    own, other = tmp_path / "ccaches" / "own", tmp_path / "ccaches" / "other"
    other.mkdir(parents=True)
    cached = Lane(lane.folder, sandbox, (own, other), 2)
    log = tmp_path / "cached"
    script = (
        "echo $CCACHE_REMOTE_STORAGE; echo $PATH; for at in 0 1; do echo x >/ccache/$at/new; done"
    )
    cached.run(["sh", "-c", script], log, Cancel(), Limits())
    storage, path, *_ = log.read_text().splitlines()
    assert storage == "file:/ccache/0 file:/ccache/1|read-only"
    assert path.startswith("/usr/lib/ccache:/usr/local/bin:")
    assert (own / "new").exists()
    assert list(other.iterdir()) == []


def test_make_is_called_as_a_kernel_wants_it(lane: Lane, run: Run, tmp_path: Path) -> None:
    log = tmp_path / "make.log"
    words = ["--eval=$(info in $(CURDIR) to $(O))", "no-such-target"]
    assert lane.make(words, log, Cancel(), Limits()) == 2
    assert "in /src to /out\n" in log.read_text()


def test_no_file_grows_without_bounds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "FILE_LIMIT", 1 << 20)
    status, _ = run("head -c 3000000 /dev/zero > /out/big")
    assert status != 0


TROUBLE = [
    "/tmp/ccXYZ.s: fatal error: error writing to /tmp/ccXYZ.s: No space left on device",
    "ld: final link failed: No space left on device",
    "mawk: write failure (No space left on device)",
    "sh: 1: echo: echo: I/O error: Disk quota exceeded",
    "gcc: fatal error: cannot execute 'cc1': vfork: Cannot allocate memory",
    "cc1: out of memory allocating 65536 bytes after a total of 1000 bytes",
    "gcc: fatal error: Killed signal terminated program cc1",
    "gcc: internal compiler error: Killed (program cc1)",
    "gcc: fatal error: Terminated signal terminated program cc1",
    "collect2: fatal error: ld terminated with signal 9 [Killed]",
    "collect2: fatal error: ld terminated with signal 15 [Terminated]",
    "make[2]: *** [/src/scripts/Makefile.build:229: kernel/kprobes.o] Killed",
    "make[2]: *** [/src/scripts/Makefile.build:229: kernel/kprobes.o] Terminated",
    "make[1]: *** [/src/Makefile:1160: vmlinux] Error 137",
    "make[1]: *** [/src/Makefile:1160: vmlinux] Error 143",
    "make: fork: Resource temporarily unavailable",
    "/bin/sh: 1: Cannot fork",
    "cp: error reading 'vmlinux.o': Input/output error",
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
    "bwrap: execvp make: No such file or directory",
    "env: 'make': No such file or directory",
]

THE_KERNELS_OWN = [
    '/src/fs/x.c:3:9: error: expected ";" before "No space left on device"',
    '   12 |     pr_err("out of space: No space left on device\\n");',
    '   13 |     pr_info("Killed process %d\\n", pid);',
    "/bin/sh: 1: cannot create /src/generated.h: Read-only file system",
    "make[1]: *** [/src/Makefile:1160: vmlinux] Error 1",
    "make[1]: *** [/src/Makefile:1160: vmlinux] Error 139",
    "collect2: fatal error: ld terminated with signal 11 [Segmentation fault]",
    "kernel/kprobes.c:1:1: internal compiler error: Segmentation fault",
]


@pytest.mark.parametrize("line", TROUBLE)
def test_trouble_of_the_host_is_told_from_the_kernels(line: str, run: Run, lane: Lane) -> None:
    (lane.given / "line").write_text(f"{line}\nmore\n")
    with pytest.raises(InfrastructureError, match="sh was cut off by the host: "):
        run("cat /given/line; exit 2")


@pytest.mark.parametrize("script", ["kill -KILL $$", "kill -TERM $$", "kill -HUP $$", "exit 130"])
def test_a_program_that_was_killed_is_no_trouble_of_the_kernels(script: str, run: Run) -> None:
    with pytest.raises(InfrastructureError, match=r"^sh was killed$"):
        run(script)


def test_a_program_that_brought_itself_down_is_the_kernels(run: Run) -> None:
    assert run("kill -SEGV $$")[0] == 139


@pytest.mark.parametrize("line", THE_KERNELS_OWN)
def test_the_kernels_own_trouble_is_no_trouble_of_the_host(line: str, run: Run, lane: Lane) -> None:
    (lane.given / "line").write_text(f"{line}\nmore\n")
    assert run("cat /given/line; exit 2") == (2, f"{line}\nmore\n")


def test_what_an_earlier_program_said_is_not_held_against_a_later_one(run: Run, lane: Lane) -> None:
    (lane.given / "line").write_text(f"{TROUBLE[0]}\n")
    assert run("cat /given/line")[0] == 0  # a program that succeeds may say what it likes
    assert run("exit 2")[0] == 2


def test_a_disk_that_went_read_only_is_the_hosts_trouble(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadOnly:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda path: ReadOnly)
    assert run("exit 0")[0] == 0
    with pytest.raises(InfrastructureError, match="lies on a disk that is read-only"):
        run("exit 1")


def test_the_end_of_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\nsecond\xff\nthird\n")
    assert tail(log) == "first\nsecond\ufffd\nthird\n"
    assert tail(log, 14) == "third\n"
    monkeypatch.setattr(lanes, "TAIL_LIMIT", 6)
    assert tail(log) == "third\n"
    assert tail(log, 20) == ""


def test_jobs_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    assert host_jobs() == len(allowed)
