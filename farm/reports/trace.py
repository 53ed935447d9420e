# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time of a run went, as a trace that Perfetto and chrome://tracing open.

The Trace Event Format's JSON object form: complete events (``X``) with times in microseconds. Each
process that worked on the run is a process of the trace, each slot that it filled a thread; a slot
that bore several jobs at once gets a thread for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from farm.records import Attempt, Build, Run

Event = dict[str, Any]


def document(run: Run, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return a run's trace by docs/schemas/trace.json; times count from the submission on.

    What is still under way ends where the latest that is known ended.
    """
    known = [run.created, run.finished, *(one.started for one in attempts)]
    known += [one.ended for one in attempts]
    until = max(moment for moment in known if moment is not None)
    builds = {build.id: build for build in run.builds}
    return {
        "displayTimeUnit": "ms",
        "otherData": {"run": run.id, "series": run.title, "state": run.state},
        "traceEvents": list(_events(run, builds, attempts, until)),
    }


def _events(
    run: Run, builds: Mapping[int, Build], attempts: Sequence[Attempt], until: float
) -> Iterator[Event]:
    tracks = _Tracks()
    for attempt in attempts:
        ended = attempt.ended if attempt.ended is not None else until
        process, thread = tracks.take(attempt.holder, attempt.slot, attempt.started, ended)
        place = {"pid": process, "tid": thread}
        start, end = attempt.started - run.created, ended - run.created
        told = _told(run, attempt, builds.get(attempt.build or 0))
        yield {**_span(_title(attempt, builds), attempt.kind, start, end, told), **place}
        for step in attempt.steps:
            # Another host's clock may be a little off, a step lies within its job all the same.
            begun = min(max(step.started - run.created, start), end)
            over = min(begun + step.seconds, end)
            args = {"cpu_seconds": round(step.cpu, 3)}
            yield {**_span(step.name, f"{attempt.kind} step", begun, over, args), **place}
    yield from tracks.names()


class _Tracks:
    """Gives each span its place: spans of one track do not overlap."""

    def __init__(self) -> None:
        self._processes = dict[str, int]()
        self._ends = dict[tuple[str, str, int], float]()

    def take(self, holder: str, slot: str, start: float, end: float) -> tuple[int, int]:
        """Return the process and the thread of a span; spans come in the order of their starts."""
        process = self._processes.setdefault(holder, len(self._processes) + 1)
        number = next(
            number
            for number in itertools.count()
            if self._ends.get((holder, slot, number), start) <= start
        )
        self._ends[holder, slot, number] = end
        return process, list(self._ends).index((holder, slot, number)) + 1

    def names(self) -> Iterator[Event]:
        """Yield what the tracks are called."""
        for holder, process in self._processes.items():
            yield _name("process_name", process, 0, f"farm {holder}")
        for thread, (holder, slot, number) in enumerate(self._ends, start=1):
            name = slot if number == 0 else f"{slot} #{number + 1}"
            yield _name("thread_name", self._processes[holder], thread, name)


def _span(name: str, kind: str, start: float, end: float, args: Mapping[str, Any]) -> Event:
    since, until = round(max(start, 0) * 1e6), round(max(end, 0) * 1e6)
    return {"ph": "X", "name": name, "cat": kind, "ts": since, "dur": until - since, "args": args}


def _name(what: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _title(attempt: Attempt, builds: Mapping[int, Build]) -> str:
    build = builds.get(attempt.build or 0)
    return attempt.kind if build is None else f"{attempt.kind} {build.point} {build.cell.name}"


def _told(run: Run, attempt: Attempt, build: Build | None) -> Event:
    told: Event = {"job": attempt.job, "outcome": attempt.outcome, "reason": attempt.reason}
    told["cpu_seconds"] = round(sum(step.cpu for step in attempt.steps), 3)
    if attempt.tests:
        told["tests"] = list(attempt.tests)
    if build is not None:
        told["point"] = run.points[build.point].subject
        if attempt.kind == "build" and build.result is not None:
            told["status"], told["cached"] = build.result.status.value, build.result.cached
    return told
