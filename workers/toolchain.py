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


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its binutils.

    ``name`` is what people say (``gcc-12``), ``compiler`` the program, ``identity`` a digest of
    what both say of their version: kernels are the same only if it is.
    """

    name: str
    compiler: str
    identity: str


def find(name: str) -> Toolchain:
    """Return the toolchain ``auto`` (the host's gcc) or ``gcc-N``.

    UserError when it is not there.
    """
    compiler = "gcc" if name == AUTO else name
    if not re.fullmatch(r"gcc(-\d+)?", compiler):
        raise UserError(f"unknown toolchain {name!r}", "known: auto, gcc-N as Debian packages it")
    if shutil.which(compiler) is None:
        raise UserError(
            f"toolchain {name}: {compiler} is not installed", f"install Debian's package {compiler}"
        )
    major = process.output([compiler, "-dumpversion"]).decode().strip().partition(".")[0]
    said = process.output([compiler, "--version"]) + process.output(["ld", "--version"])
    return Toolchain(f"gcc-{major}", compiler, hashlib.sha256(said).hexdigest())
