# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures from raw totals."""

import pytest
from pydantic import TypeAdapter

from stress.measurement import Measure, Measurement, measurement
from stress.scenario import Clock

RAW = Measure("overhead.kprobe", calls=10, totals=(1100, 1120, 9000), base=(100, 100, 400))


@pytest.mark.parametrize(
    ("clock", "shift", "expected"),
    [
        (Clock.WALL, 0, Measurement("overhead.kprobe", "ns", Clock.WALL, 102.0, 2.0, 3)),
        # A shift is a matter of icount alone.
        (Clock.WALL, 3, Measurement("overhead.kprobe", "ns", Clock.WALL, 102.0, 2.0, 3)),
        (
            Clock.ICOUNT,
            0,
            Measurement("overhead.kprobe", "instructions", Clock.ICOUNT, 102.0, 2.0, 3),
        ),
        (
            Clock.ICOUNT,
            3,
            Measurement("overhead.kprobe", "instructions", Clock.ICOUNT, 12.75, 0.25, 3),
        ),
    ],
)
def test_net_cost_of_one_call(clock: Clock, shift: int, expected: Measurement) -> None:
    assert measurement(RAW, clock, shift) == expected


@pytest.mark.parametrize("clock", list(Clock))
def test_bytes_are_bytes_by_any_clock(clock: Clock) -> None:
    measure = Measure("memory.object-bytes", 1000, (431_000, 432_000), (0, 0), "bytes")
    one = measurement(measure, clock, icount_shift=4)
    assert one == Measurement("memory.object-bytes", "bytes", clock, 431.5, 0.5, 2)


def test_totals_are_read_by_the_names_that_they_had() -> None:
    stored = b'{"name": "x.y", "calls": 1, "ns": [7], "base_ns": [3]}'
    assert TypeAdapter(Measure).validate_json(stored) == Measure("x.y", 1, (7,), (3,))


def test_one_round_has_no_deviation() -> None:
    one = measurement(Measure("x.y", 1, (7,), (10,)), Clock.WALL)
    assert (one.value, one.mad, one.n) == (-3, 0, 1)
