# SPDX-License-Identifier: GPL-2.0-or-later
"""A series saved from a mailing list: one mbox file, in whatever order the mails came.

The order is that of [PATCH vN k/M]. A cover letter is no patch, nor is a reply. What cannot be put
in order without guessing is refused and named: a number that is missing, one that comes twice, two
versions of the series in one box and no word on which is wanted.
"""

from collections.abc import Iterable

from kernel_series.content import Content
from kernel_series.errors import PatchUnreadable, SeriesError
from kernel_series.files import read_file
from kernel_series.mail import Mail, read_mail, split_mbox
from kernel_series.sources import LARGEST_SERIES, Request
from kernel_series.tree import Change

NAMES_A_PATH = True


def read(request: Request) -> Content:
    """The patches of an mbox file, in the order of their numbers."""
    assert request.path is not None
    data = read_file(request.path, LARGEST_SERIES, request.place)
    if data.startswith(b"\x1f\x8b"):
        raise SeriesError(request.place, f"{request.path.name} is compressed", "gunzip it first")
    mails = [
        read_mail(mail, f"{request.place}: mail {number}")
        for number, mail in enumerate(split_mbox(data), 1)
    ]
    if not mails:
        raise SeriesError(request.place, f"{request.path.name} holds no mail")
    posted = [mail for mail in mails if not mail.reply and mail.number != 0]
    ordered = in_order(
        _of_one_version([mail for mail in posted if mail.diff is not None], request),
        [mail for mail in posted if mail.diff is None],
        request.place,
    )
    notes = tuple(
        f"left out the reply {mail.title}, which holds a diff"
        for mail in mails
        if mail.reply and mail.diff is not None
    )
    patches = tuple(
        mail.patch(f"{request.place}: {mail.message_id or mail.subject}") for mail in ordered
    )
    return Content(Change(), patches, notes)


def _of_one_version(mails: list[Mail], request: Request) -> list[Mail]:
    versions = sorted({mail.version_meant for mail in mails})
    numbers = ", ".join(f"v{version}" for version in versions)
    wanted = request.version
    if wanted is None and len(versions) > 1:
        raise SeriesError(
            request.place,
            f"holds several versions of the series: {numbers}",
            "say which with `series: {version: N}`",
        )
    if wanted is not None and versions and wanted not in versions:
        raise SeriesError(
            request.place,
            f"holds no patch of version {wanted}, which the manifest asks for, but {numbers}",
            "name another box, or another `series: {version: N}`",
        )
    return [mail for mail in mails if wanted is None or mail.version_meant == wanted]


def in_order(mails: list[Mail], without_diff: Iterable[Mail], place: str) -> list[Mail]:
    """Mails with a diff by their number k of M. Raises SeriesError if the numbers do not add up."""
    if not mails:
        raise SeriesError(place, "there is no patch in it")
    if len(mails) == 1 and mails[0].total in (None, 1):
        return mails
    for mail in mails:
        if mail.number is None:
            raise SeriesError(
                place, f"{mail.title} has no number", "wanted [PATCH k/M] in its subject"
            )
        if mail.total != mails[0].total:
            raise SeriesError(
                place,
                f"{mail.title} is number {mail.number}/{mail.total}",
                f"another patch is number {mails[0].number}/{mails[0].total}",
            )
    by_number: dict[int, Mail] = {}
    for mail in mails:
        number, total = mail.number or 0, mail.total or 0
        if number > total:
            raise SeriesError(place, f"{mail.title} is number {number}/{total}")
        if number in by_number:
            raise SeriesError(
                place,
                f"two patches are number {number}/{total}",
                f"{by_number[number].title} and {mail.title}",
            )
        by_number[number] = mail
    total = mails[0].total or 0
    missing = [number for number in range(1, total + 1) if number not in by_number]
    if missing:
        for mail in without_diff:
            if mail.number in missing and mail.version_meant == mails[0].version_meant:
                raise PatchUnreadable(
                    place, f"no diff in {mail.title}, which is number {mail.number}/{total}"
                )
        numbers = ", ".join(f"{number}/{total}" for number in missing[:20])
        raise SeriesError(place, f"patch {numbers} is missing")
    return [by_number[number] for number in sorted(by_number)]
