# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine kinds: how to start, watch, interrupt and stop a place where a kernel boots.

A kind is one module of this package; all else about a boot (limits, protocol, endings) is the same
for every kind and lives in ``workers.boot``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OUTPUT_LIMIT = 64 << 20
"""Bytes that a guest may write to its console or its result port before its machine is stopped."""


@dataclass(frozen=True)
class Node:
    """A place where kernels can be booted, as a lab file describes it.

    ``model`` is what results are compared by: two nodes of one model are the same machine to a
    verdict. ``capabilities`` are what a scenario may need of it.
    """

    name: str
    kind: str
    arches: tuple[str, ...]
    cpu: str
    cpus: int
    memory_mib: int
    capabilities: frozenset[str]


@dataclass(frozen=True)
class Start:
    """What a machine is to boot, and where it leaves what it says.

    ``console`` and ``results`` are files that grow while the machine runs.
    """

    arch: str
    kernel: Path
    initramfs: Path
    command_line: tuple[str, ...]
    cpus: int
    icount_shift: int | None
    folder: Path

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def results(self) -> Path:
        return self.folder / "results.log"


class Running(Protocol):
    """A machine that was started. Leaving its ``with`` block ends it, whatever happened inside."""

    command: tuple[str, ...]

    def ended(self) -> int | None:
        """Return the exit status of what carries the machine, None while it runs."""

    def diagnose(self) -> str:
        """Return what the machine's CPUs are doing, for a report of a hang; empty if unknown."""

    def __enter__(self) -> Running: ...

    def __exit__(self, *error: object) -> None: ...


Starter = Callable[[Start], Running]
