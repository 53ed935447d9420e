# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile consoles: never raises, and work and memory stay in proportion."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.console import crash
from workers.console.crash import (
    EXCERPT_LIMIT,
    blocks,
    boots,
    frames,
    incidents,
    lines,
    read,
    reader,
    rules,
    titles,
)

CONSOLES = [path.read_bytes() for path in sorted((Path(__file__).parent / "golden").glob("*.txt"))]
LINES = sorted({line for console in CONSOLES for line in console.splitlines(keepends=True)})


def check(console: bytes) -> None:
    """Everything that a report promises, whatever the console holds."""
    reports = read(console)
    assert len(reports) <= incidents.REPORTS_LIMIT
    assert [report.line for report in reports] == sorted(report.line for report in reports)
    assert len({report.title for report in reports}) == len(reports)
    for report in reports:
        assert 0 < len(report.title) <= titles.TITLE_LIMIT
        assert report.title.isprintable()
        assert 1 <= report.line <= console.count(b"\n") + 1
        assert len(report.frames) <= frames.FRAMES_LIMIT
        assert len(report.excerpt) <= EXCERPT_LIMIT
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", report.excerpt)
        assert report.title not in report.also


@given(st.binary(max_size=5000))
def test_random_bytes(console: bytes) -> None:
    check(console)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(LINES), max_size=80))
def test_shuffled_lines(parts: list[bytes]) -> None:
    check(b"".join(parts))


@settings(max_examples=300)
@given(
    st.sampled_from(CONSOLES),
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    st.binary(max_size=20),
)
def test_cut_consoles_with_something_pushed_in(
    console: bytes, start: int, end: int, pushed: bytes
) -> None:
    check(console[:start] + pushed + console[end:])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"", b"[    T1] ", b"[    C7] "])))
)
def test_shuffled_lines_of_several_callers(parts: list[tuple[bytes, bytes]]) -> None:
    check(b"".join(b"[    1.000000]" + caller + line for line, caller in parts))


@given(st.sampled_from([rule.hint for rule in rules.RULES]), st.text(max_size=200))
def test_random_text_behind_the_words_of_a_rule(hint: str, text: str) -> None:
    check(f"[    1.000000] {hint}{text}\n{hint}{text}".encode())


# Each makes a console of about the given number of lines that is as unpleasant as can be.
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "new titles": lambda n: b"".join(b"BUG: %s f+0x1/0x2\n" % _word(i) for i in range(n)),
    "new warnings": lambda n: b"".join(
        b"WARNING: CPU: 0 PID: %d at %s+0x1/0x2\n" % (i, _word(i)) for i in range(n)
    ),
    "one title": lambda n: b"[    1.000000] Kernel panic - not syncing: x\n" * n,
    "new tasks": lambda n: b"".join(
        b"BUG: soft lockup - CPU#0 stuck for 9s! [x:%d]\n %s+0x1/0x2\n" % (i, _word(i))
        for i in range(n // 2)
    ),
    "callers": lambda n: b"".join(
        b"[    1.000000][ T%d] BUG: scheduling while atomic: x/%d/0x2\n" % (i, i) for i in range(n)
    ),
    "lent callers": lambda n: (
        b"[    1.000000][    T1] BUG: soft lockup - CPU#0 stuck for 9s! [x:1]\n"
        + b"".join(b"[    1.000000][ C%d] NMI backtrace for cpu 1\n" % i for i in range(n))
    ),
    "never ends": lambda n: b"BUG: KASAN: x in f+0x1/0x2\n" + b"Call Trace:\n" * n,
    "cut here": lambda n: b"------------[ cut here ]------------\n" * n,
    "lock history": lambda n: (
        b"WARNING: possible recursive locking detected\n" + b"f+0x1/0x2\n" * n
    ),
    "boots": lambda n: b"[    0.000000] Linux version 6.12 (x)\n" * n,
    "versions": lambda n: b"Linux version 6.12 (x)\n" * n,
    "glued": lambda n: b"[    1.000000] BUG: x" * n,
    "blanks": lambda n: b" " * 40 * n + b"\n",
    "blank lines of a trace": lambda n: b"Oops: 0000 [#1]\n" + (b" " * 60 + b"x\n") * n,
    "one word": lambda n: b"[    1.000000] BUG: " + b"x" * 40 * n,
    "one dotted word": lambda n: b"BUG: " + b"x." * 20 * n,
    "line ends": lambda n: b"\n\r" * n,
    "escapes": lambda n: b"\x1b[" * 20 * n,
    "zeros": lambda n: bytes(40 * n),
}


