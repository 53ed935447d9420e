# SPDX-License-Identifier: GPL-2.0-or-later
"""Which parts of a kernel a series touches, for builds that make no more than these.

The whole of a big configuration takes an hour on two cores. The objects of the touched sources, at
every point of the series, take minutes, and are what a patch breaks first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from workers.requests import Point, Scope
from workers.trees import TreeStore

SOURCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*/[A-Za-z0-9_.-]+\.[cS]")
"""Sources by names that make takes for nothing but a target."""

ARCH_FOLDERS = {"x86_64": "x86", "i386": "x86"}
"""The folder of an architecture below arch/, where it has another name."""

OUTSIDE = ("Documentation/", "scripts/", "tools/")
"""Folders whose programs are no part of a kernel."""

NO_RULE = re.compile(r"\*\*\* No rule to make target '([^']+)'")


def sources(points: Sequence[Point], store: TreeStore) -> tuple[str, ...]:
    """Return the C and assembly files that any patch of a series changes, deleted ones included."""
    found = set[str]()
    for point in points:
        before = None if point.made_from is None else points[point.made_from]
        if before is None or before.commit is None or point.commit is None:
            continue
        changes = store.differences(before.commit, point.commit)
        found |= {change.path for change in changes if SOURCE.fullmatch(change.path)}
    return tuple(sorted(found))


def targets(files: Sequence[str], scope: Scope, arch: str) -> tuple[str, ...]:
    """Return the make targets that build ``files`` for an architecture."""
    own = f"arch/{ARCH_FOLDERS.get(arch, arch)}/"
    ours = [
        file
        for file in files
        if (file.startswith(own) or not file.startswith("arch/")) and not file.startswith(OUTSIDE)
    ]
    if scope is Scope.OBJECTS:
        return tuple(f"{file.rpartition('.')[0]}.o" for file in ours)
    return tuple(dict.fromkeys(f"{file.rpartition('/')[0]}/" for file in ours))


def without_rule(log: str) -> frozenset[str]:
    """Return the targets that make knows no rule for, by what it said under ``-k``."""
    return frozenset(match.removeprefix("./") for match in NO_RULE.findall(log))
