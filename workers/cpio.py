# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives as the kernel unpacks them for its first root file system."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 512
"""An archive is padded to whole blocks, so that the next one starts where the kernel looks."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or device of the archive; ``mode`` as in stat(2)."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """Return a newc archive (Documentation/driver-api/early-userspace/buffer-format.rst).

    Owner, times and inode numbers are fixed: the same entries give the same bytes.
    """
    parts = list[bytes]()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        size, device = len(entry.content), entry.device
        fields = (inode, entry.mode, 0, 0, links, 0, size, 0, 0, *device, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        parts += [_padded(header + name, 4), _padded(entry.content, 4)]
    return _padded(b"".join(parts), ALIGNMENT)


def _padded(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)
