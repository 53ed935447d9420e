# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders that a build wrote to: removed and copied, however deep or closed they are.

By programs, for a build can make folders deeper than Python's own functions can go.
"""

from __future__ import annotations

import os
from pathlib import Path

from workers import process
from workers.errors import InfrastructureError
from workers.process import Limits
from workers.sandbox import ENVIRONMENT

LIMITS = Limits(seconds=900.0)

CLOSED = ("-type", "d", "!", "-perm", "-u=rwx")
"""How find tells a folder that its owner can't empty."""


def remove(folder: Path) -> None:
    """Remove a folder that a build wrote to; raises OSError where that can't be done."""
    path, said = str(folder.absolute()), ""
    for _ in range(2):
        if not os.path.lexists(path) or not (said := _run("rm", "-rf", "--", path)):
            return
        # A build can take the permissions of a folder of its own away; find gives them back before
        # it looks inside. Files are left alone: other lanes may have links to them.
        _run("find", path, *CLOSED, "-execdir", "chmod", "u+rwx", "{}", ";")
    raise OSError(f"{folder} can't be removed: {said}")


def copy(folder: Path, to: Path) -> None:
    """Copy what is in a folder that a build wrote to, with its times and links, into another one.

    Raises OSError where that can't be done.
    """
    # Both by short names, so that what could be copied once can be copied on.
    if said := _run("cp", "--archive", f"--target-directory={to.absolute()}", ".", within=folder):
        raise OSError(f"{folder} can't be copied to {to}: {said}")


def _run(program: str, *words: str, within: Path | None = None) -> str:
    """Return the first line of what a program says that fails; nothing of one that succeeds."""
    try:
        ran = process.run([program, *words], cwd=within, env=ENVIRONMENT, limits=LIMITS)
    except InfrastructureError as error:
        raise OSError(str(error)) from error
    if ran.status == 0:
        return ""
    said = ran.stderr.decode(errors="replace").strip().partition("\n")[0]
    # The path that it begins with may be of any length.
    return said[-300:] or f"{program} ended with status {ran.status}"
