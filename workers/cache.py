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
from pathlib import Path, PurePath
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


def take(folder: Path, name: str, target: Path, limit: int) -> None:
    """Copy one file that a hostile build made: a plain file of at most ``limit`` bytes.

    ``name`` is its path below ``folder``; no link is followed on the way. Raises KernelFailure when
    it is anything else.
    """
    with _made(folder, name, limit) as made, target.open("wb") as copy:
        shutil.copyfileobj(made, copy, 1 << 20)


def read_made(folder: Path, name: str, limit: int) -> bytes:
    """Return the content of one file that a hostile build made, as carefully as ``take``."""
    with _made(folder, name, limit) as made:
        return made.read(limit)


@contextlib.contextmanager
def _made(folder: Path, name: str, limit: int) -> Iterator[IO[bytes]]:
    try:
        handle = _open_without_links(folder, name)
    except OSError as error:
        raise KernelFailure(f"the build left no {name}: {error.strerror}") from error
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
            raise KernelFailure(f"the build's {name} is no plain file of at most {limit} bytes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def _open_without_links(folder: Path, name: str) -> int:
    """Open a file for reading, at once even where it is a FIFO; links raise OSError."""
    *parents, last = PurePath(name).parts
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        for parent in parents:
            below = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
