# SPDX-License-Identifier: GPL-2.0-or-later
"""A source tree as this package sees it: files that can be read, and changes to them."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from kernel_series.errors import SeriesError, quoted

LONGEST_PATH = 1024  # the kernel's longest path has some 130 bytes
LONGEST_WAY = 256  # steps from a symbolic link to where it ends


class Tree(Protocol):
    """A source tree, seen read-only."""

    def read(self, path: str) -> bytes | None:
        """The content of the file at `path` (relative, with `/`), None if there is none."""
        ...


class Change(Mapping[str, bytes | None]):
    """Whole files that differ from a tree: path -> new content, None for a file that goes away.

    Immutable, and every path in it went through `check_path`. It says nothing of modes: a file that
    is new is a plain one, one that was there keeps its mode, and in a derived series every file has
    the mode of the untouched tree.
    """

    def __init__(
        self, files: Mapping[str, bytes | None] | None = None, place: str = "change"
    ) -> None:
        self._files = dict(sorted((files or {}).items()))
        for path in self._files:
            check_path(path, place)

    def __getitem__(self, path: str) -> bytes | None:
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __hash__(self) -> int:
        return hash(tuple(self._files.items()))

    def __repr__(self) -> str:
        return f"Change({', '.join(self._files)})"


class Overlay:
    """A tree with a change on top of it; a Tree itself."""

    def __init__(self, tree: Tree, change: Mapping[str, bytes | None]) -> None:
        self._tree = tree
        self._change = change

    def read(self, path: str) -> bytes | None:
        return self._change[path] if path in self._change else self._tree.read(path)


def leaves_tree(path: str, links: Mapping[str, str]) -> bool:
    """Whether the symbolic link at `path` leads out of the tree that has these links, by path.

    It is followed as a kernel does, through the tree's other links; what is not there is taken for
    a folder. A target that no link can have, and a way that is too long to see its end, lead out.
    """
    *here, last = path.split("/")
    ahead = [last]
    for _ in range(LONGEST_WAY):
        if not ahead:
            return False
        part = ahead.pop()
        if part == ".." and not here:
            return True
        if part == "..":
            here.pop()
        elif part not in ("", "."):
            here.append(part)
            target = links.get("/".join(here))
            if target is not None:
                if target.startswith("/") or "\0" in target or not 0 < len(target) <= LONGEST_PATH:
                    return True
                here.pop()
                ahead += reversed(target.split("/"))
    return True


def check_path(path: str, place: str) -> str:
    """Return `path` if it names a file inside a source tree; else raise SeriesError.

    Relative, normalised (no empty, `.` or `..` part), no part `.git` in any case (git on a file
    system that folds case would take it for its own), no control character, not too long.
    """
    parts = path.split("/")
    if path.startswith("/"):
        fault = "is absolute"
    elif ".." in parts:
        fault = "leaves the tree"
    elif any(part in ("", ".") for part in parts):
        fault = "is not a normal path of a file"
    elif any(part.lower() == ".git" for part in parts):
        fault = "points into .git"
    elif any(ord(c) < 0x20 or c == "\x7f" for c in path):
        fault = "holds a control character"
    elif len(path) > LONGEST_PATH:
        fault = f"is longer than {LONGEST_PATH} characters"
    else:
        return path
    raise SeriesError(place, f"path {quoted(path)} {fault}", "name a file inside the source tree")
