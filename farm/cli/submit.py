# SPDX-License-Identifier: GPL-2.0-or-later
"""``farm submit``, ``farm resume`` and ``farm plan``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from farm import planner, selftest
from farm.app import LAB, App
from farm.cli import complete, live, output
from farm.planner import Flags
from farm.reports import results, text
from farm.schedule import STOPPED
from kernel_series import manifest as manifests
from kernel_series.files import is_folder
from kernel_series.manifest import Manifest
from workers import process
from workers.errors import InfrastructureError, ProgramMissing, UserError

EXIT = {"PASS": 0, "REGRESSION": 1, "INCONCLUSIVE": 3}
INTERRUPTED = 130

Series = Annotated[
    Path,
    typer.Argument(help="a series.yml, or a folder that holds one", autocompletion=complete.series),
]
Tree = Annotated[Path | None, typer.Option(help="a git repository to take the base from")]
Profile = Annotated[
    str,
    typer.Option(help="how much is run: quick or full", autocompletion=complete.profile_names),
]
Lab = Annotated[
    str, typer.Option(help="the lab whose nodes are used", autocompletion=complete.labs)
]
Arches = Annotated[
    list[str] | None,
    typer.Option("--arch", help="only this architecture", autocompletion=complete.arches),
]
Configs = Annotated[
    list[str] | None,
    typer.Option("--config", help="only this config", autocompletion=complete.configs),
]
Nodes = Annotated[
    list[str] | None, typer.Option("--node", help="only this node", autocompletion=complete.nodes)
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option("--scenario", help="only this scenario", autocompletion=complete.scenarios),
]
Plants = Annotated[
    list[str] | None, typer.Option("--plant", help="CANARY@K: plant a fault on top of point K")
]
Reuse = Annotated[bool, typer.Option("--reuse/--no-reuse", help="use what is already known")]
NoSandbox = Annotated[bool, typer.Option("--no-sandbox", help="build and boot in the open")]
Detach = Annotated[bool, typer.Option("--detach", help="go on in the background; prints the run")]


def _said(run: str | None) -> str | None:
    """Refuse an empty name, as of a variable that is not set: every id begins with it."""
    if run == "":
        raise UserError("RUN is empty", "farm status lists the runs; latest is the newest")
    return run


def run_argument(help_: str) -> Any:
    """Return what the argument RUN of a command is to typer."""
    return typer.Argument(help=help_, autocompletion=complete.runs, callback=_said)


RunName = Annotated[str, run_argument("a run's id, a unique prefix of it, or latest")]
AsJson = Annotated[bool, typer.Option("--json", help="results as one JSON document at the end")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(submit)
    app.command()(resume)
    app.command()(plan)


def submit(
    context: typer.Context,
    series: Series,
    tree: Tree = None,
    profile: Profile = "quick",
    lab: Lab = LAB,
    arch: Arches = None,
    config: Configs = None,
    node: Nodes = None,
    scenario: Scenarios = None,
    plant: Plants = None,
    reuse: Reuse = True,
    no_sandbox: NoSandbox = False,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Build and boot every patch of a series, and say which one broke what.

    Exit status: 0 pass, 1 regression, 2 bad input, 3 inconclusive. Ctrl-C leaves a run that
    `farm resume` finishes; with --detach it goes on without a terminal, and `farm watch` shows it.
    """
    farm: App = context.obj
    found = load(series)
    flags = flags_of(arch, config, node, scenario, reuse, not no_sandbox)
    flags = replace(flags, plants=selftest.plants(plant or ()))
    request, _ = farm.plan(found, _checked(tree), flags, profile, lab)
    # A patch that can't be read is bad input: nobody needs a run to learn that.
    planner.subjects(found, request.tree)
    run = farm.submit(found, request)
    if detach:
        _detach(farm, run, as_json)
    else:
        raise typer.Exit(work(farm, run, as_json))


