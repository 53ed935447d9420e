# SPDX-License-Identifier: GPL-2.0-or-later
"""The prepare stage: every point of a series becomes a commit in the tree store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from kernel_series import edits
from kernel_series.content import Content
from kernel_series.errors import RecipeMisfit, quoted
from kernel_series.manifest import Manifest
from kernel_series.run import NOT_FOUND, Ran
from kernel_series.series import read_series
from workers import process
from workers.bases import import_base
from workers.errors import UserError
from workers.process import Cancel
from workers.requests import Point
from workers.timing import Step, Stopwatch
from workers.trees import ApplyFailure, TreeStore

SOURCE_LIMITS = process.Limits(seconds=300.0)


@dataclass(frozen=True)
class Plant:
    """An edit recipe that is planted on top of point ``at``."""

    recipe: Path
    at: int


@dataclass(frozen=True)
class PrepareRequest:
    """Put a series into the store.

    ``tree`` is a repository that takes the place of the manifest's; ``name`` is what its points are
    kept under. ``plants`` are recipes that become points of their own. With ``siblings`` the
    series' last point is the base instead, and each recipe by itself a point on top of it.
    """

    manifest: Manifest
    tree: Path | None
    name: str
    plants: tuple[Plant, ...] = ()
    siblings: tuple[Path, ...] = ()


@dataclass(frozen=True)
class PrepareResult:
    """The points, the base first; ``base`` says in words which tree that is.

    After a patch that does not apply the points have a reason and no commit. ``notes`` are things a
    report should show.
    """

    base: str
    points: tuple[Point, ...]
    notes: tuple[str, ...]
    steps: tuple[Step, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class StoredTree:
    """A commit of the store as the ``Tree`` that sources and recipes read."""

    store: TreeStore
    commit: str

    def read(self, path: str) -> bytes | None:
        return self.store.read(self.commit, path)


def run_tool(argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None) -> Ran:
    """Run a program for a patch source.

    One that is not installed gives a shell's status for that.
    """
    if shutil.which(argv[0]) is None:
        return Ran(NOT_FOUND, b"", b"")
    return process.run(argv, stdin=stdin, cwd=cwd, limits=SOURCE_LIMITS)


def prepare(
    request: PrepareRequest, store: TreeStore, downloads: Path, cancel: Cancel
) -> PrepareResult:
    """Import the base and commit every point.

    Raises SeriesError or UserError for a series that can't be read or a base that is not there; a
    patch that does not apply is a result.
    """
    manifest = request.manifest
    stopwatch = Stopwatch()
    with stopwatch.step("import base"):
        base = import_base(manifest.base, store, downloads, request.tree)
    cancel.check()
    tree = StoredTree(store, base.commit)
    with stopwatch.step("read series"):
        content = read_series(manifest, run_tool, tree=tree, repository=request.tree)
    with stopwatch.step("commit points"):
        points = _committed(request, content, base.commit, store, cancel)
    return PrepareResult(base.title, points, content.notes, stopwatch.steps)


def _committed(
    request: PrepareRequest, content: Content, commit: str, store: TreeStore, cancel: Cancel
) -> tuple[Point, ...]:
    """Commit all points on top of the base at ``commit``, and keep them under the run's name."""
    manifest = request.manifest
    adjusts = tuple(edits.load_recipe(path) for path in manifest.adjust)
    start = commit
    if content.base:
        start = store.commit_change(start, content.base, f"base of {manifest.title}")
    points = list(_points(content, start, store, modes=commit if content.derived else None))
    if content.derived:
        _check_derived(points[-1], commit, store, manifest)
    points = [_adjusted(point, adjusts, store) for point in points]
    cancel.check()
    # From the last place on, so that the places named before it stay what they are.
    for plant in sorted(request.plants, key=lambda one: -one.at):
        points = planted(points, plant, store)
    if request.siblings:
        points = list(_siblings(points[-1], request.siblings, store))
    chained = list[Point]()
    for point in points:
        before = chained[point.made_from] if point.made_from is not None else None
        chained.append(_chained(point, before))
        if point.commit is not None:
            store.keep(f"runs/{request.name}/{point.index}", point.commit)
    return tuple(chained)


