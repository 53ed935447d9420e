# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a farm together from settings and data files: what every command starts with."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from farm import issues, planner, profiles, schedule, selftest
from farm.db import claims
from farm.db.database import Database
from farm.db.models import RunRow
from farm.db.runs import REQUEST, find_run, load_run
from farm.dispatch.local import LocalDispatcher
from farm.planner import Data, Flags, Request
from farm.records import Run
from farm.runner import Worker
from farm.schedule import Host
from farm.settings import Settings
from farm.verdicts.regressions import Assessment, assess
from kernel_series.manifest import Manifest
from stress import scenario
from workers import machines, tools
from workers.build import Builder
from workers.cache import Cache
from workers.lane import host_jobs
from workers.sandbox import Sandbox
from workers.trees import TreeStore

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
        )

    def submit(self, manifest: Manifest, request: Request) -> str:
        """Write a submission down and return the id of its run."""
        run = f"{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}"
        with self.database.transaction() as session:
            schedule.submit(session, run, manifest.title, manifest.version, request)
        return run

    def dispatcher(self, run: str) -> LocalDispatcher:
        """Return what works a run off on this machine."""
        with self.database.transaction() as session:
            request = REQUEST.validate_python(session.get_one(RunRow, run).request)
        data = self.data(request.profile, request.lab)
        sandbox = Sandbox(request.sandbox)
        cache = self.settings.cache
        nodes = {node.name: node for node in data.lab.nodes}
        names = {node.kind for node in nodes.values()}
        kinds = {name: machines.open_kind(name, sandbox, cache) for name in names}
        models = {name: kinds[node.kind].model(node.node) for name, node in nodes.items()}
        host = Host(
            data.profile,
            nodes,
            models,
            data.scenarios,
            self.issues,
            tools.digests(tool for one in data.scenarios.values() for tool in one.tools),
        )
        with self.database.transaction() as session:
            for name in (schedule.PREPARE, schedule.BUILDING):
                claims.add_slot(session, name, 1)
            for node in data.lab.nodes:
                claims.add_slot(session, schedule.node_slot(node.name), node.boots)
        builder = Builder(
            store=TreeStore(cache / "trees.git"),
            sandbox=sandbox,
            kernels=Cache(cache / "kernels"),
            payloads=Cache(cache / "payloads"),
            outputs=Cache(cache / "outputs"),
            ccaches=cache / "ccache",
            jobs=host_jobs(),
        )
        worker = Worker(self.settings, self.database, host, builder, kinds)
        return LocalDispatcher(worker, run)

    def judged(self, name: str) -> Judged:
        """Return a run, named as in ``find_run``, with what its results mean so far."""
        with self.database.transaction() as session:
            row = find_run(session, name)
            request = REQUEST.validate_python(row.request)
            profile = profiles.load_profile(self.settings.configs, request.profile)
            run = load_run(session, row, profile.icount_shift)
            refused = schedule.refusal(session, row.id)
        scenarios = profile.adapted(self.scenarios)
        effects = Host(profile, {}, {}, scenarios).effects
        enabling = frozenset(feature.introduced_by for feature in request.features)
        assessment = assess(run, scenarios, effects, enabling, self.issues)
        results = None
        if request.canaries:
            results = selftest.evaluate(run, request, assessment.judgements, self.issues)
        return Judged(run, assessment, row.verdict, row.reason, refused, results)

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
