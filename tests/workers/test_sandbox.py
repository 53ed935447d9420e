# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program inside bubblewrap sees and reaches; nothing here is simulated."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workers import process
from workers.sandbox import ENVIRONMENT, Mount, Sandbox

ROOT = Path(__file__).parent.parent.parent

Living = Callable[[str], list[int]]
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def mounts(tmp_path: Path) -> tuple[Mount, Mount]:
    """A read-only and a writable folder, at the inner paths of a build."""
    for name in ("src", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "src" / "Makefile").write_text("all:\n")
    return Mount(tmp_path / "src", "/src"), Mount(tmp_path / "out", "/out", writable=True)


@pytest.fixture
def inside(sandbox: Sandbox, mounts: tuple[Mount, Mount]) -> Callable[[str], str]:
    """Runs a shell script inside; returns what it says, errors included."""

    def run(script: str) -> str:
        words = ["sh", "-c", f"exec 2>&1\n{script}"]
        return process.run(sandbox.wrap(words, mounts, folder="/out")).stdout.decode()

    return run


def test_inner_paths_are_fixed(inside: Callable[[str], str], mounts: tuple[Mount, Mount]) -> None:
    assert inside("pwd; ls /src; echo made > /out/object; echo $?").split() == [
        "/out",
        "Makefile",
        "0",
    ]
    assert (mounts[1].outside / "object").read_text() == "made\n"


def test_only_the_system_and_what_is_mounted_is_in_sight(inside: Callable[[str], str]) -> None:
    found = set(inside("ls -A /").split())
    assert {"usr", "bin", "src", "out"} <= found
    assert found <= {
        *("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc"),
        *("dev", "proc", "tmp", "src", "out"),
    }
    assert inside("ls /etc | grep -v -e '^alternatives$' -e '^ld.so'") == ""
    assert inside("ls -A /tmp") == ""


def test_nothing_is_writable_but_what_is_mounted_so(inside: Callable[[str], str]) -> None:
    # find asks the kernel (access(2)), of all in /proc too. Devices like /dev/null are no storage,
    # and in devpts nobody can make a file.
    find = "find / -path /usr -prune -o -writable ! -xtype c ! -type l ! -fstype devpts -print"
    found = inside(f"{find} 2>/dev/null | sort")
    assert found.split() == ["/out", "/tmp"]


@pytest.mark.parametrize(
    "path", ["/src/Makefile", "/usr/x", "/x", "/dev/shm/x", "/proc/sys/kernel/core_pattern"]
)
def test_a_write_is_refused(path: str, inside: Callable[[str], str]) -> None:
    said = inside(f"true >> {path} && echo written")
    assert "cannot create" in said
    assert "written" not in said


def test_there_is_no_privilege_to_win_back(inside: Callable[[str], str]) -> None:
    capabilities = inside("grep Cap /proc/self/status").split()[1::2]
    assert set(capabilities) == {"0" * 16}
    assert "NoNewPrivs:\t1" in inside("cat /proc/self/status")
    assert "became" not in inside("unshare --user --map-root-user echo became root")
    assert "mounted" not in inside("unshare --user --map-root-user --mount echo mounted")


def test_there_is_no_network(inside: Callable[[str], str]) -> None:
    interfaces = [line.split(":")[0].strip() for line in inside("cat /proc/net/dev").splitlines()]
    assert interfaces[2:] == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connect = f"bash -c ': < /dev/tcp/127.0.0.1/{port}' && echo connected"
        assert process.run(["sh", "-c", connect]).stdout == b"connected\n"
        assert "connected" not in inside(connect)