def resume(context: typer.Context, run: RunName = "latest", as_json: AsJson = False) -> None:
    """Go on with a run that was interrupted."""
    farm: App = context.obj
    found = farm.judged(run).run
    if found.state == STOPPED:
        raise UserError(
            f"run {found.id} was cancelled and stays so",
            "submit the series again: what was built and seen is used again",
        )
    raise typer.Exit(work(farm, found.id, as_json))


def _detach(farm: App, run: str, as_json: bool) -> None:
    """Have a process of its own work the run off, in a session that no terminal ends."""
    # Opened here too, so that what this machine lacks is said to whoever asked.
    farm.dispatcher(run)
    folder = farm.settings.runs / run
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "farm.log"
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-P", "-m", "farm", "resume", run]
    process.detach(words, log, {**os.environ, "PYTHONPATH": path})
    if as_json:
        output.listing(run=run, log=str(log))
    else:
        sys.stdout.write(f"{run}\n")


def plan(
    context: typer.Context,
    series: Series,
    tree: Tree = None,
    profile: Profile = "quick",
    lab: Lab = LAB,
    arch: Arches = None,
    config: Configs = None,
    node: Nodes = None,
    scenario: Scenarios = None,
    as_json: AsJson = False,
) -> None:
    """Say what a submission would do and how long it should take; touches nothing."""
    farm: App = context.obj
    found = load(series)
    flags = flags_of(arch, config, node, scenario, True, True)
    request, data = farm.plan(found, _checked(tree), flags, profile, lab)
    subjects = planner.subjects(found, request.tree)
    document = results.plan(found, request, data, subjects)
    if as_json:
        output.write(document)
    else:
        output.Screen().print(text.plan(document))


def load(series: Path) -> Manifest:
    """Read the manifest that a path names: a file, or a folder with a series.yml in it."""
    return manifests.load(series / "series.yml" if is_folder(series) else series)


def _checked(tree: Path | None) -> Path | None:
    if tree is not None and not is_folder(tree):
        raise UserError(f"--tree {tree}: there is no such folder", "name a clone of the kernel")
    return tree


def flags_of(
    arch: list[str] | None,
    config: list[str] | None,
    node: list[str] | None,
    scenario: list[str] | None,
    reuse: bool,
    sandbox: bool,
) -> Flags:
    """Return what the command line narrows."""
    return Flags(
        arches=tuple(arch or ()),
        configs=tuple(config or ()),
        nodes=tuple(node or ()),
        scenarios=tuple(scenario or ()),
        reuse=reuse,
        sandbox=sandbox,
    )


def work(farm: App, run: str, as_json: bool) -> int:
    """Work a run off with its progress on the screen; returns the exit status.

    Raises InfrastructureError where the farm itself could not go on; the run can.
    """
    console = output.Screen(stderr=as_json)
    try:
        dispatcher = farm.dispatcher(run)

        def stop() -> None:
            dispatcher.stop("interrupted")

        with stopping(stop) as interrupted, live.progress(farm, run, console):
            dispatcher.take_over()
            dispatcher.drain()
    except ProgramMissing:
        raise
    except (InfrastructureError, OSError) as error:
        said = error.message if isinstance(error, InfrastructureError) else str(error)
        raise InfrastructureError(
            said, f"once that is mended, farm resume {run} goes on"
        ) from error
    if interrupted:
        with suppress(OSError):
            console.print(f"stopped; [bold]farm resume {run}[/] goes on from here", highlight=False)
        return INTERRUPTED
    return report(farm, run, console, as_json)


def report(farm: App, run: str, console: Console, as_json: bool) -> int:
    """Show what a run that has ended came to; returns the exit status."""
    judged = farm.judged(run)
    if judged.refused is not None:
        raise UserError(judged.refused)
    with output.verdict(f"farm results {run} shows them"):
        if as_json:
            output.write(results.document(judged))
        else:
            console.print(text.run(judged))
    return EXIT[judged.outcome]


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Turn Ctrl-C and a polite kill into an orderly stop; yields the signals that came."""
    came = list[int]()

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        # Outside the handler: a lock it takes may be held by the very code that was interrupted.
        threading.Thread(target=stop).start()

    handlers = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
