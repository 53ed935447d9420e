# SPDX-License-Identifier: GPL-2.0-or-later
"""From the guest's raw totals to a figure: what one call costs more with a probe, or one probe."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from stress.scenario import Clock


@dataclass(frozen=True, slots=True)
class Measure:
    """Raw totals as the guest sent them, one number a round: nanoseconds of guest time for `calls`
    calls, or bytes in use for `calls` probes; `totals` with the probe, `base` without it."""

    name: str
    calls: int
    # Databases from before there were bytes know both by the names of their unit.
    totals: Annotated[tuple[int, ...], Field(validation_alias=AliasChoices("totals", "ns"))]
    base: Annotated[tuple[int, ...], Field(validation_alias=AliasChoices("base", "base_ns"))]
    unit: Literal["ns", "bytes"] = "ns"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The net cost of one call or probe; `mad` is the median absolute deviation of `n` rounds."""

    name: str
    unit: Literal["instructions", "ns", "bytes"]
    clock: Clock
    value: float
    mad: float
    n: int


def measurement(measure: Measure, clock: Clock, icount_shift: int = 0) -> Measurement:
    """The figure for one measure.

    Under icount one instruction takes 2**icount_shift guest nanoseconds (QEMU `-icount shift=N`)
    and the unit is `instructions`; a fixed shift must be given, `auto` counts nothing. Bytes are
    bytes by any clock.
    """
    counted = measure.unit == "ns" and clock is Clock.ICOUNT
    base = median(measure.base)
    scale = measure.calls * (2**icount_shift if counted else 1)
    net = [(total - base) / scale for total in measure.totals]
    value = median(net)
    return Measurement(
        name=measure.name,
        unit="instructions" if counted else measure.unit,
        clock=clock,
        value=value,
        mad=median(abs(one - value) for one in net),
        n=len(net),
    )
