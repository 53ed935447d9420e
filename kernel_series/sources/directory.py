# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder of patch files: what `git format-patch -o` made, or a quilt queue.

Without a `series` file the *.patch files are taken by name, and where their subjects are numbered
the numbers must agree with that, so that a file left out or of another version shows.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from kernel_series.content import Content, Patch
from kernel_series.errors import SeriesError, quoted
from kernel_series.files import MIB, read_file, resolve
from kernel_series.mail import LARGEST_MAIL, Mail, looks_like_mail, read_mail, read_plain
from kernel_series.sources import Request
from kernel_series.sources.mbox import in_order
from kernel_series.tree import Change

NAMES_A_PATH = True


def read(request: Request) -> Content:
    """The patches of a folder."""
    assert request.path is not None
    if not request.path.is_dir():
        raise SeriesError(request.place, f"{quoted(request.value)} is not a folder")
    series = request.path / "series"
    patches = _quilt(series, request) if series.exists() else _numbered(request.path, request)
    return Content(Change(), patches)


def _quilt(series: Path, request: Request) -> tuple[Patch, ...]:
    place = f"{request.place}: series"
    patches = []
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
        path = resolve(series.parent, name, at, confined=True)
        patches.append(_mail(path, name, at).patch(f"{request.place}: {name}"))
    return tuple(patches)


def _numbered(folder: Path, request: Request) -> tuple[Patch, ...]:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".patch", ".diff"))
    if not names:
        raise SeriesError(
            request.place,
            f"{quoted(request.value)} holds neither *.patch files nor a `series` file",
        )
    mails = {}
    for name in names:
        path = resolve(folder, name, request.place, confined=request.confined)
        mail = _mail(path, name, f"{request.place}: {name}")
        if mail.number != 0:  # the cover letter
            mails[name] = mail
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


def _mail(path: Path, name: str, place: str) -> Mail:
    data = read_file(path, LARGEST_MAIL, place)
    return read_mail(data, place) if looks_like_mail(data) else read_plain(data, name)


def _text(path: Path, place: str) -> str:
    try:
        return read_file(path, MIB, place).decode()
    except UnicodeDecodeError as error:
        raise SeriesError(place, "is not UTF-8 text") from error
