# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel configurations: fragments in, a checked .config out.

A configuration is named by its fragment (``preempt-none``) and consists of ``base``, the
architecture's and its own fragment, in this order; a later line wins. What was asked for is
compared with what ``make olddefconfig`` left: a kernel that lacks a requested symbol is not the one
that was meant to be tested.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.errors import UserError

LINE = re.compile(r"CONFIG_([A-Z0-9_]+)=(\S+)\s+# (\S.*)")
OPTIONAL = "if there:"
GENERAL = "base"


@dataclass(frozen=True)
class Symbol:
    """One requested symbol: value ``y``, ``n``, a number or a quoted string, and why."""

    name: str
    value: str
    why: str

    @property
    def optional(self) -> bool:
        """Whether a kernel that does not know the symbol is fine."""
        return self.why.startswith(OPTIONAL)

    @property
    def line(self) -> str:
        """The line as Kconfig reads it."""
        if self.value == "n":
            return f"# CONFIG_{self.name} is not set"
        return f"CONFIG_{self.name}={self.value}"


@dataclass(frozen=True)
class Config:
    """A named configuration for one architecture."""

    name: str
    arch: str
    symbols: tuple[Symbol, ...]

    def text(self, extra: Iterable[Symbol] = ()) -> str:
        """Return the fragment that Kconfig starts from, ``extra`` symbols last."""
        wanted = {symbol.name: symbol for symbol in (*self.symbols, *extra)}
        return "".join(f"{symbol.line}\n" for symbol in wanted.values())

    def digest(self, extra: Iterable[Symbol] = ()) -> str:
        """Return what identifies the configuration in caches."""
        return hashlib.sha256(self.text(extra).encode()).hexdigest()


def names(folder: Path, arches: Iterable[str]) -> tuple[str, ...]:
    """Return the configurations that a folder of fragments offers."""
    reserved = {GENERAL, *arches}
    return tuple(sorted(path.stem for path in folder.glob("*.config") if path.stem not in reserved))


def load(folder: Path, name: str, arch: str) -> Config:
    """Read configuration ``name`` for ``arch``; raises UserError for a line without a reason."""
    symbols = dict[str, Symbol]()
    for part in (GENERAL, arch, name):
        path = folder / f"{part}.config"
        if not path.is_file():
            known = ", ".join(sorted(found.stem for found in folder.glob("*.config")))
            raise UserError(f"there is no config fragment {part!r}", f"known: {known}")
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if not line or line.startswith("#"):
                continue
            if (match := LINE.fullmatch(line)) is None:
                raise UserError(f"{path}:{number}: not of the form CONFIG_NAME=value  # why")
            symbols.pop(match[1], None)
            symbols[match[1]] = Symbol(match[1], match[2], match[3])
    return Config(name, arch, tuple(symbols.values()))


def parse(dotconfig: str) -> Mapping[str, str]:
    """Return what a .config sets, without the ``CONFIG_``.

    Symbols that are not set are not in it.
    """
    lines = (line.partition("=") for line in dotconfig.splitlines() if line.startswith("CONFIG_"))
    return {name.removeprefix("CONFIG_"): value for name, _, value in lines}


def unmet(requested: Iterable[Symbol], dotconfig: Mapping[str, str]) -> tuple[Symbol, ...]:
    """Return the requested symbols that a .config does not have as asked.

    An optional one among them is fine where the kernel does not know it: the caller's to see.
    """
    return tuple(symbol for symbol in requested if dotconfig.get(symbol.name, "n") != symbol.value)
