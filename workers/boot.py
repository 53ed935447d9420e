# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot stage: one start of one kernel on one node, with an ordered list of scenarios.

This module watches; it does not judge. It says how the boot ended, what the guest reported and what
stands on the console; verdicts are made of that elsewhere.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from stress.job import job_json
from stress.scenario import Clock, Scenario
from stress.transcript import BootReport, Transcript
from workers import payload
from workers.cache import open_plain
from workers.console import crash
from workers.footing import Footing
from workers.machines import OUTPUT_LIMIT, Node, Running, Start, Starter
from workers.process import Cancel
from workers.timing import Step

POLL_SECONDS = 0.05
CHUNK = 1 << 20
CONSOLE_LIMIT = 64 << 20

COMMAND_LINE: tuple[str, ...] = (
    "console=ttyS0",
    "printk.time=1",
    # Text of a crash before the console is up.
    "earlyprintk=serial,ttyS0,115200",
    # Addresses are the same in each boot; where a kernel lies is not what is tested.
    "nokaslr",
    # The first fault ends the boot: what runs after it would be its consequence.
    "oops=panic",
    "softlockup_panic=1",
    "hung_task_panic=1",
    "panic=-1",
)

MARKER = r"farm: begin ([a-z0-9-]+)"
"""What init writes to the kernel's log when a scenario begins, so that the console has places."""


PASSING = (payload.INITRAMFS, "qmp")
"""Files in a boot's folder that only a machine that runs has."""


class Ending(StrEnum):
    """How a boot ended, as seen from outside."""

    FINISHED = "finished"
    """Init said that all scenarios ended."""
    RESET = "reset"
    """The machine reset or switched itself off before that."""
    NEVER_SPOKE = "never-spoke"
    """Init said nothing within the boot limit."""
    SILENT = "silent"
    """Init spoke, then nothing came for the silence limit."""
    OVERTIME = "overtime"
    """A scenario took more guest time than its limit; init was alive."""
    TOO_LONG = "too-long"
    """The whole boot took longer than its limit."""
    FLOODED = "flooded"
    """The guest wrote more than a console may hold."""
    MACHINE_DIED = "machine-died"
    """What carries the machine was killed or failed: the host's trouble."""


@dataclass(frozen=True)
class Limits:
    """Host seconds until init speaks, between two signs of life, and for the whole boot.

    Time in which the host itself stood still does not count. ``output`` is how many bytes a guest
    may write to its console or its result port.
    """

    boot: float
    silence: float
    whole: float
    output: int = OUTPUT_LIMIT


@dataclass(frozen=True)
class BootRequest:
    """Boot one kernel with its payload and run scenarios in this order."""

    arch: str
    kernel: Path
    initramfs: Path
    node: Node
    clock: Clock
    icount_shift: int
    scenarios: tuple[Scenario, ...]
    seed: int
    limits: Limits
    folder: Path

    @property
    def cpus(self) -> int:
        """CPUs of this boot: icount counts one CPU's instructions."""
        return 1 if self.clock is Clock.ICOUNT else self.node.cpus


@dataclass(frozen=True)
class BootResult:
    """What was seen. ``command`` repeats the machine; ``diagnosis`` are the CPUs' registers after a
    hang; ``steps`` are the way to init and each scenario, as the host saw them."""

    ending: Ending
    report: BootReport
    crashes: tuple[crash.CrashReport, ...]
    seconds: float
    command: tuple[str, ...]
    diagnosis: str = ""
    steps: tuple[Step, ...] = field(default=(), compare=False)


def boot(request: BootRequest, start: Starter, cancel: Cancel) -> BootResult:
    """Boot and watch until the end.

    Raises InfrastructureError when the machine can't be started, or the host failed under it: then
    what was seen says nothing of the kernel.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    job = job_json(token, request.seed, request.clock, request.scenarios)
    initramfs = request.folder / payload.INITRAMFS
    (request.folder / payload.JOB).write_bytes(job)
    programs = sorted({tool for one in request.scenarios for tool in one.tools})
    payload.with_job(request.initramfs, job, initramfs, programs)
    icount = request.clock is Clock.ICOUNT
    machine = Start(
        arch=request.arch,
        kernel=request.kernel,
        initramfs=initramfs,
        command_line=COMMAND_LINE,
        cpus=request.cpus,
        icount_shift=request.icount_shift if icount else None,
        folder=request.folder,
        output_limit=request.limits.output,
    )
    started = time.monotonic()
    watch = _Watch(request, machine, token)
    try:
        with start(machine) as running:
            ending = watch.until_end(running, cancel)
            diagnosis = running.diagnose() if ending in HANGS else ""
            command = running.command
    finally:
        initramfs.unlink(missing_ok=True)
    report = watch.report()
    crashes = crash.read(_read(machine.console, CONSOLE_LIMIT))
    watch.footing.check_files()
    watch.footing.check_crashes(crashes)
    return BootResult(
        ending=ending,
        report=report,
        crashes=crashes,
        seconds=time.monotonic() - started,
        command=command,
        diagnosis=diagnosis,
        steps=watch.steps,
    )


KERNEL_STEP = "kernel to init"
"""From the start of the machine to the first scenario's beginning."""

