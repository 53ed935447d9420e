# SPDX-License-Identifier: GPL-2.0-or-later
"""A series told as edits of the base tree, one step on top of the other.

The recipe is that of derive, read forwards: `edits:` of a step say how to make it. Point 0 is the
untouched tree. As edits go by text and not by line, such a series fits more than one version of a
tree; one that it does not fit is refused with the first edit that does not.
"""

from pathlib import Path

from kernel_series import steps
from kernel_series.content import Content, Patch
from kernel_series.edits import apply
from kernel_series.errors import SeriesError, printable
from kernel_series.sources import Request
from kernel_series.tree import Change, Overlay

NAMES_A_PATH = True


def subjects(path: Path) -> tuple[str, ...]:
    """What the patches are called; needs no tree."""
    return tuple(step.subject for step in steps.load(path, "edits").steps)


def read(request: Request) -> Content:
    """The series that a recipe puts on the base tree."""
    assert request.path is not None
    if request.tree is None:
        raise SeriesError(request.place, "needs the base tree to edit")
    recipe = steps.load(request.path, "edits")
    place = printable(str(recipe.path))
    done: dict[str, bytes | None] = {}  # what differs from the untouched tree so far
    patches: list[Patch] = []
    for number, step in enumerate(recipe.steps, 1):
        change = apply(step.edits, Overlay(request.tree, dict(done)), request.run, place)
        if not change:
            raise SeriesError(place, f"step {number} changes nothing")
        patches.append(recipe.patch(number, change))
        done.update(change)
    return Content(Change(), tuple(patches), base_subject=recipe.base)
