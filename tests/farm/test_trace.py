# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace of a run: by its schema, with spans that lie within each other, from true attempts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from farm.records import Attempt, Run
from farm.reports import trace
from workers.timing import Step

SCHEMA = json.loads(
    (Path(trace.__file__).parents[2] / "docs" / "schemas" / "trace.json").read_text()
)

BUILD_STEPS = ["lay out", "configure", "make vmlinux", "init", "module", "collect"]


def check(document: Any) -> None:
    """Hold a trace against its schema, and its spans against each other."""
    Draft202012Validator.check_schema(SCHEMA)
    faults = [
        f"{fault.json_path}: {fault.message}"
        for fault in Draft202012Validator(SCHEMA).iter_errors(document)
    ]
    assert faults == []
    tracks = defaultdict[tuple[int, int], list[dict[str, Any]]](list)
    named = set()
    for event in document["traceEvents"]:
        place = event["pid"], event["tid"]
        if event["ph"] == "M":
            named.add(place)
        else:
            tracks[place].append(event)
    assert named == {*tracks, *((process, 0) for process, _ in tracks)}
    for spans in tracks.values():
        open_until = list[int]()
        # Of spans that begin together the outer one comes first: so viewers nest them.
        for span in sorted(spans, key=lambda one: (one["ts"], -one["dur"])):
            while open_until and open_until[-1] <= span["ts"]:
                open_until.pop()
            end = span["ts"] + span["dur"]
            assert not open_until or end <= open_until[-1], span
            open_until.append(end)


def spans(document: Any, kind: str) -> list[dict[str, Any]]:
    return [one for one in document["traceEvents"] if one.get("cat") == kind]


def test_a_run_from_submission_to_verdict(
    farm: Any, series: Any, program: Callable[..., str]
) -> None:
    series.patch("slower", {"program.json": program(overhead={"ending": "hang"})})
    assert farm.submit(series.write(scenarios=["smoke", "overhead"])).status == 1
    document = farm("trace").document
    check(document)
    (prepare,) = spans(document, "prepare")
    assert [one["name"] for one in spans(document, "prepare step")] == [
        "import base",
        "read series",
        "commit points",
    ]
    first, second = spans(document, "build")
    assert [first["name"], second["name"]] == [
        f"build {point} x86_64-preempt-none-auto" for point in (0, 1)
    ]
    assert (second["args"]["point"], second["args"]["outcome"]) == ("slower", "done")
    assert prepare["ts"] + prepare["dur"] <= first["ts"]
    names = [one["name"] for one in spans(document, "build step")]
    assert set(names) >= {*BUILD_STEPS, "compiled check"}
    boots = spans(document, "boot")
    assert all(boot["args"]["tests"] for boot in boots)
    steps = [one["name"] for one in spans(document, "boot step")]
    assert steps[:3] == ["kernel to init", "smoke", "overhead"]
    assert farm("trace", "no-such-run").status == 2


def attempt(job: int, started: float, ended: float | None, *steps: Step, **more: Any) -> Attempt:
    given: dict[str, Any] = {
        "kind": "boot",
        "slot": "node a",
        "holder": "here",
        "outcome": None,
        "reason": None,
    }
    given |= {"build": None, "tests": (), **more}
    return Attempt(job, started=started, ended=ended, steps=steps, **given)


def run(finished: float | None) -> Run:
    return Run("r", "t", 1, "quick", "running", 1000.0, finished, "b", True, (), (), 4)


def test_jobs_that_overlap_on_a_slot_get_tracks_of_their_own() -> None:
    document = trace.document(
        run(1009.0),
        [
            attempt(1, 1001.0, 1005.0),
            attempt(2, 1002.0, 1003.0),
            attempt(3, 1003.5, 1009.0),
            attempt(4, 1006.0, 1007.0, holder="there"),
        ],
    )
    check(document)
    assert [(one["pid"], one["tid"]) for one in spans(document, "boot")] == [
        (1, 1),
        (1, 2),
        (1, 2),
        (2, 3),
    ]
    names = [one["args"]["name"] for one in document["traceEvents"] if one["ph"] == "M"]
    assert names == ["farm here", "farm there", "node a", "node a #2", "node a"]


def test_what_is_under_way_ends_where_the_latest_known_ended() -> None:
    late = Step("a step by a clock that is off", 999.0, 60.0, 0.5)
    document = trace.document(
        run(None), [attempt(1, 1001.0, None, late), attempt(2, 1002.0, 1004.0)]
    )
    check(document)
    first, second = spans(document, "boot")
    assert (first["ts"], first["dur"]) == (1_000_000, 3_000_000)
    assert (second["ts"], second["dur"]) == (2_000_000, 2_000_000)
    (step,) = spans(document, "boot step")
    assert (step["ts"], step["dur"], step["args"]) == (1_000_000, 3_000_000, {"cpu_seconds": 0.5})
