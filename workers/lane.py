# SPDX-License-Identifier: GPL-2.0-or-later
"""A build lane: a source and an output folder in which a series' points are built in order.

Because the folders stay, make rebuilds only what a patch touched; because they look the same from
inside (/src, /out) on every machine, the kernels do too.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from workers import process
from workers.errors import Cancelled, FarmError, InfrastructureError
from workers.folders import copy, remove
from workers.process import Cancel, Limits
from workers.sandbox import ENVIRONMENT, Mount, Sandbox
from workers.timing import Stopwatch
from workers.trees import TreeStore

SRC, OUT, PAYLOAD, GIVEN, CCACHE = "/src", "/out", "/payload", "/given", "/ccache"

CCACHE_PROGRAMS = "/usr/lib/ccache"
"""Where Debian's ccache has its compilers."""

REPRODUCIBLE: Mapping[str, str] = {
    "KBUILD_BUILD_TIMESTAMP": "2020-01-01",
    "KBUILD_BUILD_USER": "farm",
    "KBUILD_BUILD_HOST": "farm",
    "KBUILD_BUILD_VERSION": "1",
}
"""With these fixed, a patch that changes no code gives the same vmlinux, bit for bit."""

FILE_LIMIT = 2 << 30
"""Bytes of any single file that a build may write."""

CUT_OFF = (Cancelled, InfrastructureError)
"""After these a build may have been killed while it wrote."""

KILLERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals by which a host ends a program: short of memory, at its own end, or by its user."""

KILLED = frozenset(status for one in KILLERS for status in (-one, 128 + one))
"""Exit statuses of a sandbox that was killed, or whose program was.

A program that dies so says nothing, and no make below it can.
"""

TAIL_LIMIT = 16 << 20

HOST_TROUBLE = re.compile(
    r"[:(] ?(?:No space left on device|Disk quota exceeded|Cannot allocate memory"
    r"|Input/output error|Resource temporarily unavailable)\)?$"
    r"|(?:internal compiler error|fatal error): (?:Killed|Terminated).*$"
    r"|out of memory allocating .*$|: Cannot fork$"
    r"|terminated with signal (?:9|15)\b.*$|\] (?:Killed|Terminated|Error 1(?:37|43))$"
    r"|^(?:bwrap|setpriv|prlimit|env): .*$",
    re.MULTILINE,
)
"""What a failing program says when the host is to blame: to be retried, never the kernel's fault.

