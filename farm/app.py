# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a farm together from settings and data files: what every command starts with."""

from __future__ import annotations

import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import select

from farm import doctor, flavours, issues, planner, profiles, schedule, selftest
from farm.db import claims
from farm.db.database import Database
from farm.db.models import RunRow
from farm.db.runs import REQUEST, find_run, load_attempts, load_run
from farm.dispatch.local import LocalDispatcher
from farm.planner import Data, Flags, Request
from farm.profiles import Profile
from farm.records import Attempt, Run
from farm.runner import Worker
from farm.schedule import Host
from farm.settings import Settings
from farm.verdicts.open import open_regressions
from farm.verdicts.regressions import Assessment, Effects, Regression, Verdict, assess
from kernel_series.manifest import Manifest
from stress import scenario
from workers import machines, tools
from workers.build import Builder
from workers.cache import Cache, sweep
from workers.lane import host_jobs
from workers.sandbox import Sandbox
from workers.trees import TREE_STORE, TreeStore

LAB = "laptop"
"""The lab that is used when none is named."""


@dataclass(frozen=True)
class Judged:
    """A run with what it means; ``refused`` says what is wrong with its input.

    Of a self test ``canaries`` says what became of each.
    """

    run: Run
    assessment: Assessment
    verdict: str | None
    reason: str | None
    refused: str | None
    canaries: tuple[selftest.Result, ...] | None = None

    @property
    def outcome(self) -> str:
        """The verdict; of a run that has none yet, what its results come to so far."""
        if self.verdict is not None:
            return self.verdict
        return Verdict.INCONCLUSIVE if self.canaries is not None else self.assessment.verdict


class App:
    """A farm on this machine. Parts are opened when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scenarios = scenario.load_all()
        self.issues = issues.load_all(settings.configs / "issues")

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database)

    def data(self, profile: str, lab: str) -> Data:
        """Return the data files that planning looks at."""
        configs = self.settings.configs
        loaded = profiles.load_profile(configs, profile)
        return Data(
            kernel_configs=configs / "kernel",
            profile_name=profile,
            profile=loaded,
            lab_name=lab,
            lab=profiles.load_lab(configs, lab),
            scenarios=loaded.adapted(self.scenarios),
            flavours=flavours.load_all(configs, loaded.build_only),
        )

    def submit(self, manifest: Manifest, request: Request) -> str:
        """Write a submission down and return the id of its run.

        Raises UserError, and there is no run, where this machine lacks what it takes.
        """
        self._check(request)
        run = f"{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}"
        with self.database.transaction() as session:
            schedule.submit(session, run, manifest.title, manifest.version, request)
        return run

    def _check(self, request: Request) -> None:
        lab = profiles.load_lab(self.settings.configs, request.lab)
        kinds = sorted({node.kind for node in lab.nodes if node.name in request.nodes})
        arches = sorted({cell.arch for cell in request.cells})
        needed = [program for kind in kinds for program in machines.programs(kind, arches)]
        doctor.require(self.settings, shutil.which, request.sandbox, needed)

    def dispatcher(self, run: str) -> LocalDispatcher:
        """Return what works a run off on this machine."""
        return LocalDispatcher(self.worker(run), run)

    def worker(self, run: str) -> Worker:
        """Return this machine's hands, for a run's profile, lab and sandbox."""
        with self.database.transaction() as session:
            request = REQUEST.validate_python(session.get_one(RunRow, run).request)
        self._check(request)
        data = self.data(request.profile, request.lab)
        sandbox = Sandbox(request.sandbox)
        cache = self.settings.cache
        nodes = {node.name: node for node in data.lab.nodes}
        names = {node.kind for node in nodes.values()}
        kinds = {name: machines.open_kind(name, sandbox, cache) for name in names}
        models = {name: kinds[node.kind].model(node.node) for name, node in nodes.items()}
        host = Host(
            profile=data.profile,
            nodes=nodes,
            models=models,
            scenarios=data.scenarios,
            issues=self.issues,
            flavours=data.flavours,
            tools=tools.digests(tool for one in data.scenarios.values() for tool in one.tools),
        )
        with self.database.transaction() as session:
            for name in (schedule.PREPARE, schedule.BUILDING):
                claims.add_slot(session, name, 1)
            for node in data.lab.nodes:
                claims.add_slot(session, schedule.node_slot(node.name), node.boots)
        builder = Builder(
            store=TreeStore(cache / TREE_STORE),
            sandbox=sandbox,
            kernels=Cache(cache / "kernels"),
            payloads=Cache(cache / "payloads"),
            outputs=Cache(cache / "outputs"),
            ccaches=cache / "ccache",
            jobs=host_jobs(),
        )
        builder.sweep()
        sweep(cache / "downloads")
        return Worker(self.settings, self.database, host, builder, kinds)

    def judged(self, name: str) -> Judged:
        """Return a run, named as in ``find_run``, with what its results mean so far."""
        with self.database.transaction() as session:
            row = find_run(session, name)
        return self._judged(row.id)

    def open_regressions(self) -> Iterator[tuple[Run, Regression]]:
        """Yield what later runs of the same series have not shown to be gone, newest runs first.

        Runs with planted faults say nothing of their series.
        """
        with self.database.transaction() as session:
            newest = select(RunRow).where(RunRow.state.in_(schedule.ENDED))
            rows = session.scalars(newest.order_by(RunRow.created.desc(), RunRow.id)).all()
        series = defaultdict[str, list[tuple[Run, Assessment]]](list)
        for row in rows:
            request = REQUEST.validate_python(row.request)
            if not (request.plants or request.canaries):
                judged = self._judged(row.id)
                series[row.title].append((judged.run, judged.assessment))
        for runs in series.values():
            yield from open_regressions(runs)

    def _judged(self, name: str) -> Judged:
        with self.database.transaction() as session:
            row = session.get_one(RunRow, name)
            request = REQUEST.validate_python(row.request)
            profile = self._profile(request.profile)
            run = load_run(session, row, 0 if profile is None else profile.icount_shift)
            refused = schedule.refusal(session, row.id)
        # Results carry what they were made with; what counts as a slowdown the profile alone says.
        scenarios = self.scenarios if profile is None else profile.adapted(self.scenarios)
        effects = Effects({} if profile is None else profile.effects)
        enabling = frozenset(feature.introduced_by for feature in request.features)
        assessment = assess(run, scenarios, effects, enabling, self.issues)
        results = None
        if request.canaries:
            ended = row.state == schedule.FINISHED
            results = selftest.evaluate(run, request, assessment.judgements, self.issues, ended)
        return Judged(run, assessment, row.verdict, row.reason, refused, results)

    def _profile(self, name: str) -> Profile | None:
        """Return the profile of a run; None when its file went away since."""
        configs = self.settings.configs
        there = name in profiles.names(configs / "profiles")
        return profiles.load_profile(configs, name) if there else None

    def attempts(self, run: str) -> tuple[Attempt, ...]:
        """Return all tries at the jobs of a run, by its id."""
        with self.database.transaction() as session:
            return load_attempts(session, session.get_one(RunRow, run))

    def plan(
        self, manifest: Manifest, tree: Path | None, flags: Flags, profile: str, lab: str
    ) -> tuple[Request, Data]:
        """Return what a submission would come to; touches nothing."""
        data = self.data(profile, lab)
        return planner.plan(manifest, tree, flags, data), data

    def close(self) -> None:
        """Close what was opened."""
        if "database" in self.__dict__:
            self.database.close()