HANGS = frozenset({Ending.NEVER_SPOKE, Ending.SILENT, Ending.OVERTIME, Ending.TOO_LONG})


class _Watch:
    """Reads what grows and counts the time in which nothing did."""

    def __init__(self, request: BootRequest, machine: Start, token: str) -> None:
        self._limits = request.limits
        self._guest_limits = {one.name: one.limit * 1000 for one in request.scenarios}
        self._machine = machine
        self._transcript = Transcript(token)
        self.footing = Footing((machine.console, machine.results), request.limits.silence)
        self._read = 0
        self._steps = list[Step]()
        self._began = time.time()

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the boot came to, one after the other."""
        return tuple(self._steps)

    def report(self) -> BootReport:
        """Return what the guest reported, to the last byte on the port."""
        self._feed()
        return self._transcript.report()

    def until_end(self, running: Running, cancel: Cancel) -> Ending:
        """Watch the machine until there is nothing more to be seen; says why."""
        try:
            return self._until_end(running, cancel)
        finally:
            self._note(self._transcript.report(), running, ended=True)

    def _until_end(self, running: Running, cancel: Cancel) -> Ending:
        total = quiet = 0.0
        seen = self._transcript.report()
        before = time.monotonic()
        while True:
            status = running.ended()
            written = self.footing.check_files()
            if self._feed():
                quiet, seen = 0.0, self._transcript.report()
                self._note(seen, running)
            if seen.ended:
                return Ending.FINISHED
            if written >= self._limits.output:
                # A machine need not notice that it may not write: QEMU's CPUs block the signal.
                return Ending.FLOODED
            if status is not None:
                return self._ended(status)
            if self._overtime(seen):
                return Ending.OVERTIME
            spoke = seen.last_ms is not None
            if quiet > (self._limits.silence if spoke else self._limits.boot):
                return Ending.SILENT if spoke else Ending.NEVER_SPOKE
            if total > self._limits.whole:
                return Ending.TOO_LONG
            cancel.wait(POLL_SECONDS)
            cancel.check()
            now = time.monotonic()
            passed = self.footing.count(now - before, running.stopped())
            total, quiet, before = total + passed, quiet + passed, now

    def _note(self, seen: BootReport, running: Running, ended: bool = False) -> None:
        """Take down the steps that are over: one ends where the next one begins."""
        names = [KERNEL_STEP, *(one.name for one in seen.scenarios)]
        over = names if ended else names[:-1]
        for name in over[len(self._steps) :]:
            now, cpu = time.time(), running.cpu_seconds()
            spent = sum(step.cpu for step in self._steps)
            self._steps.append(Step(name, self._began, now - self._began, max(cpu - spent, 0.0)))
            self._began = now

    def _feed(self) -> bool:
        """Read all that came on the result port; True when there was something that counts."""
        counts = False
        with open_plain(self._machine.results) as handle:
            handle.seek(self._read)
            while data := handle.read(CHUNK):
                self._read += len(data)
                counts = bool(self._transcript.feed(data)) or counts
        return counts

    def _overtime(self, seen: BootReport) -> bool:
        return any(
            one.outcome is None and one.last_ms - one.begin_ms > self._guest_limits.get(one.name, 0)
            for one in seen.scenarios[-1:]
        )

    def _ended(self, status: int) -> Ending:
        self._feed()
        if self._transcript.report().ended:
            return Ending.FINISHED
        return Ending.RESET if status == 0 else Ending.MACHINE_DIED


def _read(path: Path, limit: int) -> bytes:
    with open_plain(path) as handle:
        return handle.read(limit)
