# SPDX-License-Identifier: GPL-2.0-or-later
"""`farm gc`: what goes, what stays, and that a submission at the same time loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farm import collect, reproduce, runner
from farm.db.models import BuildRow, PointRow, RunRow
from farm.planner import Flags
from farm.settings import Settings, load, shown, size
from kernel_series import manifest
from workers.cache import Cache
from workers.errors import UserError

Program = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path, configs: Path) -> Settings:
    """Things are removed here: the cache is this test's own."""
    return Settings(tmp_path / "data", tmp_path / "cache", configs, 1 << 30)


def collected(farm: Any, *words: str) -> Any:
    said = farm("gc", *words, "--json")
    assert said.status == 0, said
    return said.document


def names(items: Any, kind: str) -> set[str]:
    return {item["name"] for item in items if item["kind"] == kind}


def test_sizes() -> None:
    assert [size(one) for one in ("0", "500M", "1.5G", "20GiB", "1K")] == [
        0, 500 << 20, 3 << 29, 20 << 30, 1024,
    ]  # fmt: skip
    for bad in ("", "G", "-1G", "1 potato", "1P"):
        with pytest.raises(UserError, match="is no size; give one like 500M"):
            size(bad)
    assert [shown(one) for one in (0, 1023, 500 << 20, 3 << 29)] == [
        "0",
        "1023",
        "500M",
        "1.5G",
    ]
    assert load({"FARM_HOME": "/x", "FARM_SIZE": "2G"}).limit == 2 << 30
    assert load({"FARM_HOME": "/x"}).limit == 20 << 30


def test_nothing_goes_below_the_limit(farm: Any, series: Any) -> None:
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    found = collected(farm)
    assert (found["removed"], found["freed"], found["limit"]) == ([], 0, 1 << 30)
    assert found["left"] == sum(item["size"] for item in found["kept"]) > 0


def test_all_that_is_not_needed_goes_and_the_next_run_makes_it_again(
    farm: Any, series: Any, settings: Any
) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    first = farm.submit(path).document
    dry = collected(farm, "--size", "0", "--dry-run")
    found = collected(farm, "--size", "0")
    assert found["removed"] == dry["removed"]
    assert {item["kind"] for item in found["removed"]} >= {
        "kernel",
        "payload",
        "output folder",
        "run",
    }
    assert [item["kind"] for item in found["kept"]] == ["tree store"]
    assert not any(Path(item["path"]).exists() for item in found["removed"])
    assert collected(farm, "--size", "0")["removed"] == []
    assert farm("results", first["run"], "--json").document == first, "results stay"
    jobs = farm("log", first["run"], "--json").document["jobs"]
    said = {one["kind"]: farm("log", first["run"], str(one["job"])) for one in jobs}
    assert {one.status for one in said.values()} == {0}
    assert {kind: one.stdout.partition(": ")[2] for kind, one in said.items()} == {
        "prepare": "it wrote nothing\n",
        "build": "farm gc removed it\n",
        "boot": "farm gc removed it\n",
    }
    again = farm.submit(path, "--no-reuse").document
    assert again["verdict"] == "PASS"
    shown_ = farm("gc", "--size", "0").stdout.splitlines()
    assert shown_[-1].startswith("freed ")
    assert shown_[-1].endswith("at the most; what is over is needed")


