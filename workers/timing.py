# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the steps of a job took: what a trace of a run is made of."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a job; steps lie one after the other.

    ``started`` is in seconds since the epoch by the clock of the host that did it, ``cpu`` the CPU
    seconds of its programs and of the thread that ran it.
    """

    name: str
    started: float
    seconds: float
    cpu: float


class Stopwatch:
    """Takes down the steps of one job; belongs to the thread that does it."""

    def __init__(self) -> None:
        self._steps = list[Step]()
        self._charged = 0.0

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self._steps)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take down the time that the block takes, however it ends."""
        started, since, before = time.time(), time.monotonic(), self._cpu()
        try:
            yield
        finally:
            seconds = time.monotonic() - since
            self._steps.append(Step(name, started, seconds, self._cpu() - before))

    def charge(self, cpu: float) -> None:
        """Add CPU seconds of a program that this process does not wait for itself."""
        self._charged += cpu

    def _cpu(self) -> float:
        # Of programs that end at the same time for another job this counts some as well; those that
        # take long run in a sandbox, leave no account to the farm, and are charged by themselves.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.thread_time() + ended.ru_utime + ended.ru_stime + self._charged
