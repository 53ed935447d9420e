# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine kinds: how to start, watch, interrupt and stop a place where a kernel boots.

A kind is one module of this package with a function ``kind(sandbox, notes) -> Kind``, found by its
name; where it needs programs, ``PROGRAMS`` names one for each architecture. All else about a boot
(limits, protocol, endings) is the same for every kind and lives in ``workers.boot``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from workers.errors import UserError
from workers.sandbox import Sandbox

OUTPUT_LIMIT = 64 << 20
"""Bytes of a console or of a result port that are more than any sane guest writes."""


@dataclass(frozen=True)
class Node:
    """A place where kernels can be booted, as a lab file describes it.

    ``capabilities`` are what a scenario may need of it.
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

    ``console`` and ``results`` are files that grow while the machine runs, to ``output_limit``
    bytes: then the machine is stopped.
    """

    arch: str
    kernel: Path
    initramfs: Path
    command_line: tuple[str, ...]
    cpus: int
    icount_shift: int | None
    folder: Path
    output_limit: int = OUTPUT_LIMIT

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
        """Return the exit status of what carries the machine, None while it runs.

        0 is the guest's own doing: it reset, or switched itself off.
        """

    def stopped(self) -> bool:
        """Whether the host keeps the machine from running, as by SIGSTOP."""

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of this host that the machine has used; 0 if it is gone."""

    def diagnose(self) -> str:
        """Return what the machine's CPUs are doing, for a report of a hang; empty if unknown."""

    def __enter__(self) -> Running: ...

    def __exit__(self, *error: object) -> None: ...


Starter = Callable[[Start], Running]


class Kind(Protocol):
    """Machines of one kind on this host. Opening a kind may take a look at the host, once."""

    @property
    def accelerator(self) -> str:
        """Return what carries out the guest's instructions, as results name it."""

    def model(self, node: Node) -> str:
        """Return what results are compared by: nodes of one model are one machine to a verdict."""

    def start(self, node: Node, start: Start) -> Running:
        """Start a machine; InfrastructureError when it can't be started."""


def known() -> tuple[str, ...]:
    """Return the names of all kinds."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if hasattr(_module(name), "kind")))


def programs(name: str, arches: Iterable[str]) -> tuple[str, ...]:
    """Return the programs that a kind needs on this host to boot kernels of these arches."""
    needed = getattr(_module(name), "PROGRAMS", {})
    return tuple(needed[arch] for arch in arches if arch in needed)


def open_kind(name: str, sandbox: Sandbox, notes: Path) -> Kind:
    """Return a kind by its name; UserError lists the known ones.

    ``notes`` is a folder of this host's in which a kind may remember what it found out.
    """
    if name not in known():
        raise UserError(f"unknown machine kind {name!r}", f"known: {', '.join(known())}")
    opened: Kind = _module(name).kind(sandbox, notes)
    return opened


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
