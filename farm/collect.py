# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be removed from a farm's disk, and removing it: what was used longest ago goes first.

Nothing goes that an unfinished run uses, nor the evidence of an open regression. A submission may
come in at any moment: what goes is chosen and moved out of sight in one transaction of the
database, and a build is recorded in one that looks whether its kernel is still there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from farm.db import claims
from farm.db.database import Database, database_now
from farm.db.models import JobRow, RunRow
from farm.db.runs import BUILD
from farm.records import Run
from farm.schedule import ENDED, QUEUED
from farm.settings import Settings
from farm.verdicts.regressions import Regression
from workers.cache import FILLING, REMOVED, Cache, locked, sweep
from workers.folders import remove
from workers.trees import MAKING, TREE_STORE, WORK_TREES, TreeStore


class Kind(StrEnum):
    """What lies on the disk."""

    KERNEL = "kernel"
    PAYLOAD = "payload"
    OUTPUT = "output folder"
    COMPILED = "compiler cache"
    DOWNLOAD = "download"
    RUN = "run"
    LANE = "lane"
    STORE = "tree store"
    WORK_TREE = "work tree"


CACHES = frozenset({Kind.KERNEL, Kind.PAYLOAD, Kind.OUTPUT})
"""What lies in folders of ``workers.cache.Cache``."""

GARBAGE = frozenset({Kind.LANE})
"""What goes at any size: nobody will use it again."""

NOT_YET = (".lock", MAKING)
"""Endings of what belongs to something that is just being made."""


@dataclass(frozen=True)
class Item:
    """One thing on the disk; ``keep`` says why it may not go."""

    kind: Kind
    name: str
    path: Path
    size: int
    used: float
    keep: str | None = None


@dataclass(frozen=True)
class Collection:
    """What went (or would go) and what stays, the longest unused first."""

    limit: int
    removed: tuple[Item, ...]
    kept: tuple[Item, ...]

    @property
    def freed(self) -> int:
        return sum(item.size for item in self.removed)

    @property
    def left(self) -> int:
        return sum(item.size for item in self.kept)


@dataclass
class _Pins:
    """Reasons to keep things, by kind and name."""

    reasons: dict[tuple[Kind, str], str] = field(default_factory=dict)
    outputs_since: float | None = None
    downloads: str | None = None

    def pin(self, kind: Kind, name: str | None, why: str) -> None:
        if name is not None:
            self.reasons.setdefault((kind, name), why)

    def reason(self, item: Item) -> str | None:
        since = self.outputs_since
        if item.kind is Kind.OUTPUT and since is not None and item.used >= since:
            return "used since the oldest run under way began"
        if item.kind is Kind.DOWNLOAD and self.downloads is not None:
            return self.downloads
        return self.reasons.get((item.kind, item.name))


