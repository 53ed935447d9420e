# SPDX-License-Identifier: GPL-2.0-or-later
"""What the message of a patch says by its tags, held against the kernel's rules.

The rules are those of Documentation/process/submitting-patches.rst. A remark is for the reader: it
is never a fault of a kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from itertools import pairwise

ERROR, WARNING, CHECK, MISSING = "error", "warning", "check", "missing"
"""Levels, the first three as checkpatch has them; ``missing`` is a check that could not be made."""

SUBJECT_LENGTH = 75
COMMIT_DIGITS = 12

PREFIX = re.compile(r"\S[^:]{0,60}: \S")
TAG = re.compile(r"([A-Z][A-Za-z]*(?:-[A-Za-z]+)*):\s*(\S.*)")
FIXES = re.compile(r'([0-9a-f]{12,40}) \("(.+)"\)')
ANSWERS = ("Closes", "Link")
"""What may follow Reported-by: the report that it speaks of."""


@dataclass(frozen=True)
class Remark:
    """One thing that a tool says of a patch: ``kind`` in the tool's words, ``line`` of the mail."""

    tool: str
    level: str
    kind: str
    line: int | None
    text: str


def remarks(
    subject: str, author: str, message: str, known: Callable[[str], bool | None]
) -> tuple[Remark, ...]:
    """Return what is to be said of a patch's subject and tags.

    ``known`` tells whether a commit is in the history, None where there is no history.
    """
    found = [*_subject(subject), *_signature(author, _tags(message))]
    found += [*_fixes(_tags(message), known), *_reports(message)]
    return tuple(Remark("tags", level, kind, None, text) for level, kind, text in found)


Said = tuple[str, str, str]


def _tags(message: str) -> Sequence[tuple[str, str]]:
    matches = (TAG.fullmatch(line.strip()) for line in message.splitlines())
    return [(match[1], match[2]) for match in matches if match]


def _subject(subject: str) -> Iterator[Said]:
    if PREFIX.match(subject) is None:
        yield WARNING, "subject-prefix", "the subject does not begin with a subsystem and a colon"
    if len(subject) > SUBJECT_LENGTH:
        text = f"the subject has {len(subject)} characters, more than {SUBJECT_LENGTH}"
        yield WARNING, "subject-length", text


def _signature(author: str, tags: Sequence[tuple[str, str]]) -> Iterator[Said]:
    signed = {parseaddr(value)[1].lower() for name, value in tags if name == "Signed-off-by"}
    if not signed:
        yield ERROR, "sign-off", "there is no Signed-off-by"
    elif parseaddr(author)[1].lower() not in signed:
        yield ERROR, "sign-off", f"the author, {author}, did not sign off"


def _fixes(tags: Sequence[tuple[str, str]], known: Callable[[str], bool | None]) -> Iterator[Said]:
    for name, value in tags:
        if name != "Fixes":
            continue
        if (match := FIXES.fullmatch(value)) is None:
            form = f'{COMMIT_DIGITS} or more hex digits and ("its subject")'
            yield ERROR, "fixes-form", f"Fixes: {value}: not of the form: {form}"
        elif known(match[1]) is False:
            yield ERROR, "fixes-unknown", f"Fixes: {match[1]}: there is no such commit"


def _reports(message: str) -> Iterator[Said]:
    """Yield Reported-by tags whose next line does not name the report."""
    lines = [line.strip() for line in message.splitlines()]
    for line, after in pairwise([*lines, ""]):
        match, answer = TAG.fullmatch(line), TAG.fullmatch(after)
        if match is None or match[1] != "Reported-by":
            continue
        if answer is None or answer[1] not in ANSWERS:
            text = f"Reported-by: {match[2]}: not followed by Closes: and the report's address"
            yield WARNING, "reported-by", text
