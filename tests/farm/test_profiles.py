# SPDX-License-Identifier: GPL-2.0-or-later
"""Data files (profiles, labs) and settings: what ships is in order, and what is wrong is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import profiles, settings
from stress import scenario
from stress.job import MAX_SEED
from stress.scenario import Check, Clock, FeatureState
from workers import machines
from workers.errors import USER_ERRORS, UserError

CONFIGS = settings.load({"HOME": "/home/u"}).configs


@pytest.mark.parametrize("name", profiles.names(CONFIGS / "profiles"))
def test_every_shipped_profile_loads(name: str) -> None:
    profile = profiles.load_profile(CONFIGS, name)
    assert profile.title
    assert profile.clocks
    # The wall clock of an emulated guest is no measure of anything.
    assert Clock.WALL not in profile.effects
    limits = profile.boot_limits
    assert limits.silence < limits.whole


def test_parameters_of_a_profile_take_the_place_of_a_scenario_s_own() -> None:
    scenarios = scenario.load_all()
    quick = profiles.load_profile(CONFIGS, "quick").adapted(scenarios)
    full = profiles.load_profile(CONFIGS, "full").adapted(scenarios)
    assert quick["memory"].parameters["probes"] == 1000
    assert full["memory"].parameters["probes"] == 10000
    assert full["smoke"] == scenarios["smoke"]
    # What must be seen follows.
    assert Check("hits", "eq", 10000) in full["memory"].checks(FeatureState.PRESENT)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"memroy": {"probes": 1}}, "unknown scenario 'memroy'.*known: .*memory"),
        ({"memory": {"probe": 1}}, "no parameter 'probe'.*known: .*probes"),
        ({"memory": {"probes": "many"}}, "its type is int"),
    ],
)
def test_parameters_that_no_scenario_has_are_refused(
    parameters: dict[str, Any], message: str
) -> None:
    profile = profiles.load_profile(CONFIGS, "quick").model_copy(update={"parameters": parameters})
    with pytest.raises(USER_ERRORS, match=message):
        profile.adapted(scenario.load_all())


def test_a_seed_that_no_scenario_can_read_is_refused(tmp_path: Path) -> None:
    shipped = (CONFIGS / "profiles" / "quick.yml").read_text()
    assert "\nseed: 1 " in shipped
    (tmp_path / "profiles").mkdir()
    for seed, name in ((MAX_SEED, "most"), (MAX_SEED + 1, "more")):
        text = shipped.replace("\nseed: 1 ", f"\nseed: {seed} ")
        (tmp_path / "profiles" / f"{name}.yml").write_text(text)
    assert profiles.load_profile(tmp_path, "most").seed == MAX_SEED
    with pytest.raises(UserError, match=rf"more\.yml: seed: .* less than or equal to {MAX_SEED}"):
        profiles.load_profile(tmp_path, "more")


@pytest.mark.parametrize("name", profiles.names(CONFIGS / "labs"))
def test_every_shipped_lab_loads(name: str) -> None:
    lab = profiles.load_lab(CONFIGS, name)
    assert {node.kind for node in lab.nodes} <= set(machines.known())
    assert [node.node.name for node in lab.nodes] == [node.name for node in lab.nodes]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown profile 'quik'; known: full, quick"):
        profiles.load_profile(CONFIGS, "quik")
    with pytest.raises(UserError, match=r"unknown lab '\.\./labs/laptop'; known: fake"):
        profiles.load_lab(CONFIGS, "../labs/laptop")


NODE: dict[str, Any] = {
    "name": "n", "kind": "fake", "arches": ["x86_64"], "cpu": "none", "cpus": 1,
    "memory-mib": 64, "boots": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "nodes: "),
        ([NODE | {"kind": "quemu"}], "nodes.0.kind: .*unknown machine kind 'quemu'; known: fake"),
        ([NODE | {"kind": "accelerator"}], "unknown machine kind 'accelerator'"),
        ([NODE | {"arches": ["arm64"]}], r"nodes\.0\.arches\.0: "),
        ([NODE | {"arches": []}], r"nodes\.0\.arches: "),
        ([NODE | {"name": "a/b"}], r"nodes\.0\.name: "),
        ([NODE | {"cpu": "host -device x"}], r"nodes\.0\.cpu: "),
        ([NODE | {"boots": 0}], r"nodes\.0\.boots: "),
        ([NODE | {"colour": "red"}], r"nodes\.0\.colour: "),
        ([NODE, NODE], "two nodes have the same name"),
    ],
)
def test_a_lab_with_a_fault_is_refused_with_its_place(
    tmp_path: Path, nodes: list[Any], message: str
) -> None:
    (tmp_path / "labs").mkdir()
    path = tmp_path / "labs" / "mine.yml"
    path.write_text(yaml.safe_dump({"title": "mine", "nodes": nodes}))
    with pytest.raises(UserError, match=f"mine.yml: .*{message}") as error:
        profiles.load_lab(tmp_path, "mine")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title: [x\nlimits: }", "expected"),
        (b"title: \xff\n", r"not UTF-8 text \(byte 7\)"),
        (b"[" * 100_000, ""),
        (b"title: one\ntitle: two\n", "a key is given twice"),
    ],
    ids=["no YAML", "no text", "too deep", "a key twice"],
)
def test_a_data_file_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    shutil.copytree(CONFIGS / "profiles", tmp_path / "profiles")
    (tmp_path / "profiles" / "odd.yml").write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.yml: .*{message}") as error:
        profiles.load_profile(tmp_path, "odd")
    assert "\n" not in str(error.value)


# Settings.


@pytest.mark.parametrize(
    ("environment", "data", "cache"),
    [
        ({"HOME": "/h"}, "/h/.local/share/kprobes-farm", "/h/.cache/kprobes-farm"),
        (
            {"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c"},
            "/d/kprobes-farm",
            "/c/kprobes-farm",
        ),
        ({"HOME": "/h", "XDG_DATA_HOME": "/d", "FARM_HOME": "/f"}, "/f/data", "/f/cache"),
        (
            {"HOME": "/h", "FARM_HOME": ""},
            "/h/.local/share/kprobes-farm",
            "/h/.cache/kprobes-farm",
        ),
    ],
)
def test_where_things_are_kept(environment: dict[str, str], data: str, cache: str) -> None:
    found = settings.load(environment)
    assert (found.data, found.cache) == (Path(data), Path(cache))
    assert found.database == f"sqlite:///{data}/farm.db"
    assert found.runs == Path(data) / "runs"


def test_a_relative_farm_home_is_seen_from_here() -> None:
    assert settings.load({"FARM_HOME": "x"}).data == Path.cwd() / "x" / "data"
