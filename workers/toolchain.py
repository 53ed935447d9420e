# SPDX-License-Identifier: GPL-2.0-or-later
"""Which compiler builds a kernel, and what identifies it."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass

from workers import process
from workers.errors import UserError

AUTO = "auto"
COMPILER = re.compile(r"(?P<cross>[a-z0-9_]+-linux-gnu[a-z0-9]*-)?(?P<gcc>gcc(?:-\d+)?)")


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its binutils.

    ``name`` is what people say (``gcc-12``), ``compiler`` the program, ``identity`` a digest of
    what both say of their version: kernels are the same only if it is. ``cross`` is what the names
    of its programs begin with where it builds for another machine than this one.
    """

    name: str
    compiler: str
    identity: str
    cross: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """The words by which a kernel's Makefile is told; its own tools are for this machine."""
        words = (f"CC={self.compiler}", f"HOSTCC={'gcc' if self.cross else self.compiler}")
        return (f"CROSS_COMPILE={self.cross}", *words) if self.cross else words


def find(name: str) -> Toolchain:
    """Return the toolchain ``auto`` (the host's gcc), ``gcc-N`` or ``MACHINE-linux-gnu-gcc``.

    UserError when it is not there.
    """
    compiler = "gcc" if name == AUTO else name
    if (match := COMPILER.fullmatch(compiler)) is None:
        raise UserError(f"unknown toolchain {name!r}", "known: auto, gcc-N as Debian packages it")
    cross = match["cross"] or ""
    if shutil.which(compiler) is None:
        raise UserError(
            f"toolchain {name}: {compiler} is not installed",
            f"install Debian's package {package(compiler)}",
        )
    major = process.output([compiler, "-dumpversion"]).decode().strip().partition(".")[0]
    said = process.output([compiler, "--version"]) + process.output([f"{cross}ld", "--version"])
    return Toolchain(f"{cross}gcc-{major}", compiler, hashlib.sha256(said).hexdigest(), cross)


def package(compiler: str) -> str:
    """Return Debian's package of a compiler: that of ``a-gcc-12`` is ``gcc-12-a``."""
    match = COMPILER.fullmatch(compiler)
    if match is None or not match["cross"]:
        return compiler
    return f"{match['gcc']}-{match['cross'].rstrip('-').replace('_', '-')}"
