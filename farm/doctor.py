# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine needs to be a farm, looked at one by one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from farm.settings import Settings
from workers import payload, process
from workers.errors import InfrastructureError
from workers.machines import accelerator, qemu
from workers.sandbox import Sandbox

GOOD, BETTER, MISSING = "good", "could be better", "missing"

NEEDED = ("git", "gcc", "ld", "make", "flex", "bison", "bc", "xz", "unifdef", "bwrap", "setpriv")
USEFUL = {
    "ccache": "without it every run compiles what an earlier one had compiled",
    "perf": "without it the scenario perf-probe is skipped",
}

HEADERS = {Path("/usr/include/gelf.h"): "libelf-dev"}
"""Header files that the kernel's build tools include, and Debian's packages for them."""

LEAST_FREE = 12 << 30
"""Bytes of disk that a run of a whole series takes: base, one lane for each config, kernels."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its state, what was found, what to do."""

    what: str
    state: str
    found: str
    advice: str = ""


def examine(settings: Settings, which: Callable[[str], str | None]) -> tuple[Finding, ...]:
    """Return what was found on this machine; ``which`` finds programs."""
    return tuple(_findings(settings, which))


def _findings(settings: Settings, which: Callable[[str], str | None]) -> Iterator[Finding]:
    for program in (*NEEDED, *qemu.PROGRAMS.values()):
        path = which(program)
        advice = f"apt install {process.PACKAGES[program]}"
        yield Finding(program, GOOD if path else MISSING, path or "", "" if path else advice)
    for program, why in USEFUL.items():
        path = which(program)
        advice = f"apt install {process.PACKAGES[program]}: {why}"
        yield Finding(program, GOOD if path else BETTER, path or "", "" if path else advice)
    for header, package in HEADERS.items():
        there = header.exists()
        yield Finding(
            header.name,
            GOOD if there else MISSING,
            str(header) if there else "",
            "" if there else f"apt install {package}",
        )
    static = payload.BUSYBOX.exists()
    yield Finding(
        "static busybox",
        GOOD if static else MISSING,
        str(payload.BUSYBOX) if static else "",
        "" if static else "apt install busybox-static",
    )
    if which("bwrap"):
        yield _sandbox()
    if which("bwrap") and which("qemu-system-x86_64"):
        program = qemu.PROGRAMS["x86_64"]
        chosen = accelerator.choose(settings.cache / "accelerator.json", program, Sandbox())
        state = GOOD if chosen.name == "kvm" else BETTER
        advice = (
            "" if chosen.name == "kvm" else "guests are emulated: slower, and one CPU at a time"
        )
        yield Finding("accelerator", state, f"{chosen.name}: {chosen.reason}", advice)
    yield _disk(settings)
    cpus = len(os.sched_getaffinity(0))
    yield Finding("CPUs", GOOD, str(cpus))


def _sandbox() -> Finding:
    command = Sandbox().wrap(["true"], [], folder="/")
    try:
        ran = process.run(command)
    except InfrastructureError as error:
        return Finding("sandbox", MISSING, "", str(error))
    if ran.status == 0:
        return Finding("sandbox", GOOD, "bubblewrap works")
    said = ran.stderr.decode(errors="replace").strip()[:200]
    return Finding("sandbox", MISSING, said, "allow user namespaces, or see --no-sandbox")


def _disk(settings: Settings) -> Finding:
    place = settings.cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free >> 30} GiB free at {place}"
    if free < LEAST_FREE:
        return Finding("disk", BETTER, found, f"a run takes up to {LEAST_FREE >> 30} GiB")
    return Finding("disk", GOOD, found)
