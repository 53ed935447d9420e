# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP, line by line in, whole documents out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress.ktap import Entry, Plan, Result, Subtest, Version, parse, write

CASES = [
    ("KTAP version 1", Version(0)),
    ("    KTAP version 1", Version(1)),
    ("1..7", Plan(0, 7)),
    ("    1..0", Plan(1, 0)),
    ("    # Subtest: smoke", Subtest(1, "smoke")),
    ("ok 1 smoke", Result(0, True, 1, "smoke")),
    ("ok 1 - smoke", Result(0, True, 1, "smoke")),
    ("ok 1", Result(0, True, 1, "")),
    (
        "    not ok 2 smoke.hits # 5 of 10 hits counted",
        Result(1, False, 2, "smoke.hits", False, "5 of 10 hits counted"),
    ),
    ("    ok 3 x # SKIP no OPTPROBES", Result(1, True, 3, "x", True, "no OPTPROBES")),
    ("    ok 3 x # skip", Result(1, True, 3, "x", True, None)),
    ("    ok 3 x # skipped lines", Result(1, True, 3, "x", False, "skipped lines")),
    # A failure is not argued away.
    ("    not ok 3 x # SKIP", Result(1, False, 3, "x", False, "SKIP")),
    ("ok 1 a # b # c", Result(0, True, 1, "a", False, "b # c")),
]

NO_KTAP = [
    "",
    "ok",
    "okay 1 x",
    "ok x",
    "ok 1x",
    "ok 1234567890 x",
    "ok -1 x",
    "ok \N{ARABIC-INDIC DIGIT ONE} x",
    "not  ok 1 x",
    "Not ok 1 x",
    "  ok 1 x",
    "     ok 1 x",
    " " * 32 + "ok 1 x",
    "\tok 1 x",
    "KTAP version 2",
    "KTAP version 1 ",
    "1..",
    "1..5 # SKIP",
    "0..5",
    "# Subtest:",
    "# a comment",
    "[    1.234567] ok 1 x",
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_parse(line: str, expected: object) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize("line", NO_KTAP)
def test_not_ktap(line: str) -> None:
    assert parse(line) is None


@given(st.text())
def test_any_text(line: str) -> None:
    parse(line)


def test_write() -> None:
    tests = (
        Entry(
            "smoke",
            ok=False,
            children=(
                Entry("smoke.hits", ok=False, reason="5 of 10\nhits"),
                Entry("smoke.optimized", ok=True, skip=True, reason="no OPTPROBES"),
            ),
        ),
        Entry("over#head", ok=True),
        Entry("last", ok=False, reason="skip this"),
    )
    assert write(tests) == (
        "KTAP version 1\n"
        "1..3\n"
        "    KTAP version 1\n"
        "    # Subtest: smoke\n"
        "    1..2\n"
        "    not ok 1 smoke.hits # 5 of 10 hits\n"
        "    ok 2 smoke.optimized # SKIP no OPTPROBES\n"
        "not ok 1 smoke\n"
        "ok 2 over_head\n"
        "not ok 3 last # (skip this)\n"
    )


@given(st.lists(st.builds(Entry, st.text(), st.booleans(), st.booleans(), st.none() | st.text())))
def test_whatever_is_written_can_be_read(tests: list[Entry]) -> None:
    lines = [parse(line) for line in write(tests).splitlines()]
    assert lines[:2] == [Version(0), Plan(0, len(tests))]
    results = [line for line in lines[2:] if isinstance(line, Result)]
    assert [(line.ok, line.skip) for line in results] == [
        (test.ok or test.skip, test.skip) for test in tests
    ]
