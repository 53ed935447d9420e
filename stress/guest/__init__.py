# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's part by name, for whoever builds and starts it. Nothing is built or started here.

`init/` is the first process, one C program; `module/` is farm_stress.ko, built against the kernel
under test; `scripts/` holds the scenarios that are shell scripts (`run: sh:NAME`).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from stress.errors import ScenarioError

PORT_NAME = "org.farm.results"
"""The virtio-serial port on which init speaks; without one it uses the console.

QEMU: `-device virtio-serial-pci,ioeventfd=off -device virtserialport,name=org.farm.results,...`.
With ioeventfd off a write is with the host when it returns, so nothing is lost in a crash, and
with icount the boot is repeatable."""

INIT_PATH = "/init"
MODULES = ("farm_stress.ko", "farm_passenger.ko", "farm_sites.ko", "farm_more_sites.ko")
"""What the folder of module_sources() builds. All are at the root of the initramfs; init loads the
first, and that one asks for the others."""
JOB_PATH = "/job.json"
BUSYBOX_PATH = "/bin/busybox"
"""Where things stand in the initramfs. Busybox is needed by scripts alone."""
SCRIPT_FOLDER = "/scenarios"
SHARED_SCRIPT = "report.sh"
"""What the scripts there have in common; no scenario by itself."""

NOLIBC = "tools/include/nolibc"
"""The C library for init, in a kernel tree from 5.1 on; older trees have none."""

_HERE = Path(__file__).parent
_MACHINE = MappingProxyType(
    {
        "x86_64": ("-m64",),
        # Debian keeps the kernel's x86 headers, which are for both, where -m32 does not look.
        "i386": ("-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"),
    }
)


def module_sources() -> Mapping[str, bytes]:
    """The files of the folder to give to Kbuild as M=; the result are MODULES."""
    return _read("module", "*")


def init_sources() -> Mapping[str, bytes]:
    """The files to compile init from, in one folder."""
    return _read("init", "*")


def scripts() -> Mapping[str, bytes]:
    """The files of SCRIPT_FOLDER, SHARED_SCRIPT among them."""
    return _read("scripts", "*.sh")


def init_arguments(arch: str, nolibc: str | None) -> tuple[str, ...]:
    """What to give to the C compiler in the folder of init_sources(); the result is `init`.

    `nolibc` is the path of the NOLIBC folder, or None for the host's own static C library.
    ScenarioError for an unknown architecture.
    """
    if arch not in _MACHINE:
        raise ScenarioError("init", f"no architecture {arch!r}", f"known: {', '.join(_MACHINE)}")
    library: tuple[str, ...] = ()
    if nolibc is not None:
        library = ("-nostdlib", "-include", f"{nolibc}/nolibc.h")
    return (
        *_MACHINE[arch],
        *("-Os", "-Wall", "-Wextra", "-static", "-s", "-Wl,--build-id=none"),
        *("-fno-ident", "-fno-asynchronous-unwind-tables", "-fno-stack-protector"),
        *library,
        *("-o", "init", "init.c"),
    )


def _read(folder: str, pattern: str) -> Mapping[str, bytes]:
    paths = sorted(path for path in (_HERE / folder).glob(pattern) if path.is_file())
    return MappingProxyType({path.name: path.read_bytes() for path in paths})
