# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that act: for the farm's own scale and speed, never for a verdict on a real kernel.

What such a machine "boots" is no kernel but a small program in JSON (``Program``) that says what
the guest does. The machine writes all of it at once, in the true guest protocol and with the token
of the job it was given, and starts no process: what takes a real machine seconds takes it
milliseconds. A hang is a machine that does not end.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stress import guest
from stress.protocol import Outcome
from workers.errors import UserError
from workers.machines import Node, Start
from workers.sandbox import Sandbox

PROGRAM_LIMIT = 1 << 20
CPIO_HEADER, CPIO_SIZE, CPIO_NAME_SIZE = 110, 54, 94
"""Length of a newc header, and where in it the sizes of a file and of its name stand."""

CALLS = 1000
CASE_MS = 10
LONGEST_MS = 3600 * 1000
"""No scenario may take longer, so after it a guest that is alive is over every limit."""

GARBAGE = b"\x00\xff\x1b[2J# farm \nnoise\r# farm 0123456789abcdef 1 end {} 00000000\n"


class Boot(StrEnum):
    """How a boot goes before init speaks."""

    UP = "up"
    SILENT = "silent"
    RESET = "reset"
    """With a crash as the program's ``console`` text: an early crash."""
    DIES = "dies"
    """What carries the machine is killed: the host's trouble."""


class Ending(StrEnum):
    """How a scenario ends, behind its last case."""

    DONE = "done"
    SKIP = "skip"
    ERROR = "error"
    GARBAGE = "garbage"
    """Done, with bytes of no meaning before its end."""
    LOST = "lost"
    """Done, with one line of its results lost on the way."""
    ANOTHER_TOKEN = "another-token"
    """Done, says a line with the token of another boot; the machine goes on in silence."""
    HANG = "hang"
    """Init is alive, the scenario does not end."""
    SILENT = "silent"
    RESET = "reset"
    """With a crash as the act's ``console`` text: a crash."""
    FLOOD = "flood"
    DIES = "dies"


_OUTCOMES: Mapping[Ending, Outcome] = {
    Ending.DONE: Outcome.DONE,
    Ending.SKIP: Outcome.SKIP,
    Ending.ERROR: Outcome.ERROR,
    Ending.GARBAGE: Outcome.DONE,
    Ending.LOST: Outcome.DONE,
}
"""What init says of a scenario that came to its end; after the other endings it says nothing."""

