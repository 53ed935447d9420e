# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that really end in all ways there are, each in the status that it deserves.

Real kernels under QEMU, with a module that does it (``endings/``). The limits are short where a
guest is to reach them: what they are does not change how it is judged.
"""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farm import profiles
from farm.observe import observations
from farm.records import Observation, Purpose, Test
from farm.verdicts.judge import Judgement, Need, judge
from stress.scenario import Clock, FeatureState, Needs, Scenario
from workers import boot as booting
from workers import machines
from workers.boot import BootRequest, BootResult, Ending, Limits
from workers.errors import InfrastructureError
from workers.machines import Kind, Running, Start
from workers.process import Cancel
from workers.sandbox import Sandbox
from workers.status import Status

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Guests

ROOT = Path(__file__).parents[2]
NODE = profiles.load_lab(ROOT / "configs", "laptop").nodes[0].node

LONG = Limits(boot=120, silence=60, whole=300)
"""Of a guest that ends by itself, on however busy a host."""

SHORT = Limits(boot=60, silence=6, whole=120, output=2 << 20)
EARLY = Limits(boot=5, silence=60, whole=60)


@dataclass(frozen=True)
class Way:
    """A way to go: how it is seen to end, what comes of one such boot, and in which words.

    ``silent`` ones tell nothing of why: alone they are MISS, and FAIL with these words only after a
    control passed and they were seen twice.
    """

    run: str
    ending: Ending
    status: Status
    title: str | None
    limits: Limits = LONG
    silent: bool = False


def silent(run: str, ending: Ending, title: str, limits: Limits = LONG) -> Way:
    return Way(run, ending, Status.MISS, title, limits, silent=True)


WAYS = [
    Way("fine", Ending.FINISHED, Status.PASS, None),
    Way("waits", Ending.FINISHED, Status.PASS, None),
    Way("panic", Ending.RESET, Status.FAIL, "Kernel panic - not syncing: out of the blue"),
    Way("oops", Ending.RESET, Status.FAIL, "BUG: kernel NULL pointer dereference in run_oops"),
    Way("oops_goes_on", Ending.FINISHED, Status.FAIL,
        "BUG: kernel NULL pointer dereference in run_oops"),
    Way("warning", Ending.FINISHED, Status.FAIL, "WARNING in run_warning"),
    Way("out_of_memory", Ending.RESET, Status.FAIL,
        "Kernel panic - not syncing: System is deadlocked on memory"),
    silent("irqs_off", Ending.SILENT, "hang in endings.irqs-off", SHORT),
    silent("silence", Ending.SILENT, "hang in endings.silence", SHORT),
    silent("never_ends", Ending.OVERTIME, "hang in endings.never-ends"),
    silent("chatter", Ending.FLOODED, "endless output in endings.chatter", SHORT),
    silent("flood", Ending.FLOODED, "endless output in endings.flood", SHORT),
    silent("triple_fault", Ending.RESET, "reset in endings.triple-fault"),
    silent("reboot", Ending.RESET, "reset in endings.reboot"),
    silent("power_off", Ending.RESET, "reset in endings.power-off"),
    Way("sh:noise", Ending.FINISHED, Status.PASS, None),
    Way("sh:garbage", Ending.FINISHED, Status.ERROR,
        "the scenario said something that init does not know"),
]  # fmt: skip


def scenario(run: str) -> Scenario:
    """Return a scenario that goes one way. None of them takes a second, but for one."""
    return Scenario(
        name="endings",
        title="one way to go",
        needs=Needs(),
        parameters={},
        run=run,
        limit=3 if run == "never_ends" else 600,
        clocks=(Clock.WALL,),
        smp=1,
        evidence=(),
        expect=dict.fromkeys(FeatureState, ()),
    )


@pytest.fixture(scope="session")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """QEMU on this host."""
    return machines.open_kind("qemu", Sandbox(), tmp_path_factory.mktemp("notes"))


@dataclass(frozen=True)
class Place:
    """Where guests are booted: gives what was seen, and what the farm takes down of it."""

    kind: Kind
    guests: Guests
    folder: Path

    def request(self, run: str, limits: Limits, **changes: Any) -> BootRequest:
        asked: dict[str, Any] = {"kernel": self.guests.kernel, "initramfs": self.guests.initramfs}
        return BootRequest(
            arch="x86_64",
            node=NODE,
            clock=Clock.WALL,
            icount_shift=4,
            scenarios=(scenario(run),),
            seed=1,
            limits=limits,
            folder=self.folder / "boot",
            **{**asked, **changes},
        )

    def boot(
        self, request: BootRequest, meddle: Callable[[Start], None] = lambda start: None
    ) -> tuple[BootResult, Observation]:
        """Boot; ``meddle`` is called as soon as the guest has said where it is."""

        def start(machine: Start) -> Running:
            return Meddled(self.kind.start(request.node, machine), machine, meddle)

        result = booting.boot(request, start, Cancel())
        (seen,) = observations(
            request, result, Purpose.TEST, self.kind.accelerator, self.kind.model(NODE)
        )
        return result, seen


class Meddled:
    """A machine that something is done to, once, when its guest has begun with its case."""

    def __init__(self, running: Running, start: Start, meddle: Callable[[Start], None]) -> None:
        self._running = running
        self._start = start
        self._meddle: Callable[[Start], None] | None = meddle
        self._looks = 0
        self.command = running.command

    def ended(self) -> int | None:
        if self._meddle is not None and b'{"case": ' in self._start.results.read_bytes():
            self._looks += 1
            # Who watches has to have looked once: of what came in between nobody can know.
            if self._looks == 2:
                meddle, self._meddle = self._meddle, None
                meddle(self._start)
        return self._running.ended()

    def stopped(self) -> bool:
        return self._running.stopped()

    def cpu_seconds(self) -> float:
        return self._running.cpu_seconds()

    def diagnose(self) -> str:
        return self._running.diagnose()

    def __enter__(self) -> Running:
        self._running.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.__exit__(*error)


@pytest.fixture
def place(kind: Kind, guests: Guests, tmp_path: Path) -> Place:
    return Place(kind, guests, tmp_path)


def judged(run: str, *seen: Observation, control: Judgement | None = None) -> Judgement:
    """Return what the farm makes of one or more boots."""
    test = Test("1", "endings", NODE.name, Clock.WALL, 1, None, FeatureState.ABSENT, None, seen,
                False)  # fmt: skip
    return judge(test, scenario(run), control, (), 4)


PASSED = Judgement(Status.PASS, None)


def check_silence(run: str, title: str, seen: Observation) -> None:
    """Check that nobody is blamed before the control passed and it was silent again."""
    alone = judged(run, seen)
    assert (alone.status, alone.need) == (Status.MISS, Need.CONTROL)
    once = judged(run, seen, control=PASSED)
    assert (once.status, once.need) == (Status.MISS, Need.CONFIRM)
    suspect = judged(run, seen, seen, control=Judgement(Status.MISS, "silent too"))
    assert (suspect.status, suspect.faults) == (Status.MISS, ())
    twice = judged(run, seen, seen, control=PASSED)
    assert (twice.status, twice.reason) == (Status.FAIL, title)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.run)
def test_ways_to_go(place: Place, way: Way) -> None:
    result, seen = place.boot(place.request(way.run, way.limits))
    assert result.ending is way.ending, seen
    found = judged(way.run, seen)
    assert found.status is way.status, found
    if way.title is None:
        assert (found.reason, found.faults) == (None, ())
        assert {case.status for case in found.cases} == {Status.PASS}
    elif way.silent:
        check_silence(way.run, way.title, seen)
    else:
        assert (found.reason or "").startswith(way.title), found.reason
    if way.run not in ("fine", "waits") and not way.run.startswith("sh:"):
        assert seen.open_case == f"endings.{way.run}".replace("_", "-") or way.ending in (
            Ending.FINISHED,
        )
    if way.ending in booting.HANGS:
        assert "RIP=" in result.diagnosis


# Before there is an init

TEXT = "Kernel panic - not syncing: too early\n"
SILENT_BOOT = "boot: silent"


@pytest.mark.parametrize(
    ("text", "does", "ending", "status", "title"),
    [
        ("", "", Ending.NEVER_SPOKE, Status.MISS, SILENT_BOOT),
        ("", "lidt nothing; int3", Ending.RESET, Status.MISS, "reset in no case"),
        (TEXT, "lidt nothing; int3", Ending.RESET, Status.FAIL,
         "boot: Kernel panic - not syncing: too early"),
        (TEXT, "", Ending.NEVER_SPOKE, Status.FAIL, "boot: Kernel panic - not syncing: too early"),
    ],
    ids=["hang", "triple fault", "panic and reboot", "panic and hang"],
)  # fmt: skip
def test_ends_before_init(
    place: Place, text: str, does: str, ending: Ending, status: Status, title: str
) -> None:
    kernel = place.guests.early(place.folder, text, does)
    limits = EARLY if ending is Ending.NEVER_SPOKE else LONG
    _, seen = place.boot(place.request("fine", limits, kernel=kernel))
    assert seen.ending is ending
    found = judged("fine", seen)
    assert found.status is status
    if status is Status.MISS:
        check_silence("fine", title, seen)
    else:
        assert found.reason == title


def test_a_kernel_without_an_init(place: Place) -> None:
    _, seen = place.boot(place.request("fine", LONG, initramfs=place.guests.without_init))
    found = judged("fine", seen)
    assert (seen.ending, found.status) == (Ending.RESET, Status.FAIL)
    assert (found.reason or "").startswith("boot: Kernel panic - not syncing: ")


def test_an_init_that_never_speaks(place: Place) -> None:
    _, seen = place.boot(place.request("fine", EARLY, initramfs=place.guests.mute))
    assert seen.ending is Ending.NEVER_SPOKE
    check_silence("fine", SILENT_BOOT, seen)


# What the host does to a guest


def qemu_under(folder: Path) -> int:
    """Return the QEMU that writes to a folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            mounts = (entry / "mountinfo").read_text()
        except OSError:
            continue  # it ended meanwhile
        if command.startswith(b"qemu-system") and str(folder) in mounts:
            return int(entry.name)
    raise AssertionError("there is no QEMU")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_machine_that_is_killed_is_the_host_s_trouble(place: Place, number: int) -> None:
    def kill(start: Start) -> None:
        os.kill(qemu_under(start.folder), number)

    result, _ = place.boot(place.request("waits", LONG), kill)
    assert result.ending is Ending.MACHINE_DIED


