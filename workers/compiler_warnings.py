# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiler warnings of a build: those there are, and those of files that were not rebuilt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LINE_LIMIT = 8 << 10
"""Characters of a line that is looked at: a hostile tree can print any number."""

COMPILED = re.compile(r"^  (?:CC|AS|HOSTCC|CC \[M\])\s+(\S+)\.o$")
# Nothing is tried twice: what a hostile tree prints would have it tried for hours.
WARNED = re.compile(r"^(?:\.\./|/src/)*+([^\s:]++)(?::\d++)*+: ?(?:[Ww]arning|WARNING): (.+)$")
UNPLACED = re.compile(r"^WARNING: (.+)$")

MOST = 1000
"""Warnings kept of one build: a hostile tree can print any number."""


@dataclass(frozen=True, order=True)
class CompilerWarning:
    """One warning without its line number, so that a patch that moves code brings none."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}" if self.file else self.text


def read(log: str) -> tuple[tuple[CompilerWarning, ...], frozenset[str]]:
    """Return the warnings in a build's log, and the sources (without ending) that it compiled."""
    found, compiled = set[CompilerWarning](), set[str]()
    for line in log.splitlines():
        if len(line) > LINE_LIMIT:
            continue
        if match := COMPILED.match(line):
            compiled.add(match[1])
        elif (match := WARNED.match(line)) and len(found) < MOST:
            found.add(CompilerWarning(match[1], match[2].strip()))
        elif (match := UNPLACED.match(line)) and len(found) < MOST:
            found.add(CompilerWarning("", match[1].strip()))
    return tuple(sorted(found)), frozenset(compiled)


def accumulate(
    parent: Iterable[CompilerWarning], found: Iterable[CompilerWarning], compiled: frozenset[str]
) -> tuple[CompilerWarning, ...]:
    """Return all warnings of a point built on top of its parent's objects.

    A file that was compiled again speaks for itself; for all others the parent's warnings stand.
    """
    standing = (warning for warning in parent if warning.file.rpartition(".")[0] not in compiled)
    return tuple(sorted({*standing, *found}))
