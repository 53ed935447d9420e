# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of a run, as plain data: read from the database, judged by ``farm.verdicts``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stress.measurement import Measure
from stress.protocol import Outcome
from stress.scenario import Clock, FeatureState, Parameter
from stress.transcript import Case
from workers.boot import Ending
from workers.console.crash import CrashKind
from workers.requests import BuildResult, Point
from workers.timing import Step


class Purpose(StrEnum):
    """Why a boot was made."""

    TEST = "test"
    """To see what a kernel does."""
    CONFIRM = "confirm"
    """To see whether a fault shows again."""
    CONTROL = "control"
    """To see whether an earlier kernel passes where a later one fell silent."""


@dataclass(frozen=True)
class Crash:
    """A crash report of a console, as far as verdicts and reports need it."""

    title: str
    kind: str
    excerpt: str
    corrupted: bool

    @property
    def is_the_machine_s(self) -> bool:
        """Whether the machine reports itself: that is no fault of the kernel's."""
        return self.kind == CrashKind.MACHINE_CHECK


@dataclass(frozen=True)
class Played:
    """One scenario as a boot was given it; ``limit`` is in guest seconds."""

    name: str
    run: str
    parameters: Mapping[str, Parameter]
    limit: int


@dataclass(frozen=True)
class Setup:
    """What a boot was made of, beside kernel, payload and command line: enough to make it again.

    ``scenarios`` are all of the boot in their order, for each runs on what the ones before it left.
    ``model`` is the machine as verdicts compare it.
    """

    model: str
    icount_shift: int | None
    seed: int
    scenarios: tuple[Played, ...]


@dataclass(frozen=True)
class Observation:
    """One scenario in one boot, as it was seen; nothing in it is judged.

    ``ending`` is how the boot ended for this scenario: FINISHED when the scenario came to its end,
    whatever befell the boot later. ``crash`` is the first crash report that stands between the
    scenario's beginning and the next one's; with ``before_start`` it stands before any scenario.
    ``cpus`` is how many the machine has, 0 where that is not known.
    """

    purpose: Purpose
    ending: Ending
    outcome: Outcome | None = None
    reason: str | None = None
    intact: bool = False
    cases: tuple[Case, ...] = ()
    open_case: str | None = None
    evidence: Mapping[str, int] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    crash: Crash | None = None
    before_start: bool = False
    cpus: int = 0
    seconds: float = 0.0
    accelerator: str = ""
    command: tuple[str, ...] = ()
    folder: str = ""
    diagnosis: str = ""
    setup: Setup | None = None


@dataclass(frozen=True)
class Cell:
    """One kernel flavour of the matrix; without ``boots`` it is built only."""

    arch: str
    config: str
    toolchain: str
    boots: bool = True

    @property
    def name(self) -> str:
        return f"{self.arch}-{self.config}-{self.toolchain}"

    @property
    def title(self) -> str:
        """What people read where cells stand among other things."""
        what = "config" if self.boots else "build-only"
        return f"{what} {self.config} on {self.arch}"


@dataclass(frozen=True)
class Test:
    """One scenario on one build: what was asked for and everything that was seen of it.

    ``state`` is what this point may be expected to have of the feature under test; the observations
    of a test that inherits are those of the test named by ``inherited_from``, but for another run's
    controls. ``given_up`` says why its last boot failed, where no further one is tried.
    """

    __test__ = False

    id: str
    scenario: str
    node: str
    clock: Clock
    seed: int
    skip: str | None
    state: FeatureState
    inherited_from: str | None
    observations: tuple[Observation, ...]
    pending: bool
    given_up: str | None = None

    @property
    def key(self) -> tuple[str, str, Clock]:
        """What makes two tests of different builds comparable, beside the cell."""
        return (self.scenario, self.node, self.clock)


@dataclass(frozen=True)
class Build:
    """One point in one cell; ``result`` is None while it is not done.

    ``given_up`` says why its last try failed, where no further one is made.
    """

    id: int
    point: int
    cell: Cell
    result: BuildResult | None
    log: str
    tests: tuple[Test, ...]
    given_up: str | None = None

    @property
    def not_built(self) -> str:
        """What is said of it while there is no result."""
        return "not built" if self.given_up is None else f"not built: {self.given_up}"


@dataclass(frozen=True)
class Run:
    """One submission with all that is known of it."""

    id: str
    title: str
    version: int | None
    profile: str
    state: str
    created: float
    finished: float | None
    base: str
    sandboxed: bool
    points: tuple[Point, ...]
    builds: tuple[Build, ...]
    icount_shift: int
    not_tested: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One try at a job: who did it, when (seconds since the epoch), and what its steps took.

    ``slot`` is the resource that it took up; ``build`` the build that it made or booted, ``tests``
    the tests that it booted it for. ``ended`` is None while it is under way.
    """

    job: int
    kind: str
    slot: str
    holder: str
    started: float
    ended: float | None
    outcome: str | None
    reason: str | None
    build: int | None
    tests: tuple[str, ...]
    steps: tuple[Step, ...]
