# SPDX-License-Identifier: GPL-2.0-or-later
"""What a shell offers behind TAB: names read from data files and the database, never an error."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import typer

from farm import profiles, selftest, settings
from farm.app import LAB
from kernel_series.manifest import ARCHES
from stress import scenario
from workers import kconfig
from workers.errors import USER_ERRORS, FarmError

MOST = 50
"""Names that are offered at the most."""

Names = Callable[[typer.Context], Iterable[str]]
Completion = Callable[[typer.Context, str], list[str]]


def _offering(names: Names) -> Completion:
    """Return a completion: those of the names that begin as the word does."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            found = [name for name in names(ctx) if name.startswith(incomplete)]
        except (*USER_ERRORS, FarmError, OSError, sqlite3.Error):
            # There is no place for a message between two keys.
            return []
        return found[:MOST]

    return offer


@_offering
def runs(ctx: typer.Context) -> Iterable[str]:
    return ["latest", *_column("SELECT id FROM runs ORDER BY created DESC")]


@_offering
def tests(ctx: typer.Context) -> Iterable[str]:
    return _column("SELECT id FROM tests WHERE skip IS NULL ORDER BY id DESC")


def series(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer what ships, by its path from here, then files and folders as a shell would."""
    shipped = sorted(path.parent for path in selftest.SHIPPED.glob("*/series.yml"))
    found = [os.path.relpath(path) for path in shipped]
    head, _, rest = incomplete.rpartition("/")
    try:
        there = sorted(Path(head or ("/" if incomplete.startswith("/") else ".")).iterdir())
    except OSError:
        there = []
    found += [
        f"{incomplete.removesuffix(rest)}{path.name}{'/' if path.is_dir() else ''}"
        for path in there
        if path.is_dir() or path.suffix in (".yml", ".yaml")
    ]
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete)][:MOST]


@_offering
def scenarios(ctx: typer.Context) -> Iterable[str]:
    return scenario.load_all()


@_offering
def profile_names(ctx: typer.Context) -> Iterable[str]:
    return profiles.names(_configs() / "profiles")


@_offering
def labs(ctx: typer.Context) -> Iterable[str]:
    return profiles.names(_configs() / "labs")


@_offering
def nodes(ctx: typer.Context) -> Iterable[str]:
    lab = profiles.load_lab(_configs(), ctx.params.get("lab") or LAB)
    return [node.name for node in lab.nodes]


@_offering
def configs(ctx: typer.Context) -> Iterable[str]:
    return kconfig.names(_configs() / "kernel", ARCHES)


@_offering
def arches(ctx: typer.Context) -> Iterable[str]:
    return ARCHES


@_offering
def canaries(ctx: typer.Context) -> Iterable[str]:
    return [one.name for one in selftest.find(())]


def _configs() -> Path:
    return settings.load(os.environ).configs


def _column(query: str) -> list[str]:
    """Return a column of the database as it lies there: nothing is made or brought up to date."""
    path = settings.load(os.environ).data / "farm.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as database:
        return [str(name) for (name,) in database.execute(query)]
