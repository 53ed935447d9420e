# SPDX-License-Identifier: GPL-2.0-or-later
"""One test run again from what its result carries, and whether it came out the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from farm.db.database import Database
from farm.db.models import RunRow, TestRow
from farm.db.runs import REQUEST, load_run
from farm.dispatch.slot import taken
from farm.observe import observations
from farm.records import Build, Observation, Purpose, Run, Setup, Test
from farm.runner import Worker
from farm.schedule import BUILDING, node_slot
from farm.verdicts.judge import Judgement, judge
from stress.scenario import Clock, Scenario
from workers import boot as booting
from workers.boot import BootRequest, Ending
from workers.build import Builder, build
from workers.errors import InfrastructureError, UserError
from workers.folders import remove
from workers.machines import Running, Start
from workers.process import Cancel
from workers.requests import BuildResult

KIND = "reproduce"
"""The kind of job that stands for it in a run's log."""


class Result(StrEnum):
    """What came of it."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reproduction:
    """How a test came out the second time.

    ``changed`` is what it could not be given as before, ``differences`` what came out differently;
    with the first, the second say nothing.
    """

    test: str
    result: Result
    reason: str
    rebuilt: bool
    changed: tuple[str, ...]
    differences: tuple[str, ...]
    before: str
    now: str | None
    folder: str | None
    command: tuple[str, ...] = ()


def run_of(database: Database, name: str) -> str:
    """Return the run that a test belongs to; UserError says where ids of tests are found."""
    with database.transaction() as session:
        row = session.get(TestRow, name)
    if row is None:
        raise UserError(f"there is no test {name!r}", "farm results RUN --json lists them")
    return row.run_id


def _find(worker: Worker, name: str) -> tuple[Run, Build, Test]:
    shift = worker.host.profile.icount_shift
    with worker.database.transaction() as session:
        row = session.get_one(TestRow, name)
        run = load_run(session, session.get_one(RunRow, row.run_id), shift)
    return next((run, one, test) for one in run.builds for test in one.tests if test.id == name)


def reproduce(worker: Worker, name: str, cancel: Cancel) -> Reproduction:
    """Run a test again: kernel and payload, scenarios and parameters, seed, machine as they were.

    Raises UserError for a test that did not run, and for one whose scenario went away.
    """
    run, of, test = _find(worker, name)
    first = next((one for one in test.observations if one.purpose is not Purpose.CONTROL), None)
    if first is None or of.result is None:
        raise UserError(f"test {name} was not run: {test.skip or 'it has no result'}")
    if test.scenario not in worker.host.scenarios:
        raise UserError(f"there is no scenario {test.scenario} any more", "put its file back")
    before = _alone(worker, test, first)
    with _kernel(worker, run, of, cancel) as (made, rebuilt):
        changed = list(_other_kernel(of.result, made))
        report = Reproduction(
            name, Result.UNKNOWN, "", rebuilt, (), (), before.status.value, None, None
        )
        if changed:
            return replace(report, reason=changed[0], changed=tuple(changed))
        again, setup = _boot(worker, run, of, test, first, made, cancel)
    changed += _other_machine(first, again, setup)
    now = _alone(worker, test, again)
    checks = worker.host.scenarios[test.scenario].checks(test.state)
    fixed = frozenset(one.name for one in checks if one.op == "eq")
    differences = tuple(_differences(test.clock, fixed, (first, before), (again, now)))
    result = Result.SAME if not differences else Result.DIFFERENT
    if differences and changed:
        result = Result.UNKNOWN
    return replace(
        report,
        result=result,
        reason=(changed if result is Result.UNKNOWN else differences or ["as before"])[0],
        changed=tuple(changed),
        differences=differences,
        now=now.status.value,
        folder=again.folder,
        command=again.command,
    )


def _alone(worker: Worker, test: Test, seen: Observation) -> Judgement:
    """Return what one boot of a test shows by itself, whatever the others did."""
    only = replace(test, observations=(replace(seen, purpose=Purpose.TEST),))
    shift = worker.host.profile.icount_shift
    if seen.setup is not None and seen.setup.icount_shift is not None:
        shift = seen.setup.icount_shift
    return judge(only, worker.host.scenarios[test.scenario], None, (), shift)


# What it is run with.


@contextmanager
def _kernel(
    worker: Worker, run: Run, of: Build, cancel: Cancel
) -> Iterator[tuple[BuildResult, bool]]:
    """Yield the test's kernel and payload: kept ones, or built again from the tree store.

    They stay while the block runs: no unfinished run keeps them.
    """
    if of.result is None:
        raise AssertionError("a test has a build")
    with _using(worker.builder, of.result) as there:
        if there:
            yield of.result, False
            return
    made = _built_again(worker, run, of, cancel)
    with _using(worker.builder, made):
        yield made, True


@contextmanager
def _using(builder: Builder, result: BuildResult) -> Iterator[bool]:
    """Keep a build's kernel and payload in the cache while the block runs; yield if both are."""
    with (
        builder.kernels.using(result.kernel or "") as kernel,
        builder.payloads.using(result.payload or "") as payload,
    ):
        yield kernel is not None and payload is not None


def _built_again(worker: Worker, run: Run, of: Build, cancel: Cancel) -> BuildResult:
    builder = worker.builder
    with worker.database.transaction() as session:
        request = REQUEST.validate_python(session.get_one(RunRow, run.id).request)
    with taken(worker.database, run.id, KIND, BUILDING, cancel) as slot:
        folder = worker.settings.runs / run.id
        log = folder / "builds" / KIND / f"{slot.job}.log"
        # The same tree and configuration, as if nothing had been said of reuse.
        asked = replace(worker.build_request(request, run, of, log), reuse=True)
        lane = folder / "lanes" / f"{KIND}-{slot.job}"
        try:
            return build(asked, builder, lane, slot.cancel)
        finally:
            remove(lane)


