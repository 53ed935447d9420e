# SPDX-License-Identifier: GPL-2.0-or-later
"""The canaries and cures that ship: found by their names. That they fit is end_to_end's to test."""

from pathlib import Path

import pytest

import kernel_series
from kernel_series.edits import load_recipe
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