def test_a_machine_that_is_stopped_for_good(place: Place) -> None:
    def stop(start: Start) -> None:
        os.kill(qemu_under(start.folder), signal.SIGSTOP)

    asked = place.request("waits", Limits(boot=120, silence=2, whole=300))
    with pytest.raises(InfrastructureError, match="kept from running for 2 s"):
        place.boot(asked, stop)


def test_a_machine_that_is_stopped_for_a_while(place: Place) -> None:
    """It goes on as if nothing had been."""
    looks = 0

    class Stopping(Meddled):
        def ended(self) -> int | None:
            nonlocal looks
            looks += bool(looks)
            if looks == 20:
                os.kill(qemu_under(self._start.folder), signal.SIGCONT)
            return super().ended()

    def stop(start: Start) -> None:
        nonlocal looks
        looks = 1
        os.kill(qemu_under(start.folder), signal.SIGSTOP)

    asked = place.request("waits", LONG)
    result = booting.boot(
        asked, lambda start: Stopping(place.kind.start(NODE, start), start, stop), Cancel()
    )
    assert (looks >= 20, result.ending) == (True, Ending.FINISHED)
    (seen,) = observations(
        asked, result, Purpose.TEST, place.kind.accelerator, place.kind.model(NODE)
    )
    assert judged("waits", seen).status is Status.PASS


