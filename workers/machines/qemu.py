# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU machines: one process in a sandbox, results on a virtio-serial port, console to a file."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import QMPClient, QMPError

from workers import process
from workers.cache import open_plain
from workers.errors import InfrastructureError
from workers.machines import OUTPUT_LIMIT, Node, Start
from workers.machines.accelerator import Accelerator, choose
from workers.machines.tsc import host_khz
from workers.process import Limits
from workers.sandbox import Mount, Sandbox

PROGRAMS: Mapping[str, str] = {"x86_64": "qemu-system-x86_64", "i386": "qemu-system-i386"}

KERNEL, INITRAMFS, FOLDER = "/boot/vmlinux", "/boot/initramfs", "/run/farm"

QMP_SECONDS = 5.0

MUTE = (QMPError, OSError, EOFError, ValueError, TypeError, RecursionError)
"""What a monitor that is gone, or writes anything but its protocol, makes of a question."""

TERMINATED = re.compile(r"terminating on signal (\d+)")


@dataclass(frozen=True)
class Qemu:
    """QEMU on this host, with the accelerator that works here."""

    sandbox: Sandbox
    chosen: Accelerator
    tsc_khz: int | None

    @property
    def accelerator(self) -> str:
        return self.chosen.name

    def model(self, node: Node) -> str:
        versions = ", ".join(dict.fromkeys(version(arch) for arch in node.arches))
        size = f"{node.cpus} CPUs {node.memory_mib} MiB"
        return f"qemu {versions} {self.accelerator} {node.cpu} {size}"

    def start(self, node: Node, start: Start) -> QemuMachine:
        return QemuMachine(node, self, start)


def kind(sandbox: Sandbox, notes: Path) -> Qemu:
    """Return QEMU; finds the accelerator out by running a guest, once for each boot of the host."""
    program = next(iter(PROGRAMS.values()))
    chosen = choose(notes / "accelerator.json", program, sandbox)
    return Qemu(sandbox, chosen, host_khz() if chosen.name == "tcg" else None)


class QemuMachine:
    """A running QEMU. Use as a context manager; leaving it kills the process and its namespace."""

    def __init__(self, node: Node, qemu: Qemu, start: Start) -> None:
        self._start = start
        start.folder.mkdir(parents=True, exist_ok=True)
        for path in (start.console, start.results):
            path.write_bytes(b"")
        self.command = (PROGRAMS[start.arch], *arguments(node, qemu, start))
        mounts = [
            Mount(start.kernel, KERNEL),
            Mount(start.initramfs, INITRAMFS),
            Mount(start.folder, FOLDER, writable=True),
        ]
        devices = ("/dev/kvm",) if qemu.accelerator == "kvm" else ()
        wrapped = qemu.sandbox.wrap(self.command, mounts, folder=FOLDER, devices=devices)
        with (start.folder / "qemu.log").open("wb") as said:
            self._process = process.start(
                wrapped,
                stdout=said.fileno(),
                stderr=subprocess.STDOUT,
                limits=Limits(file_bytes=start.output_limit),
            )

    def ended(self) -> int | None:
        status = self._process.poll()
        # Told to end, QEMU does so in order, as if its guest had switched itself off.
        if status == 0 and (match := TERMINATED.search(self.said())):
            return 128 + int(match[1])
        return status

    def stopped(self) -> bool:
        return process.is_stopped(self._process.pid)

    def cpu_seconds(self) -> float:
        return process.cpu_seconds(self._process.pid)

    def said(self) -> str:
        """Return what QEMU itself wrote: why it did not start."""
        with open_plain(self._start.folder / "qemu.log") as log:
            return log.read(OUTPUT_LIMIT).decode(errors="replace").strip()[-500:]

    def diagnose(self) -> str:
        """Return the registers of all CPUs, as QEMU's monitor prints them."""
        return asyncio.run(_registers(self._start.folder / "qmp"))

    def __enter__(self) -> QemuMachine:
        return self

    def __exit__(self, *error: object) -> None:
        process.kill(self._process)
        (self._start.folder / "qmp").unlink(missing_ok=True)


def arguments(node: Node, qemu: Qemu, start: Start) -> tuple[str, ...]:
    """Return QEMU's arguments, with the sandbox's inner paths.

    TCG always runs with one thread: with one thread a CPU, QEMU reports faults in modified code
    that no processor has. Under icount a guest is the same, instruction for instruction, each time.
    """
    words = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc"]
    words += ["-cpu", node.cpu, "-m", str(node.memory_mib)]
    # A kernel without ACPI reads the MP table, which lists sockets and no cores.
    words += ["-smp", f"{start.cpus},sockets={start.cpus},cores=1,threads=1"]
    words += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    if qemu.accelerator == "kvm":
        words += ["-accel", "kvm"]
    else:
        words += ["-accel", "tcg,thread=single"]
    if start.icount_shift is not None:
        words += ["-icount", f"shift={start.icount_shift},sleep=off"]
        words += ["-rtc", "base=2020-01-01,clock=vm"]
    words += [
        "-kernel",
        KERNEL,
        "-initrd",
        INITRAMFS,
        "-append",
        " ".join(start.command_line + clock_words(qemu, start)),
    ]
    words += ["-chardev", f"file,id=console,path={FOLDER}/{start.console.name},append=on"]
    words += ["-serial", "chardev:console"]
    words += ["-device", "virtio-serial-pci,max_ports=2,ioeventfd=off"]
    words += ["-chardev", f"file,id=results,path={FOLDER}/{start.results.name},append=on"]
    words += ["-device", "virtserialport,chardev=results,name=org.farm.results"]
    words += ["-qmp", f"unix:{FOLDER}/qmp,server=on,wait=off"]
    return tuple(words)


def clock_words(qemu: Qemu, start: Start) -> tuple[str, ...]:
    """Return what an emulated guest is told of its clocks, which it would fail to find out.

    Its calibration is a race between emulated timers and loops of no known speed. Under icount the
    time stamp counter counts guest nanoseconds, else it is the host's.
    """
    if qemu.accelerator == "kvm":
        return ()
    khz = 1_000_000 if start.icount_shift is not None else qemu.tsc_khz
    words = ("no_timer_check",)
    return words if khz is None else (*words, f"tsc_early_khz={khz}")


def version(arch: str) -> str:
    """Return QEMU's version, part of a node's model.

    InfrastructureError when it is not installed.
    """
    said = process.output([PROGRAMS[arch], "--version"]).decode(errors="replace")
    match = re.search(r"version (\S+)", said)
    if match is None:
        raise InfrastructureError(f"{PROGRAMS[arch]} --version says: {said[:100]!r}")
    return match[1]


async def _registers(socket: Path) -> str:
    client = QMPClient("farm")
    try:
        async with asyncio.timeout(QMP_SECONDS):
            await client.connect(str(socket))
            try:
                words = {"command-line": "info registers -a"}
                return str(await client.execute("human-monitor-command", words))
            finally:
                # Raises once more what ended the connection.
                with suppress(*MUTE):
                    await client.disconnect()
    except MUTE as error:
        return f"QEMU's monitor did not answer: {error!r}"
