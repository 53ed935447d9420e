# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``farm``: results on standard output, what went wrong on standard error."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from farm import settings
from farm.app import App
from farm.cli import control, inventory, runs, selftest, storage, submit
from kernel_series.errors import printable
from workers.errors import USER_ERRORS, FarmError

USER_STATUS = 2
INCONCLUSIVE_STATUS = 3

app = typer.Typer(
    name="farm",
    help="Test kernel patch series that touch kprobes jump optimization, patch by patch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (submit, control, runs, selftest, inventory, storage):
    module.register(app)


@app.callback()
def _open(context: typer.Context) -> None:
    farm = App(settings.load(os.environ))
    context.obj = farm
    context.call_on_close(farm.close)


def main() -> None:
    """Run the command; every trouble that has a name becomes one line on standard error.

    One that has none is a fault of the farm's, and says nothing about a series.
    """
    try:
        app()
    except USER_ERRORS as error:
        sys.exit(_complain(str(error), USER_STATUS))
    except FarmError as error:
        sys.exit(_complain(str(error), INCONCLUSIVE_STATUS))
    except Exception:  # noqa: BLE001 (told in full; Python's own status 1 means a regression)
        traceback.print_exc()
        sys.exit(INCONCLUSIVE_STATUS)


def _complain(message: str, status: int) -> int:
    line = printable(" ".join(message.split()))
    sys.stderr.write(f"farm: {line}\n")
    return status
