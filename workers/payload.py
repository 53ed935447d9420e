# SPDX-License-Identifier: GPL-2.0-or-later
"""The payload of a boot: one common initramfs for a kernel, and a small cpio with the job.

The initramfs holds a static busybox, init and the stress module built for that kernel; the kernel
unpacks archives that follow each other, so a job is appended without touching the rest.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stress import guest
from workers import tools
from workers.cache import Cache, take
from workers.cpio import Entry, cpio
from workers.errors import FarmError, InfrastructureError
from workers.lane import GIVEN, OUT, PAYLOAD, SRC, Lane
from workers.process import Cancel, Limits

BUSYBOX = Path("/bin/busybox")
SHELL_ARCH = "x86_64"
"""The architecture that the host's busybox runs on: scenarios that are scripts need it."""

INITRAMFS = "initramfs"
JOB = "job.json"
FILE_LIMIT = 64 << 20
LIMITS = Limits(seconds=600.0)

COLLECT = (
    'mkdir -p "$1/module" "$1/init" && cp -u "$2"/module/* "$1/module/"'
    ' && cp -u "$2"/init/* "$1/init/"'
    # Without in-tree modules a build leaves only the kernel's own symbol versions.
    ' && { test ! -e "$3/vmlinux.symvers" || cp -u "$3/vmlinux.symvers" "$3/Module.symvers"; }'
)
"""Lays the guest's sources out where they are built; a constant, run inside the sandbox. Symbols
that a later point exports are copied anew; kernels before 5.8 write Module.symvers themselves."""


class PayloadBroken(FarmError):
    """Our own module or init does not build against this kernel."""


def ours() -> str:
    """Return a digest of all that is ours in a payload, and so the same for every kernel."""
    digest = hashlib.sha256()
    for sources in (guest.module_sources(), guest.init_sources(), guest.scripts()):
        digest.update(_told_apart(sources))
    digest.update(BUSYBOX.read_bytes() if BUSYBOX.exists() else b"")
    return digest.hexdigest()


def _told_apart(sources: Mapping[str, bytes]) -> bytes:
    """Return the sources in one piece that is another one for any other sources."""
    return b"".join(
        f"{name} {len(content)}\n".encode() + content for name, content in sources.items()
    )


def key(kernel: str) -> str:
    """Return the key of the payload that goes with a kernel: its own key and all that is ours."""
    return hashlib.sha256(f"{kernel} {ours()}".encode()).hexdigest()


def build(
    payload_key: str,
    cache: Cache,
    lane: Lane,
    arch: str,
    library: str | None,
    settings: Sequence[str],
    log: Path,
    cancel: Cancel,
) -> Path:
    """Build module and init for the kernel in the lane; returns the initramfs in the cache.

    ``library`` is the git id of the tree's NOLIBC folder, None for a tree without one. Raises
    PayloadBroken when our code does not build, InfrastructureError without a busybox.
    """
    if (kept := cache.find(payload_key)) is not None:
        return kept / INITRAMFS
    if not BUSYBOX.exists():
        raise InfrastructureError(
            f"there is no static {BUSYBOX}", "install Debian's package busybox-static"
        )
    _give(lane.given / "module", guest.module_sources())
    _give(lane.given / "init", guest.init_sources())
    with lane.stopwatch.step("init"):
        _step(["sh", "-c", COLLECT, "collect", PAYLOAD, GIVEN, OUT], lane, OUT, log, cancel)
        _build_init(lane, arch, library, log, cancel)
    with lane.stopwatch.step("module"):
        module_words = [f"M={PAYLOAD}/module", *settings, "modules"]
        if lane.make(module_words, log, cancel, LIMITS) != 0:
            raise PayloadBroken(
                "the stress module does not build against this kernel", f"see {log}"
            )
    with cache.filling(payload_key) as folder:
        for module in guest.MODULES:
            take(lane.payload, f"module/{module}", folder / module, FILE_LIMIT)
        take(lane.payload, "init/init", folder / "init", FILE_LIMIT)
        (folder / INITRAMFS).write_bytes(cpio(_entries(arch, folder)))
    found = cache.find(payload_key)
    if found is None:
        raise AssertionError("the cache has just been filled")
    return found / INITRAMFS


def _build_init(lane: Lane, arch: str, library: str | None, log: Path, cancel: Cancel) -> None:
    """Build init, which looks at no more of a kernel than its C library: mostly once for a lane."""
    command = ["gcc", *guest.init_arguments(arch, f"{SRC}/{guest.NOLIBC}" if library else None)]
    digest = hashlib.sha256("\0".join([*command, library or ""]).encode())
    digest.update(_told_apart(guest.init_sources()))
    note = lane.given / "init.digest"
    if note.exists() and note.read_text() == digest.hexdigest():
        return
    note.unlink(missing_ok=True)
    _step(command, lane, f"{PAYLOAD}/init", log, cancel)
    note.write_text(digest.hexdigest())


def _entries(arch: str, built: Path) -> Iterator[Entry]:
    for name in ("bin", "dev", "proc", "sys", guest.SCRIPT_FOLDER.strip("/")):
        yield Entry(name, stat.S_IFDIR | 0o755)
    # The kernel opens it for init before devtmpfs is there.
    yield Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    if arch == SHELL_ARCH:
        yield Entry(guest.BUSYBOX_PATH.strip("/"), stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    yield Entry(guest.INIT_PATH.strip("/"), stat.S_IFREG | 0o755, (built / "init").read_bytes())
    for module in guest.MODULES:
        yield Entry(module, stat.S_IFREG | 0o644, (built / module).read_bytes())
    for name, content in guest.scripts().items():
        yield Entry(f"{guest.SCRIPT_FOLDER.strip('/')}/{name}", stat.S_IFREG | 0o755, content)


def _give(folder: Path, sources: Mapping[str, bytes]) -> None:
    """Write the guest's sources; those that are there keep the times that make looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sources.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def _step(argv: Sequence[str], lane: Lane, folder: str, log: Path, cancel: Cancel) -> None:
    if lane.run(argv, log, cancel, LIMITS, folder=folder) != 0:
        raise PayloadBroken(f"{argv[0]} failed while the payload was built", f"see {log}")


def with_job(initramfs: Path, job: bytes, target: Path, programs: Sequence[str] = ()) -> None:
    """Write ``initramfs`` followed by an archive with /job.json to ``target``.

    ``programs`` of the host are put into that archive too, see ``workers.tools``.
    """
    with initramfs.open("rb") as common, target.open("wb") as whole:
        shutil.copyfileobj(common, whole, 1 << 20)
        told = Entry(guest.JOB_PATH.strip("/"), stat.S_IFREG | 0o444, job)
        whole.write(cpio([told, *tools.entries(programs)]))