def _other_kernel(before: BuildResult, now: BuildResult) -> Iterator[str]:
    if now.kernel_sha256 is None:
        yield f"the kernel could not be built again: {now.reason}"
    elif now.kernel_sha256 != before.kernel_sha256:
        yield f"the rebuilt kernel is another one: {_because(before, now)}"
    elif now.payload_sha256 != before.payload_sha256:
        yield "the payload is another one: the guest's side or busybox changed since"


def _because(before: BuildResult, now: BuildResult) -> str:
    if before.toolchain_sha256 not in (None, now.toolchain_sha256):
        return f"it was built by {before.toolchain} in another version than is here now"
    if before.config_sha256 not in (None, now.config_sha256):
        return "its .config differs from the one of then"
    return f"sha256 {now.kernel_sha256}, was {before.kernel_sha256}"


def _other_machine(first: Observation, again: Observation, setup: Setup | None) -> list[str]:
    if setup is None:
        return ["the result does not say what it was run with: today's scenarios were taken"]
    told = list[str]()
    if again.setup is not None and setup.model != again.setup.model:
        told.append(f"the machine is {again.setup.model}, was {setup.model}")
    if first.command != again.command:
        told.append("the command line is another one")
    return told


def _boot(
    worker: Worker,
    run: Run,
    of: Build,
    test: Test,
    first: Observation,
    made: BuildResult,
    cancel: Cancel,
) -> tuple[Observation, Setup | None]:
    """Boot the kernel as it was booted; returns what was seen, and what was known of then."""
    setup, host = first.setup, worker.host
    if test.node not in host.nodes:
        raise UserError(f"node {test.node} is not in the lab any more")
    node = host.nodes[test.node].node
    kind = worker.kinds[node.kind]
    shift = None if setup is None else setup.icount_shift
    scenarios = [host.scenarios[test.scenario]]
    if setup is not None:
        scenarios = _scenarios(setup, host.scenarios)
    with taken(worker.database, run.id, KIND, node_slot(test.node), cancel) as slot:
        asked = BootRequest(
            arch=of.cell.arch,
            kernel=worker.kept(worker.builder.kernels.find(made.kernel or ""), "vmlinux"),
            initramfs=worker.kept(worker.builder.payloads.find(made.payload or ""), "initramfs"),
            node=node,
            clock=test.clock,
            icount_shift=host.profile.icount_shift if shift is None else shift,
            scenarios=tuple(scenarios),
            seed=test.seed if setup is None else setup.seed,
            limits=host.profile.boot_limits,
            folder=worker.settings.runs / run.id / "boots" / f"{slot.job}.{slot.fence}",
        )

        def start(machine: Start) -> Running:
            return kind.start(node, machine)

        seen = booting.boot(asked, start, slot.cancel)
        if seen.ending is Ending.MACHINE_DIED:
            raise InfrastructureError(f"the machine died under the guest; see {asked.folder}")
    model = host.models[test.node]
    found = observations(asked, seen, Purpose.TEST, kind.accelerator, model)
    names = [one.name for one in scenarios[: len(found)]]
    if test.scenario not in names:
        # The boot did not come to it: what ended it speaks for all that follow.
        return found[-1], setup
    return found[names.index(test.scenario)], setup


def _scenarios(setup: Setup, known: Mapping[str, Scenario]) -> list[Scenario]:
    """Return the boot's scenarios with the parameters of then."""
    scenarios = list[Scenario]()
    for played in setup.scenarios:
        if played.name not in known:
            raise UserError(f"the scenario {played.name} that ran before it is gone")
        scenarios.append(
            replace(
                known[played.name],
                run=played.run,
                parameters=dict(played.parameters),
                limit=played.limit,
            )
        )
    return scenarios


# What came of it.


Seen = tuple[Observation, Judgement]


def _differences(clock: Clock, fixed: frozenset[str], first: Seen, again: Seen) -> Iterator[str]:
    """Yield what is not as it was, the weightiest first.

    Under icount everything is to be the same. By the wall clock counts vary from boot to boot: the
    statuses have to be the same, and the evidence that is to have one value (``fixed``).
    """
    (was, before), (seen, now) = first, again
    if before.status != now.status:
        yield f"status: {now.status} ({now.reason}), was {before.status} ({before.reason})"
    if was.ending != seen.ending:
        yield f"the boot's end: {seen.ending}, was {was.ending}"
    exact = clock is Clock.ICOUNT
    yield from _unequal("case ", *(_cases(one, exact) for one in (before, now)))
    evidence = (
        {name: value for name, value in one.evidence.items() if exact or name in fixed}
        for one in (was, seen)
    )
    yield from _unequal("evidence ", *evidence)
    if exact:
        yield from _unequal("", *(_figures(one) for one in (before, now)))


def _cases(verdict: Judgement, exact: bool) -> Mapping[str, str]:
    return {
        one.name: f"{one.status} ({one.reason})" if exact and one.reason else one.status.value
        for one in verdict.cases
    }


def _figures(verdict: Judgement) -> Mapping[str, float]:
    return {one.name: one.value for one in verdict.measurements}


def _unequal(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{what}{name}: {new.get(name, 'not there')}, was {old.get(name, 'not there')}"
