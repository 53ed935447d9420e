# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm status``, ``results``, ``regressions``, ``log`` and ``trace``: looking at runs."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from farm import reproduce
from farm.app import App
from farm.cli import output
from farm.cli.submit import AsJson, RunName, run_argument
from farm.db import claims
from farm.db.models import AttemptRow, BuildRow, JobRow, RunRow
from farm.db.runs import find_run
from farm.reports import results as documents
from farm.reports import text
from farm.reports import trace as traces
from farm.schedule import BUILDING, PREPARE
from kernel_series.errors import printable
from workers.errors import UserError

MOST_RUNS = 20


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(status)
    app.command()(results)
    app.command()(regressions)
    app.command()(log)
    app.command()(trace)


def status(
    context: typer.Context,
    run: Annotated[str | None, run_argument("one run; without it the newest are listed")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which runs there are and how far they are."""
    farm: App = context.obj
    with farm.database.transaction() as session:
        newest = select(RunRow).order_by(RunRow.created.desc()).limit(MOST_RUNS)
        rows = [find_run(session, run)] if run else list(session.scalars(newest))
        jobs = {
            row.id: Counter(
                f"{job.kind} {job.state}"
                for job in session.scalars(select(JobRow).where(JobRow.run_id == row.id))
            )
            for row in rows
        }
    if as_json:
        listed = [
            {
                "run": row.id,
                "title": row.title,
                "version": row.version,
                "state": row.state,
                "verdict": row.verdict,
                "reason": row.reason,
                "created": row.created,
                "finished": row.finished,
                "jobs": dict(jobs[row.id]),
            }
            for row in rows
        ]
        output.listing(runs=listed)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "submitted", "state", "verdict", "series"):
        table.add_column(name, no_wrap=name != "series")
    for row in rows:
        submitted = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created))
        verdict = text.status(row.verdict) if row.verdict else Text("")
        series = text.foreign(f"{row.title} v{row.version}")
        table.add_row(row.id, submitted, row.state, verdict, series)
    console = output.Screen()
    console.print(table)
    if run:
        for what, count in sorted(jobs[rows[0].id].items()):
            console.print(f"  {count} {what}", highlight=False)


def results(context: typer.Context, run: RunName = "latest", as_json: AsJson = False) -> None:
    """Show what a run found: points, builds, tests, costs, regressions, verdict."""
    farm: App = context.obj
    judged = farm.judged(run)
    if as_json:
        output.write(documents.document(judged))
    else:
        output.Screen().print(text.run(judged))


def regressions(
    context: typer.Context,
    run: Annotated[
        str | None, run_argument("one run; without it, what is open in any series")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what patches broke: in one run, or wherever no later run has shown it to be gone."""
    farm: App = context.obj
    if run is None:
        found = list(farm.open_regressions())
    else:
        judged = farm.judged(run)
        found = [(judged.run, one) for one in judged.assessment.regressions]
    if as_json:
        listed = [
            {"run": of.id, "series": of.title, **documents.regression(one)} for of, one in found
        ]
        output.listing(regressions=listed)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "point", "patch", "what", "kind", "state", "sure"):
        table.add_column(name, no_wrap=name in ("run", "point"))
    for of, one in found:
        subject = text.one_line(of.points[one.first_bad].subject)
        what = text.foreign(one.title, text.STYLES["FAIL"])
        sure = f"{one.confidence:.2f}"
        table.add_row(of.id, str(one.first_bad), subject, what, one.kind, one.state, sure)
    output.Screen().print(table if found else "no regressions")


def log(
    context: typer.Context,
    run: RunName = "latest",
    job: Annotated[int | None, typer.Argument(help="a job's number, as the list shows it")] = None,
    as_json: AsJson = False,
) -> None:
    """List a run's jobs with all their attempts, or print what one job wrote."""
    farm: App = context.obj
    with farm.database.transaction() as session:
        row = find_run(session, run)
        jobs = list(
            session.scalars(select(JobRow).where(JobRow.run_id == row.id).order_by(JobRow.id))
        )
        numbers = [one.id for one in jobs]
        attempts = list(session.scalars(select(AttemptRow).where(AttemptRow.job_id.in_(numbers))))
        built = {
            one.id: one
            for one in session.scalars(select(BuildRow).where(BuildRow.run_id == row.id))
        }
    if job is None:
        if as_json:
            _write(row.id, jobs, attempts)
        else:
            _list(jobs, attempts)
        return
    if job not in numbers:
        raise UserError(f"run {row.id} has no job {job}", "farm log lists them")
    wanted = next(one for one in jobs if one.id == job)
    told = _read(_files(farm.settings.runs / row.id, wanted, built))
    tries = [one.outcome for one in attempts if one.job_id == job]
    missing = None if told else _why_nothing(wanted, built, tries)
    if as_json:
        files = [{"path": str(path), "text": said} for path, said in told.items()]
        output.listing(run=row.id, job=job, files=files, missing=missing)
        return
    if missing is not None:
        sys.stdout.write(f"nothing is there of job {job}: {missing}\n")
    for path, said in told.items():
        sys.stdout.write(f"==> {path} <==\n")
        # Whatever a guest wrote must not command this terminal.
        for line in said.split("\n"):
            sys.stdout.write(printable(line.expandtabs()) + "\n")


def _files(folder: Path, job: JobRow, builds: Mapping[int, BuildRow]) -> list[Path]:
    """Return what a job writes below the folder of its run, whether it is there or not."""
    if job.kind == BUILDING:
        point = builds[job.spec["build"]].point
        return [folder / "builds" / (job.lane or "") / f"{point}.log"]
    boots = sorted((folder / "boots").glob(f"{job.id}.*"))
    found = [path for boot in boots for path in sorted(boot.glob("*.log"))]
    return [*found, folder / "builds" / reproduce.KIND / f"{job.id}.log"]


def _read(paths: Iterable[Path]) -> dict[Path, str]:
    found = dict[Path, str]()
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = path.read_text(errors="replace")
    return found


def _why_nothing(job: JobRow, builds: Mapping[int, BuildRow], tries: Sequence[str | None]) -> str:
    """Return why there is no file of a job."""
    if job.kind == BUILDING:
        wrote = bool(builds[job.spec["build"]].log)
    else:
        wrote = job.kind != PREPARE and claims.DONE in tries
    return "farm gc removed it" if wrote else "it wrote nothing"


def trace(context: typer.Context, run: RunName = "latest") -> None:
    """Print where a run's time went, as JSON that https://ui.perfetto.dev opens."""
    farm: App = context.obj
    judged = farm.judged(run).run
    document = traces.document(judged, farm.attempts(judged.id))
    output.write(document)


def _write(run: str, jobs: list[JobRow], attempts: list[AttemptRow]) -> None:
    listed = [
        {
            "job": job.id,
            "kind": job.kind,
            "what": _what(job),
            "state": job.state,
            "attempts": [
                {
                    "started": one.started,
                    "ended": one.ended,
                    "holder": one.holder,
                    "outcome": one.outcome,
                    "reason": one.reason,
                }
                for one in attempts
                if one.job_id == job.id
            ],
        }
        for job in jobs
    ]
    output.listing(run=run, jobs=listed)


def _what(job: JobRow) -> str:
    return job.lane or ", ".join(job.spec.get("tests", ()))


def _list(jobs: list[JobRow], attempts: list[AttemptRow]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("job", "kind", "what", "state", "tries", "seconds", "said"):
        table.add_column(name)
    for job in jobs:
        tries = [one for one in attempts if one.job_id == job.id]
        took = sum((one.ended or one.started) - one.started for one in tries)
        said = text.foreign("; ".join(one.reason for one in tries if one.reason))
        table.add_row(
            str(job.id), job.kind, _what(job), job.state, str(job.tries), f"{took:.0f}", said
        )
    output.Screen().print(table)
