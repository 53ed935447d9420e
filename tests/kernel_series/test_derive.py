# SPDX-License-Identifier: GPL-2.0-or-later
"""Deriving: point 0 and every patch, such that the last point is the untouched tree."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_series.content import Content
from kernel_series.errors import RecipeMisfit, SeriesError
from kernel_series.run import Run
from kernel_series.sources import Request, read
from kernel_series.sources.derive import derive, load_derive
from kernel_series.tree import Change, Overlay, Tree

# A kernel in miniature: a feature in a file of its own, a hook, a symbol, a cleanup, a document.
UNTOUCHED = {
    "Kconfig": "config PROBES\n\tbool\n\nconfig FAST\n\tdef_bool y\n\nconfig LAST\n\tbool\n",
    "core.c": """\
#define NEW_NAME 1

#ifdef CONFIG_FAST
static int hook(int a)
{
	return fast(a);
}
#else
static int hook(int a) { return 0; }
#endif

int hit(int a)
{
	if (hook(a))
		return 1;
	return NEW_NAME;
}
""",
    "fast.c": "int fast(int a)\n{\n\treturn a;\n}\n",
    "doc.rst": "Probes\n\nFast ones\nare fast.\n\nEnd\n",
    "other.c": "/* not touched */\n",
}
RECIPE = """\
name: miniature
title: "a feature in four steps"
base: without the feature
author: A <a@localhost>
date: 2010-02-25T08:33:49-05:00
steps:
  - subject: "core: Clean up a name"
    message: |
      Why.

      And more.
    undo:
      - {file: core.c, find: NEW_NAME, replace: OLD_NAME, count: 2}
  - subject: "core: Add a hook"
    message: Why a hook.
    undo:
      - {file: core.c, within: hit, cut: {from: 'if \\(hook', to: 'return NEW'}}
      - {file: core.c, cut: {from: '^static int hook', to: '^int hit'}}
  - subject: "fast: The feature"
    message: Why it is fast.
    undo:
      - {file: fast.c, delete: true}
      - {file: core.c, unifdef: [-UCONFIG_FAST]}
      - {file: Kconfig, cut: {from: ^config FAST, to: ^config LAST}}
  - subject: "doc: Say so"
    message: Why we say so.
    undo:
      - {file: doc.rst, cut: {from: ^Fast, to: ^End}}
"""


@pytest.fixture
def derived(fill: Callable[..., Path], tree: Callable[..., Tree], run: Run) -> Content:
    path = fill({"recipe.yml": RECIPE}) / "recipe.yml"
    return read("derive", Request("recipe.yml", "series.yml:9", run, path, tree=tree(UNTOUCHED)))


def points(content: Content, untouched: Tree) -> list[Tree]:
    """The tree at every point, as its owner would build them: patch on patch, from point 0."""
    trees: list[Tree] = [Overlay(untouched, content.base)]
    for patch in content.patches:
        assert patch.change is not None
        trees.append(Overlay(trees[-1], patch.change))
    return trees


def test_every_point(derived: Content, tree: Callable[..., Tree]) -> None:
    trees = points(derived, tree(UNTOUCHED))
    seen = [{name: point.read(name) for name in UNTOUCHED} for point in trees]
    assert seen[-1] == {name: text.encode() for name, text in UNTOUCHED.items()}
    assert seen[0]["core.c"] == b"#define OLD_NAME 1\n\nint hit(int a)\n{\n\treturn OLD_NAME;\n}\n"
    assert (seen[1]["core.c"] or b"").count(b"NEW_NAME") == 2
    assert b"return 0; }" in (seen[2]["core.c"] or b"")
    assert [state["fast.c"] is not None for state in seen] == [False, False, False, True, True]
    assert [b"FAST" in (state["Kconfig"] or b"") for state in seen] == [False] * 3 + [True] * 2
    assert [b"fast" in (state["doc.rst"] or b"") for state in seen] == [False] * 4 + [True]


def test_patches_name_what_they_touch(derived: Content) -> None:
    assert [list(patch.change or {}) for patch in derived.patches] == [
        ["core.c"],
        ["core.c"],
        ["Kconfig", "core.c", "fast.c"],
        ["doc.rst"],
    ]
    assert list(derived.base) == ["Kconfig", "core.c", "doc.rst", "fast.c"]
    first = derived.patches[0]
    assert (first.subject, first.message) == ("core: Clean up a name", "Why.\n\nAnd more.")
    assert (first.author, first.date) == ("A <a@localhost>", "2010-02-25T08:33:49-05:00")
    assert derived.base_subject == "without the feature"
    assert (first.origin, first.diff) == ("miniature: step 1", None)


def test_a_tree_that_does_not_fit(
    fill: Callable[..., Path], tree: Callable[..., Tree], run: Run
) -> None:
    recipe = load_derive(fill({"recipe.yml": RECIPE}) / "recipe.yml")
    with pytest.raises(RecipeMisfit) as caught:
        derive(recipe, tree({**UNTOUCHED, "Kconfig": "config PROBES\n"}), run)
    assert (caught.value.file, caught.value.edit, caught.value.found) == ("Kconfig", 3, 0)
    assert ":24: edit 3 of 3: Kconfig: 0 lines match" in str(caught.value)


def test_a_step_that_does_nothing(
    fill: Callable[..., Path], tree: Callable[..., Tree], run: Run
) -> None:
    nothing = """\
