# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accelerator QEMU uses here, found out by running a guest and not by looking for /dev/kvm.

/dev/kvm may exist, open and create a VM, and still never run a guest: nested virtualisation that is
offered and does not work. Or it runs one through its firmware, many times slower than emulation,
and breaks down with an internal error in the kernel. So a boot sector of four bytes is run under
emulation, then under KVM in a time measured by that, once for each boot of the host.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workers import process
from workers.cache import locked
from workers.errors import InfrastructureError
from workers.process import Limits
from workers.sandbox import Mount, Sandbox

DEVICE = Path("/dev/kvm")

PROBE_SECONDS = 5.0
LEAST_SECONDS = 1.0
SLOWER = 10
"""So many times what emulation needs KVM may take: firmware alone is about as fast under both."""

# mov al, 0x10; out 0xf4, al: QEMU's debug-exit device turns the value into exit status 0x21.
BOOT_SECTOR = bytes([0xB0, 0x10, 0xE6, 0xF4]).ljust(510, b"\x90") + b"\x55\xaa"
EXIT_STATUS = 0x21


@dataclass(frozen=True)
class Accelerator:
    """``kvm`` or ``tcg``, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Note:
    """What was found, and where it holds: a boot of the host, QEMU, what /dev/kvm allows."""

    host: str
    name: str
    reason: str


NOTE = TypeAdapter(Note)


def choose(memory: Path, program: str, sandbox: Sandbox) -> Accelerator:
    """Return this host's accelerator; what was found is noted in the file ``memory``.

    The note holds for one boot of the host and one answer of /dev/kvm's permissions.
    """
    memory.parent.mkdir(parents=True, exist_ok=True)
    usable = os.access(DEVICE, os.R_OK | os.W_OK)
    host = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {program} {usable}"
    with locked(memory.with_suffix(".lock")):
        if (known := _noted(memory)) is not None and known.host == host:
            return Accelerator(known.name, known.reason)
        found = _probe(program, sandbox) if usable else Accelerator("tcg", _absent())
        # Whole or not there: it is read by all who come later.
        beside = memory.with_suffix(".new")
        beside.write_bytes(NOTE.dump_json(Note(host, found.name, found.reason)))
        beside.replace(memory)
        return found


def _noted(memory: Path) -> Note | None:
    try:
        return NOTE.validate_json(memory.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _absent() -> str:
    return f"{DEVICE} can't be opened" if DEVICE.exists() else f"there is no {DEVICE}"


def _probe(program: str, sandbox: Sandbox) -> Accelerator:
    emulated = _run("tcg", program, sandbox, PROBE_SECONDS)
    limit = PROBE_SECONDS
    if isinstance(emulated, float):
        limit = max(LEAST_SECONDS, SLOWER * emulated)
    found = _run("kvm", program, sandbox, limit)
    if isinstance(found, str):
        return Accelerator("tcg", f"a guest under KVM {found}")
    return Accelerator("kvm", "a guest ran under KVM")


def _run(accelerator: str, program: str, sandbox: Sandbox, limit: float) -> float | str:
    """Return in how many seconds a guest runs to its end, or what happened instead."""
    devices = (str(DEVICE),) if accelerator == "kvm" else ()
    with tempfile.TemporaryDirectory(prefix="farm-probe-") as folder:
        (Path(folder) / "disk").write_bytes(BOOT_SECTOR)
        argv = [program, "-accel", accelerator, "-nodefaults", "-no-user-config"]
        argv += ["-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-no-reboot"]
        argv += ["-drive", "file=/boot/disk,format=raw,if=floppy,readonly=on"]
        wrapped = sandbox.wrap(argv, [Mount(Path(folder), "/boot")], folder="/", devices=devices)
        started = time.monotonic()
        try:
            ran = process.run(wrapped, limits=Limits(seconds=limit))
        except InfrastructureError:
            return f"did not run within {limit:.1f} s"
    if ran.status == EXIT_STATUS:
        return time.monotonic() - started
    said = ran.stderr.decode(errors="replace").strip().splitlines()
    return f"failed: {said[-1] if said else ran.status}"
