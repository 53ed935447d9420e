# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel flavours that are built and never booted: data files, and what a cell of them is.

What nobody boots still has to compile: other configurations, another architecture, more warnings. A
profile names which; each is one file of ``configs/build-only``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from farm.profiles import Data, load
from farm.records import Cell
from kernel_series.manifest import Feature
from workers import kconfig, touched
from workers.errors import UserError
from workers.kconfig import FROM_NOTHING, Config
from workers.requests import Goal, Point, Scope
from workers.toolchain import AUTO
from workers.trees import TreeStore

ARCH = "ARCH"
"""Stands for the fragment of a cell's architecture."""


class Flavour(Data):
    """One flavour, built for ``arches`` of the run (all, if not said), or for one ``arch`` else.

    ``fragments`` are wishes, ``config`` is a fragment whose symbols have to come out as asked. A
    flavour without ``features`` is one that what the series brings does not show in. ``prompt``
    names symbols without whose prompt it makes no sense.
    """

    title: str
    start: str = Field(FROM_NOTHING, pattern=r"^(allno|def)config$")
    fragments: tuple[str, ...] = ()
    config: str = ""
    arches: tuple[str, ...] | None = None
    arch: str | None = Field(None, pattern=r"^[a-z][a-z0-9_]*$")
    toolchain: str = AUTO
    builds: Scope = Scope.KERNEL
    make: tuple[str, ...] = ()
    features: bool = True
    prompt: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Flavour:
        if self.start != FROM_NOTHING and (self.fragments or self.config):
            raise ValueError(f"{self.start} takes no symbols; leave fragments and config out")
        if self.arch is not None and self.arches is not None:
            raise ValueError("arch is one that no run has; arches are those of the run")
        return self

    def built_for(self, arches: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
        """Return the architectures that it is built for.

        ``arches`` are the run's, ``asked`` all that were asked for.
        """
        if self.arch is not None:
            return (self.arch,) if self.arch in asked else ()
        return tuple(arch for arch in arches if self.arches is None or arch in self.arches)

    def configuration(self, kernel_configs: Path, name: str, arch: str) -> Config:
        """Return its configuration; UserError names the fragment that is not in order."""
        parts = [arch if part == ARCH else part for part in self.fragments]
        wishes = kconfig.fragments(kernel_configs, parts)
        symbols = kconfig.read_fragment(self.config, f"{name}.yml: config")
        return Config(name, arch, symbols, wishes, self.start)

    def goal(self, points: Sequence[Point], store: TreeStore) -> Goal:
        """Return what is built of a series in it."""
        by_sources = self.builds is not Scope.KERNEL
        return Goal(
            scope=self.builds,
            words=self.make,
            touched=touched.sources(points, store) if by_sources else (),
            boots=False,
        )

    def misfit(self, arch: str, points: Sequence[Point], store: TreeStore) -> str | None:
        """Return why it makes no sense for a series; None when it does."""
        last = next((point for point in reversed(points) if point.commit is not None), None)
        if last is None:
            return None
        for symbol in self.prompt:
            if (reason := _unprompted(symbol, last.commit or "", store)) is not None:
                return reason
        goal = self.goal(points, store)
        if goal.scope is not Scope.KERNEL and not touched.targets(goal.touched, goal.scope, arch):
            return f"the series touches no source that is compiled for {arch}"
        return None


def _unprompted(symbol: str, commit: str, store: TreeStore) -> str | None:
    """Return why a symbol can't be set in a tree; None when it can."""
    pattern = rf"^(menu)?config {symbol}$"
    ran = store.git(["grep", "-l", "-E", "-e", pattern, commit, "--", "*Kconfig*"])
    names = [line.partition(":")[2] for line in ran.stdout.decode(errors="replace").splitlines()]
    texts = [(store.read(commit, name) or b"").decode(errors="replace") for name in names]
    if any(kconfig.prompted(symbol, text) for text in texts):
        return None
    if not texts:
        return f"this kernel does not know {symbol}"
    return f"{symbol} has no prompt in this kernel: it follows from other symbols"


def load_all(configs: Path, names: Sequence[str]) -> Mapping[str, Flavour]:
    """Return flavours by their names.

    UserError lists the known ones, or names one that is a bootable configuration too.
    """
    found = {
        name: load(configs / "build-only", name, Flavour, "build-only flavour") for name in names
    }
    for name in found:
        if (configs / "kernel" / f"{name}.config").exists():
            raise UserError(f"configs/build-only/{name}.yml has the name of a kernel fragment")
    return found


def flavour_of(cell: Cell, flavours: Mapping[str, Flavour]) -> Flavour | None:
    """Return the flavour of a cell, None for one that is booted.

    UserError when its file went away after the run was submitted.
    """
    if cell.boots:
        return None
    if cell.config not in flavours:
        raise UserError(
            f"there is no build-only flavour {cell.config} any more",
            "name it in the run's profile again, or submit the series anew",
        )
    return flavours[cell.config]


def fitting(
    cells: Sequence[Cell],
    flavours: Mapping[str, Flavour],
    points: Sequence[Point],
    store: TreeStore,
) -> tuple[tuple[Cell, ...], tuple[tuple[str, str], ...]]:
    """Return the cells that make sense for a series, and the others each with its reason."""
    kept, left_out = list[Cell](), list[tuple[str, str]]()
    for cell in cells:
        flavour = flavour_of(cell, flavours)
        reason = None if flavour is None else flavour.misfit(cell.arch, points, store)
        if reason is None:
            kept.append(cell)
        else:
            left_out.append((cell.title, reason))
    return tuple(kept), tuple(left_out)


def features_of(
    cell: Cell, flavours: Mapping[str, Flavour], features: tuple[Feature, ...]
) -> tuple[Feature, ...]:
    """Return the features of a series that may be expected in a cell."""
    flavour = flavour_of(cell, flavours)
    return features if flavour is None or flavour.features else ()
