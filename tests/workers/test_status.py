# SPDX-License-Identifier: GPL-2.0-or-later
"""Several status words become one."""

from itertools import permutations

import pytest

from workers.status import Status, worst

FAIL, ERROR, MISS, PASS, DONE, SKIP = (
    Status.FAIL,
    Status.ERROR,
    Status.MISS,
    Status.PASS,
    Status.DONE,
    Status.SKIP,
)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], MISS),
        ([SKIP], SKIP),
        ([SKIP, DONE], DONE),
        ([SKIP, PASS], PASS),
        ([DONE, PASS], PASS),
        ([PASS, MISS], MISS),
        ([PASS, ERROR, MISS], ERROR),
        ([PASS, ERROR, MISS, FAIL, SKIP], FAIL),
    ],
)
def test_the_worst_stands_for_all_in_any_order(statuses: list[Status], expected: Status) -> None:
    assert {worst(order) for order in permutations(statuses)} == {expected}


def test_the_words_are_kcidbs() -> None:
    assert [str(status) for status in Status] == ["FAIL", "ERROR", "MISS", "PASS", "DONE", "SKIP"]