def _points(
    content: Content, start: str, store: TreeStore, *, modes: str | None
) -> Iterator[Point]:
    """Yield the points as the patches alone make them, with the file modes of a commit if given."""
    yield Point(0, content.base_subject or "base", "", start, store.tree(start), None)
    parent: str | None = start
    broken = 0
    for index, patch in enumerate(content.patches, start=1):
        if parent is None:
            reason = f"patch {broken} does not apply"
            yield Point(index, patch.subject, patch.author, None, None, None, reason)
            continue
        message = f"{patch.subject}\n\n{patch.message}\n"
        if patch.change is not None:
            made: str | ApplyFailure = store.commit_change(
                parent, patch.change, message, modes=modes
            )
        else:
            made = store.commit_patch(parent, patch.diff or b"", message)
        if isinstance(made, ApplyFailure):
            parent, broken = None, index
            yield Point(index, patch.subject, patch.author, None, None, None, str(made))
            continue
        parent = made
        yield Point(index, patch.subject, patch.author, made, store.tree(made), None)


def _check_derived(last: Point, untouched: str, store: TreeStore, manifest: Manifest) -> None:
    """Raise UserError where a series that was taken out of a tree does not lead back to it."""
    if last.commit is None or last.tree == store.tree(untouched):
        return
    first = store.differences(untouched, last.commit)[0].path
    raise UserError(
        f"{manifest.where('patches.derive')}: patches.derive: the last point is not the untouched"
        f" tree, {quoted(first)} differs",
        "an `undo:` may not put a file in the place of a folder that it leaves",
    )


def _adjusted(point: Point, adjusts: Sequence[edits.Recipe], store: TreeStore) -> Point:
    """Return the point with the manifest's adjustments on top; the next patch does not see them."""
    commit = point.commit
    if commit is None or not adjusts:
        return point
    for recipe in adjusts:
        change = edits.apply(recipe.edits, StoredTree(store, commit), run_tool, str(recipe.path))
        commit = store.commit_change(commit, change, f"adjust: {recipe.title}")
    return Point(point.index, point.subject, point.author, commit, store.tree(commit), None)


def planted(points: Sequence[Point], plant: Plant, store: TreeStore) -> list[Point]:
    """Return the points with one more behind point ``plant.at``; the later ones stand on top of it.

    Raises SeriesError for a recipe that does not fit there, UserError where there is no such tree.
    """
    if not 0 <= plant.at < len(points):
        raise UserError(
            f"{plant.recipe}: there is no point {plant.at} to plant it on",
            f"the points go from 0 to {len(points) - 1}",
        )
    below = points[plant.at]
    if below.commit is None:
        raise UserError(f"{plant.recipe}: can't be planted on point {plant.at}: {below.reason}")
    made = _recipe_point(plant.recipe, plant.at + 1, below, store)
    found = [*points[: plant.at + 1], made]
    parent, reason = made.commit, ""
    for before, point in pairwise(points[plant.at :]):
        moved = replace(point, index=point.index + 1)
        if parent is not None and before.commit is not None and point.commit is not None:
            diff = store.diff(before.commit, point.commit)
            again = store.commit_patch(parent, diff, f"{point.subject}\n") if diff else parent
            parent, reason = (None, str(again)) if isinstance(again, ApplyFailure) else (again, "")
        if parent is None or point.commit is None:
            why = point.reason or reason or "a patch before it does not apply"
            moved = replace(moved, commit=None, tree=None, reason=why)
            parent, reason = None, ""
        else:
            moved = replace(moved, commit=parent, tree=store.tree(parent))
        found.append(moved)
    return found


def _siblings(tip: Point, recipes: Sequence[Path], store: TreeStore) -> Iterator[Point]:
    """Yield the tip as a base, and each recipe by itself on top of it."""
    if tip.commit is None:
        raise UserError(f"the series' last patch does not apply: {tip.reason}")
    yield replace(tip, index=0)
    for index, path in enumerate(recipes, start=1):
        try:
            point = _recipe_point(path, index, tip, store)
        except RecipeMisfit as misfit:
            recipe = edits.load_recipe(path)
            point = Point(index, recipe.title, "", None, None, None, str(misfit))
        yield replace(point, parent=0)


def _recipe_point(path: Path, index: int, below: Point, store: TreeStore) -> Point:
    recipe = edits.load_recipe(path)
    tree = StoredTree(store, below.commit or "")
    change = edits.apply(recipe.edits, tree, run_tool, str(path))
    commit = store.commit_change(tree.commit, change, f"{recipe.title}\n")
    return Point(index, recipe.title, "", commit, store.tree(commit), None)


def _chained(point: Point, before: Point | None) -> Point:
    """Return the point with the digest over all trees up to it."""
    if point.tree is None:
        return point
    start = before.chain if before is not None and before.chain is not None else ""
    return replace(point, chain=hashlib.sha256(f"{start} {point.tree}".encode()).hexdigest())