_STATUS: Mapping[str, int] = {"reset": 0, "dies": 137, "flood": 153}
"""The exit status of what carries the machine; endings that are not here leave it running."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ByFeature(_Data):
    """A number that depends on whether the program is ``optimized``."""

    optimized: int
    plain: int


class Act(_Data):
    """One scenario as the guest plays it.

    ``cases`` are lines of KTAP without their number (``ok``, ``ok # SKIP why``, ``not ok # why``)
    by name; a case that is only begun when the scenario ends has an empty one. ``console`` is
    printed behind the last case. ``measures`` are net nanoseconds a call (under icount:
    instructions), one number a round.
    """

    cases: dict[str, str] = {}
    evidence: dict[str, int | ByFeature] = {}
    measures: dict[str, list[int | ByFeature]] = {}
    ending: Ending = Ending.DONE
    reason: str | None = None
    console: str = ""


class Program(_Data):
    """What a guest does; a scenario it does not know is an error, as for the real init."""

    boot: Boot = Boot.UP
    console: str = ""
    optimized: bool = False
    scenarios: dict[str, Act] = {}


@dataclass(frozen=True)
class Fake:
    """Machines that act."""

    accelerator: str = "fake"

    def model(self, node: Node) -> str:
        return f"fake {node.cpu} {node.cpus} CPUs {node.memory_mib} MiB"

    def start(self, node: Node, start: Start) -> FakeMachine:
        return FakeMachine(start)


def kind(sandbox: Sandbox, notes: Path) -> Fake:
    """Return machines that act; nothing runs, so nothing has to be contained."""
    return Fake()


class FakeMachine:
    """A machine that has acted: everything it will ever say is said."""

    command: tuple[str, ...]

    def __init__(self, start: Start) -> None:
        self.command = ("fake", start.kernel.name, *start.command_line)
        start.folder.mkdir(parents=True, exist_ok=True)
        said = _Guest(_program(start.kernel), _job(start.initramfs), start)
        self._status = said.play()
        start.console.write_bytes(said.console)
        start.results.write_bytes(said.results)
        if said.flooded:
            with start.results.open("ab") as results:
                results.truncate(start.output_limit)

    def ended(self) -> int | None:
        return self._status

    def cpu_seconds(self) -> float:
        return 0.0

    def stopped(self) -> bool:
        return False

    def diagnose(self) -> str:
        return "" if self._status is not None else "CPU#0 halted=1"

    def __enter__(self) -> FakeMachine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._status is None:
            self._status = -9


class _Guest:
    """Plays a program and collects what it says on the console and on the result port."""

    def __init__(self, program: Program, job: Mapping[str, Any], start: Start) -> None:
        self.console = b""
        self.results = b""
        self.flooded = False
        self._program = program
        self._job = job
        self._cpus = start.cpus
        self._scale = CALLS << (start.icount_shift or 0)
        self._seq = 0
        self._uptime_ms = 100
        self._lines = 0
        self._sum = 0

    def play(self) -> int | None:
        """Return the exit status, None when the machine goes on running."""
        self._print("Linux version 6.12.0-fake (farm@localhost)")
        self._print(self._program.console)
        if self._program.boot is not Boot.UP:
            return _STATUS.get(self._program.boot)
        scenarios = self._job["scenarios"]
        self._write("KTAP version 1")
        self._write(f"1..{len(scenarios)}")
        for number, scenario in enumerate(scenarios, start=1):
            act = self._program.scenarios.get(scenario["run"])
            if act is None:
                act = Act(ending=Ending.ERROR, reason=f"no scenario {scenario['run']}")
            self._act(scenario["name"], act, number)
            if act.ending not in _OUTCOMES:
                return _STATUS.get(act.ending)
        self._stamp("end", {"boot": True})
        return 0

    def _act(self, name: str, act: Act, number: int) -> None:
        self._print(f"farm: begin {name}")
        self._lines = self._sum = 0
        self._stamp("begin", {"scenario": name, "uptime_ms": self._tick()})
        self._ktap("    KTAP version 1")
        self._ktap(f"    # Subtest: {name}")
        finished = 0
        for case, line in act.cases.items():
            self._stamp("begin", {"case": case, "uptime_ms": self._tick()})
            if line:
                finished += 1
                verdict, separator, reason = line.partition(" # ")
                self._ktap(f"    {verdict} {finished} {case}{separator}{reason}")
        self._stamp("evidence", {"cpus": self._cpus})
        if act.evidence:
            self._stamp("evidence", {key: self._number(one) for key, one in act.evidence.items()})
        for key, rounds in act.measures.items():
            net = [self._number(one) * self._scale for one in rounds]
            self._stamp(
                "measure", {"name": key, "calls": CALLS, "ns": net, "base_ns": [0] * len(net)}
            )
        self._print(act.console)
        self._end(name, act, number, finished)

    def _end(self, name: str, act: Act, number: int, finished: int) -> None:
        match act.ending:
            case Ending.HANG:
                self._stamp("alive", {"uptime_ms": self._uptime_ms + LONGEST_MS + 1})
                return
            case Ending.ANOTHER_TOKEN:
                self._stamp("end", {"boot": True}, token="0" * 16)
                return
            case Ending.FLOOD:
                self.flooded = True
                return
            case Ending.GARBAGE:
                self.results += GARBAGE
            case Ending.LOST:
                self._lines += 1
        if act.ending not in _OUTCOMES:
            return
        self._ktap(f"    1..{finished}")
        self._ktap(f"ok {number} {name}")
        said = {"scenario": name, "outcome": _OUTCOMES[act.ending], "reason": act.reason}
        self._stamp("end", {**said, "lines": self._lines, "sum": f"{self._sum:08x}"})

    def _number(self, value: int | ByFeature) -> int:
        if isinstance(value, int):
            return value
        return value.optimized if self._program.optimized else value.plain

    def _tick(self) -> int:
        self._uptime_ms += CASE_MS
        return self._uptime_ms

    def _print(self, text: str) -> None:
        for line in text.splitlines():
            self.console += f"[{self._uptime_ms / 1000:12.6f}] {line}\n".encode()

    def _write(self, line: str) -> None:
        self.results += f"{line}\n".encode()

    def _ktap(self, line: str) -> None:
        self._lines += 1
        self._sum = zlib.crc32(f"{line}\n".encode(), self._sum)
        self._write(line)

    def _stamp(self, verb: str, value: Mapping[str, object], token: str | None = None) -> None:
        text = f"{token or self._job['token']} {self._seq} {verb} {json.dumps(value)}"
        self._write(f"# farm {text} {zlib.crc32(text.encode()):08x}")
        self._seq += 1


def _program(kernel: Path) -> Program:
    with kernel.open("rb") as handle:
        text = handle.read(PROGRAM_LIMIT)
    try:
        return Program.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{kernel}: no program for a fake machine: {place or 'JSON'}: {first['msg']}",
            "boot real kernels in another lab",
        ) from error


def _job(initramfs: Path) -> Mapping[str, Any]:
    """Return the job in the archive that stands last in an initramfs."""
    archive = initramfs.read_bytes()
    name = archive.rindex(f"{guest.JOB_PATH.strip('/')}\0".encode())
    header = archive[name - CPIO_HEADER : name]
    size, names = (int(header[at : at + 8], 16) for at in (CPIO_SIZE, CPIO_NAME_SIZE))
    start = name - CPIO_HEADER + -(-(CPIO_HEADER + names) // 4) * 4
    job: Mapping[str, Any] = json.loads(archive[start : start + size])
    return job
