# SPDX-License-Identifier: GPL-2.0-or-later
"""Subjects and tags of patches, held against the kernel's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import tags

AUTHOR = "A U Thor <thor@example.org>"
SIGNED = "Why.\n\nSigned-off-by: A U Thor <Thor@example.org>"
COMMIT = "f76d1c41b609"


def kinds(
    message: str = SIGNED,
    subject: str = "kprobes: Do it",
    author: str = AUTHOR,
    known: bool | None = None,
) -> list[str]:
    return [one.kind for one in tags.remarks(subject, author, message, lambda commit: known)]


def test_a_patch_in_order_has_no_remarks() -> None:
    reported = "Reported-by: B <b@example.org>\nCloses: https://example.org/1"
    assert kinds(f'{SIGNED}\n{reported}\nFixes: {COMMIT} ("x86: Poke (again)")', known=True) == []


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("kprobes/x86: Do it", []),
        ("Documentation: kprobes, trace: Do it", []),
        ("Do it", ["subject-prefix"]),
        ("kprobes:do it", ["subject-prefix"]),
        ("kprobes: " + "x" * 66, []),
        ("kprobes: " + "x" * 67, ["subject-length"]),
        ("", ["subject-prefix"]),
    ],
)
def test_subjects(subject: str, found: list[str]) -> None:
    assert kinds(subject=subject) == found


@pytest.mark.parametrize(
    "message",
    [
        "Why.",
        "Signed-off-by: B <b@example.org>",
        "Signed-off-by:",
        "signed-off-by: A <thor@example.org>",
    ],
)
def test_a_patch_whose_author_did_not_sign_off(message: str) -> None:
    assert kinds(message) == ["sign-off"]


@pytest.mark.parametrize(
    ("fixes", "known", "found"),
    [
        (f'{COMMIT} ("x86: Poke")', None, []),
        (f'{COMMIT} ("x86: Poke")', True, []),
        (f'{COMMIT} ("x86: Poke")', False, ["fixes-unknown"]),
        (f'{COMMIT[:-1]} ("x86: Poke")', True, ["fixes-form"]),
        (f"{COMMIT}", True, ["fixes-form"]),
        (f"{COMMIT} (x86: Poke)", True, ["fixes-form"]),
        (f'commit {COMMIT} ("x86: Poke")', True, ["fixes-form"]),
        ("the last one", True, ["fixes-form"]),
    ],
)
def test_fixes(fixes: str, known: bool | None, found: list[str]) -> None:
    assert kinds(f"{SIGNED}\nFixes: {fixes}", known=known) == found


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("\nCloses: https://example.org/1", []),
        ("\nLink: https://example.org/1", []),
        ("\nTested-by: B <b@example.org>\nCloses: https://example.org/1", ["reported-by"]),
        ("", ["reported-by"]),
    ],
)
def test_reports(after: str, found: list[str]) -> None:
    assert kinds(f"{SIGNED}\nReported-by: B <b@example.org>{after}") == found


@given(st.text(), st.text(), st.text())
def test_any_patch_gets_remarks_and_no_error(subject: str, author: str, message: str) -> None:
    for remark in tags.remarks(subject, author, message, lambda commit: False):
        assert remark.level in (tags.ERROR, tags.WARNING)
        assert remark.kind
