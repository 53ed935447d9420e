# SPDX-License-Identifier: GPL-2.0-or-later
"""The canaries and cures that ship: found by their names, and fit for the tree they are for.

Those marked kernel_source need an untouched Debian tree:
KERNEL_SOURCE=/path/to/linux-source-6.12 pytest -m kernel_source tests/kernel_series
"""

from pathlib import Path

import pytest

import kernel_series
from kernel_series.edits import apply, load_recipe
from kernel_series.run import Run
from kernel_series.tree import Tree
from stress import scenario

SHIPPED = Path(kernel_series.__file__).parent
RECIPES = sorted((*SHIPPED.glob("canaries/*.yml"), *SHIPPED.glob("cures/*.yml")))

each = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


@each
def test_a_recipe_is_found_by_its_name_and_says_what_catches_it(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.shows
    assert recipe.caught_by
    assert set(recipe.caught_by) <= set(scenario.load_all())


@pytest.mark.kernel_source
@each
def test_a_recipe_fits_and_changes_something(path: Path, kernel_source: Tree, run: Run) -> None:
    change = apply(load_recipe(path).edits, kernel_source, run, str(path))
    assert change
    assert all(content != kernel_source.read(file) for file, content in change.items())
