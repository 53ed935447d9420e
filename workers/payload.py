# SPDX-License-Identifier: GPL-2.0-or-later
"""The payload of a boot: one common initramfs for a kernel, and a small cpio with the job.

The initramfs holds a static busybox, init and the stress module built for that kernel; the kernel
unpacks archives that follow each other, so a job is appended without touching the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BUSYBOX = Path("/bin/busybox")

ALIGNMENT = 512
"""An archive is padded to whole blocks, so that the next one starts where the kernel looks."""


@dataclass(frozen=True)
class Entry:
    """A file or folder of the archive; ``mode`` as in stat(2), a folder has no content."""

    path: str
    mode: int
    content: bytes = b""


def cpio(entries: Iterable[Entry]) -> bytes:
    """Return a newc archive (Documentation/driver-api/early-userspace/buffer-format.rst).

    Owner, times and inode numbers are fixed: the same entries give the same bytes.
    """
    parts = list[bytes]()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        links = 2 if entry.mode & 0o170000 == 0o040000 else 1
        fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        parts += [_padded(header + name, 4), _padded(entry.content, 4)]
    return _padded(b"".join(parts), ALIGNMENT)


def _padded(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)


def with_job(initramfs: Path, job: bytes, target: Path) -> None:
    """Write ``initramfs`` followed by an archive with /job.json to ``target``."""
    with initramfs.open("rb") as common, target.open("wb") as whole:
        shutil.copyfileobj(common, whole, 1 << 20)
        whole.write(cpio([Entry("job.json", 0o100444, job)]))
