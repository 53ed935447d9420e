# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place where processes are started.

Every process gets its own session, so that a Ctrl-C at the terminal reaches the farm alone, and is
killed with its whole group when its time is up or its job is cancelled. Programs that start others
(make, QEMU) run in a sandbox with a PID namespace of its own, which ends with them; for all others
``setpriv --pdeathsig`` ends the program when the farm is killed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_series.run import Ran
from workers.errors import Cancelled, InfrastructureError, ProgramMissing
from workers.timing import Stopwatch

PACKAGES: Mapping[str, str] = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "bc": "bc",
    "bwrap": "bubblewrap",
    "ccache": "ccache",
    "cp": "coreutils",
    "dpkg-deb": "dpkg",
    "env": "coreutils",
    "find": "findutils",
    "flex": "flex",
    "bison": "bison",
    "gcc": "gcc",
    "git": "git",
    "ld": "binutils",
    "ldd": "libc-bin",
    "make": "make",
    "perf": "linux-perf",
    "perl": "perl",
    "prlimit": "util-linux",
    "qemu-system-i386": "qemu-system-x86",
    "qemu-system-x86_64": "qemu-system-x86",
    "rm": "coreutils",
    "setpriv": "util-linux",
    "unifdef": "unifdef",
    "xz": "xz-utils",
}
"""Debian's package for each program the farm starts."""

POLL_SECONDS = 0.2
LOOK_SHARE = 0.05
"""Of the time that a process has run, how much may pass between two looks at its CPU time."""


class Cancel:
    """Tells a running stage to stop; shared between the stage and whoever watches its lease."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def request(self, reason: str) -> None:
        """Ask the stage to stop at its next look."""
        self.reason = self.reason or reason
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep for at most ``seconds``; True as soon as the stage has to stop."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise Cancelled if the stage has to stop."""
        if self._event.is_set():
            raise Cancelled(self.reason)


@dataclass(frozen=True)
class Limits:
    """What a process may use: wall seconds, and bytes of any single file it writes."""

    seconds: float = 600.0
    file_bytes: int | None = None


def which(program: str) -> str:
    """Return the path of a program, or say which Debian package brings it."""
    path = shutil.which(program)
    if path is None:
        package = PACKAGES.get(program, program)
        raise ProgramMissing(
            f"the program {program} is not there", f"install Debian's package {package}"
        )
    return path


def tied(argv: Sequence[str], limits: Limits) -> list[str]:
    """Return ``argv`` so that the program ends with the thread that started it."""
    prefix = [which("setpriv"), "--pdeathsig", "KILL", "--"]
    if limits.file_bytes is not None:
        prefix = [which("prlimit"), f"--fsize={limits.file_bytes}", "--core=0", "--", *prefix]
    return [*prefix, which(argv[0]), *argv[1:]]


def start(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limits: Limits = Limits(),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own. The calling thread must outlive it."""
    try:
        return subprocess.Popen(
            tied(argv, limits),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureError(f"{argv[0]} could not be started: {error}") from error


def detach(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
    """Start a process that outlives this one and its terminal; what it says goes to ``log``."""
    with log.open("ab") as said:
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=dict(env),
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole group, and wait until it is gone.

    A process that ended by itself may have left others of its group behind. While it was not
    waited for, its id is not given away, so the group is killed first.
    """
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether a process ends within ``seconds``; it still has to be waited for."""
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(handle)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and all that it started have used, 0 if it is gone.

    Those count that live or were waited for: what proc(5) tells. A sandbox leaves without waiting
    for what ran in it, so its account is to be read while it is there.
    """
    ticks = sum(int(field) for stat in _family(pid) for field in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def is_stopped(pid: int) -> bool:
    """Whether a signal or a tracer keeps a process, or any that it started, from going on."""
    return any(stat[0] in "Tt" for stat in _family(pid))


def _family(pid: int) -> Iterator[list[str]]:
    """Yield what proc(5) tells, from its state on, of a process and of all that it started."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            stat = Path(f"/proc/{one}/stat").read_text()
            children = Path(f"/proc/{one}/task/{one}/children").read_text()
        except OSError:
            continue
        yield stat.rpartition(")")[2].split()
        waiting += map(int, children.split())


def watch(
    process: subprocess.Popen[bytes],
    what: str,
    limits: Limits,
    cancel: Cancel,
    stopwatch: Stopwatch | None = None,
) -> int:
    """Wait for a process that writes to files; kill it when its time is up or the job is cancelled.

    Returns its exit status. Raises InfrastructureError on the time limit, Cancelled on
    cancellation. ``stopwatch`` is charged with its CPU time, as last seen.
    """
    started = looked = time.monotonic()
    used = 0.0
    try:
        while not _ended(process, POLL_SECONDS):
            now = time.monotonic()
            # Reading the accounts of a whole build takes milliseconds.
            if stopwatch is not None and now - looked >= LOOK_SHARE * (now - started):
                looked = now
                # What ran in it is gone a moment before the sandbox itself.
                used = max(used, cpu_seconds(process.pid))
            cancel.check()
            if now - started > limits.seconds:
                raise InfrastructureError(f"{what} did not end within {limits.seconds:.0f} s")
    finally:
        # A program that ended well has its own exit status already: the signal comes too late.
        kill(process)
        if stopwatch is not None:
            stopwatch.charge(used)
    return process.returncode


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limits: Limits = Limits(),
) -> Ran:
    """Run a short program to its end and return its exit status and output.

    Raises InfrastructureError when it can't be started or does not end in time; a nonzero exit
    status is the caller's to judge.
    """
    process = start(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        limits=limits,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"{argv[0]} did not end within {limits.seconds:.0f} s") from None
    finally:
        kill(process)
    return Ran(process.returncode, stdout, stderr)


def output(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> bytes:
    """Run a short program that is expected to succeed and return its standard output."""
    ran = run(argv, env=env)
    if ran.status != 0:
        said = ran.stderr.decode(errors="replace").strip()[-500:]
        raise InfrastructureError(f"{' '.join(argv[:4])} failed ({ran.status}): {said}")
    return ran.stdout
