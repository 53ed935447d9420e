# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a patch put anything into this kernel? A look through the preprocessor's eyes.

A patch whose added lines all vanish behind an #ifdef builds, boots and passes, and says nothing. So
the objects that the patch touches are preprocessed once more, by the very command that built them,
and its added lines are looked for in what is left, and what stands around those it took away. Where
no object holds what was touched, the kernel itself tells: it is the parent's, bit for bit, or not.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import IO

from workers.cache import read_made
from workers.errors import KernelFailure
from workers.lane import Lane
from workers.process import Cancel, Limits
from workers.trees import CONDITION, Difference

SOURCES = (".c", ".S")
HEADERS = (".h",)
DEEPEST = 32
"""Folders below each other that are looked into; a kernel has about ten."""

INCLUDERS = 2
"""Objects looked at for a touched header: one may include it behind a condition of its own."""

NEIGHBOURS = 8
"""Lines looked at on either side of what was taken away: comments and empty ones leave no trace."""

COMMAND = re.compile(r"^(?:saved)?cmd_\S+ := (.*?)(?: ; .*)?$", re.MULTILINE)
MARKER = re.compile(rb'^# (\d+) "([^"]*)"')

LIMITS = Limits(seconds=60.0, file_bytes=256 << 20)
"""What a preprocessor may use. It prints a few MB of a kernel's source; a hostile command names any
program in its place."""

LINE_LIMIT = 64 << 10
"""Bytes of a line of its output that are looked at: what it is, and where it comes from."""

FILE_LIMIT = 16 << 20


def any_line(
    differences: Iterable[Difference], lane: Lane, scratch: Path, cancel: Cancel
) -> bool | None:
    """Return whether any changed line of code survives preprocessing in this lane's kernel.

    None where no object holds a file that was changed: a Makefile, one that is gone, a linker
    script. ``scratch`` is a file that the preprocessor's output may be written to.
    """
    found = None
    changed = _changed(differences, lane.src)
    for commands in _objects(changed, lane):
        argv = _preprocessor(commands)
        if argv is None:
            continue
        found = False
        try:
            scratch.write_bytes(b"")
            lane.run(argv, scratch, cancel, LIMITS)
            with scratch.open("rb") as text:
                lines = _lines(_beginnings(text), f"{lane.inner_src}/")
                if any(line in changed.get(path, ()) for path, line in lines):
                    return True
        finally:
            scratch.unlink(missing_ok=True)
    return found


def _changed(differences: Iterable[Difference], src: Path) -> Mapping[str, frozenset[int]]:
    """Return the lines to look for in each file that holds code."""
    found = {}
    for change in differences:
        if change.path.endswith((*SOURCES, *HEADERS)) and (text := _read(src, change.path)):
            lines = ["", *text.split("\n")]
            wanted = set(change.added) | _around(change.cut, lines)
            found[change.path] = _printed_at(wanted, lines)
    return found


def _around(cut: Iterable[int], lines: Sequence[str]) -> set[int]:
    """Return the lines around those that were taken away, up to the next condition."""
    found = set[int]()
    for place in cut:
        before = range(min(place, len(lines) - 1), max(place - NEIGHBOURS, 0), -1)
        behind = range(place + 1, min(place + 1 + NEIGHBOURS, len(lines)))
        for side in (before, behind):
            found |= set(takewhile(lambda line: not CONDITION.match(lines[line]), side))
    return found


def _printed_at(wanted: Iterable[int], lines: Sequence[str]) -> frozenset[int]:
    """Return where the preprocessor prints lines: a continued one at its beginning."""
    found = set(wanted)
    for line in wanted:
        while 1 < line < len(lines) and lines[line - 1].rstrip().endswith("\\"):
            line -= 1
        found.add(line)
    return frozenset(found)


def _objects(changed: Iterable[str], lane: Lane) -> Iterator[str]:
    """Yield the commands of the objects that touched sources were built into."""
    included = []
    for path in changed:
        if path.endswith(SOURCES):
            folder, _, name = f"./{path}".rpartition("/")
            if commands := _read(lane.out, f"{folder}/.{name.rpartition('.')[0]}.o.cmd"):
                yield commands
                continue
        # A source without an object of its own is included by another one.
        included.append(f"{lane.inner_src}/{path} ")
    found = dict.fromkeys(included, 0)
    for file in _command_files(lane.out) if found else ():
        if min(found.values()) >= INCLUDERS:
            return
        path = file.relative_to(lane.out).as_posix()
        commands = "" if "tools/" in path else _read(lane.out, path)
        includes = [one for one, count in found.items() if count < INCLUDERS and one in commands]
        for one in includes:
            found[one] += 1
        if includes:
            yield commands


def _command_files(out: Path) -> list[Path]:
    """Return the files with the commands of all objects of a build, in order.

    A build can make folders deeper than any kernel's are.
    """
    found, waiting = list[Path](), [(out, 0)]
    while waiting:
        folder, depth = waiting.pop()
        with suppress(PermissionError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting += [(Path(entry.path), depth + 1)] if depth < DEEPEST else []
                elif entry.name.startswith(".") and entry.name.endswith(".o.cmd"):
                    found.append(Path(entry.path))
    return sorted(found)


def _read(folder: Path, path: str) -> str:
    """Return a file that the series made; nothing for one that can't be read as such."""
    try:
        return read_made(folder, path, FILE_LIMIT).decode(errors="replace")
    except KernelFailure:
        return ""


def _preprocessor(commands: str) -> Sequence[str] | None:
    """Turn the command that built an object into one that prints it preprocessed, with macros."""
    match = COMMAND.search(commands)
    if match is None:
        return None
    try:
        words = shlex.split(match[1].replace("$$", "$").replace("\\#", "#"))
    except ValueError:
        return None
    argv = list[str]()
    skip = False
    for word in words:
        if skip or word == "-c" or word.startswith(("-Wp,-MD", "-Wp,-MMD")):
            skip = False
        elif word == "-o":
            skip = True
        else:
            argv.append(word)
    return [*argv, "-E", "-dD"] if argv and "gcc" in Path(argv[0]).name else None


def _beginnings(text: IO[bytes]) -> Iterator[bytes]:
    """Yield the beginning of each line, whatever its length."""
    while line := text.readline(LINE_LIMIT):
        yield line
        while line and not line.endswith(b"\n"):
            line = text.readline(LINE_LIMIT)


def _lines(preprocessed: Iterable[bytes], src: str) -> Iterator[tuple[str, int]]:
    """Yield file (relative to the tree) and line of everything that the preprocessor left."""
    path, number = "", 0
    for line in preprocessed:
        if match := MARKER.match(line):
            name = match[2].decode(errors="replace")
            path, number = name.removeprefix(src), int(match[1])
            continue
        if line.strip():
            yield path, number
        number += 1
