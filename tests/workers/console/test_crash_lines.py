# SPDX-License-Identifier: GPL-2.0-or-later
"""Cutting a console into lines: prefixes, glued lines, line ends, and what is left out."""

import pytest

from workers.console.crash import LIMIT, read
from workers.console.crash import lines as lines_module
from workers.console.crash.lines import LINE_LIMIT, Line, lines, skipped


def only(console: bytes) -> Line:
    (line,) = lines(console)
    return line


@pytest.mark.parametrize(
    ("raw", "text", "caller", "kernel"),
    [
        ("plain words", "plain words", "", False),
        ("  indented", "  indented", "", False),
        ("[    1.234567] message", "message", "", True),
        ("[98765.123456] message", "message", "", True),
        ("[    1.234567]  indented", " indented", "", True),
        ("<4>message", "message", "", True),
        ("<4>[    1.234567] message", "message", "", True),
        ("[    1.234567] <0>Call Trace:", "Call Trace:", "", True),
        ("[    1.234567][    T1] message", "message", "T1", True),
        ("[    1.234567][  T412] message", "message", "T412", True),
        ("[    1.234567][    C1] message", "message", "C1", True),
        ("[    1.234567][ T412@C1] message", "message", "T412", True),
        ("[  T412] message", "message", "T412", True),
        ("<6>[    C0] message", "message", "C0", True),
        ("[    1.23] not printk's time", "[    1.23] not printk's time", "", False),
        (
            "<EOI>  [<ffffffff81000000>] f+0x1/0x2",
            "<EOI>  [<ffffffff81000000>] f+0x1/0x2",
            "",
            False,
        ),
        ("[ OK ] Started something", "[ OK ] Started something", "", False),
        ("[T] is for task", "[T] is for task", "", False),
    ],
)
def test_takes_the_prefix_off(raw: str, text: str, caller: str, kernel: bool) -> None:
    line = only(raw.encode())
    assert (line.text, line.caller, line.kernel) == (text, caller, kernel)
    assert line.raw == raw
    assert line.timed == ("." in raw[:20] and kernel)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n", b"\n\r"])
def test_any_line_end_will_do(end: bytes) -> None:
    found = list(lines(end.join([b"one", b"two", b"", b"four", b""])))
    assert [(line.number, line.text) for line in found] == [(1, "one"), (2, "two"), (4, "four")]
    assert all(line.whole for line in found)


def test_a_line_without_end_was_cut_off() -> None:
    assert [line.whole for line in lines(b"one\ntwo")] == [True, False]


def test_printk_behind_an_unfinished_line_is_a_line_of_its_own() -> None:
    found = list(
        lines(b"Booting from ROM..<5>[    0.000000] Linux version\r\n~ # [    9.000000] BUG\n")
    )
    assert [(line.number, line.text) for line in found] == [
        (1, "Booting from ROM.."),
        (1, "Linux version"),
        (2, "~ # "),
        (2, "BUG"),
    ]
    assert [line.timed for line in found] == [False, True, False, True]


def test_control_characters_and_escapes_go() -> None:
    line = only(b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSea\x00BIOS\x07\tv1 \xff\xfe")
    assert line.raw == "SeaBIOS\tv1 ��"


def test_a_carriage_return_begins_a_new_piece() -> None:
    assert [line.text for line in lines(b"10 %\r20 %\r[    1.000000] done\n")] == [
        "10 %",
        "20 %",
        "done",
    ]


def test_an_endless_line_is_looked_at_in_pieces() -> None:
    found = list(lines(b"x" * 200_000 + b"\nnext\n"))
    assert [line.number for line in found] == [1, 1, 1, 1, 2]
    assert max(len(line.raw) for line in found) == LINE_LIMIT


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(lines_module, "LIMIT", 1000)
    return 1000


def test_of_a_long_console_head_and_tail_are_read(small_limit: int) -> None:
    console = b"".join(b"line %06d\n" % number for number in range(1, 1001))
    found = list(lines(console))
    assert skipped(console) == len(console) - small_limit
    assert (found[0].text, found[0].number) == ("line 000001", 1)
    assert (found[-1].text, found[-1].number) == ("line 001000", 1000)
    assert all(int(line.text[5:]) == line.number for line in found if len(line.text) == 11)


def test_reports_tell_that_a_console_was_not_read_whole(small_limit: int) -> None:
    panic = b"Kernel panic - not syncing: Fatal exception\n"
    console = b"boot\n" * 200 + panic + b"quiet\n" * 200
    assert read(console) == ()
    assert skipped(console) == len(console) - small_limit
    (report,) = read(console + panic)
    assert report.skipped == skipped(console + panic)


def test_nothing_is_skipped_below_the_limit() -> None:
    assert skipped(b"x" * 4096) == 0
    assert LIMIT >= 64 * 1024 * 1024
