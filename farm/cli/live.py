# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress of a run: a table that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from farm import planner, profiles
from farm.app import App
from farm.db import claims
from farm.db.models import JobRow, RunRow
from farm.db.runs import REQUEST, load_run
from farm.profiles import Profile
from farm.records import Build, Cell, Run, Test
from farm.repeating import repeating
from farm.reports.text import ABREAST, STYLES, foreign, one_line, status
from farm.schedule import BOOT, BUILDING, PREPARE
from kernel_series import manifest
from workers.errors import InfrastructureError

REFRESH_SECONDS = 1.0

NOT_SHOWN = (InfrastructureError, OSError)
"""A busy database, a pipe that nobody reads, a full disk: the run goes on, and so do the looks."""


class _View:
    """What the screen shows, read from the database now and then."""

    def __init__(self, farm: App, run: str, age: float) -> None:
        self._farm = farm
        self._id = run
        with farm.database.transaction() as session:
            request = REQUEST.validate_python(session.get_one(RunRow, run).request)
        self._profile: Profile = profiles.load_profile(farm.settings.configs, request.profile)
        self._cells = len(request.cells)
        self._started = time.monotonic() - age
        self._said = set[str]()
        self._jobs = self._read_jobs()
        self.run = self._read_run()
        # Once the points are known, a run needs the files of the series no more.
        self._points = len(self.run.points)
        if not self._points:
            self._points = planner.patches(manifest.load(request.manifest), request) + 1

    def _read_jobs(self) -> Mapping[int, tuple[str, str, int | None]]:
        with self._farm.database.transaction() as session:
            rows = session.scalars(select(JobRow).where(JobRow.run_id == self._id))
            return {job.id: (job.kind, job.state, job.spec.get("build")) for job in rows}

    def _read_run(self) -> Run:
        with self._farm.database.transaction() as session:
            row = session.get_one(RunRow, self._id)
            return load_run(session, row, self._profile.icount_shift)

    def refresh(self) -> None:
        """Read anew what changed: whatever a run has to show comes with the state of a job."""
        jobs = self._read_jobs()
        if jobs != self._jobs:
            self._jobs, self.run = jobs, self._read_run()

    def table(self) -> RenderableType:
        """Return points x (build, boots), elapsed and remaining time."""
        cells = self._shown()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", justify="right", no_wrap=True)
        table.add_column("patch")
        for cell in cells:
            table.add_column(f"{cell.arch} {cell.config}", no_wrap=True, min_width=10)
            table.add_column("boots", no_wrap=True, min_width=12)
        for point in self.run.points:
            row: list[RenderableType] = [str(point.index), one_line(point.subject)]
            for build in (one for one in self.run.builds if one.point == point.index):
                if build.cell in cells:
                    row += [self._build(build), self._boots(build)]
            table.add_row(*row)
        hidden = len({build.cell for build in self.run.builds if build.cell.boots}) - len(cells)
        more = [Text(f"and {hidden} more flavours", style="dim")] if hidden else []
        shown = [table] if self.run.points else []
        return Group(*shown, *more, *self._built_only(), self._line())

    def _shown(self) -> list[Cell]:
        """Return the cells that fit on a screen: those that are not done first."""
        builds = [build for build in self.run.builds if build.cell.boots]
        done = {build.cell: True for build in builds}
        for build in builds:
            done[build.cell] &= build.result is not None and all(map(_is_done, build.tests))
        chosen = sorted(done, key=lambda cell: done[cell])[:ABREAST]
        return [cell for cell in done if cell in chosen]

    def _built_only(self) -> Iterator[Text]:
        """Yield how far the builds are that are not booted, if there are any."""
        builds = [build for build in self.run.builds if not build.cell.boots]
        if not builds:
            return
        done = sum(build.result is not None for build in builds)
        text = Text(f"not booted: {done} of {len(builds)} built")
        if failed := sum(one.result is not None and one.result.status != "PASS" for one in builds):
            text.append(f", {failed} not PASS", style=STYLES["FAIL"])
        for build in builds:
            if (BUILDING, claims.RUNNING, build.id) in self._jobs.values():
                text.append(f", now {build.cell.name} point {build.point}", style="cyan")
        yield text

    def _line(self) -> Text:
        elapsed = time.monotonic() - self._started
        running = [kind for kind, state, _ in self._jobs.values() if state == claims.RUNNING]
        now = ", ".join(dict.fromkeys(running)) or "waiting for a free slot"
        left = self._remaining()
        return Text(
            f"{now}; {_clock(elapsed)} elapsed, about {_clock(left)} remaining", style="dim"
        )

    def _remaining(self) -> float:
        """Return the estimate of what is left.

        Builds are what takes the time, boots run beside them.
        """
        known = self._profile.estimates
        done = sum(
            kind == BUILDING and state == claims.DONE for kind, state, _ in self._jobs.values()
        )
        # Which cells make sense for the series is known when its points are.
        cells = len({build.cell for build in self.run.builds}) or self._cells
        left = cells * self._points - done
        bases = max(
            cells - sum(one.result is not None and one.point == 0 for one in self.run.builds),
            0,
        )
        boots = sum(
            kind == BOOT and state in claims.UNFINISHED for kind, state, _ in self._jobs.values()
        )
        preparing = any(
            kind == PREPARE and state in claims.UNFINISHED for kind, state, _ in self._jobs.values()
        )
        rest = bases * known.base + max(left - bases, 0) * known.point + boots * known.boot
        return rest + (known.prepare if preparing else 0.0)

    def _build(self, build: Build) -> Text:
        if build.result is not None:
            text = status(build.result.status.value)
            return text.append(f" {build.result.seconds:.0f} s", style="dim")
        running = (BUILDING, claims.RUNNING, build.id) in self._jobs.values()
        return Text("building", style="cyan") if running else Text("·", style="dim")

    def _boots(self, build: Build) -> Text:
        if (BOOT, claims.RUNNING, build.id) in self._jobs.values():
            return Text("booting", style="cyan")
        if not build.tests:
            return Text("·", style="dim")
        done = [test for test in build.tests if _is_done(test)]
        reused = sum(test.inherited_from is not None for test in build.tests)
        crashed = any(seen.crash for test in build.tests for seen in test.observations)
        text = Text(f"{len(done)}/{len(build.tests)}", style=STYLES["FAIL"] if crashed else "")
        return text.append(" reused", style="dim") if reused == len(build.tests) else text

    def news(self) -> Iterator[str]:
        """Yield a line for each thing that happened since the last call."""
        for line in self._events():
            if line not in self._said:
                self._said.add(line)
                yield line

    def _events(self) -> Iterator[str]:
        if self.run.points:
            yield f"{len(self.run.points)} points of {self.run.title} on {self.run.base}"
        for build in self.run.builds:
            if build.result is None:
                continue
            subject = self.run.points[build.point].subject
            took = f"{build.result.seconds:.0f} s" if not build.result.cached else "known"
            name = f"point {build.point} {build.cell.arch} {build.cell.config}"
            yield f"{name}: build {build.result.status} ({took}): {subject}"
            if build.tests and all(_is_done(test) for test in build.tests):
                yield f"{name}: {len(build.tests)} tests done"


@contextmanager
def progress(farm: App, run: str, console: Console, age: float = 0.0) -> Iterator[None]:
    """Show a run's progress while the block runs; ``age`` seconds of it have passed before.

    What can't be shown at one look is left out: no run ends for that.
    """
    view = _View(farm, run, age)
    if console.is_terminal:
        with Live(view.table(), console=console, transient=True, auto_refresh=False) as screen:

            def show() -> None:
                with suppress(*NOT_SHOWN):
                    view.refresh()
                    screen.update(view.table(), refresh=True)

            with repeating(show, REFRESH_SECONDS, "progress"):
                yield
            show()
    else:

        def say() -> None:
            with suppress(*NOT_SHOWN):
                view.refresh()
                for line in view.news():
                    console.print(foreign(line), highlight=False, soft_wrap=True)

        with suppress(*NOT_SHOWN):
            console.print(f"run {run}", highlight=False)
        with repeating(say, REFRESH_SECONDS, "progress"):
            yield
        say()


def _is_done(test: Test) -> bool:
    return test.skip is not None or bool(test.observations and not test.pending)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
