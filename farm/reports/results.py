# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as the JSON document that scripts rely on (``farm results --json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from farm import planner
from farm.app import Judged
from farm.planner import Data, Request
from farm.records import Build, Purpose, Run, Test
from farm.verdicts.judge import Judgement
from farm.verdicts.regressions import Regression
from kernel_series.manifest import Manifest
from workers.requests import Point
from workers.status import Status

SCHEMA = 1


def document(judged: Judged) -> dict[str, Any]:
    """Return the whole run by docs/schemas/results.json, a self test by selftest.json."""
    if judged.canaries is not None:
        canaries = [asdict(result) for result in judged.canaries]
        return {"schema": SCHEMA, "run": judged.run.id, "canaries": canaries}
    run, assessment = judged.run, judged.assessment
    return {
        "schema": SCHEMA,
        "run": run.id,
        "state": run.state,
        "verdict": judged.outcome,
        "reason": judged.reason or assessment.reason,
        "series": {
            "title": run.title,
            "version": run.version,
            "patches": max(len(run.points) - 1, 0),
            "base": run.base,
        },
        "sandboxed": run.sandboxed,
        "points": [_point(run, point, assessment.judgements) for point in run.points],
        "regressions": [regression(one) for one in assessment.regressions],
        "not_tested": [{"what": what, "why": why} for what, why in not_tested(judged)],
    }


def regression(one: Regression) -> dict[str, Any]:
    """Return one regression."""
    return {
        "id": one.id,
        "state": one.state.value,
        "kind": one.kind.value,
        "title": one.title,
        "case": one.case,
        "where": [asdict(where) for where in one.where],
        "tests": list(one.tests),
        "issue": one.issue,
        "first_bad": one.first_bad,
        "confidence": one.confidence,
        "introduced": one.introduced,
    }


def not_tested(judged: Judged) -> list[tuple[str, str]]:
    """Return what was left out, and why: by the plan, and by scenarios that do not apply."""
    skipped = dict[tuple[str, str], None]()
    for build in judged.run.builds:
        for test in build.tests:
            if test.skip is not None:
                skipped[f"{test.scenario} ({test.clock}) on {build.cell.name}", test.skip] = None
    return [*judged.run.not_tested, *skipped]


def identical_to(run: Run, build: Build) -> int | None:
    """Return the nearest earlier point with the same kernel in the same cell."""
    if build.result is None or build.result.kernel_sha256 is None:
        return None
    same = [
        other.point
        for other in run.builds
        if other.cell == build.cell
        and other.point < build.point
        and other.result is not None
        and other.result.kernel_sha256 == build.result.kernel_sha256
    ]
    return max(same, default=None)


def apply_status(run: Run, point: Point) -> Status:
    """Return whether a point's patch applies; points behind one that does not are MISS."""
    if point.reason is None:
        return Status.PASS
    first = next(one for one in run.points if one.reason is not None)
    return Status.FAIL if point == first else Status.MISS


def new_warnings(run: Run, build: Build) -> int:
    """Return how many warnings a build has that its parent's has not."""
    if build.result is None:
        return 0
    parent = next(
        (
            other.result
            for other in run.builds
            if other.cell == build.cell and other.point == run.points[build.point].made_from
        ),
        None,
    )
    known = parent.warnings if parent is not None else build.result.warnings
    return len(set(build.result.warnings) - set(known))


def _point(run: Run, point: Point, judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    builds = [build for build in run.builds if build.point == point.index]
    return {
        "index": point.index,
        "subject": point.subject,
        "commit": point.commit,
        "tree": point.tree,
        "apply": {"status": apply_status(run, point).value, "reason": point.reason},
        "checks": None if point.remarks is None else [asdict(one) for one in point.remarks],
        "builds": [_build(run, build, judgements) for build in builds],
    }


def _build(run: Run, build: Build, judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    result = build.result
    return {
        "arch": build.cell.arch,
        "config": build.cell.config,
        "toolchain": (result.toolchain if result else "") or build.cell.toolchain,
        "toolchain_sha256": result.toolchain_sha256 if result else None,
        "config_sha256": result.config_sha256 if result else None,
        "boots": build.cell.boots,
        "targets": list(result.targets) if result else [],
        "status": (result.status if result else Status.MISS).value,
        "reason": result.reason if result else build.not_built,
        "seconds": round(result.seconds, 3) if result else 0.0,
        "cached": result.cached if result else False,
        "identical_to": identical_to(run, build),
        "compiled": result.compiled if result else False,
        "new_warnings": new_warnings(run, build),
        "kernel_sha256": result.kernel_sha256 if result else None,
        "payload_sha256": result.payload_sha256 if result else None,
        "kernel": result.kernel if result else None,
        "payload": result.payload if result else None,
        "tests": [_test(test, judgements[test.id]) for test in build.tests],
    }


def _test(test: Test, verdict: Judgement) -> dict[str, Any]:
    first = test.observations[0] if test.observations else None
    setup = first.setup if first else None
    played = {one.name: one for one in setup.scenarios} if setup else {}
    return {
        "id": test.id,
        "scenario": test.scenario,
        "node": test.node,
        "accelerator": first.accelerator if first else None,
        "clock": test.clock.value,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "seconds": round(first.seconds, 3) if first else 0.0,
        "inherited_from": test.inherited_from,
        "attempts": sum(seen.purpose is not Purpose.CONTROL for seen in test.observations),
        "seed": test.seed,
        "machine": setup.model if setup else None,
        "icount_shift": setup.icount_shift if setup else None,
        "parameters": dict(played[test.scenario].parameters) if played else {},
        "boot": list(played),
        "cases": [
            {"name": case.name, "status": case.status.value, "reason": case.reason}
            for case in verdict.cases
        ],
        "evidence": dict(first.evidence) if first else {},
        "measurements": [{**asdict(one), "clock": one.clock.value} for one in verdict.measurements],
        "command": list(first.command) if first else [],
        "folder": first.folder if first else None,
    }


def plan(
    manifest: Manifest, request: Request, data: Data, subjects: Sequence[str]
) -> dict[str, Any]:
    """Return what a submission would do."""
    return {
        "schema": SCHEMA,
        "series": {
            "title": manifest.title,
            "version": manifest.version,
            "patches": len(subjects),
        },
        "profile": request.profile,
        "subjects": ["base", *subjects],
        "cells": [asdict(cell) for cell in request.cells],
        "nodes": list(request.nodes),
        "scenarios": list(request.scenarios),
        "clocks": [clock.value for clock in data.profile.clocks],
        "builds": len(request.cells) * (len(subjects) + 1),
        "boots": sum(cell.boots for cell in request.cells)
        * (len(subjects) + 1)
        * len(data.profile.clocks)
        * len(request.nodes),
        "seconds": planner.seconds(request, len(subjects), data.profile),
        "not_tested": [{"what": what, "why": why} for what, why in request.not_tested],
    }
