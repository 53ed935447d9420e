# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``farm``: results on standard output, what went wrong on standard error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import typer
from typer.exceptions import TyperException

from farm import settings
from farm.app import App
from farm.cli import control, inventory, runs, selftest, storage, submit
from kernel_series.errors import printable
from workers.errors import USER_ERRORS, FarmError, ProgramMissing

USER_STATUS = 2
INCONCLUSIVE_STATUS = 3

app = typer.Typer(
    name="farm",
    help="Test kernel patch series that touch kprobes jump optimization, patch by patch.",
    pretty_exceptions_enable=False,
)
for module in (submit, control, runs, selftest, inventory, storage):
    module.register(app)


@app.callback(invoke_without_command=True)
def _open(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit(USER_STATUS)
    farm = App(settings.load(os.environ))
    context.obj = farm
    context.call_on_close(farm.close)


def main() -> None:
    """Run the command; every trouble that has a name becomes one line on standard error.

    One that has none is a fault of the farm's, and says nothing about a series.
    """
    # A stream that was closed from the start is none; who closes it wants the status only.
    sys.stdout, sys.stderr = (
        stream or Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
        for stream in (sys.stdout, sys.stderr)
    )
    sys.exit(_flushed(_run()))


def _run() -> int:
    try:
        status = app(prog_name="farm", standalone_mode=False)
    except TyperException as error:
        return _complain(_usage(error), USER_STATUS)
    except (*USER_ERRORS, ProgramMissing) as error:
        return _complain(str(error), USER_STATUS)
    except (FarmError, OSError) as error:
        return _complain(str(error), INCONCLUSIVE_STATUS)
    except SystemExit as ended:
        # Typer ends with 1 where nobody reads standard output; that means a regression.
        return INCONCLUSIVE_STATUS if ended.code else 0
    except Exception:  # noqa: BLE001 (told in full; Python's own status 1 means a regression)
        _tell(traceback.format_exc().splitlines())
        return INCONCLUSIVE_STATUS
    return status if isinstance(status, int) else 0


def _flushed(status: int) -> int:
    """Write out what was printed; returns the exit status: not 0 where not all could be."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python would try it again at its end, and in vain have a status of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout:
                status = status or INCONCLUSIVE_STATUS
                # Who read the first lines only does not want to hear of the others.
                if not isinstance(error, BrokenPipeError):
                    _complain(f"standard output: {error.strerror}", status)
    return status


def _usage(error: TyperException) -> str:
    """Return what is wrong with the words of a command, and who tells the right ones."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "farm"
    return f"{error.format_message().rstrip('.')}; {path} --help lists what it takes"


def _complain(message: str, status: int) -> int:
    _tell([f"farm: {' '.join(message.split())}"])
    return status


def _tell(lines: Iterable[str]) -> None:
    """Write lines to standard error, whoever their text is of, if anybody is there to read it."""
    with suppress(OSError):
        sys.stderr.writelines(f"{printable(line)}\n" for line in lines)
