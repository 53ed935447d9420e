# SPDX-License-Identifier: GPL-2.0-or-later
"""The trees that the shipped recipes make of the kernel that they are for: of the derived series as
it was submitted, of the series on top, of every canary and cure.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import kernel_series
from kernel_series.edits import apply, load_recipe
from kernel_series.manifest import load
from kernel_series.series import read_series
from kernel_series.tree import Change, Overlay, Tree
from workers.prepare import StoredTree, run_tool
from workers.trees import TreeStore

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Submission

SHIPPED = Path(kernel_series.__file__).parent
RECIPES = sorted((*SHIPPED.glob("canaries/*.yml"), *SHIPPED.glob("cures/*.yml")))


@pytest.fixture(scope="module")
def store(submission: Submission) -> TreeStore:
    return TreeStore(submission.farm.cache / "kprobes-farm" / "trees.git")


@pytest.fixture(scope="module")
def commits(submission: Submission) -> list[str]:
    return [point["commit"] for point in submission.results["points"]]


@pytest.fixture(scope="module")
def untouched(store: TreeStore, commits: list[str]) -> str:
    """The tree as it was imported: the base of the series is made of it."""
    found = store.resolve(f"{commits[0]}^")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def points(store: TreeStore, commits: list[str]) -> list[Tree]:
    return [StoredTree(store, commit) for commit in commits]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_and_changes_something(
    store: TreeStore, commits: list[str], path: Path
) -> None:
    tree = StoredTree(store, commits[-1])
    change = apply(load_recipe(path).edits, tree, run_tool, str(path))
    assert change
    assert all(content != tree.read(file) for file, content in change.items())


def test_the_last_point_is_the_untouched_tree(
    store: TreeStore, commits: list[str], untouched: str
) -> None:
    assert store.tree(commits[9]) == store.tree(untouched) != store.tree(commits[0])


def test_the_base_has_nothing_of_it(
    store: TreeStore, commits: list[str], untouched: str, points: list[Tree]
) -> None:
    """But empty stubs, and what calls them: nothing is conditional on the symbol any more."""
    assert points[0].read("arch/x86/kernel/kprobes/opt.c") is None
    touched = {one.path for one in store.differences(untouched, commits[0])}
    assert touched
    assert {path for path in touched if b"OPTPROBES" in (points[0].read(path) or b"")} == set()


def test_the_symbol_comes_with_the_eighth_patch(points: list[Tree]) -> None:
    selected = [b"select HAVE_OPTPROBES" in (p.read("arch/x86/Kconfig") or b"") for p in points]
    assert selected == [False] * 8 + [True] * 2
    defined = [b"config OPTPROBES\n" in (p.read("arch/Kconfig") or b"") for p in points]
    assert defined == [False] * 3 + [True] * 7


def test_registers_are_saved_alike_before_and_after_the_sixth(points: list[Tree]) -> None:
    """What the recipe writes out is what the tree's macros say, instruction for instruction."""
    header = (points[6].read("arch/x86/kernel/kprobes/common.h") or b"").decode()
    trampoline = (points[6].read("arch/x86/kernel/rethook.c") or b"").decode()
    written_out = (points[5].read("arch/x86/kernel/rethook.c") or b"").decode()
    wide, narrow = header.split("#else\n", 1)
    wide_code, narrow_code = trampoline.split("#else\n", 1)
    for name in ("SAVE_REGS_STRING", "RESTORE_REGS_STRING"):
        wide_code = wide_code.replace(name, macro(wide, name))
        narrow_code = narrow_code.replace(name, macro(narrow, name))
    expected = instructions(wide_code + narrow_code)
    assert len(expected) > 60
    assert instructions(written_out) == expected


@pytest.fixture(scope="module")
def on_top(store: TreeStore, untouched: str) -> list[Tree]:
    """The points of the series on top, the untouched tree first."""
    trees: list[Tree] = [StoredTree(store, untouched)]
    content = read_series(load(SHIPPED / "on-top/series.yml"), run_tool, tree=trees[0])
    assert content.base == Change()
    for patch in content.patches:
        assert patch.change is not None
        trees.append(Overlay(trees[-1], patch.change))
    return trees


def text_of(tree: Tree, path: str) -> str:
    return (tree.read(path) or b"").decode()


FILES = (
    "kernel/kprobes.c",
    "include/linux/kprobes.h",
    "arch/x86/kernel/kprobes/core.c",
    "arch/x86/kernel/kprobes/opt.c",
)


def test_what_each_patch_on_top_touches(on_top: list[Tree]) -> None:
    touched = [
        [FILES.index(path) for path in FILES if before.read(path) != after.read(path)]
        for before, after in pairwise(on_top)
    ]
    assert touched == [[0], [0], [2], [3], [3], [0], [0, 1], [1], [3], [3]]


def test_the_first_patch_on_top_is_a_comment(on_top: list[Tree]) -> None:
    before, after = (without_comments(text_of(tree, FILES[0])) for tree in on_top[:2])
    assert before.split() == after.split()
    assert text_of(on_top[0], FILES[0]).count("\n") < text_of(on_top[1], FILES[0]).count("\n")


def test_the_second_patch_on_top_is_a_name(on_top: list[Tree]) -> None:
    """Of a local variable, and every line keeps its number: nothing of it is in what is built."""
    before, after = (text_of(tree, FILES[0]).splitlines() for tree in on_top[1:3])
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [re.sub(r"\b_op\b", "queued", old) for old, _ in changed] == [new for _, new in changed]
    assert len(changed) == 3


@pytest.mark.parametrize(("patch", "file"), [(8, 1), (10, 3)])
def test_what_was_moved_is_all_there(on_top: list[Tree], patch: int, file: int) -> None:
    """The field of a struct, a function: the same lines, in another order."""
    before, after = (text_of(tree, FILES[file]).splitlines() for tree in on_top[patch - 1 :][:2])
    assert before != after
    assert sorted(before) == sorted(after)


def test_brackets_stay_in_pairs(on_top: list[Tree]) -> None:
    for before, after in pairwise(on_top):
        for path in FILES:
            for opening, closing in ("()", "{}", "[]"):
                old, new = (without_comments(text_of(tree, path)) for tree in (before, after))
                assert new.count(opening) - new.count(closing) == (
                    old.count(opening) - old.count(closing)
                )


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def macro(text: str, name: str) -> str:
    match = re.search(rf"#define {name}\s*\\\n((?:.*\\\n)*.*\n)", text)
    assert match
    return match[1]


def instructions(text: str) -> list[str]:
    """The assembly in a piece of C, one instruction an entry; comments and spacing do not count."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    words = re.findall(r'"([^"]*)"|(ENCODE_FRAME_POINTER)', text)
    lines = [piece for line, word in words for piece in re.split(r"\\n|;", line or word)]
    return [" ".join(line.split()) for line in lines if line.strip()]
