# SPDX-License-Identifier: GPL-2.0-or-later
"""A series derived from a tree that has it already, by taking its steps out one after the other.

A derive recipe lists the steps in the order of the series; each says with `undo:` how to take it
out again. The untouched tree is the last point. Undoing the last step gives the point before it,
and so on down to point 0. So the last point is the untouched tree again, to which whoever makes
commits of the points holds them, and what a step adds is whatever its undo took out. A tree that
the recipe does not fit is refused with the first edit that does not.
"""

from pathlib import Path

from kernel_series import steps
from kernel_series.content import Content
from kernel_series.edits import apply
from kernel_series.errors import SeriesError, printable
from kernel_series.run import Run
from kernel_series.sources import Request
from kernel_series.steps import StepRecipe
from kernel_series.tree import Change, Overlay, Tree

NAMES_A_PATH = True


def load_derive(path: Path) -> StepRecipe:
    """Read a derive recipe. Raises SeriesError."""
    return steps.load(path, "undo")


def subjects(path: Path) -> tuple[str, ...]:
    """What the patches are called; needs no tree."""
    return tuple(step.subject for step in load_derive(path).steps)


def derive(recipe: StepRecipe, tree: Tree, run: Run) -> Content:
    """Point 0 and the patches up to the untouched `tree`. Raises RecipeMisfit."""
    place = printable(str(recipe.path))
    undone: dict[str, bytes | None] = {}  # what differs from the untouched tree so far
    changes: list[Change] = []
    for step in reversed(recipe.steps):
        later = Overlay(tree, dict(undone))
        earlier = apply(step.edits, later, run, place)
        if not earlier:
            raise SeriesError(
                place, f"the undo of step {len(recipe.steps) - len(changes)} changes nothing"
            )
        changes.append(Change({path: later.read(path) for path in earlier}, place))
        undone.update(earlier)
    patches = tuple(
        recipe.patch(number, change) for number, change in enumerate(reversed(changes), 1)
    )
    base = Change({path: new for path, new in undone.items() if new != tree.read(path)}, place)
    return Content(base, patches, base_subject=recipe.base, derived=True)


def read(request: Request) -> Content:
    """The series that a recipe takes out of the base tree."""
    assert request.path is not None
    if request.tree is None:
        raise SeriesError(request.place, "needs the base tree to derive from")
    return derive(load_derive(request.path), request.tree, request.run)
