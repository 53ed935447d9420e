# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm gc``: what lies on this machine's disk, and removing what is not needed."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from farm import settings
from farm.app import App
from farm.cli import output
from farm.cli.submit import AsJson
from farm.collect import Collection, Item, collect
from farm.reports.text import one_line

Size = Annotated[
    str | None,
    typer.Option(help="what is to be left at the most, like 500M or 20G; else FARM_SIZE, or 20G"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would go")]


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(gc)


def gc(
    context: typer.Context, size: Size = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Remove kernels, payloads, outputs, downloads and old runs' files, the longest unused first.

    Stays: what an unfinished run uses, the evidence of open regressions, and every result.
    """
    farm: App = context.obj
    limit = farm.settings.limit if size is None else settings.size(size)
    regressions = farm.open_regressions()
    found = collect(farm.settings, farm.database, regressions, limit, dry_run)
    if as_json:
        output.listing(
            limit=limit,
            dry_run=dry_run,
            freed=found.freed,
            left=found.left,
            removed=[_document(item) for item in found.removed],
            kept=[_document(item) for item in found.kept],
        )
    else:
        _show(found, dry_run)


def _document(item: Item) -> dict[str, Any]:
    return {**asdict(item), "kind": item.kind.value, "path": str(item.path)}


def _show(found: Collection, dry_run: bool) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    pinned = [item for item in found.kept if item.keep is not None]
    over = found.left > found.limit
    for item in (*found.removed, *(pinned if over else ())):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.used))
        what = item.keep or ("would go" if dry_run else "removed")
        table.add_row(
            item.kind, one_line(item.name[:24]), settings.shown(item.size), used, one_line(what)
        )
    console = output.Screen()
    if table.row_count:
        console.print(table)
    verb = "would free" if dry_run else "freed"
    rest = f"{settings.shown(found.left)} stay, of {settings.shown(found.limit)} at the most"
    more = "; what is over is needed" if over else ""
    console.print(
        f"{verb} {settings.shown(found.freed)}; {rest}{more}", highlight=False, soft_wrap=True
    )