name: n
title: t
base: b
author: A <a@localhost>
date: 2010-02-25T08:33:49-05:00
steps:
  - subject: s
    message: m
    undo:
      - {file: other.c, find: not, replace: never}
      - {file: other.c, find: never, replace: not}
"""
    recipe = load_derive(fill({"recipe.yml": nothing}) / "recipe.yml")
    with pytest.raises(SeriesError, match="the undo of step 1 changes nothing"):
        derive(recipe, tree(UNTOUCHED), run)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("name: miniature\n", "", 'recipe.yml:1:1: key "name" is missing; known: name, title, '
         "base, author, date, steps, source"),
        ("A <a@localhost>", "A", 'recipe.yml:4:9: author: found "A", wanted Name <mail>'),
        ("2010-02-25T08:33:49-05:00", "2010", 'recipe.yml:5:7: date: found "2010", wanted a date '
         "like 2010-02-25T08:33:49-05:00"),
        ('"core: Add a hook"', '"[PATCH] core"', "recipe.yml:14:14: steps[1].subject: starts with "
         "a bracket; leave [PATCH] out"),
        ("    message: Why a hook.\n", "", 'recipe.yml:14:5: steps[1]: key "message" is missing; '
         "known: subject, message, undo"),
    ],
)  # fmt: skip
def test_bad_recipes(fill: Callable[..., Path], old: str, new: str, wanted: str) -> None:
    path = fill({"recipe.yml": RECIPE.replace(old, new, 1)}) / "recipe.yml"
    with pytest.raises(SeriesError) as caught:
        load_derive(path)
    assert str(caught.value) == f"{path.parent}/{wanted}"


def test_needs_a_tree(fill: Callable[..., Path], run: Run) -> None:
    path = fill({"recipe.yml": RECIPE}) / "recipe.yml"
    with pytest.raises(SeriesError, match=r"series\.yml:9: needs the base tree to derive from"):
        read("derive", Request("recipe.yml", "series.yml:9", run, path))


def test_change_is_a_checked_frozen_mapping() -> None:
    change = Change({"b": b"1", "a": None})
    assert (list(change), change["a"], len(change)) == (["a", "b"], None, 2)
    assert change == Change({"a": None, "b": b"1"})
    assert hash(change) == hash(Change({"a": None, "b": b"1"}))
    with pytest.raises(TypeError):
        change["c"] = b""  # type: ignore[index]
    with pytest.raises(SeriesError, match="leaves the tree"):
        Change({"../x": b""})
