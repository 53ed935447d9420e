# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm scenarios`` and ``farm doctor``: what this farm can do, and what it lacks."""

from __future__ import annotations

import shutil

import typer
from rich.table import Table
from rich.text import Text

from farm.app import App
from farm.cli import output
from farm.cli.submit import AsJson
from farm.doctor import BETTER, GOOD, MISSING, examine


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(scenarios)
    app.command()(doctor)


def scenarios(context: typer.Context, as_json: AsJson = False) -> None:
    """List what can be run in a kernel."""
    farm: App = context.obj
    if as_json:
        listed = [
            {
                "name": one.name,
                "title": one.title,
                "needs": {"kernel": list(one.needs.kernel), "node": list(one.needs.node)},
                "parameters": dict(one.parameters),
                "clocks": [clock.value for clock in one.clocks],
                "limit": one.limit,
            }
            for one in farm.scenarios.values()
        ]
        output.listing(scenarios=listed)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("scenario", "what it does", "needs", "clocks", "limit"):
        table.add_column(name)
    for one in farm.scenarios.values():
        needs = ", ".join((*one.needs.kernel, *one.needs.node))
        clocks = ", ".join(clock.value for clock in one.clocks)
        table.add_row(one.name, one.title, needs, clocks, f"{one.limit} s")
    output.Screen().print(table)


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Say what this machine lacks and how to get it; exit status 1 if it can't do without."""
    farm: App = context.obj
    findings = examine(farm.settings, shutil.which)
    if as_json:
        listed = [
            {"what": one.what, "state": one.state, "found": one.found, "advice": one.advice}
            for one in findings
        ]
        output.listing(findings=listed)
    else:
        styles = {GOOD: "green", BETTER: "yellow", MISSING: "bold red"}
        width = max(len(one.what) for one in findings)
        console = output.Screen(soft_wrap=True)
        for one in findings:
            state = Text(f"{one.state:<{len(BETTER)}}  ", style=styles[one.state])
            # A command stays on one line, to be copied.
            advice = f"  -> {one.advice}" if one.advice else ""
            console.print(state + Text(f"{one.what:<{width}}  {one.found}{advice}"))
    if any(one.state == MISSING for one in findings):
        raise typer.Exit(1)
