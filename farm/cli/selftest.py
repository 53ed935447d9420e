# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm selftest``: plant known faults and see whether the suite catches them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from farm import planner
from farm import selftest as canaries
from farm.app import LAB, App
from farm.cli import complete
from farm.cli.submit import (
    Arches,
    AsJson,
    Configs,
    Lab,
    Nodes,
    Profile,
    Reuse,
    flags_of,
    load,
    work,
)

SERIES = canaries.SHIPPED / "jump-optimization"

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="shipped canaries by name, files or folders; else all",
        autocompletion=complete.canaries,
    ),
]
On = Annotated[Path, typer.Option("--series", help="the series on whose last point to plant")]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(selftest)


def selftest(
    context: typer.Context,
    canary: Names = None,
    series: On = SERIES,
    profile: Profile = "quick",
    lab: Lab = LAB,
    arch: Arches = None,
    config: Configs = None,
    node: Nodes = None,
    reuse: Reuse = True,
    as_json: AsJson = False,
) -> None:
    """Plant faults in a kernel, one by one, and see whether the scenarios catch them.

    Exit status: 0 all that can be seen here are caught, 1 one is missed or invalid, 2 bad input,
    3 could not tell.
    """
    farm: App = context.obj
    found = load(series)
    planted = canaries.find(canary or ())
    flags = flags_of(arch, config, node, None, reuse, True)
    request, _ = farm.plan(found, None, flags, profile, lab)
    wanted = {name for one in planted for name in one.caught_by}
    if any(not one.caught_by for one in planted):
        wanted |= set(request.scenarios)
    request = replace(
        request,
        cells=tuple(cell for cell in request.cells if cell.boots),
        canaries=planted,
        scenarios=planner.known_scenarios(sorted(wanted), farm.scenarios),
        features=tuple(replace(feature, introduced_by=0) for feature in request.features),
    )
    raise typer.Exit(work(farm, farm.submit(found, request), as_json))
