# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a symbolic link of a tree leads, through all the other ones."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_series.tree import leaves_tree

LINKS = {
    "root": ".",
    "a/up": "..",
    "a/b/top": "../..",
    "a/b/file": "../../x/../y",
    "a/b/gone": "nothing/../../../x",
    "a/b/slash": ".././../x//",
    "through": "a/b/top/a/b",
    "far": "/etc",
    "out": "..",
    "a/b/chain": "top/..",
    "a/b/last": "through-nothing/../top/a/../../x",
    "to-out": "out",
    "loop": "loop",
    "a/b/nul": "../..\0/../..",
    "empty": "",
    "long": "x/" * 600,
    "steps": "./" * 300 + "x",
}
OUT = {"far", "out", "a/b/chain", "a/b/last", "to-out", "loop", "a/b/nul", "empty", "long", "steps"}


@pytest.mark.parametrize("path", LINKS)
def test_where_a_link_leads(path: str) -> None:
    assert leaves_tree(path, LINKS) == (path in OUT)


PLACES = ("l", "m", "d/l", "d/m", "d/e/l")
TARGETS = st.lists(st.sampled_from(["..", "l", "m", "d", "e", "."]), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PLACES), TARGETS.map("/".join)))
def test_what_the_system_follows_to_somewhere_inside(
    tmp_path_factory: pytest.TempPathFactory, links: Mapping[str, str]
) -> None:
    """A link that we take for one inside leads nowhere else, where it leads anywhere."""
    top = tmp_path_factory.mktemp("tree")
    (top / "d/e").mkdir(parents=True)
    for path, target in links.items():
        (top / path).symlink_to(target)
    for path in links:
        try:
            found = Path(os.path.realpath(top / path, strict=True))
        except OSError:  # it leads nowhere, or round
            continue
        if not found.is_relative_to(top):
            assert leaves_tree(path, links)
