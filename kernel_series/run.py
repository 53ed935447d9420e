# SPDX-License-Identifier: GPL-2.0-or-later
"""How this package gets a program run without starting one itself: the caller hands in a `Run`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kernel_series.errors import SeriesError, printable

NOT_FOUND = 127  # a shell's status for a program that is not there


@dataclass(frozen=True)
class Ran:
    """How a program ended. `status` is its exit status, negative for the signal that killed it."""

    status: int
    stdout: bytes
    stderr: bytes


class Run(Protocol):
    """Runs `argv` to its end with `stdin` as its whole input. Never raises on an exit status.

    A program that is not installed either ends with status 127 or raises FileNotFoundError.
    """

    def __call__(
        self, argv: Sequence[str], *, stdin: bytes = b"", cwd: Path | None = None
    ) -> Ran: ...


def run_tool(
    run: Run,
    argv: Sequence[str],
    *,
    package: str,
    place: str,
    stdin: bytes = b"",
    cwd: Path | None = None,
) -> Ran:
    """Run a program of Debian's `package`. Raises SeriesError when it is not installed."""
    missing = SeriesError(
        place, f"this needs the program {argv[0]}, which is not here", f"apt install {package}"
    )
    if cwd is not None and not cwd.is_dir():  # else its FileNotFoundError would blame the program
        raise SeriesError(place, f"{cwd} is not a folder")
    try:
        ran = run(argv, stdin=stdin, cwd=cwd)
    except FileNotFoundError as error:
        raise missing from error
    if ran.status == NOT_FOUND:
        raise missing
    return ran


def first_line(output: bytes) -> str:
    """The first line that a program said, for a message; bounded and free of control characters."""
    return printable(output.decode("utf-8", "replace").strip().partition("\n")[0][:200])
