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

from workers.lane import SRC, Lane
from workers.process import Cancel, Limits
from workers.trees import Difference

SOURCES = (".c", ".S")
HEADERS = (".h",)
INCLUDERS = 2
"""Objects looked at for a touched header: one may include it behind a condition of its own."""

COMMAND = re.compile(r"^(?:saved)?cmd_\S+ := (.*?)(?: ; .*)?$", re.MULTILINE)
MARKER = re.compile(rb'^# (\d+) "([^"]*)"')

LIMITS = Limits(seconds=60.0)


def any_line(differences: Iterable[Difference], lane: Lane, scratch: Path, cancel: Cancel) -> bool:
    """Return whether any added line of code survives preprocessing in this lane's kernel.

    ``scratch`` is a file that the preprocessor's output may be written to.
    """
    added = {change.path: frozenset(change.added) for change in differences if change.added}
    for commands in _objects(added, lane.out):
        argv = _preprocessor(commands.read_text(errors="replace"))
        if argv is None:
            continue
        scratch.write_bytes(b"")
        lane.run(argv, scratch, cancel, LIMITS)
        with scratch.open("rb") as text:
            left = any(line in added.get(path, ()) for path, line in _lines(text))
        scratch.unlink()
        if left:
            return True
    return False


def _objects(added: Iterable[str], out: Path) -> Iterator[Path]:
    """Yield the command files of the objects that touched sources were built into."""
    headers = []
    for path in added:
        if path.endswith(SOURCES):
            stem = out / path
            commands = stem.with_name(f".{stem.stem}.o.cmd")
            if commands.is_file() and commands.resolve().is_relative_to(out.resolve()):
                yield commands
        elif path.endswith(HEADERS):
            headers.append(f"{SRC}/{path} ")
    if not headers:
        return
    found = dict.fromkeys(headers, 0)
    for commands in sorted(out.glob("**/.*.o.cmd")):
        if not min(found.values()) < INCLUDERS:
            return
        if commands.is_symlink() or "tools/" in commands.as_posix():
            continue
        text = commands.read_text(errors="replace")
        included = [
            header for header, count in found.items() if count < INCLUDERS and header in text
        ]
        for header in included:
            found[header] += 1
        if included:
            yield commands


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


def _lines(preprocessed: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """Yield file (relative to the tree) and line of everything that the preprocessor left."""
    path, number = "", 0
    for line in preprocessed:
        if match := MARKER.match(line):
            name = match[2].decode(errors="replace")
            path, number = name.removeprefix(f"{SRC}/"), int(match[1])
            continue
        if line.strip():
            yield path, number
        number += 1
