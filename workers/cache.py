# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed folders: complete or not there, whatever was killed in between."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import IO

from workers.errors import InfrastructureError, KernelFailure
from workers.folders import remove

FILLING, REMOVED = ".filling-", ".removed-"
"""How folders begin that are no content yet, or no more."""


NO_FILE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EACCES,
        errno.ENXIO,
        errno.ENAMETOOLONG,
    }
)
"""Why a file can't be opened that a build made otherwise than it should; all else is the host's."""


class Cache:
    """Folders under ``root`` by key. A key must name everything that its content depends on.

    A folder's modification time is when it was last found. Who fills or uses one holds a lock on
    it, which ends with the process: so what a killed one left can be told from what is in use.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Path | None:
        """Return the folder of a key, or None."""
        path = self.root / key
        try:
            os.utime(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return path if path.is_dir() else None

    @contextlib.contextmanager
    def using(self, key: str) -> Iterator[Path | None]:
        """Yield the folder of a key, or None; it stays there while the block runs."""
        found = None
        with contextlib.ExitStack() as lock:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                lock.enter_context(lock_on(self.root / key, fcntl.LOCK_SH))
                # Until it was locked it may have gone.
                found = self.find(key)
            yield found

    @contextlib.contextmanager
    def filling(self, key: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the key's when the block ends without an error."""
        with scratch(self.root) as folder:
            yield folder
            try:
                folder.rename(self.root / key)
            except OSError as error:
                # Somebody else was faster with the same content.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def hide(self, key: str) -> bool:
        """Take the folder of a key away, for ``sweep``; False when it is in use, or gone."""
        path = self.root / key
        try:
            with lock_on(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
                path.rename(self.root / f"{REMOVED}{key}")
        except (BlockingIOError, FileNotFoundError):
            return False
        return True


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Yield an empty folder below ``parent`` that is there while the block runs.

    A killed process leaves it behind, for ``sweep``.
    """
    with contextlib.ExitStack() as lock:
        with lock_on(parent, fcntl.LOCK_EX):
            folder = Path(tempfile.mkdtemp(prefix=FILLING, dir=parent))
            lock.enter_context(lock_on(folder, fcntl.LOCK_EX))
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                remove(folder)


def sweep(parent: Path) -> None:
    """Remove what was taken away below a folder, and what killed processes left half made."""
    if not parent.is_dir():
        return
    with lock_on(parent, fcntl.LOCK_EX):
        left = [path for start in (FILLING, REMOVED) for path in parent.glob(f"{start}*")]
        for path in filter(Path.is_dir, left):
            with (
                contextlib.suppress(BlockingIOError, FileNotFoundError),
                lock_on(path, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ):
                remove(path)


@contextlib.contextmanager
def lock_on(folder: Path, how: int) -> Iterator[None]:
    """Hold a lock of flock(2) on a folder of this host; it ends with the process that holds it.

    With LOCK_NB, raises BlockingIOError where somebody else holds it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on a file of this host; it ends with the process that holds it.

    Without ``wait``, raises BlockingIOError where somebody else holds it.
    """
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def take(folder: Path, name: str, target: Path, limit: int) -> None:
    """Copy one file that a hostile build made: a plain file of at most ``limit`` bytes.

    ``name`` is its path below ``folder``; no link is followed on the way. Raises KernelFailure when
    it is anything else, InfrastructureError when the host can't read it.
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
        if error.errno in NO_FILE:
            raise KernelFailure(f"the build left no {name}: {error.strerror}") from error
        raise InfrastructureError(
            f"the build's {folder / name} can't be read: {error.strerror}"
        ) from error
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
            raise KernelFailure(f"the build's {name} is no plain file of at most {limit} bytes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def open_plain(path: Path) -> IO[bytes]:
    """Open a file in a folder that a hostile machine can write to, for reading.

    Raises InfrastructureError when it is anything but a plain file, OSError when it is not there.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise InfrastructureError(f"{path} is no plain file any more") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InfrastructureError(f"{path} is no plain file any more")
    return os.fdopen(handle, "rb")


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