def test_no_environment_leaks(
    sandbox: Sandbox, mounts: tuple[Mount, Mount], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    wrapped = sandbox.wrap(["env", "-0"], mounts, folder="/out", environment={"KBUILD_USER": "x"})
    found = process.run(wrapped).stdout.decode().split("\0")
    expected = {**ENVIRONMENT, "KBUILD_USER": "x", "PWD": "/out"}
    assert dict(line.split("=", 1) for line in found if line) == expected


def test_a_setting_of_the_caller_wins(sandbox: Sandbox) -> None:
    wrapped = sandbox.wrap(["env"], (), folder="/", environment={"PATH": "/usr/lib/ccache:/bin"})
    assert b"PATH=/usr/lib/ccache:/bin\n" in process.run(wrapped).stdout


def test_no_other_process_is_in_sight(inside: Callable[[str], str]) -> None:
    assert inside("echo $PPID; hostname").split() == ["1", "farm"]
    assert str(os.getpid()) not in inside("ls /proc").split()


def test_the_exit_status_comes_through(sandbox: Sandbox) -> None:
    assert process.run(sandbox.wrap(["sh", "-c", "exit 42"], (), folder="/")).status == 42


def test_all_inside_dies_with_its_parent(
    for_ever: str, living: Living, until: Until, sandbox: Sandbox
) -> None:
    # A session of its own and a parent that is gone: what a group's signal does not reach.
    script = f"setsid sleep {for_ever} & setsid sh -c 'sleep {for_ever} &' & wait"
    wrapped = sandbox.wrap(["sh", "-c", script], (), folder="/")
    program = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    farm = subprocess.Popen([sys.executable, "-c", program, *wrapped])
    until(lambda: len(living(for_ever)) == 2)
    farm.kill()
    farm.wait()
    until(lambda: not living(for_ever))


def test_all_inside_dies_with_its_first_process(
    for_ever: str, living: Living, until: Until, sandbox: Sandbox, tmp_path: Path
) -> None:
    script = f"setsid sleep {for_ever} & read line"
    with (tmp_path / "log").open("wb") as log:
        running = process.start(
            sandbox.wrap(["sh", "-c", script], (), folder="/"),
            stdin=subprocess.PIPE,
            stdout=log.fileno(),
            stderr=subprocess.STDOUT,
        )
    assert running.stdin is not None
    until(lambda: len(living(for_ever)) == 1)
    running.stdin.close()
    assert process.watch(running, "sh", process.Limits(), process.Cancel()) == 1
    until(lambda: not living(for_ever))


@pytest.mark.parametrize(
    "name", ["--bind", "a b", "new\nline", "$(touch x)`touch x`;'\"", "ünï©ode", "*", "-"]
)
def test_hostile_names_are_names(name: str, tmp_path: Path, sandbox: Sandbox) -> None:
    outside = tmp_path / name
    outside.mkdir()
    (outside / name).write_text("content")
    wrapped = sandbox.wrap(
        ["sh", "-c", 'cat "./$1"; printf %s "$WORD"', "sh", name],
        [Mount(outside, "/src")],
        folder="/src",
        environment={"WORD": name},
    )
    ran = process.run(wrapped)
    assert (ran.status, ran.stdout.decode(), ran.stderr) == (0, f"content{name}", b"")
    assert list(outside.iterdir()) == [outside / name]


def test_a_device_is_passed_on_only_by_name(sandbox: Sandbox) -> None:
    look = ["sh", "-c", "ls /dev"]
    plain = process.run(sandbox.wrap(look, (), folder="/")).stdout.decode().split()
    others = sorted(path for path in Path("/dev").iterdir() if path.is_char_device())
    device = next((path for path in others if path.name not in plain), None)
    if device is None:
        pytest.skip("this host has no device but those that every sandbox has")
    wrapped = sandbox.wrap(look, (), folder="/", devices=(str(device),))
    assert process.run(wrapped).stdout.decode().split() == sorted([*plain, device.name])


OPEN_MOUNTS = (
    Mount(Path("/out/lane/src"), "/src"),
    Mount(Path("/src/lane/out"), "/out", writable=True),
    Mount(Path("/cache/vmlinux"), "/boot/vmlinux"),
    Mount(Path("/cache"), "/boot"),
)


@pytest.mark.parametrize(
    ("word", "outer"),
    [
        ("/src", "/out/lane/src"),
        ("/src/kernel/kprobes.c", "/out/lane/src/kernel/kprobes.c"),
        ("O=/out", "O=/src/lane/out"),  # once: what was translated is no inner path any more
        ("/boot/vmlinux", "/cache/vmlinux"),
        ("/boot/initramfs", "/cache/initramfs"),
        ("file,id=console,path=/out/console.log", "file,id=console,path=/src/lane/out/console.log"),
        ("unix:/out/qmp,server=on", "unix:/src/lane/out/qmp,server=on"),
        ("PATH=/src:/bin", "PATH=/src:/bin"),  # no inner path stands before a colon
        ("/srcs", "/srcs"),
        ("/usr/src", "/usr/src"),
        ("M=/out/../x", "M=/src/lane/out/../x"),
        ("-I/src/include", "-I/src/include"),
        ("", ""),
    ],
)
def test_without_a_sandbox_inner_paths_become_outer_ones(word: str, outer: str) -> None:
    wrapped = Sandbox(enabled=False).wrap(
        ["make", word], OPEN_MOUNTS, folder="/out", environment={"CCACHE_DIR": "/boot"}
    )
    assert wrapped[:3] == ["env", "--ignore-environment", "--chdir=/src/lane/out"]
    assert "CCACHE_DIR=/cache" in wrapped
    assert wrapped[-2:] == ["make", outer]


def test_without_a_sandbox_programs_run_in_the_open(
    mounts: tuple[Mount, Mount], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    words = ["sh", "-c", 'pwd; ls "$1"; env', "sh", "/src"]
    wrapped = Sandbox(enabled=False).wrap(words, mounts, folder="/out")
    said = process.run(wrapped).stdout.decode().splitlines()
    assert said[:2] == [str(mounts[1].outside), "Makefile"]
    assert not [line for line in said if "SECRET" in line]
    assert "HOME=/nonexistent" in said


def test_without_mounts_nothing_is_translated() -> None:
    wrapped = Sandbox(enabled=False).wrap(["ls", "/src"], (), folder="/")
    assert wrapped[-2:] == ["ls", "/src"]
