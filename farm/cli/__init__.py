# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``farm``: results on standard output, what went wrong on standard error."""

from __future__ import annotations

import os
import sys
import traceback

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
    try:
        status = app(prog_name="farm", standalone_mode=False)
    except TyperException as error:
        sys.exit(_complain(_usage(error), USER_STATUS))
    except (*USER_ERRORS, ProgramMissing) as error:
        sys.exit(_complain(str(error), USER_STATUS))
    except (FarmError, OSError) as error:
        sys.exit(_complain(str(error), INCONCLUSIVE_STATUS))
    except Exception:  # noqa: BLE001 (told in full; Python's own status 1 means a regression)
        traceback.print_exc()
        sys.exit(INCONCLUSIVE_STATUS)
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: TyperException) -> str:
    """Return what is wrong with the words of a command, and who tells the right ones."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "farm"
    return f"{error.format_message().rstrip('.')}; {path} --help lists what it takes"


def _complain(message: str, status: int) -> int:
    line = printable(" ".join(message.split()))
    sys.stderr.write(f"farm: {line}\n")
    return status
