# SPDX-License-Identifier: GPL-2.0-or-later
"""A series derived from a tree that has it already, by taking its steps out one after the other.

A derive recipe lists the steps in the order of the series; each says with `undo:` how to take it
out again. The untouched tree is the last point. Undoing the last step gives the point before it,
and so on down to point 0. So the last point equals the untouched tree by construction, and what a
step adds is whatever its undo took out. A tree that the recipe does not fit is refused with the
first edit that does not.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from kernel_series import document
from kernel_series.content import Content, Patch
from kernel_series.document import Node
from kernel_series.edits import Edit, apply, read_edits
from kernel_series.errors import SeriesError, printable
from kernel_series.run import Run
from kernel_series.sources import Request
from kernel_series.tree import Change, Overlay, Tree

NAMES_A_PATH = True


@dataclass(frozen=True)
class Step:
    """One patch to be: its commit message, and the edits that take it out again."""

    subject: str
    message: str
    undo: tuple[Edit, ...]


@dataclass(frozen=True)
class DeriveRecipe:
    """How to take a series out of a tree.

    `base` is the subject of point 0; `author` and `date` go into every patch.
    """

    path: Path
    name: str
    title: str
    source: str
    base: str
    author: str
    date: str
    steps: tuple[Step, ...]


def load_derive(path: Path) -> DeriveRecipe:
    """Read a derive recipe. Raises SeriesError."""
    keys = document.load(path).mapping(
        ("name", "title", "base", "author", "date", "steps"), ("source",)
    )
    steps = tuple(_step(item) for item in keys["steps"].items())
    if not steps:
        raise keys["steps"].error("is empty", "a derived series needs at least one step")
    return DeriveRecipe(
        path=path,
        name=keys["name"].name(),
        title=keys["title"].line_of_text(),
        source=keys["source"].line_of_text() if "source" in keys else "own",
        base=keys["base"].line_of_text(),
        author=keys["author"].matching(r"[^<>]{1,100} <[^<>@ ]+@[^<>@ ]+>", "Name <mail>"),
        date=keys["date"].matching(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", "a date like 2010-02-25T08:33:49-05:00"
        ),
        steps=steps,
    )


def derive(recipe: DeriveRecipe, tree: Tree, run: Run) -> Content:
    """Point 0 and the patches up to the untouched `tree`. Raises RecipeMisfit."""
    place = printable(str(recipe.path))
    undone: dict[str, bytes | None] = {}  # what differs from the untouched tree so far
    changes: list[Change] = []
    for step in reversed(recipe.steps):
        later = Overlay(tree, dict(undone))
        earlier = apply(step.undo, later, run, place)
        if not earlier:
            raise SeriesError(
                place, f"the undo of step {len(recipe.steps) - len(changes)} changes nothing"
            )
        changes.append(Change({path: later.read(path) for path in earlier}, place))
        undone.update(earlier)
    patches = tuple(
        Patch(
            step.subject,
            recipe.author,
            recipe.date,
            step.message,
            None,
            change,
            f"{recipe.name}: step {number}",
        )
        for number, (step, change) in enumerate(
            zip(recipe.steps, reversed(changes), strict=True), 1
        )
    )
    base = Change({path: new for path, new in undone.items() if new != tree.read(path)}, place)
    return Content(base, patches, base_subject=recipe.base)


def read(request: Request) -> Content:
    """The series that a recipe takes out of the base tree."""
    assert request.path is not None
    if request.tree is None:
        raise SeriesError(request.place, "needs the base tree to derive from")
    return derive(load_derive(request.path), request.tree, request.run)


def _step(node: Node) -> Step:
    keys = node.mapping(("subject", "message", "undo"), ())
    subject = keys["subject"].line_of_text()
    if re.match(r"\s*\[", subject):
        raise keys["subject"].error("starts with a bracket", "leave [PATCH] out")
    return Step(subject, keys["message"].text().strip(), read_edits(keys["undo"]))
