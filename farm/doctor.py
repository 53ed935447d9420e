# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine needs to be a farm, looked at one by one; each advice is a command to call."""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from farm import flavours, profiles
from farm.settings import ANOTHER_HOME, Settings, make_folder
from workers import payload, process, toolchain
from workers.errors import InfrastructureError, UserError
from workers.machines import accelerator, qemu
from workers.sandbox import Sandbox

GOOD, BETTER, MISSING = "good", "could be better", "missing"

NEEDED = (
    "git",
    "gcc",
    "ld",
    "make",
    "flex",
    "bison",
    "bc",
    "xz",
    "unifdef",
    "setpriv",
    "prlimit",
)
SANDBOX = "bwrap"
USEFUL = {
    "ccache": "else every run compiles what an earlier one had compiled",
    "perl": "else patches are not checked by checkpatch",
    "perf": "else the scenario perf-probe is skipped",
}

HEADERS = {Path("/usr/include/gelf.h"): "libelf-dev"}
"""Header files that the kernel's build tools include, and Debian's packages for them."""

LEAST_FREE = 12 << 30
"""Bytes of disk that a run of a whole series takes: base, one lane for each config, kernels."""

INSTALL = "apt install"

Which = Callable[[str], str | None]
"""Finds a program, as ``shutil.which`` does."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its state, what was found, what to do.

    ``package`` is Debian's package that brings it, where there is one.
    """

    what: str
    state: str
    found: str
    advice: str = ""
    package: str | None = None


def examine(settings: Settings, which: Which) -> tuple[Finding, ...]:
    """Return what was found on this machine; ``which`` finds programs."""
    return tuple(_findings(settings, which))


def require(settings: Settings, which: Which, sandboxed: bool, machines: Iterable[str]) -> None:
    """Check what a run can't do without, before there is a run; UserError says how to get it.

    ``machines`` are the programs that its machines need beside those for builds.
    """
    programs = (*NEEDED, *((SANDBOX,) if sandboxed else ()), *machines)
    missing = [one for one in _installed(programs, which) if one.state == MISSING]
    if missing:
        names = ", ".join(one.what for one in missing)
        packages = " ".join(sorted({one.package for one in missing if one.package}))
        raise UserError(f"this machine has no {names}", f"{INSTALL} {packages}")
    make_folder(settings.cache)
    if sandboxed and (sandbox := _sandbox()).state == MISSING:
        raise UserError(f"the sandbox does not work: {sandbox.found}", sandbox.advice)


def _findings(settings: Settings, which: Which) -> Iterator[Finding]:
    programs = (*NEEDED, SANDBOX, *qemu.PROGRAMS.values())
    installed = tuple(_installed(programs, which))
    yield from installed
    for program, why in USEFUL.items():
        yield _program(program, which, BETTER, why)
    yield from _cross_compilers(settings, which)
    yield _folder("data", settings.data)
    yield _folder("cache", settings.cache)
    if all(one.state == GOOD for one in installed):
        sandbox = _sandbox()
        yield sandbox
        if sandbox.state == GOOD and _folder("cache", settings.cache).state == GOOD:
            yield _accelerator(settings.cache)
    yield _disk(settings)
    yield Finding("CPUs", GOOD, str(len(os.sched_getaffinity(0))))


def _installed(programs: Iterable[str], which: Which) -> Iterator[Finding]:
    """Yield what has to be installed from packages."""
    for program in dict.fromkeys(programs):
        yield _program(program, which, MISSING)
    for header, package in HEADERS.items():
        yield _file(header.name, header, package)
    yield _file("static busybox", payload.BUSYBOX, "busybox-static")


def _program(program: str, which: Which, otherwise: str, why: str = "") -> Finding:
    if (path := which(program)) is not None:
        return Finding(program, GOOD, path)
    package = process.PACKAGES.get(program) or toolchain.package(program)
    return Finding(program, otherwise, why, f"{INSTALL} {package}", package)


def _file(what: str, path: Path, package: str) -> Finding:
    if path.exists():
        return Finding(what, GOOD, str(path))
    return Finding(what, MISSING, "", f"{INSTALL} {package}", package)


def _folder(what: str, folder: Path) -> Finding:
    try:
        make_folder(folder)
    except UserError as error:
        return Finding(what, MISSING, error.message, ANOTHER_HOME.rpartition(": ")[2])
    return Finding(what, GOOD, str(folder))


def _cross_compilers(settings: Settings, which: Which) -> Iterator[Finding]:
    """Yield the compilers for other machines that shipped flavours are built by."""
    found = flavours.load_all(settings.configs, profiles.names(settings.configs / "build-only"))
    for name, flavour in found.items():
        if flavour.arch is None:
            continue
        why = f"else {name} is not built"
        yield _program(flavour.toolchain, which, BETTER, why)


def _sandbox() -> Finding:
    advice = "sysctl -w kernel.unprivileged_userns_clone=1"
    try:
        ran = process.run(Sandbox().wrap(["true"], [], folder="/"))
    except InfrastructureError as error:
        return Finding("sandbox", MISSING, error.message, advice)
    if ran.status == 0:
        return Finding("sandbox", GOOD, "bubblewrap works")
    said = ran.stderr.decode(errors="replace").strip()[:200]
    return Finding("sandbox", MISSING, said, advice)


def _accelerator(cache: Path) -> Finding:
    notes = cache / "accelerator.json"
    chosen = accelerator.choose(notes, qemu.PROGRAMS["x86_64"], Sandbox())
    found = f"{chosen.name}: {chosen.reason}"
    if chosen.name == "kvm":
        return Finding("accelerator", GOOD, found)
    device = accelerator.DEVICE
    if not device.exists():
        advice = "modprobe kvm_intel || modprobe kvm_amd"
    elif not os.access(device, os.R_OK | os.W_OK):
        advice = f"usermod --append --groups kvm {getpass.getuser()}"
    else:
        # It was tried and did not run a guest: the note is all that keeps it from being tried anew.
        advice = f"rm {notes}"
    return Finding("accelerator", BETTER, f"{found}: slower, and one CPU at a time", advice)


def _disk(settings: Settings) -> Finding:
    place = settings.cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free >> 30} GiB free at {place}"
    if free < LEAST_FREE:
        return Finding(
            "disk", BETTER, f"{found}: a run takes up to {LEAST_FREE >> 30} GiB", "farm gc"
        )
    return Finding("disk", GOOD, found)