def collect(
    settings: Settings,
    database: Database,
    open_regressions: Iterable[tuple[Run, Regression]],
    limit: int,
    dry_run: bool,
) -> Collection:
    """Remove what was used longest ago until at most ``limit`` bytes are left, if they can be."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    with locked(settings.cache / "gc.lock"):
        with database.transaction() as session:
            judged = frozenset(session.scalars(select(RunRow.id).where(RunRow.state.in_(ENDED))))
        evidence = list(open_regressions)
        _sweep(settings)
        found = sorted(_items(settings), key=lambda item: (item.kind not in GARBAGE, item.used))
        with database.transaction() as session:
            pins = _pins(session, judged, evidence)
            collection = _choose([replace(one, keep=pins.reason(one)) for one in found], limit)
            if dry_run:
                return collection
            gone = [item for item in collection.removed if _hide(item)]
        _sweep(settings)
        return replace(
            collection,
            removed=tuple(gone),
            kept=(*collection.kept, *(one for one in collection.removed if one not in gone)),
        )


def _choose(items: Sequence[Item], limit: int) -> Collection:
    over = sum(item.size for item in items) - limit
    removed, kept = list[Item](), list[Item]()
    for item in items:
        if item.keep is None and (over > 0 or item.kind in GARBAGE):
            removed.append(item)
            over -= item.size
        else:
            kept.append(item)
    return Collection(limit, tuple(removed), tuple(kept))


# What there is.


def _folders(settings: Settings) -> Mapping[Kind, Path]:
    return {
        Kind.KERNEL: settings.cache / "kernels",
        Kind.PAYLOAD: settings.cache / "payloads",
        Kind.OUTPUT: settings.cache / "outputs",
        Kind.COMPILED: settings.cache / "ccache",
        Kind.DOWNLOAD: settings.cache / "downloads",
        # Never in use: lanes have links of their own to its files.
        Kind.WORK_TREE: settings.cache / WORK_TREES,
        Kind.RUN: settings.runs,
    }


def _items(settings: Settings) -> Iterator[Item]:
    for kind, folder in _folders(settings).items():
        for path in sorted(folder.glob("*")):
            if path.name.startswith((FILLING, REMOVED)) or path.suffix in NOT_YET:
                continue
            lanes = path / "lanes"
            if kind is Kind.RUN and any(lanes.glob("*")):
                yield from _item(Kind.LANE, lanes, path.name)
            yield from _item(kind, path, path.name)
    if (store := settings.cache / TREE_STORE).is_dir():
        yield from _item(Kind.STORE, store, store.name)


def _item(kind: Kind, path: Path, name: str) -> Iterator[Item]:
    """Yield what lies at a path, if it is there still: runs go on and end meanwhile."""
    if (about := _about(path)) is not None:
        size = sum(one.st_blocks * 512 for one in [about, *filter(None, map(_about, _below(path)))])
        yield Item(kind, name, path, size, about.st_mtime)


def _about(path: Path) -> os.stat_result | None:
    """Return what the disk knows of a file, None for one that has just gone.

    Or that can't be looked at: a build can take the permissions of a folder of its own away.
    """
    try:
        return path.lstat()
    except OSError:
        return None


def _below(path: Path) -> Iterator[Path]:
    """Yield what lies below a path, but for a run's lanes, which are counted by themselves."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if folder == path and entry.name == "lanes":
                    continue
                yield (below := Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(below)


# What has to stay.


def _pins(
    session: Session, judged: frozenset[str], evidence: Sequence[tuple[Run, Regression]]
) -> _Pins:
    pins = _Pins()
    pins.pin(Kind.STORE, TREE_STORE, "the points of all runs are in it")
    now = session.scalar(select(database_now())) or 0.0
    held = select(JobRow.run_id).where(JobRow.state == claims.RUNNING, JobRow.lease_until > now)
    for name in session.scalars(held.distinct()):
        # A test that is reproduced, or a run whose last job is just being stopped.
        pins.pin(Kind.RUN, name, f"a job of run {name} is being done")
        pins.pin(Kind.LANE, name, f"a job of run {name} is being done")
    for row in session.scalars(select(RunRow).order_by(RunRow.created)):
        if row.id in judged:
            continue
        # One that ended a moment ago may have found something: nobody has looked at it yet.
        why = f"run {row.id} is not finished"
        pins.pin(Kind.RUN, row.id, why)
        pins.pin(Kind.LANE, row.id, why)
        for point in row.points:
            pins.pin(Kind.COMPILED, point.chain, why)
        for build in row.builds:
            if build.result is not None:
                result = BUILD.validate_python(build.result)
                pins.pin(Kind.KERNEL, result.kernel, why)
                pins.pin(Kind.PAYLOAD, result.payload, why)
        if row.state == QUEUED:
            pins.downloads = f"{why}, and is not prepared yet"
        if row.alive_until is not None and row.alive_until > now and pins.outputs_since is None:
            pins.outputs_since = row.created
    for run, regression in evidence:
        _pin_evidence(pins, run, regression)
    return pins


def _pin_evidence(pins: _Pins, run: Run, regression: Regression) -> None:
    """Keep what shows an open regression: logs, consoles, and the kernels to see it again."""
    why = f"evidence of regression {regression.id}: {regression.title}"
    pins.pin(Kind.RUN, run.id, why)
    for build in run.builds:
        for test in build.tests:
            if test.id not in regression.tests or build.result is None:
                continue
            pins.pin(Kind.KERNEL, build.result.kernel, why)
            pins.pin(Kind.PAYLOAD, build.result.payload, why)
            if test.inherited_from is not None:
                # Its boots were another run's, and so are the consoles.
                pins.pin(Kind.RUN, test.inherited_from.split(".")[0], why)


# Removing.


def _hide(item: Item) -> bool:
    """Move an item out of sight; False when somebody uses it, or it is gone."""
    if item.kind in CACHES:
        return Cache(item.path.parent).hide(item.name)
    try:
        item.path.rename(item.path.with_name(f"{REMOVED}{item.path.name}"))
    except FileNotFoundError:
        return False
    return True


def _sweep(settings: Settings) -> None:
    """Remove what was moved out of sight, by this collection or one that was killed."""
    for kind, folder in _folders(settings).items():
        if kind in (*CACHES, Kind.DOWNLOAD):
            sweep(folder)
        for path in [*folder.glob(f"*/{REMOVED}lanes"), *folder.glob(f"{REMOVED}*")]:
            if path.is_dir():
                remove(path)
            else:
                path.unlink()
    if (store := settings.cache / TREE_STORE).is_dir():
        TreeStore(store).sweep()
