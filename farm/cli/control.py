# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm watch``, ``cancel`` and ``reproduce``: what was submitted, looked at and ended."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from sqlalchemy import select

from farm import reproduce as reproduction
from farm import schedule
from farm.app import App
from farm.cli import complete, live, output
from farm.cli.submit import INTERRUPTED, AsJson, RunName, report, stopping
from farm.db import claims
from farm.db.database import database_now
from farm.db.models import RunRow
from farm.db.runs import find_run
from farm.dispatch.local import take_back_from_the_dead
from farm.reports import text
from farm.reproduce import Reproduction, Result
from workers.errors import Cancelled, InfrastructureError, UserError
from workers.folders import remove
from workers.process import Cancel

LOOK_SECONDS = 0.3

REPRODUCED = {Result.SAME: 0, Result.DIFFERENT: 1, Result.UNKNOWN: 3}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(watch)
    app.command()(cancel)
    app.command()(reproduce)


def watch(context: typer.Context, run: RunName = "latest", as_json: AsJson = False) -> None:
    """Show the progress of a run that another process works on, and what it comes to.

    Exit status as of submit. Ctrl-C ends the watching, not the run.
    """
    farm: App = context.obj
    with farm.database.transaction() as session:
        row = find_run(session, run)
        age = (session.scalar(select(database_now())) or row.created) - row.created
    console = output.Screen(stderr=as_json)
    if not _has_ended(farm, row.id):
        stop = Cancel()
        with (
            stopping(lambda: stop.request("interrupted")) as interrupted,
            live.progress(farm, row.id, console, age),
        ):
            while not _has_ended(farm, row.id) and not stop.wait(LOOK_SECONDS):
                pass
        if interrupted:
            told = f"the run goes on; [bold]farm watch {row.id}[/] shows it"
            with suppress(OSError):
                console.print(told, highlight=False)
            raise typer.Exit(INTERRUPTED)
    raise typer.Exit(report(farm, row.id, console, as_json))


def _has_ended(farm: App, run: str) -> bool:
    """Whether a run has ended; InfrastructureError when nobody is there to end it."""
    with farm.database.transaction() as session:
        row = session.get_one(RunRow, run)
        now = session.scalar(select(database_now())) or 0.0
    if row.state in schedule.ENDED:
        return True
    if (row.alive_until or 0.0) < now:
        raise InfrastructureError(f"nobody works on run {run}", f"farm resume {run} goes on")
    return False


def cancel(context: typer.Context, run: RunName, as_json: AsJson = False) -> None:
    """End a run for good, on whatever machine it is worked on; what was done stays.

    Returns when its jobs have been stopped.
    """
    farm: App = context.obj
    with farm.database.transaction() as session:
        row = find_run(session, run)
        if not schedule.cancel(session, row) and row.state != schedule.STOPPED:
            raise UserError(
                f"run {row.id} is finished, there is nothing to cancel",
                f"farm results {row.id} shows it",
            )
    stopped = _let_go(farm, row.id)
    if stopped:
        # Laid out for builds that will not be made.
        remove(farm.settings.runs / row.id / "lanes")
    if as_json:
        output.listing(run=row.id, state=row.state, stopped=stopped)
    else:
        rest = "" if stopped else "; what it was doing is still being stopped"
        sys.stdout.write(f"run {row.id} is cancelled{rest}\n")


def _let_go(farm: App, run: str) -> bool:
    """Wait until nobody holds a job of a run; False when that takes longer than a lease."""
    deadline = time.monotonic() + claims.LEASE_SECONDS
    while time.monotonic() < deadline:
        with farm.database.transaction() as session:
            take_back_from_the_dead(session)
            if not claims.holders(session, run):
                return True
        time.sleep(LOOK_SECONDS)
    return False


def reproduce(
    context: typer.Context,
    test: Annotated[
        str,
        typer.Argument(
            help="a test's id, as farm results --json has it", autocompletion=complete.tests
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Run one test again from what its result carries, and say whether it came out the same.

    Exit status: 0 the same, 1 different, 2 bad input, 3 could not tell.
    """
    farm: App = context.obj
    worker = farm.worker(reproduction.run_of(farm.database, test))
    stop = Cancel()
    with stopping(lambda: stop.request("interrupted")) as interrupted:
        try:
            found = reproduction.reproduce(worker, test, stop)
        except Cancelled:
            if not interrupted:
                raise
            raise typer.Exit(INTERRUPTED) from None
    with output.verdict("call it again"):
        if as_json:
            output.listing(**asdict(found))
        else:
            output.Screen().print(_shown(found))
    raise typer.Exit(REPRODUCED[found.result])


def _shown(found: Reproduction) -> RenderableType:
    style = {Result.SAME: "green", Result.DIFFERENT: "bold red", Result.UNKNOWN: "bold yellow"}
    word = Text(f"{found.result}", style=style[found.result])
    parts = [Text.assemble(word, text.foreign(f"  {found.test}: {found.reason}"))]
    parts += [text.foreign(f"  not as then: {one}") for one in found.changed]
    parts += [text.foreign(f"  came out otherwise: {one}") for one in found.differences]
    kernel = "built again, the same bit for bit" if found.rebuilt else "from the cache"
    if not found.changed:
        parts.append(Text(f"  kernel {kernel}; status {found.now}"))
    if found.folder:
        parts.append(Text(f"  console and protocol: {found.folder}"))
    return Group(*parts)
