# SPDX-License-Identifier: GPL-2.0-or-later
"""Where patches come from: one module for each source, found by its name.

A module here is a source: `git_range.py` is what a manifest calls `git-range`. It has one
function, `read(request) -> Content`, and NAMES_A_PATH says whether its value in a manifest is a
path. A source that knows its patches' subjects without a tree says so with
`subjects(path) -> tuple[str, ...]`. To add a source, add a module.
"""

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from kernel_series.content import Content
from kernel_series.errors import PatchUnreadable, SeriesError
from kernel_series.files import MIB
from kernel_series.run import Run
from kernel_series.tree import Tree

LARGEST_SERIES = 64 * MIB
MOST_PATCHES = 2000


@dataclass(frozen=True)
class Request:
    """What a source may use.

    `value` is what the manifest says behind the source's name, `path` the same as a checked path
    where it is one, `place` how to name it in a message. `version` is the version of the series
    that is wanted, None if the manifest leaves it to the patches. `tree` is the untouched base tree
    and `repository` a git repository that holds it, where the caller has one. With `confined` no
    file outside the folder that `path` lies in may be read.
    """

    value: str
    place: str
    run: Run
    path: Path | None = None
    version: int | None = None
    tree: Tree | None = None
    repository: Path | None = None
    confined: bool = False


def known() -> tuple[str, ...]:
    """The names of all sources, as a manifest writes them."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__)))


def names_a_path(source: str) -> bool:
    """Whether the value of this source in a manifest is a path."""
    return bool(_module(source).NAMES_A_PATH)


def subjects(source: str, path: Path | None) -> tuple[str, ...] | None:
    """The subjects of a source that knows them without a tree; None if it has to be read."""
    module = _module(source)
    if path is None or not hasattr(module, "subjects"):
        return None
    found: tuple[str, ...] = module.subjects(path)
    return found


def read(source: str, request: Request) -> Content:
    """The patches of a source. Raises SeriesError, PatchUnreadable for a single patch."""
    content: Content = _module(source).read(request)
    if not content.patches:
        raise SeriesError(request.place, "there is no patch in it")
    if len(content.patches) > MOST_PATCHES:
        raise SeriesError(request.place, f"holds more than {MOST_PATCHES} patches")
    if sum(len(patch.diff or b"") for patch in content.patches) > LARGEST_SERIES:
        raise PatchUnreadable(
            request.place, f"the series is larger than {LARGEST_SERIES // MIB} MiB"
        )
    return content


def _module(source: str) -> ModuleType:
    if source not in known():
        raise SeriesError(source, "no such patch source", "known: " + ", ".join(known()))
    return import_module(f"{__name__}.{source.replace('-', '_')}")