def test_what_was_used_longest_ago_goes_first(farm: Any, series: Any, settings: Any) -> None:
    series.patch("explain", {"doc": "x\n"})
    document = farm.submit(series.write()).document
    old, young = (point["builds"][0]["kernel"] for point in document["points"])
    for number, (folder, key) in enumerate([("kernels", old), ("kernels", young)]):
        os.utime(settings.cache / folder / key, (1e9 + number, 1e9 + number))
    left = collected(farm)["left"]
    assert names(collected(farm, "--size", str(left - 1))["removed"], "kernel") == {old}
    # What is found is used: a farm that goes on with its work keeps what it works with.
    Cache(settings.cache / "kernels").find(young)
    found = collected(farm, "--size", str(left // 2), "--dry-run")
    assert found["removed"]
    assert found["removed"][0]["name"] != young


def test_an_unfinished_run_keeps_what_it_uses(farm: Any, series: Any, settings: Any) -> None:
    """Submitted, and its first builds are done."""
    path = series.patch("explain", {"doc": "x\n"}).write()
    done = farm.submit(path).document
    app = farm.app
    request, _ = app.plan(manifest.load(path), None, Flags(), "quick", "fake")
    run = app.submit(manifest.load(path), request)
    with app.database.transaction() as session:
        old = session.get_one(RunRow, done["run"]).builds[0]
        session.add(
            BuildRow(
                run_id=run, point=0, arch="x86_64", config="preempt-none", toolchain="auto",
                result=old.result, log="",
            )
        )  # fmt: skip
        session.add(
            PointRow(
                run_id=run, index=0, subject="base", author="", commit="0", tree="0", chain="mine",
            )
        )  # fmt: skip
    app.close()
    for chain in ("mine", "nobodys"):
        (settings.cache / "ccache" / chain).mkdir(parents=True)
    (settings.runs / run / "lanes" / "x").mkdir(parents=True)
    (settings.runs / done["run"] / "lanes" / "x").mkdir(parents=True)
    outputs = Cache(settings.cache / "outputs")
    (output,) = outputs.root.iterdir()
    outputs.find(output.name)
    found = collected(farm, "--size", "0")
    assert names(found["kept"], "kernel") == {done["points"][0]["builds"][0]["kernel"]}
    assert names(found["kept"], "payload") == {done["points"][0]["builds"][0]["payload"]}
    assert names(found["kept"], "run") == names(found["kept"], "lane") == {run}
    assert names(found["kept"], "output folder") == {output.name}
    assert names(found["kept"], "compiler cache") == {"mine"}
    assert names(found["removed"], "compiler cache") >= {"nobodys"}
    assert {item["keep"] for item in found["kept"] if item["kind"] == "run"} == {
        f"run {run} is not finished"
    }


def test_the_evidence_of_an_open_regression_stays(
    farm: Any, series: Any, program: Program, settings: Any
) -> None:
    """The consoles of the run whose boots they were, and the kernel that shows it."""
    bad = program(smoke={"cases": {"smoke.first": "not ok # 5 of 10"}})
    first = farm.submit(series.patch("break", {"program.json": bad}).write()).document
    second = farm.submit(series.write()).document
    kernel = first["points"][1]["builds"][0]["kernel"]
    assert second["points"][1]["builds"][0]["tests"][0]["inherited_from"].startswith(first["run"])
    found = collected(farm, "--size", "0")
    assert names(found["kept"], "kernel") == {kernel}
    assert first["run"] in names(found["kept"], "run")
    test = first["points"][1]["builds"][0]["tests"][0]
    assert (Path(test["folder"]) / "console.log").exists()
    assert farm("reproduce", test["id"]).status == 0
    series.patches = []
    assert farm.submit(series.patch("explain", {"doc": "x\n"}).write()).status == 0
    found = collected(farm, "--size", "0")
    assert first["run"] in names(found["removed"], "run"), "it is closed now"
    assert kernel in names(found["removed"], "kernel")


def test_a_kernel_that_goes_while_it_is_found_is_built_again(
    farm: Any, series: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a build's look into the cache and the record of it, a collection comes by."""
    path = series.patch("explain", {"doc": "x\n"}).write()
    first = farm.submit(path).document
    build, times = runner.build, list[bool]()

    def interrupted(*words: Any) -> Any:
        result = build(*words)
        times.append(result.cached)
        if len(times) == 1:
            assert Cache(settings.cache / "kernels").hide(result.kernel)
        return result

    monkeypatch.setattr(runner, "build", interrupted)
    again = farm.submit(path).document
    assert times[:2] == [True, False]
    assert again["verdict"] == "PASS"
    assert [point["builds"][0]["kernel_sha256"] for point in again["points"]] == [
        point["builds"][0]["kernel_sha256"] for point in first["points"]
    ]


def test_what_a_run_under_way_removes_meanwhile_is_not_missed(
    farm: Any, series: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler's passing files, or a whole lane, go between the look at a folder and at them."""
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    (lanes,) = (path / "lanes" for path in settings.runs.iterdir())
    below = collect._below

    def vanishing(path: Path) -> Iterator[Path]:
        yield from below(path)
        if path == lanes:
            shutil.rmtree(lanes)
        yield path / "passing.o"

    monkeypatch.setattr(collect, "_below", vanishing)
    (lanes / "x").mkdir(parents=True)
    found = collected(farm, "--dry-run")
    assert names(found["removed"], "lane") == {lanes.parent.name}
    assert names(found["kept"], "kernel")


def test_what_a_reproduction_uses_stays(
    farm: Any, series: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its look into the cache on: it may wait for a slot of the node for long."""
    document = farm.submit(series.patch("explain", {"doc": "x\n"}).write()).document
    (build,) = document["points"][0]["builds"]
    taken, hidden = reproduce.taken, list[bool]()

    def late(*words: Any) -> Any:
        for folder, key in (("kernels", build["kernel"]), ("payloads", build["payload"])):
            hidden.append(Cache(settings.cache / folder).hide(key))
        return taken(*words)

    monkeypatch.setattr(reproduce, "taken", late)
    said = farm("reproduce", build["tests"][0]["id"], "--json")
    assert (said.status, hidden) == (0, [False, False]), said
    assert said.document["rebuilt"] is False
    assert names(collected(farm, "--size", "0")["removed"], "kernel") >= {build["kernel"]}


def test_what_a_killed_collection_left_is_removed(farm: Any, series: Any, settings: Any) -> None:
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    left = [settings.cache / "kernels" / ".removed-x", settings.runs / ".removed-y",
            settings.cache / "ccache" / ".removed-z",
            settings.cache / "work-trees" / "x.making"]  # fmt: skip
    for path in left:
        path.mkdir(parents=True)
    collected(farm)
    assert not any(path.exists() for path in left)


def test_a_lane_is_removed_however_deep_it_is(farm: Any, series: Any, settings: Any) -> None:
    run = farm.submit(series.patch("explain", {"doc": "x\n"}).write()).document["run"]
    lanes = settings.runs / run / "lanes"
    lanes.mkdir(exist_ok=True)
    dig = "for one in $(seq 1300); do mkdir d && cd d || exit 1; done"
    subprocess.run(["sh", "-c", dig], cwd=lanes, check=True)
    assert names(collected(farm)["removed"], "lane") == {run}
    assert not lanes.exists()
