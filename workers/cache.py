# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed folders: complete or not there, whatever was killed in between."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from workers.errors import KernelFailure


class Cache:
    """Folders under ``root`` by key. A key must name everything that its content depends on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """Return the folder of a key, or None."""
        path = self.root / key
        return path if path.is_dir() else None

    @contextlib.contextmanager
    def filling(self, key: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the key's when the block ends without an error."""
        folder = Path(tempfile.mkdtemp(prefix=".filling-", dir=self.root))
        try:
            yield folder
            try:
                folder.rename(self.root / key)
            except OSError as error:
                # Somebody else was faster with the same content.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def take(source: Path, target: Path, limit: int) -> None:
    """Copy one file that a hostile build made: a plain file of at most ``limit`` bytes, no link.

    Raises KernelFailure when it is anything else.
    """
    with _made(source, limit) as made, target.open("wb") as copy:
        shutil.copyfileobj(made, copy, 1 << 20)


def read_made(source: Path, limit: int) -> bytes:
    """Return the content of one file that a hostile build made, as carefully as ``take``."""
    with _made(source, limit) as made:
        return made.read(limit)


@contextlib.contextmanager
def _made(source: Path, limit: int) -> Iterator[IO[bytes]]:
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KernelFailure(f"the build left no {source.name}: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
            raise KernelFailure(f"the build's {source.name} is no plain file below {limit} bytes")
        yield file