def _word(number: int) -> bytes:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)).encode()


def _pattern_calls(console: bytes) -> int:
    """How often reading a console applies a regular expression."""
    calls = 0

    def profile(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal calls
        if event == "c_call" and isinstance(getattr(called, "__self__", None), re.Pattern):
            calls += 1

    sys.setprofile(profile)
    try:
        read(console)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_linear_in_the_console(name: str) -> None:
    once, twice = (_pattern_calls(HOSTILE[name](lines)) for lines in (500, 1000))
    assert once <= 2 * len(rules.RULES) * 525
    assert twice <= 2.2 * once + 100


PEAKS = """\
import sys, tracemalloc
from workers.console.crash import read
for size in map(int, sys.argv[1:]):
    console = sys.stdin.buffer.read(size)
    tracemalloc.start()
    read(console)
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


def test_memory_does_not_grow_with_the_console() -> None:
    consoles = [make(lines) for make in HOSTILE.values() for lines in (2000, 4000)]
    sizes = [str(len(console)) for console in consoles]
    # In a process that has one thread: those of the test runner allocate too, now and then.
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, *sizes], input=b"".join(consoles), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    peaks = [int(line) for line in done.stdout.split()]
    pairs = zip(HOSTILE, peaks[::2], peaks[1::2], strict=True)
    assert not [name for name, once, twice in pairs if twice > once + 200_000]


def _modules() -> Iterator[Any]:
    yield from (blocks, boots, frames, incidents, lines, reader, titles)


def _patterns() -> dict[str, re.Pattern[str]]:
    found = {
        f"{module.__name__}.{name}": value
        for module in _modules()
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }
    for rule in rules.RULES:
        for name in ("pattern", "names", "begin", "end", "ignore"):
            if (value := getattr(rule, name)) is not None:
                found[f"{rule.name}.{name}"] = value
    return found


def _unbounded_inside_repeat(tree: Any, inside: bool = False) -> bool:
    """Whether a repetition without an upper bound stands inside another repetition.

    Possessive ones may: they never give anything back.
    """
    for operator, arguments in tree:
        name = str(operator)
        if "REPEAT" in name:
            low, high, body = arguments
            unbounded = high is re._constants.MAXREPEAT and not name.startswith("POSSESSIVE")
            if (unbounded and inside) or _unbounded_inside_repeat(body, inside or high > 1):
                return True
            assert low <= high
        elif name == "SUBPATTERN":
            if _unbounded_inside_repeat(arguments[-1], inside):
                return True
        elif name == "BRANCH":
            if any(_unbounded_inside_repeat(branch, inside) for branch in arguments[1]):
                return True
        elif name in {"ASSERT", "ASSERT_NOT"} and _unbounded_inside_repeat(arguments[1], inside):
            return True
    return False


@pytest.mark.parametrize(("name", "pattern"), sorted(_patterns().items()))
def test_no_pattern_nests_unbounded_repetitions(name: str, pattern: re.Pattern[Any]) -> None:
    assert not _unbounded_inside_repeat(re._parser.parse(pattern.pattern)), name


def test_the_check_for_nested_repetitions_works() -> None:
    assert _unbounded_inside_repeat(re._parser.parse(r"(?:a+b?)*c"))
    assert not _unbounded_inside_repeat(re._parser.parse(r"(?:a+b)?c{2,9}d*"))


def test_the_package_offers_what_its_users_need() -> None:
    assert set(crash.__all__) == {"EXCERPT_LIMIT", "LIMIT", "CrashKind", "CrashReport", "read"}
