# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder of patch files: what `git format-patch -o` made, or a quilt queue.

Without a `series` file the *.patch files are taken by name, and where their subjects are numbered
the numbers must agree with that, so that a file left out or of another version shows.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kernel_series.content import Content, Patch
from kernel_series.errors import SeriesError, quoted
from kernel_series.files import MIB, read_file, resolve
from kernel_series.mail import (
    LARGEST_MAIL,
    Mail,
    looks_like_mail,
    read_mail,
    read_plain,
    split_mbox,
)
from kernel_series.sources import LARGEST_SERIES, MOST_PATCHES, Request
from kernel_series.sources.mbox import in_order
from kernel_series.tree import Change

NAMES_A_PATH = True


@dataclass(frozen=True)
class _File:
    """A patch file: its name in the folder, where it is, and how to name it in a message."""

    name: str
    path: Path
    place: str


def read(request: Request) -> Content:
    """The patches of a folder."""
    assert request.path is not None
    if not request.path.is_dir():
        raise SeriesError(request.place, f"{quoted(request.value)} is not a folder")
    # A link counts wherever it leads, so that nobody learns from us what there is.
    quilt = os.path.lexists(request.path / "series")
    patches = (_quilt if quilt else _numbered)(request.path, request)
    return Content(Change(), patches)


def _quilt(folder: Path, request: Request) -> tuple[Patch, ...]:
    series = resolve(folder, "series", request.place, confined=request.confined)
    files = _listed(folder, series, f"{request.place}: series")
    return tuple(mail.patch(f"{request.place}: {name}") for name, mail in _mails(files, request))


def _listed(folder: Path, series: Path, place: str) -> Iterator[_File]:
    """The files that a `series` file names, in its order."""
    seen: dict[Path, int] = {}
    for number, line in enumerate(_text(series, place).split("\n"), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        name, *options = words
        at = f"{place}:{number}"
        if options not in ([], ["-p1"]):
            raise SeriesError(
                at, f"option {quoted(' '.join(options))} is not taken", "refresh with -p1"
            )
        path = resolve(folder, name, at, confined=True)
        if path in seen:
            raise SeriesError(at, f"{quoted(name)} is listed twice", f"first on line {seen[path]}")
        seen[path] = number
        yield _File(name, path, at)


def _numbered(folder: Path, request: Request) -> tuple[Patch, ...]:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".patch", ".diff"))
    if not names:
        raise SeriesError(
            request.place,
            f"{quoted(request.value)} holds neither *.patch files nor a `series` file",
        )
    files = (
        _File(
            name,
            resolve(folder, name, request.place, confined=request.confined),
            f"{request.place}: {name}",
        )
        for name in names
    )
    # Without the cover letter.
    mails = {name: mail for name, mail in _mails(files, request) if mail.number != 0}
    _check_versions(mails, request)
    if any(mail.number is not None for mail in mails.values()):
        ordered = in_order(list(mails.values()), (), request.place)
        for (name, mail), wanted in zip(mails.items(), ordered, strict=True):
            if mail is not wanted:
                raise SeriesError(
                    request.place,
                    f"{quoted(name)} is number {mail.number}/{mail.total} but not in that place",
                    "rename the files, or list them in a `series` file",
                )
    return tuple(mail.patch(f"{request.place}: {name}") for name, mail in mails.items())


def _check_versions(mails: Mapping[str, Mail], request: Request) -> None:
    """What names a version names the one that is wanted, or all the same if none is."""
    named = {name: mail.version for name, mail in mails.items() if mail.version is not None}
    wanted = request.version or next(iter(named.values()), None)
    for name, version in named.items():
        if version != wanted:
            raise SeriesError(
                request.place,
                f"{quoted(name)} is of version {version}, wanted {wanted}",
                "keep one version in the folder, the one that `series: {version: N}` says",
            )


def _mails(files: Iterable[_File], request: Request) -> Iterator[tuple[str, Mail]]:
    """What is in the files, by their names; no more is read than a series may have."""
    size = 0
    for number, file in enumerate(files):  # from 0: a cover letter is no patch
        if number > MOST_PATCHES:
            raise SeriesError(request.place, f"holds more than {MOST_PATCHES} patches")
        data = read_file(file.path, LARGEST_MAIL, file.place)
        size += len(data)
        if size > LARGEST_SERIES:
            raise SeriesError(
                request.place, f"the series is larger than {LARGEST_SERIES // MIB} MiB"
            )
        yield file.name, _mail(data, file)


def _mail(data: bytes, file: _File) -> Mail:
    if not looks_like_mail(data):
        return read_plain(data, file.name)
    count = sum(map(looks_like_mail, split_mbox(data)))
    if count > 1:
        raise SeriesError(
            file.place, f"holds {count} mails, wanted one patch a file", "name it with `mbox:`"
        )
    return read_mail(data, file.place)


def _text(path: Path, place: str) -> str:
    try:
        return read_file(path, MIB, place).decode()
    except UnicodeDecodeError as error:
        raise SeriesError(place, "is not UTF-8 text") from error
