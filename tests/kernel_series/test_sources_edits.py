# SPDX-License-Identifier: GPL-2.0-or-later
"""A series of edits: step on step from the untouched tree, and what does not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_series import sources
from kernel_series.content import Content
from kernel_series.errors import RecipeMisfit, SeriesError
from kernel_series.run import Run
from kernel_series.sources import Request, read
from kernel_series.tree import Change, Overlay, Tree

UNTOUCHED = {
    "core.c": "int hit(int a)\n{\n\treturn a;\n}\n",
    "old.c": "/* goes away */\n",
}
RECIPE = """\
name: miniature
title: "three steps forward"
base: what it starts from
author: A <a@localhost>
date: 2010-02-25T08:33:49-05:00
steps:
  - subject: "core: Rename the argument"
    message: |
      Why.

      And more.
    edits:
      - {file: core.c, within: hit, find: "int a", replace: "int b"}
      - {file: core.c, within: hit, find: "return a", replace: "return b"}
  - subject: "core: Count from there"
    message: It sees what the step before left.
    edits:
      - {file: core.c, within: hit, find: "return b", replace: "return b + 1"}
      - {file: new.h, add: "extern int count;\\n"}
  - subject: "old: Remove it"
    message: Nobody uses it.
    edits:
      - {file: old.c, delete: true}
"""

Made = Callable[[str], Content]


@pytest.fixture
def made(fill: Callable[..., Path], tree: Callable[..., Tree], run: Run) -> Made:
    def make(recipe: str) -> Content:
        path = fill({"recipe.yml": recipe}) / "recipe.yml"
        return read("edits", Request("recipe.yml", "series.yml:9", run, path, tree=tree(UNTOUCHED)))

    return make


def test_every_point(made: Made, tree: Callable[..., Tree]) -> None:
    content = made(RECIPE)
    assert content.base == Change()
    points: list[Tree] = [tree(UNTOUCHED)]
    for patch in content.patches:
        assert patch.change is not None
        points.append(Overlay(points[-1], patch.change))
    bodies = [(point.read("core.c") or b"").decode().splitlines()[0::2] for point in points]
    assert bodies == [
        ["int hit(int a)", "\treturn a;"],
        ["int hit(int b)", "\treturn b;"],
        ["int hit(int b)", "\treturn b + 1;"],
        ["int hit(int b)", "\treturn b + 1;"],
    ]
    assert [point.read("new.h") is not None for point in points] == [False, False, True, True]
    assert [point.read("old.c") is not None for point in points] == [True, True, True, False]


def test_patches_say_who_when_and_why(made: Made) -> None:
    content = made(RECIPE)
    assert content.base_subject == "what it starts from"
    first, second, _ = content.patches
    assert (first.subject, first.message) == ("core: Rename the argument", "Why.\n\nAnd more.")
    assert (first.author, first.date) == ("A <a@localhost>", "2010-02-25T08:33:49-05:00")
    assert (first.origin, first.diff) == ("miniature: step 1", None)
    assert list(second.change or {}) == ["core.c", "new.h"]


def test_a_tree_that_does_not_fit(made: Made) -> None:
    """The place is the recipe's, with the edit counted in its step."""
    with pytest.raises(RecipeMisfit) as caught:
        made(RECIPE.replace('"return b", replace', '"return c", replace'))
    assert (caught.value.file, caught.value.edit, caught.value.found) == ("core.c", 1, 0)
    assert 'recipe.yml:18: edit 1 of 2: core.c: "return c" found 0 times' in str(caught.value)


def test_a_step_that_does_nothing(made: Made) -> None:
    there_and_back = '"return b + 1"}\n      - {file: core.c, find: "b + 1", replace: b}'
    nothing = RECIPE.replace('"return b + 1"}', there_and_back)
    nothing = nothing.replace('      - {file: new.h, add: "extern int count;\\n"}\n', "")
    with pytest.raises(SeriesError, match="step 2 changes nothing"):
        made(nothing)


def test_a_recipe_that_goes_backwards_is_no_recipe_of_edits(made: Made) -> None:
    with pytest.raises(SeriesError, match=r"steps\[0\]\.undo: unknown key; known: subject,"):
        made(RECIPE.replace("edits:", "undo:"))


def test_needs_a_tree(fill: Callable[..., Path], run: Run) -> None:
    path = fill({"recipe.yml": RECIPE}) / "recipe.yml"
    with pytest.raises(SeriesError, match=r"series\.yml:9: needs the base tree to edit"):
        read("edits", Request("recipe.yml", "series.yml:9", run, path))


@pytest.mark.parametrize(("source", "key"), [("edits", "edits:"), ("derive", "undo:")])
def test_subjects_are_known_without_a_tree(
    fill: Callable[..., Path], source: str, key: str
) -> None:
    path = fill({"recipe.yml": RECIPE.replace("edits:", key)}) / "recipe.yml"
    assert sources.subjects(source, path) == (
        "core: Rename the argument",
        "core: Count from there",
        "old: Remove it",
    )


def test_a_source_that_has_to_be_read_for_its_subjects(tmp_path: Path) -> None:
    assert sources.subjects("mbox", tmp_path) is None
    assert sources.subjects("git-range", None) is None
