# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts a raw console into lines and takes printk's prefix off each of them.

A console is not a file of lines: firmware moves the cursor, user space leaves lines unfinished and
printk goes on right behind them, serial lines end in CR LF or worse. The prefix is what
info_print_prefix() of kernel/printk/printk.c writes: `<level>`, `[    1.234567]`, `[   T412]` or
`[     C1]`, each of them only if the kernel was so configured.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LIMIT = 64 * 1024 * 1024
"""Bytes of a console that are read; of a longer one the first and the last half of that."""
LINE_LIMIT = 2048
"""Characters of a line that are looked at; a printk record holds at most about 1,000."""

# A line without end is taken in bites, so that no line decides how much memory is used.
_LINE = re.compile(rb"[^\n]{1,65536}")
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[ -/]?[@-~]|[@-Z\\^_`-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LEVEL = r"(?:<\d{1,3}>)"
_TIME = r"\[ {0,5}\d{1,10}\.\d{6}\]"
_GLUED = re.compile(_TIME)
_LEVEL_AT_END = re.compile(rf"{_LEVEL}\Z")
_PREFIX = re.compile(
    rf"{_LEVEL}?(?P<time>{_TIME})?(?P<caller>\[ {{0,5}}[TC]\d{{1,10}}(?:@C\d{{1,6}})?\])?"
    rf" ?{_LEVEL}?"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line that one speaker wrote; several may share a line of the console."""

    number: int
    """1-based number of the line on the console."""
    raw: str
    """As on the console, without control characters."""
    text: str
    """The message, without printk's prefix."""
    timed: bool
    """It carries printk's time."""
    kernel: bool
    """It carries some prefix of printk: no other speaker writes that."""
    caller: str
    """Who spoke, where printk tells it: `T412` (a task) or `C1` (an interrupt on a CPU)."""
    whole: bool
    """A line end follows: it was not cut off."""


def lines(console: bytes) -> Iterator[Line]:
    """The non-empty lines of a console, in order, never more than LIMIT bytes of it."""
    if len(console) <= LIMIT:
        yield from _lines(console, 0, len(console), 1)
        return
    head, tail = LIMIT // 2, len(console) - LIMIT // 2
    yield from _lines(console, 0, head, 1)
    yield from _lines(console, tail, len(console), 1 + console.count(b"\n", 0, tail))


def skipped(console: bytes) -> int:
    """How many bytes of a console `lines` leaves out."""
    return max(0, len(console) - LIMIT)


def _lines(console: bytes, start: int, end: int, number: int) -> Iterator[Line]:
    counted = start
    for match in _LINE.finditer(console, start, end):
        number += console.count(b"\n", counted, match.start())
        counted = match.start()
        whole = console[match.end() : match.end() + 1] == b"\n"
        pieces = list(_pieces(match.group().decode("utf-8", "replace")))
        for position, piece in enumerate(pieces, 1):
            yield _line(number, piece, whole or position < len(pieces))


def _pieces(text: str) -> Iterator[str]:
    """The parts that different speakers wrote into one line of the console."""
    for part in _ESCAPE.sub("", text).split("\r"):
        starts = (_beginning(part, match.start()) for match in _GLUED.finditer(part))
        for start, end in pairwise([0, *starts, len(part)]):
            piece = _CONTROL.sub("", part[start : min(end, start + LINE_LIMIT)])
            if piece.strip():
                yield piece


def _beginning(part: str, time: int) -> int:
    """Where a prefix begins whose time stands at `time`: a level may come before it."""
    level = _LEVEL_AT_END.search(part, max(0, time - len("<191>")), time)
    return time if level is None else level.start()


def _line(number: int, raw: str, whole: bool) -> Line:
    match = _PREFIX.match(raw)
    assert match is not None  # every part of the prefix is optional
    caller = (match["caller"] or "").strip("[] ").partition("@")[0]
    timed = match["time"] is not None
    kernel = timed or bool(caller) or (raw.startswith("<") and match.end() > 0)
    text = raw[match.end() :] if kernel else raw
    return Line(number, raw, text, timed, kernel, caller, whole)
