# SPDX-License-Identifier: GPL-2.0-or-later
"""A series told as a recipe: its steps in order, each a commit message and edits.

What the edits of a step do is the source's to say: `undo:` takes the step out of a tree that has
it (derive), `edits:` makes it in a tree that has not (edits).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from kernel_series import document
from kernel_series.content import Patch
from kernel_series.document import Node
from kernel_series.edits import Edit, read_edits
from kernel_series.tree import Change


@dataclass(frozen=True)
class Step:
    """One patch to be: its commit message, and the edits that make it or take it out again."""

    subject: str
    message: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class StepRecipe:
    """A series in steps. `base` is the subject of point 0; `author`, `date` are every patch's."""

    path: Path
    name: str
    title: str
    source: str
    base: str
    author: str
    date: str
    steps: tuple[Step, ...]

    def patch(self, number: int, change: Change) -> Patch:
        """What step `number`, counted from 1, becomes when it changes this."""
        step = self.steps[number - 1]
        origin = f"{self.name}: step {number}"
        return Patch(step.subject, self.author, self.date, step.message, None, change, origin)


def load(path: Path, edits: str) -> StepRecipe:
    """Read a recipe whose steps hold their edits under the key `edits`. Raises SeriesError."""
    keys = document.load(path).mapping(
        ("name", "title", "base", "author", "date", "steps"), ("source",)
    )
    steps = tuple(_step(item, edits) for item in keys["steps"].items())
    if not steps:
        raise keys["steps"].error("is empty", "a series needs at least one step")
    return StepRecipe(
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


def _step(node: Node, edits: str) -> Step:
    keys = node.mapping(("subject", "message", edits), ())
    subject = keys["subject"].line_of_text()
    if re.match(r"\s*\[", subject):
        raise keys["subject"].error("starts with a bracket", "leave [PATCH] out")
    return Step(subject, keys["message"].text().strip(), read_edits(keys[edits]))
