# SPDX-License-Identifier: GPL-2.0-or-later
"""`farm reproduce`: a test run again from what its result carries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from farm import reproduce
from farm.db import claims
from farm.db.models import BuildRow, JobRow, ObservationRow, TestRow
from farm.settings import Settings

Program = Callable[..., str]

BROKEN = {"cases": {"smoke.first": "not ok # 5 of 10"}}


def forget(settings: Settings, build: Any) -> None:
    """Remove a build's kernel and payload from the cache."""
    shutil.rmtree(settings.cache / "kernels" / build["kernel"])
    shutil.rmtree(settings.cache / "payloads" / build["payload"])


@pytest.fixture
def document(farm: Any, series: Any, program: Program) -> Any:
    """Two patches; the second breaks a case."""
    series.patch("explain", {"doc": "x\n"})
    series.patch("break", {"program.json": program(smoke=BROKEN)})
    return farm.submit(series.write(scenarios=["smoke", "overhead"])).document


def smoke(document: Any, point: int) -> Any:
    (build,) = document["points"][point]["builds"]
    return next(one for one in build["tests"] if one["scenario"] == "smoke")


def altered(farm: Any, test: Any, **values: Any) -> None:
    """Write another history for a test: other evidence, or another setup."""
    app = farm.app
    with app.database.transaction() as session:
        name = test["inherited_from"] or test["id"]
        first = select(ObservationRow).where(ObservationRow.test_id == name)
        row = session.scalars(first).first()
        seen = {name: {**row.seen[name], **value} for name, value in values.items()}
        row.seen = {**row.seen, **seen}
    app.close()


def test_each_result_carries_what_repeats_it(document: Any) -> None:
    (build,) = document["points"][2]["builds"]
    assert build["toolchain"].startswith("gcc-")
    for name in ("toolchain_sha256", "config_sha256", "kernel_sha256", "payload_sha256"):
        assert len(build[name]) == 64
    assert document["points"][2]["tree"]
    test = smoke(document, 2)
    assert test["machine"]
    assert test["boot"] == ["smoke", "overhead"]
    assert test["parameters"] == {"hits": 1000}
    assert (test["seed"], test["icount_shift"]) == (1, 4)
    assert test["command"]


def test_it_comes_out_the_same(farm: Any, document: Any) -> None:
    """One that passed, one that took that over, one that failed, one that ran behind another."""
    tests = [smoke(document, point) for point in (0, 1, 2)]
    tests += document["points"][0]["builds"][0]["tests"][1:]
    assert [test["status"] for test in tests] == ["PASS", "PASS", "FAIL", "PASS"]
    for test in tests:
        said = farm("reproduce", test["id"], "--json")
        assert said.status == 0, said
        found = said.document
        assert (found["result"], found["rebuilt"]) == ("same", False)
        assert found["before"] == found["now"] == test["status"]
        assert found["folder"] != test["folder"]
        boot = json.loads((Path(found["folder"]) / "job.json").read_text())
        assert [one["name"] for one in boot["scenarios"]] == ["smoke", "overhead"]


def test_a_kernel_that_is_gone_is_built_again(farm: Any, document: Any, settings: Any) -> None:
    forget(settings, document["points"][2]["builds"][0])
    said = farm("reproduce", smoke(document, 2)["id"], "--json")
    assert (said.status, said.document["rebuilt"]) == (0, True), said
    assert list((settings.runs / document["run"] / "lanes").iterdir()) == []
    jobs = farm("log", "--json").document["jobs"]
    build, boot = (str(one["job"]) for one in jobs if one["kind"] == "reproduce")
    (log,) = farm("log", "latest", build, "--json").document["files"]
    assert log["path"].endswith(f"builds/reproduce/{build}.log")
    assert "farm: begin smoke" in farm("log", "latest", boot).stdout
    assert (
        "built again, the same bit for bit"
        not in farm("reproduce", smoke(document, 2)["id"]).stdout
    ), "it is in the cache now"


def test_another_kernel_is_no_reproduction(farm: Any, document: Any, settings: Any) -> None:
    forget(settings, document["points"][2]["builds"][0])
    app = farm.app
    test = smoke(document, 2)["id"]
    with app.database.transaction() as session:
        row = session.get_one(BuildRow, session.get_one(TestRow, test).build_id)
        row.result = {**row.result, "kernel_sha256": "0" * 64, "toolchain_sha256": "1" * 64}
    app.close()
    said = farm("reproduce", test, "--json")
    assert (said.status, said.document["result"]) == (3, "unknown")
    assert "the rebuilt kernel is another one: it was built by gcc-" in said.document["reason"]
    assert said.document["now"] is None


def test_what_comes_out_differently_is_named(farm: Any, document: Any) -> None:
    test = smoke(document, 1)
    altered(farm, test, evidence={"hits": 999})
    said = farm("reproduce", test["id"], "--json")
    assert said.status == 1
    assert "evidence hits: 1000, was 999" in said.document["differences"]
    assert said.document["reason"].startswith("status: PASS (None), was ")
    shown = farm("reproduce", test["id"]).stdout
    assert shown.startswith("different  ")
    assert "came out otherwise: evidence hits: 1000, was 999" in shown


def test_on_another_machine_a_difference_says_nothing(farm: Any, document: Any) -> None:
    test = smoke(document, 1)
    altered(farm, test, setup={"model": "another machine"})
    assert farm("reproduce", test["id"]).status == 0, "and sameness says the more"
    altered(farm, test, evidence={"hits": 999})
    said = farm("reproduce", test["id"], "--json")
    assert said.status == 3
    assert said.document["reason"].endswith(", was another machine")


def test_it_waits_for_the_node_s_slot_and_frees_it(farm: Any, document: Any) -> None:
    farm("reproduce", smoke(document, 1)["id"])
    app = farm.app
    with app.database.transaction() as session:
        row = session.scalars(select(JobRow).where(JobRow.kind == "reproduce")).one()
        assert (row.state, row.slot) == (claims.DONE, "node actor-1")
    app.close()
    assert "farm: begin smoke" in farm("log", "latest", str(row.id)).stdout


def test_a_slot_that_was_lost_is_said(
    farm: Any, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process takes it when this one was stopped for long."""
    boot = reproduce.booting.boot

    def late(*words: Any) -> Any:
        app = farm.app
        with app.database.transaction() as session:
            held = JobRow.state == claims.RUNNING
            session.execute(update(JobRow).where(held).values(lease_until=1.0))
            assert claims.take_back(session) == 1
        app.close()
        return boot(*words)

    monkeypatch.setattr(reproduce.booting, "boot", late)
    said = farm("reproduce", smoke(document, 1)["id"])
    assert (said.status, said.stdout) == (3, "")
    assert said.stderr.startswith("farm: the slot 'node actor-1' was lost: for 30 s its lease was")
    assert said.stderr.count("\n") == 1


def test_bad_input(farm: Any, series: Any) -> None:
    said = farm("reproduce", "20260101-abcdef.1.1")
    assert said.status == 2
    assert "there is no test '20260101-abcdef.1.1'; farm results RUN --json lists" in said.stderr
