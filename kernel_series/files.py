# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the files of a series: bounded, regular files only, confined where asked for."""

import os
import stat
from pathlib import Path

from kernel_series.errors import SeriesError, quoted

LONGEST_PATH = 4096  # PATH_MAX; a path cut short leads nowhere
KIB = 1024
MIB = 1024 * KIB


def read_file(path: Path, limit: int, place: str) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises SeriesError for anything else.

    Opened without blocking, so that a pipe or a device in an uploaded folder cannot hold us up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise SeriesError(place, f"cannot read {_name(path)}: {_reason(error)}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SeriesError(place, f"{_name(path)} is {kind}", "name a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise SeriesError(place, f"{_name(path)} is larger than {limit // KIB} KiB")
    return data


def is_folder(path: Path) -> bool:
    """Whether a path that a person gave is a folder; one that leads nowhere, or can't, is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long for any file, a folder that may not be entered
        return False


def resolve(folder: Path, text: str, place: str, *, confined: bool) -> Path:
    """The path that `text` names, seen from `folder`. It must exist.

    With `confined` it must lie in `folder` after every symbolic link on the way was followed; what
    lies outside is refused before it is looked for, so that nobody learns what files there are.
    """
    try:
        path = (folder / text).resolve()
        if confined and not path.is_relative_to(folder.resolve()):
            raise SeriesError(
                place,
                f"{quoted(text)} lies outside the folder it is named in",
                "only files below that folder are taken here",
            )
        return path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise SeriesError(place, f"cannot find {quoted(text)}: {_reason(error)}") from error


def _name(path: Path) -> str:
    return quoted(str(path), LONGEST_PATH)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
