# SPDX-License-Identifier: GPL-2.0-or-later
"""What the stages are asked and what they answer: plain data, the same for every dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from workers.compiler_warnings import CompilerWarning
from workers.kconfig import Config, Symbol
from workers.status import Status
from workers.tags import Remark
from workers.timing import Step
from workers.toolchain import Toolchain


@dataclass(frozen=True)
class Point:
    """One place in a series: the base (index 0) or the tree after patch ``index``.

    ``chain`` is a digest over the trees of this and all earlier points: what an incremental build
    depends on. A point whose patch did not apply has a reason and neither commit nor tree.
    ``parent`` is the point it was made from; None for the one before. ``remarks`` are what checks
    of the patch say; None where it was not checked.
    """

    index: int
    subject: str
    author: str
    commit: str | None
    tree: str | None
    chain: str | None
    reason: str | None = None
    parent: int | None = None
    remarks: tuple[Remark, ...] | None = None

    @property
    def made_from(self) -> int | None:
        """Return the index of the point that this one was made from, None for the base."""
        if self.index == 0:
            return None
        return self.index - 1 if self.parent is None else self.parent


def ancestors_of(point: Point, points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that a point of a series was made from, the base first."""
    found = list[Point]()
    while point.made_from is not None:
        point = points[point.made_from]
        found.append(point)
    return tuple(reversed(found))


class Scope(StrEnum):
    """How much of a kernel is built."""

    KERNEL = "vmlinux"
    OBJECTS = "touched-objects"
    """The objects of the sources that the series touches, where the whole takes too long."""
    FOLDERS = "touched-folders"
    """All objects in the folders of those sources."""


@dataclass(frozen=True)
class Goal:
    """What a build is for.

    ``words`` are further ones for make, ``touched`` the sources that any patch of the series
    changes, for a scope that goes by them. Without ``boots`` there is no payload, and of the
    products only the configuration is kept.
    """

    scope: Scope = Scope.KERNEL
    words: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    boots: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """What it adds to the key of a kernel; nothing for one that boots."""
        return () if self == Goal() else (repr(self),)


@dataclass(frozen=True)
class BuildRequest:
    """Build one point in one lane.

    ``ancestors`` are the points that this one was made from, the base first. ``expected`` are
    symbols that must stand in .config beside those of ``config``: the features that this point has.
    ``parent_warnings`` are the parent's, for files that are not built again; ``parent_kernel`` is
    the sha256 of its vmlinux, None where it has none.
    """

    point: Point
    ancestors: tuple[Point, ...]
    config: Config
    toolchain: Toolchain
    expected: tuple[Symbol, ...]
    parent_warnings: tuple[CompilerWarning, ...]
    parent_kernel: str | None
    log: Path
    reuse: bool = True
    goal: Goal = Goal()

    @property
    def base(self) -> Point:
        """The series' base; the point itself where it is that."""
        return self.ancestors[0] if self.ancestors else self.point

    @property
    def parent(self) -> Point | None:
        """The point that the patch was applied to; None for the base."""
        return self.ancestors[-1] if self.ancestors else None


@dataclass(frozen=True)
class BuildResult:
    """How a build ended, and where its products lie.

    ``kernel`` is the key of the folder in the kernel cache (vmlinux, config), ``payload`` the key
    of the initramfs; ``compiled`` is False when nothing of the patch went into the kernel. The
    toolchain is the one that was found, with the digest of what it says of its versions;
    ``targets`` are what make was asked for.
    """

    status: Status
    reason: str | None
    seconds: float
    cached: bool = False
    compiled: bool = True
    warnings: tuple[CompilerWarning, ...] = ()
    kernel: str | None = None
    kernel_sha256: str | None = None
    payload: str | None = None
    payload_sha256: str | None = None
    symbols: tuple[str, ...] = ()
    config_sha256: str | None = None
    toolchain: str = ""
    toolchain_sha256: str | None = None
    targets: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), compare=False)
