# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a patch put anything into this kernel? A look through the preprocessor's eyes.

A patch whose added lines all vanish behind an #ifdef builds, boots and passes, and says nothing. So
the objects that the patch touches are preprocessed once more, by the very command that built them,
and its added lines are looked for in what is left.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from workers.cache import read_made
from workers.errors import KernelFailure
from workers.lane import Lane
from workers.process import Cancel, Limits
from workers.trees import Difference

SOURCES = (".c", ".S")
HEADERS = (".h",)
INCLUDERS = 2
"""Objects looked at for a touched header: one may include it behind a condition of its own."""

COMMAND = re.compile(r"^(?:saved)?cmd_\S+ := (.*?)(?: ; .*)?$", re.MULTILINE)
MARKER = re.compile(rb'^# (\d+) "([^"]*)"')

LIMITS = Limits(seconds=60.0)
FILE_LIMIT = 16 << 20


def any_line(differences: Iterable[Difference], lane: Lane, scratch: Path, cancel: Cancel) -> bool:
    """Return whether any added line of code survives preprocessing in this lane's kernel.

    ``scratch`` is a file that the preprocessor's output may be written to.
    """
    added = {change.path: _printed_at(change, lane.src) for change in differences if change.added}
    for commands in _objects(added, lane):
        argv = _preprocessor(commands)
        if argv is None:
            continue
        scratch.write_bytes(b"")
        lane.run(argv, scratch, cancel, LIMITS)
        with scratch.open("rb") as text:
            lines = _lines(text, f"{lane.inner_src}/")
            left = any(line in added.get(path, ()) for path, line in lines)
        scratch.unlink()
        if left:
            return True
    return False


def _printed_at(change: Difference, src: Path) -> frozenset[int]:
    """Return where the preprocessor prints the added lines: a continued line at its beginning."""
    text = _read(src, change.path)
    lines = ["", *text.split("\n")]
    found = set(change.added)
    for line in change.added:
        while 1 < line < len(lines) and lines[line - 1].rstrip().endswith("\\"):
            line -= 1
        found.add(line)
    return frozenset(found)


def _objects(added: Iterable[str], lane: Lane) -> Iterator[str]:
    """Yield the commands of the objects that touched sources were built into."""
    included = []
    for path in added:
        if path.endswith(SOURCES):
            folder, _, name = f"./{path}".rpartition("/")
            if commands := _read(lane.out, f"{folder}/.{name.rpartition('.')[0]}.o.cmd"):
                yield commands
                continue
        if path.endswith((*SOURCES, *HEADERS)):
            # A source without an object of its own is included by another one.
            included.append(f"{lane.inner_src}/{path} ")
    found = dict.fromkeys(included, 0)
    for file in sorted(lane.out.glob("**/.*.o.cmd")) if found else ():
        if min(found.values()) >= INCLUDERS:
            return
        path = file.relative_to(lane.out).as_posix()
        commands = "" if "tools/" in path else _read(lane.out, path)
        includes = [one for one, count in found.items() if count < INCLUDERS and one in commands]
        for one in includes:
            found[one] += 1
        if includes:
            yield commands


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