def test_a_console_that_is_cut_off(place: Place) -> None:
    def cut(start: Start) -> None:
        os.truncate(start.console, 0)

    with pytest.raises(InfrastructureError, match=r"console\.log was cut off"):
        place.boot(place.request("waits", LONG), cut)


def test_results_that_are_cut_off(place: Place) -> None:
    """Read as they come, they are whole before the cut, or it is noticed; no kernel is blamed."""

    def cut(start: Start) -> None:
        os.truncate(start.results, 0)

    seen, told = None, "results.log was cut off"
    try:
        _, seen = place.boot(place.request("waits", LONG), cut)
    except InfrastructureError as error:
        told = str(error)
    assert "results.log was cut off" in told
    assert seen is None or judged("waits", seen).status is Status.PASS


ON_A_SMALL_DISK = """
import pickle, sys
from workers import boot, machines
from workers.process import Cancel
request = pickle.load(sys.stdin.buffer)
kind = machines.open_kind("qemu", machines.Sandbox(), request.folder.parent)
print(boot.boot(request, lambda start: kind.start(request.node, start), Cancel()).ending)
"""


def test_a_disk_that_is_full(place: Place) -> None:
    """A real one: a tmpfs in a mount namespace of its own, which a chattering guest fills."""
    asked = place.request("chatter", LONG)
    asked.folder.mkdir()
    size = place.guests.initramfs.stat().st_size + (2 << 20)
    python = shlex.join([sys.executable, "-c", ON_A_SMALL_DISK])
    script = f'mount -t tmpfs -o "size=$1" none "$2" && exec {python}'
    said = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(size),
         str(asked.folder)],
        cwd=ROOT,
        input=pickle.dumps(asked),
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 1
    last = said.stderr.decode().splitlines()[-1]
    assert last == f"workers.errors.InfrastructureError: the disk of {asked.folder} is full"
