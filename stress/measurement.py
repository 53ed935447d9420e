# SPDX-License-Identifier: GPL-2.0-or-later
"""From the guest's raw totals to a figure: what one call costs more with the probe than without."""

from dataclasses import dataclass
from statistics import median
from typing import Literal

from stress.scenario import Clock


@dataclass(frozen=True, slots=True)
class Measure:
    """Raw totals as the guest sent them: nanoseconds of guest time for `calls` calls, one number
    a round; `ns` with the probe, `base_ns` the same calls without it."""

    name: str
    calls: int
    ns: tuple[int, ...]
    base_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The net cost of one call. `mad` is the median absolute deviation of the `n` rounds."""

    name: str
    unit: Literal["instructions", "ns"]
    clock: Clock
    value: float
    mad: float
    n: int


def measurement(measure: Measure, clock: Clock, icount_shift: int = 0) -> Measurement:
    """The figure for one measure.

    Under icount one instruction takes 2**icount_shift guest nanoseconds (QEMU `-icount shift=N`)
    and the unit is `instructions`; a fixed shift must be given, `auto` counts nothing.
    """
    base = median(measure.base_ns)
    scale = measure.calls * (2**icount_shift if clock is Clock.ICOUNT else 1)
    net = [(total - base) / scale for total in measure.ns]
    value = median(net)
    return Measurement(
        name=measure.name,
        unit="instructions" if clock is Clock.ICOUNT else "ns",
        clock=clock,
        value=value,
        mad=median(abs(one - value) for one in net),
        n=len(net),
    )
