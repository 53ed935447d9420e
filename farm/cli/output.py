# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard output: what ``--json`` prints, one document and nothing else, and who reads it."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from farm.reports.results import SCHEMA
from workers.errors import InfrastructureError


class Screen(Console):
    """A console whose reader may go away: that is for the caller to judge.

    Rich would end the program, with the status 1 that means a regression.
    """

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def verdict(again: str) -> Iterator[None]:
    """Print what an exit status stands for; ``again`` says how it is seen once more.

    Raises InfrastructureError where it can't be printed: a status without it tells too little.
    """
    try:
        yield
    except OSError as error:
        said = f"the results can't be printed: {error.strerror}"
        raise InfrastructureError(said, again) from error


def write(document: Mapping[str, Any]) -> None:
    """Print a document."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    sys.stdout.flush()


def listing(**content: Any) -> None:
    """Print a document of these keys, with the version of the contracts that it keeps to."""
    write({"schema": SCHEMA, **content})
