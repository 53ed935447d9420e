# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel configurations: fragments in, a checked .config out.

A configuration is named by its fragment (``preempt-none``) and consists of ``base``, the
architecture's and its own fragment, in this order; a later line wins. What was asked for is
compared with what ``make olddefconfig`` left: a kernel that lacks a requested symbol is not the one
that was meant to be tested. What a configuration merely wishes for is not compared: where one
symbol is switched off, others go with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.errors import UserError

LINE = re.compile(r"CONFIG_([A-Z0-9_]+)=(\S+)\s+# (\S.*)")
ENTRY = re.compile(r"[a-z]")
PROMPT = re.compile(r"\s+(?:(?:bool|tristate|int|hex|string|prompt)\s+[\"'])")
OPTIONAL = "if there:"
GENERAL = "base"
FROM_NOTHING = "allnoconfig"
"""The make target that switches off what nobody asked for."""


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
    """A named configuration for one architecture.

    ``symbols`` have to come out as asked, ``wishes`` may come out in any way. ``start`` is the make
    target that they are laid over; only FROM_NOTHING takes any.
    """

    name: str
    arch: str
    symbols: tuple[Symbol, ...]
    wishes: tuple[Symbol, ...] = ()
    start: str = FROM_NOTHING

    def text(self, extra: Iterable[Symbol] = ()) -> str:
        """Return the fragment that Kconfig starts from, ``extra`` symbols last."""
        wanted = {symbol.name: symbol for symbol in (*self.wishes, *self.symbols, *extra)}
        return "".join(f"{symbol.line}\n" for symbol in wanted.values())

    def digest(self, extra: Iterable[Symbol] = ()) -> str:
        """Return what identifies the configuration in caches."""
        start = "" if self.start == FROM_NOTHING else f"{self.start}\n"
        return hashlib.sha256((start + self.text(extra)).encode()).hexdigest()


def names(folder: Path, arches: Iterable[str]) -> tuple[str, ...]:
    """Return the configurations that a folder of fragments offers."""
    reserved = {GENERAL, *arches}
    return tuple(sorted(path.stem for path in folder.glob("*.config") if path.stem not in reserved))


def load(folder: Path, name: str, arch: str) -> Config:
    """Read configuration ``name`` for ``arch``; raises UserError for a line without a reason."""
    return Config(name, arch, fragments(folder, (GENERAL, arch, name)))


def fragments(folder: Path, parts: Iterable[str]) -> tuple[Symbol, ...]:
    """Return the symbols of several fragments, a later line in the place of an earlier one.

    Raises UserError for a fragment that is not there or a line without a reason.
    """
    symbols = dict[str, Symbol]()
    for part in parts:
        path = folder / f"{part}.config"
        if not path.is_file():
            known = ", ".join(sorted(found.stem for found in folder.glob("*.config")))
            raise UserError(f"there is no config fragment {part!r}", f"known: {known}")
        for symbol in read_fragment(path.read_text(), str(path)):
            symbols.pop(symbol.name, None)
            symbols[symbol.name] = symbol
    return tuple(symbols.values())


def read_fragment(text: str, place: str) -> tuple[Symbol, ...]:
    """Return the symbols of a fragment; UserError names ``place`` and the line that is none."""
    found = list[Symbol]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if (match := LINE.fullmatch(line)) is None:
            raise UserError(f"{place}:{number}: not of the form CONFIG_NAME=value  # why")
        found.append(Symbol(match[1], match[2], match[3]))
    return tuple(found)


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


def prompted(name: str, kconfig: str) -> bool:
    """Return whether one of the entries for a symbol in a Kconfig file has a prompt.

    Only such a symbol can be set; one without follows from others.
    """
    inside = False
    for line in kconfig.splitlines():
        if ENTRY.match(line):
            inside = re.fullmatch(rf"(menu)?config\s+{re.escape(name)}\s*", line) is not None
        elif inside and PROMPT.match(line):
            return True
    return False