The system's words stand at the end of a line, unlike in a line of source that a compiler quotes;
the programs in the last row are those that start all others.
"""


@dataclass(frozen=True)
class Lane:
    """Folders ``src``, ``out``, ``payload`` and ``given`` below ``folder``, and their sandbox.

    A build writes what it likes into ``out`` and ``payload``, links to anywhere included: nothing
    outside the sandbox writes there or follows a link. What a build is given lies in ``given``.
    ``ccaches`` are folders of compiler caches, of which the first is written to and all are read;
    none to go without.
    ``stopwatch`` is the job's that works in the lane.
    """

    folder: Path
    sandbox: Sandbox
    ccaches: tuple[Path, ...]
    jobs: int
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def src(self) -> Path:
        return self.folder / "src"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def payload(self) -> Path:
        return self.folder / "payload"

    @property
    def given(self) -> Path:
        return self.folder / "given"

    @property
    def inner_src(self) -> str:
        """Return where programs in the lane see ``src``: compilers write it into what they say."""
        return SRC if self.sandbox.enabled else str(self.src.resolve())

    @property
    def _current(self) -> Path:
        return self.folder / "commit"

    @property
    def _unfinished(self) -> Path:
        return self.folder / "building"

    @property
    def commit(self) -> str | None:
        """The commit that ``src`` is at; None when the lane has to start anew.

        That is when nothing was laid out, or not to the end, or when a build was cut off.
        """
        return None if self._unfinished.exists() else _note(self._current)

    @property
    def configured(self) -> str | None:
        """The commit whose Kconfig files made ``out``'s .config; None when there is none yet."""
        return _note(self.folder / "configured")

    def was_configured(self, commit: str | None) -> None:
        """Note which commit's Kconfig files ``out``'s .config was made with; None: it is to be."""
        (self.folder / "configured").write_text(commit or "")

    def bring_to(self, commit: str, store: TreeStore) -> None:
        """Lay ``src`` out at a commit, touching only what differs from the one before."""
        current = self.commit
        if current == commit:
            return
        if current is None:
            remove(self.folder)
        for folder in (self.src, self.out, self.payload, self.given):
            folder.mkdir(parents=True, exist_ok=True)
        self._current.unlink(missing_ok=True)
        # In the open a build could write to what others share.
        shared = self.sandbox.enabled
        store.lay_out(commit, self.src, current, shared=shared)
        self._current.write_text(commit)

    def adopt(self, out: Path, commit: str, store: TreeStore) -> None:
        """Start anew from a copy of the output folder of an earlier build of ``commit``.

        ``src`` is then at this commit: what a later one changes must be newer than the copy.
        """
        self.bring_to(commit, store)
        with self.building():
            remove(self.out)
            self.out.mkdir()
            copy(out, self.out)
        self.was_configured(commit)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Mark the time in which ``out`` is half made: an object cut off then looks finished.

        Programs that failed by themselves cut nothing off: make takes back what it could not make.
        """
        self._unfinished.touch()
        try:
            yield
        except FarmError as error:
            if not isinstance(error, CUT_OFF):
                self._unfinished.unlink()
            raise
        self._unfinished.unlink()

    def make(self, words: Sequence[str], log: Path, cancel: Cancel, limits: Limits) -> int:
        """Run make in the lane, its output appended to ``log``; returns its exit status."""
        return self.run(
            ["make", "-C", SRC, f"O={OUT}", f"-j{self.jobs}", *words], log, cancel, limits
        )

    def run(
        self,
        argv: Sequence[str],
        log: Path,
        cancel: Cancel,
        limits: Limits,
        folder: str = OUT,
    ) -> int:
        """Run a program in the inner ``folder``, its output appended to ``log``.

        Returns its exit status. Only ``out`` and ``payload`` are writable, each file up to
        FILE_LIMIT where ``limits`` say nothing else. Raises InfrastructureError when the program
        failed and the host is to blame.
        """
        mounts = [Mount(self.src, SRC), Mount(self.out, OUT, writable=True)]
        mounts += [Mount(self.payload, PAYLOAD, writable=True), Mount(self.given, GIVEN)]
        environment = dict(REPRODUCIBLE)
        if self.ccaches:
            mounts += self._ccache_mounts()
            environment |= self._ccache_settings()
        command = self.sandbox.wrap(argv, mounts, folder=folder, environment=environment)
        with log.open("ab") as said:
            before = said.tell()
            running = process.start(
                command,
                stdout=said.fileno(),
                stderr=subprocess.STDOUT,
                limits=Limits(limits.seconds, limits.file_bytes or FILE_LIMIT),
            )
            # Without a sandbox the account is this process's own.
            stopwatch = self.stopwatch if self.sandbox.enabled else None
            status = process.watch(running, argv[0], limits, cancel, stopwatch)
        if status in KILLED:
            raise InfrastructureError(f"{argv[0]} was killed")
        if status != 0:
            if match := HOST_TROUBLE.search(tail(log, before)):
                raise InfrastructureError(f"{argv[0]} was cut off by the host: {match[0]}")
            if os.statvfs(self.out).f_flag & os.ST_RDONLY:
                raise InfrastructureError(f"{self.out} lies on a disk that is read-only")
        return status

    def _ccache_mounts(self) -> list[Mount]:
        self.ccaches[0].mkdir(parents=True, exist_ok=True)
        for folder in self.ccaches:
            os.utime(folder)
        return [
            Mount(folder, f"{CCACHE}/{number}", writable=number == 0)
            for number, folder in enumerate(self.ccaches)
        ]

    def _ccache_settings(self) -> dict[str, str]:
        """Return what ccache is told by its environment.

        Its own depend mode would be faster, and gives a stale object where a file comes in by
        ``.incbin``, which no list of headers names.
        """
        read_only = (f"file:{CCACHE}/{number}|read-only" for number in range(1, len(self.ccaches)))
        return {
            "PATH": f"{CCACHE_PROGRAMS}:{ENVIRONMENT['PATH']}",
            "CCACHE_DIR": f"{ENVIRONMENT['TMPDIR']}/ccache",
            "CCACHE_REMOTE_ONLY": "1",
            "CCACHE_REMOTE_STORAGE": " ".join((f"file:{CCACHE}/0", *read_only)),
            "CCACHE_NOSTATS": "1",
        }


def _note(path: Path) -> str | None:
    """Return a note's text; one that was cut off before its first letter says nothing."""
    return (path.read_text() if path.exists() else "") or None


def tail(log: Path, start: int = 0) -> str:
    """Return the end of what a log says from byte ``start`` on, at most TAIL_LIMIT bytes."""
    with log.open("rb") as said:
        size = said.seek(0, os.SEEK_END)
        said.seek(max(start, size - TAIL_LIMIT))
        return said.read(TAIL_LIMIT).decode(errors="replace")


def host_jobs() -> int:
    """Return how many compilers this host runs at once: one for each CPU that it may use."""
    return len(os.sched_getaffinity(0))
