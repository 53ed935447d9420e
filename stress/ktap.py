# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP, the kernel's test format: one line at a time in, whole reports out.

Format: Documentation/dev-tools/ktap.rst. A line is nested by four spaces a level; the guest puts
scenarios at level 0 and their cases at level 1.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VERSION_LINE = "KTAP version 1"


@dataclass(frozen=True, slots=True)
class Version:
    """`KTAP version 1`: what follows at this depth is KTAP."""

    depth: int


@dataclass(frozen=True, slots=True)
class Subtest:
    """`# Subtest: name`: whose cases follow."""

    depth: int
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`1..count`."""

    depth: int
    count: int


@dataclass(frozen=True, slots=True)
class Result:
    """`ok 1 name # reason`, with `skip` for `# SKIP reason`. The text is as hostile as it came."""

    depth: int
    ok: bool
    number: int
    name: str
    skip: bool = False
    reason: str | None = None


Line = Version | Subtest | Plan | Result

# guest/init/relay.h decides by the same rules what is a KTAP line, for the sums of both to agree.
_LINE = re.compile(
    r"(?P<indent>(?: {4}){0,7})"
    r"(?:(?P<version>KTAP version 1)"
    r"|1\.\.(?P<plan>[0-9]{1,9})"
    r"|# Subtest: (?P<subtest>.*)"
    r"|(?P<not>not )?ok (?P<number>[0-9]{1,9})(?: (?P<text>.*))?)",
    re.DOTALL,
)
# Words that readers of KTAP and TAP take for an order, not for a reason.
_DIRECTIVE = re.compile(r"(skip|todo|xfail|timeout|error)\b", re.IGNORECASE)


def parse(line: str) -> Line | None:
    """What one line (without its newline) says, or None if it is not a KTAP line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    depth = len(match["indent"]) // 4
    if match["version"]:
        return Version(depth)
    if match["plan"]:
        return Plan(depth, int(match["plan"]))
    if match["subtest"] is not None:
        return Subtest(depth, match["subtest"].strip())
    name, _, note = (match["text"] or "").partition("#")
    name, note = name.strip().removeprefix("- "), note.strip()
    ok = match["not"] is None
    # "not ok ... # SKIP" stays not ok: a failure is never argued away by its own text.
    skip = ok and note.upper().split(" ", 1)[0] == "SKIP"
    return Result(
        depth=depth,
        ok=ok,
        number=int(match["number"]),
        name=name,
        skip=skip,
        reason=(note[4:].strip() if skip else note) or None,
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A result to write: `skip` counts as ok; `children` are nested below it."""

    name: str
    ok: bool
    skip: bool = False
    reason: str | None = None
    children: tuple["Entry", ...] = ()


def write(tests: Sequence[Entry]) -> str:
    """The KTAP document for these results, ready to print."""
    return "".join(f"{line}\n" for line in _document(tests, "", None))


def _document(tests: Sequence[Entry], indent: str, subtest: str | None) -> Iterator[str]:
    yield f"{indent}{VERSION_LINE}"
    if subtest is not None:
        yield f"{indent}# Subtest: {subtest}"
    yield f"{indent}1..{len(tests)}"
    for number, test in enumerate(tests, 1):
        name = _one_line(test.name).replace("#", "_")
        if test.children:
            yield from _document(test.children, indent + "    ", name)
        verdict = "ok" if test.ok or test.skip else "not ok"
        note = _one_line(test.reason or "")
        if test.skip:
            note = f"SKIP {note}".rstrip()
        elif _DIRECTIVE.match(note):
            note = f"({note})"
        yield f"{indent}{verdict} {number} {name}" + (f" # {note}" if note else "")


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
