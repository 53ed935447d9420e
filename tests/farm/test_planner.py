# SPDX-License-Identifier: GPL-2.0-or-later
"""From a manifest and flags to what will be done: narrowing, and names that nobody knows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import planner, profiles
from farm.planner import Data, Flags, Request
from farm.profiles import NodeData
from farm.records import Cell
from kernel_series import manifest as manifests
from kernel_series.errors import SeriesError
from kernel_series.manifest import Feature
from stress.scenario import Clock, FeatureState, Needs, Scenario, load_all
from workers import kconfig
from workers.errors import UserError

SCENARIO = load_all()["smoke"]


@pytest.fixture
def data(configs: Path) -> Data:
    return Data(
        kernel_configs=configs / "kernel",
        profile_name="full",
        profile=profiles.load_profile(configs, "full"),
        lab_name="fake",
        lab=profiles.load_lab(configs, "fake"),
        scenarios=load_all(),
    )


def planned(tmp_path: Path, data: Data, flags: Flags = Flags(), **keys: Any) -> Request:  # noqa: B008
    written = {
        "schema": 1,
        "series": {"title": "t"},
        "base": {"tarball": "base.tar.gz"},
        "patches": {"directory": "patches"},
        "matrix": {"config": ["preempt-none", "preempt"]},
        "scenarios": ["smoke", "overhead"],
    }
    (tmp_path / "base.tar.gz").touch()
    (tmp_path / "patches").mkdir(exist_ok=True)
    path = tmp_path / "series.yml"
    path.write_text(yaml.safe_dump(written | keys, sort_keys=False))
    return planner.plan(manifests.load(path), None, flags, data)


def test_all_that_the_manifest_allows(tmp_path: Path, data: Data) -> None:
    found = planned(tmp_path, data)
    assert found.cells == (
        Cell("x86_64", "preempt-none", "auto"),
        Cell("x86_64", "preempt", "auto"),
    )
    assert found.nodes == ("actor-1", "actor-2")
    assert found.scenarios == ("smoke", "overhead")
    assert found.not_tested == ()
    assert found.manifest.is_absolute()


def test_a_profile_caps_and_says_so(tmp_path: Path, data: Data) -> None:
    capped = replace(data, profile=data.profile.model_copy(update={"configs": 1}))
    found = planned(tmp_path, capped)
    assert [cell.config for cell in found.cells] == ["preempt-none"]
    assert found.not_tested == (("config preempt", "profile full takes 1 config only"),)
    asked = planned(tmp_path, capped, Flags(configs=("preempt",)))
    assert [cell.config for cell in asked.cells] == ["preempt"]


def test_flags_narrow_and_say_so(tmp_path: Path, data: Data) -> None:
    flags = Flags(configs=("preempt",), nodes=("actor-2",), scenarios=("overhead",))
    found = planned(tmp_path, data, flags)
    assert [cell.config for cell in found.cells] == ["preempt"]
    assert (found.nodes, found.scenarios) == (("actor-2",), ("overhead",))
    assert found.not_tested == tuple(
        (what, "not asked for")
        for what in ("config preempt-none", "node actor-1", "scenario smoke")
    )


def test_an_architecture_that_was_not_asked_for(tmp_path: Path, data: Data) -> None:
    found = planned(tmp_path, data, Flags(arches=("x86_64",)), matrix={"arch": ["x86_64", "i386"]})
    assert found.not_tested == (("arch i386", "not asked for"),)


def test_a_name_given_twice_counts_once(tmp_path: Path, data: Data) -> None:
    flags = Flags(
        arches=("x86_64",) * 2, configs=("preempt",) * 2, nodes=("actor-1",) * 2,
        scenarios=("smoke",) * 2,
    )  # fmt: skip
    found = planned(tmp_path, data, flags)
    assert (len(found.cells), found.nodes, found.scenarios) == (1, ("actor-1",), ("smoke",))


def test_excluded_cells(tmp_path: Path, data: Data) -> None:
    matrix = {
        "config": ["preempt-none", "preempt"],
        "exclude": [{"arch": "x86_64", "config": "preempt"}],
    }
    found = planned(tmp_path, data, matrix=matrix)
    assert len(found.cells) == 1
    assert found.not_tested == (("config preempt, arch x86_64", "excluded by the series"),)
    narrowed = planned(tmp_path, data, Flags(configs=("preempt-none",)), matrix=matrix)
    assert narrowed.not_tested == (("config preempt", "not asked for"),), "said once"
    matrix["exclude"] = [{"arch": "x86_64"}]
    with pytest.raises(UserError, match="no kernel is left to build"):
        planned(tmp_path, data, matrix=matrix)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"matrix": {"config": ["preempt-none", "premept"]}},
            r"series\.yml:\d+:\d+: unknown config 'premept'; known: .*preempt-none",
        ),
        (
            {"scenarios": ["smoke", "smke"]},
            r"series\.yml:\d+:\d+: unknown scenario 'smke'; known: .*smoke",
        ),
        (
            {"matrix": {"toolchain": ["auto", "clang"]}},
            r"series\.yml:\d+:\d+: unknown toolchain 'clang'; known: auto, gcc-N",
        ),
        (
            {"matrix": {"toolchain": ["gcc-4"]}},
            r"series\.yml:\d+:\d+: toolchain gcc-4: gcc-4 is not installed; install Debian's",
        ),
    ],
)
def test_unknown_names_in_the_manifest(
    tmp_path: Path, data: Data, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(tmp_path, data, **keys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Flags(configs=("preempt-rt",)), "no config 'preempt-rt' in this series; known: preempt-"),
        (Flags(arches=("arm",)), "no arch 'arm' in this series; known: x86_64"),
        (Flags(nodes=("qemu",)), "no node 'qemu' in lab fake; known: actor-1, actor-2"),
        (Flags(scenarios=("nmi-storm",)), "unknown scenario 'nmi-storm'; known: .*smoke"),
    ],
)
def test_unknown_names_in_flags(tmp_path: Path, data: Data, flags: Flags, message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(tmp_path, data, flags)


def test_a_scenario_of_the_farm_that_the_series_does_not_name(tmp_path: Path, data: Data) -> None:
    with pytest.raises(UserError, match="no scenario 'overhead' in this series; known: smoke"):
        planned(tmp_path, data, Flags(scenarios=("overhead",)), scenarios=["smoke"])


def test_an_architecture_that_cannot_be_had_here(tmp_path: Path, data: Data) -> None:
    matrix = {"arch": ["x86_64", "i386"]}
    found = planned(tmp_path, data, matrix=matrix)
    assert {cell.arch for cell in found.cells} == {"x86_64"}
    ((what, why),) = found.not_tested
    assert what == "arch i386"
    assert why in ("this farm has no configuration for it", "no node of lab fake boots it")
    with pytest.raises(UserError, match="arch i386"):
        planned(tmp_path, data, Flags(arches=("i386",)), matrix=matrix)


# What a point may be expected to have.

OPTPROBES = Feature("optprobes", "OPTPROBES", 3, unsupported_with=("PREEMPT",))


@pytest.mark.parametrize(
    ("features", "point", "symbols", "state"),
    [
        ((OPTPROBES,), 2, ("OPTPROBES",), FeatureState.ABSENT),
        ((OPTPROBES,), 3, ("OPTPROBES",), FeatureState.PRESENT),
        ((OPTPROBES,), 3, ("OPTPROBES", "PREEMPT"), FeatureState.UNSUPPORTED),
        ((OPTPROBES,), 2, ("PREEMPT",), FeatureState.ABSENT),
        ((OPTPROBES, replace(OPTPROBES, introduced_by=5)), 4, (), FeatureState.ABSENT),
        ((), 0, (), FeatureState.ABSENT),
        ((), 0, ("OPTPROBES",), FeatureState.PRESENT),
    ],
)
def test_the_state_of_the_feature(
    features: tuple[Feature, ...], point: int, symbols: tuple[str, ...], state: FeatureState
) -> None:
    assert planner.feature_state(features, point, symbols) is state


def test_the_symbols_that_a_point_must_have(configs: Path) -> None:
    plain = kconfig.load(configs / "kernel", "preempt-none", "x86_64")
    preempt = kconfig.load(configs / "kernel", "preempt", "x86_64")
    assert planner.expected_symbols((OPTPROBES,), 2, plain) == ()
    (symbol,) = planner.expected_symbols((OPTPROBES,), 3, plain)
    assert symbol.line == "CONFIG_OPTPROBES=y"
    assert planner.expected_symbols((OPTPROBES,), 3, preempt) == ()


NODE = NodeData.model_validate(
    {"name": "n", "kind": "fake", "arches": ["x86_64"], "cpu": "none", "cpus": 2,
     "memory-mib": 64, "boots": 1}
)  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "clock", "reason"),
    [
        (replace(SCENARIO, needs=Needs(("KPROBES",))), Clock.WALL, None),
        (replace(SCENARIO, needs=Needs(("KPROBES", "X", "Y"))), Clock.WALL, "kernel has no X, Y"),
        (replace(SCENARIO, needs=Needs((), ("kvm",))), Clock.WALL, "not observable here.*no kvm"),
        (replace(SCENARIO, needs=Needs(), smp=2), Clock.WALL, None),
        (replace(SCENARIO, needs=Needs(), smp=4), Clock.WALL, "needs 4 CPUs, the boot has 2"),
        (replace(SCENARIO, needs=Needs(), smp=2), Clock.ICOUNT, "needs 2 CPUs, the boot has 1"),
    ],
)
def test_why_a_scenario_does_not_apply(
    scenario: Scenario, clock: Clock, reason: str | None
) -> None:
    found = planner.skip_reason(scenario, "x86_64", clock, NODE, ("KPROBES",))
    if reason is None:
        assert found is None
    else:
        assert re.search(reason, found or "")


def test_a_program_that_the_host_lacks_is_named_with_its_package() -> None:
    scenario = replace(SCENARIO, needs=Needs(), tools=("perf",))
    found = planner.skip_reason(scenario, "x86_64", Clock.WALL, NODE, ())
    assert found == "this host has no perf: apt install linux-perf"
    assert planner.skip_reason(scenario, "x86_64", Clock.WALL, NODE, (), {"perf": "0"}) is None


def test_an_estimate_grows_with_what_is_asked_for(tmp_path: Path, data: Data) -> None:
    both = planned(tmp_path, data)
    one = planned(tmp_path, data, Flags(configs=("preempt",)))
    profile = data.profile
    assert planner.seconds(both, 9, profile) > planner.seconds(one, 9, profile)
    assert planner.seconds(one, 9, profile) > planner.seconds(one, 3, profile)


def test_subjects_are_read_without_a_tree(series: Any) -> None:
    series.patch("explain", {"doc": "x\n"}).patch("explain more", {"doc": "y\n"})
    assert planner.subjects(manifests.load(series.write()), None) == ("explain", "explain more")
    shipped = Path(manifests.__file__).parent / "jump-optimization" / "series.yml"
    assert len(planner.subjects(manifests.load(shipped), None)) == 9
    series.raw("Subject: [PATCH] no diff", "nothing here\n")
    with pytest.raises(SeriesError):
        planner.subjects(manifests.load(series.write()), None)
