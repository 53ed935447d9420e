# SPDX-License-Identifier: GPL-2.0-or-later
"""The canaries and cures that ship fit the tree that they are planted in by default."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernel_series
from kernel_series.edits import apply, load_recipe
from workers.prepare import StoredTree, run_tool
from workers.trees import TreeStore

SHIPPED = Path(kernel_series.__file__).parent
RECIPES = sorted((*SHIPPED.glob("canaries/*.yml"), *SHIPPED.glob("cures/*.yml")))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_and_changes_something(submission, path: Path) -> None:
    store = TreeStore(submission.farm.cache / "kprobes-farm" / "trees.git")
    tree = StoredTree(store, submission.results["points"][-1]["commit"])
    change = apply(load_recipe(path).edits, tree, run_tool, str(path))
    assert change
    assert all(content != tree.read(file) for file, content in change.items())
