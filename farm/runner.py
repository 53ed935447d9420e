# SPDX-License-Identifier: GPL-2.0-or-later
"""Claim, run the stage, record: what a worker does with a job, whoever dispatches it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from farm.db import claims
from farm.db.claims import Claim
from farm.db.database import Database
from farm.db.models import BuildRow, JobRow, ObservationRow, RunRow, TestRow
from farm.db.runs import BUILD, OBSERVATION, REQUEST, load_run
from farm.flavours import features_of, fitting, flavour_of
from farm.observe import observations
from farm.planner import Request, expected_symbols
from farm.records import Build, Cell, Purpose, Run
from farm.schedule import BUILDING, Host, advance, prepared
from farm.settings import Settings
from kernel_series import manifest
from stress.scenario import Clock
from workers import boot as booting
from workers import kconfig, toolchain
from workers.boot import BootRequest, Ending
from workers.build import Builder, build
from workers.cache import lock_on
from workers.checks import checked
from workers.errors import USER_ERRORS, Cancelled, InfrastructureError
from workers.folders import remove
from workers.kconfig import Config
from workers.machines import Kind, Running, Start
from workers.prepare import PrepareRequest, prepare
from workers.process import Cancel
from workers.requests import BuildRequest, BuildResult, Goal, ancestors_of

LOCK_SECONDS = 0.2
"""Between two looks whether a lane is free."""


@contextmanager
def alone(folder: Path, cancel: Cancel) -> Iterator[None]:
    """Lock a folder of this host while the block runs; a lock ends with its process.

    Who stood still beyond the end of his lease goes on with the job until he learns that another
    one has it, and so do the programs that he had started. Raises Cancelled when the job is told
    to stop while it waits for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        while True:
            try:
                lock.enter_context(lock_on(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
                break
            except BlockingIOError:
                cancel.wait(LOCK_SECONDS)
                cancel.check()
        yield


class RetryJob(InfrastructureError):
    """The stage ended, and not by the kernel's doing: the job is to be tried again."""


@dataclass(frozen=True)
class Worker:
    """A host's hands: everything that a job needs beside its own row; ``kinds`` by their names."""

    settings: Settings
    database: Database
    host: Host
    builder: Builder
    kinds: Mapping[str, Kind]

    def execute(self, claim: Claim, cancel: Cancel) -> None:
        """Do a claimed job to its end and record it.

        A user error in the series fails the job at once; trouble of the host gives it back for
        another try. LostClaim means that somebody else has it now.
        """
        try:
            match claim.kind:
                case "prepare":
                    self._prepare(claim, cancel)
                case "build":
                    self._build(claim, cancel)
                case "boot":
                    self._boot(claim, cancel)
                case other:
                    raise AssertionError(f"unknown kind of job {other!r}")
        except USER_ERRORS as error:
            with self.database.transaction() as session:
                claims.finish(session, claim, claims.FAILED, str(error))
                advance(session, session.get_one(RunRow, claim.run), self.host)
        except Cancelled as error:
            with self.database.transaction() as session:
                claims.release(session, claim, str(error))
        except (InfrastructureError, OSError) as error:
            with self.database.transaction() as session:
                claims.give_back(session, claim, "infrastructure", str(error))
                advance(session, session.get_one(RunRow, claim.run), self.host)

    # prepare

    def _prepare(self, claim: Claim, cancel: Cancel) -> None:
        with self.database.transaction() as session:
            request = self._request(session, claim.run)
        series = manifest.load(request.manifest)
        result = prepare(
            PrepareRequest(
                series,
                request.tree,
                claim.run,
                plants=request.plants,
                siblings=tuple(canary.path for canary in request.canaries),
            ),
            self.builder.store,
            self.settings.cache / "downloads",
            cancel,
        )
        cells, left_out = fitting(
            request.cells, self.host.flavours, result.points, self.builder.store
        )
        if self.host.profile.check_patches and not request.canaries:
            history = request.tree or series.base.path
            points = checked(
                result.points, self.builder.store, self.builder.sandbox, history, cancel
            )
            result = replace(result, points=points)
        # What can't be told without the series is decided now, and stays with the run.
        request = replace(request, cells=cells, not_tested=(*request.not_tested, *left_out))
        with self.database.transaction() as session:
            claims.finish(session, claim, claims.DONE)
            claims.record(session, claim, result.steps)
            row = session.get_one(RunRow, claim.run)
            row.request = REQUEST.dump_python(request, mode="json")
            prepared(session, row, result)
            advance(session, row, self.host)

    # build

    def _build(self, claim: Claim, cancel: Cancel) -> None:
        with self.database.transaction() as session:
            request = self._request(session, claim.run)
            row = session.get_one(BuildRow, claim.spec["build"])
            run = load_run(session, session.get_one(RunRow, claim.run), 0)
        lane_done = [one for one in run.builds if one.cell.name == claim.lane]
        found = next(one for one in lane_done if one.id == row.id)
        log = self.settings.runs / claim.run / "builds" / (claim.lane or "") / f"{row.point}.log"
        asked = self.build_request(request, run, found, log)
        lane = self.settings.runs / claim.run / "lanes" / (claim.lane or "")
        # The folder of its logs stays where it is; a lane that is begun anew does not.
        with alone(log.parent, cancel):
            result = build(asked, self.builder, lane, cancel)
        with self.database.transaction() as session:
            # From here on nobody removes what the run names; until here somebody could have.
            if not self._is_kept(result):
                raise RetryJob("what was just found in the cache was removed from it")
            claims.finish(session, claim, claims.DONE)
            claims.record(session, claim, result.steps)
            row = session.get_one(BuildRow, row.id)
            row.result = BUILD.dump_python(replace(result, steps=()), mode="json")
            row.log = str(asked.log) if asked.log.exists() else ""
            advance(session, session.get_one(RunRow, claim.run), self.host)
        if row.point == max(one.point for one in lane_done):
            # The job is done whatever becomes of its lane: the dispatcher tries again, and tells.
            with suppress(OSError):
                remove(lane)

    def build_request(self, request: Request, run: Run, build: Build, log: Path) -> BuildRequest:
        """Return what is asked of the build stage for one build of a run."""
        point = run.points[build.point]
        lane = (one for one in run.builds if one.cell == build.cell)
        before = next((one.result for one in lane if one.point == point.made_from), None)
        config, goal = self._flavour(build.cell, run)
        features = features_of(build.cell, self.host.flavours, request.features)
        return BuildRequest(
            point=point,
            ancestors=ancestors_of(point, run.points),
            config=config,
            toolchain=toolchain.find(build.cell.toolchain),
            expected=expected_symbols(features, build.point, config),
            parent_warnings=before.warnings if before is not None else (),
            parent_kernel=before.kernel_sha256 if before is not None else None,
            log=log,
            reuse=request.reuse,
            goal=goal,
        )

    def _flavour(self, cell: Cell, run: Run) -> tuple[Config, Goal]:
        """Return the configuration of a cell, and what is built in it."""
        folder = self.settings.configs / "kernel"
        flavour = flavour_of(cell, self.host.flavours)
        if flavour is None:
            return kconfig.load(folder, cell.config, cell.arch), Goal()
        config = flavour.configuration(folder, cell.config, cell.arch)
        return config, flavour.goal(run.points, self.builder.store)

    # boot

    def _boot(self, claim: Claim, cancel: Cancel) -> None:
        with self.database.transaction() as session:
            row = session.get_one(BuildRow, claim.spec["build"])
            tests = [session.get_one(TestRow, name) for name in claim.spec["tests"]]
        result = BUILD.validate_python(row.result)
        node = self.host.nodes[tests[0].node].node
        kind = self.kinds[node.kind]
        asked = BootRequest(
            arch=row.arch,
            kernel=self.kept(self.builder.kernels.find(result.kernel or ""), "vmlinux"),
            initramfs=self.kept(self.builder.payloads.find(result.payload or ""), "initramfs"),
            node=node,
            clock=Clock(tests[0].clock),
            icount_shift=self.host.profile.icount_shift,
            scenarios=tuple(self.host.scenarios[test.scenario] for test in tests),
            seed=tests[0].seed,
            limits=self.host.profile.boot_limits,
            folder=self.settings.runs / claim.run / "boots" / f"{claim.job}.{claim.fence}",
        )

        def start(machine: Start) -> Running:
            return kind.start(node, machine)

        seen = booting.boot(asked, start, cancel)
        if seen.ending is Ending.MACHINE_DIED:
            raise RetryJob(f"the machine died under the guest; see {asked.folder}")
        purpose = Purpose(claim.spec["purpose"])
        model = self.host.models[node.name]
        found = observations(asked, seen, purpose, kind.accelerator, model)
        with self.database.transaction() as session:
            claims.finish(session, claim, claims.DONE)
            claims.record(session, claim, seen.steps)
            for test, one in zip(tests, found, strict=False):
                values = OBSERVATION.dump_python(one, mode="json")
                session.add(ObservationRow(test_id=test.id, job_id=claim.job, seen=values))
            session.flush()
            advance(session, session.get_one(RunRow, claim.run), self.host)

    def tidy(self, session: Session, run: str) -> None:
        """Remove what boots that were killed left beside their logs.

        In the transaction in which they are known to be over: no other one of the run can begin.
        """
        held = select(JobRow).where(JobRow.run_id == run, JobRow.state == claims.RUNNING)
        alive = {f"{job.id}.{job.fence}" for job in session.scalars(held)}
        for folder in (self.settings.runs / run / "boots").glob("*"):
            if folder.name not in alive:
                for name in booting.PASSING:
                    (folder / name).unlink(missing_ok=True)

    def clear_lanes(self, run: str) -> None:
        """Remove lanes whose last build is recorded: who recorded it may have been killed there.

        Raises OSError where a lane can't be removed.
        """
        building = JobRow.kind == BUILDING, JobRow.run_id == run
        with self.database.transaction() as session:
            lanes = set(session.scalars(select(JobRow.lane).where(*building)))
            unfinished = JobRow.state.in_(claims.UNFINISHED)
            lanes -= set(session.scalars(select(JobRow.lane).where(*building, unfinished)))
        for lane in lanes:
            remove(self.settings.runs / run / "lanes" / (lane or ""))

    def _is_kept(self, result: BuildResult) -> bool:
        named = ((self.builder.kernels, result.kernel), (self.builder.payloads, result.payload))
        return all(cache.find(key) for cache, key in named if key is not None)

    @staticmethod
    def kept(folder: Path | None, name: str) -> Path:
        if folder is None:
            raise InfrastructureError(
                f"the {name} of this build is not in the cache any more", "submit the series again"
            )
        return folder / name

    @staticmethod
    def _request(session: Session, run: str) -> Request:
        return REQUEST.validate_python(session.get_one(RunRow, run).request)
