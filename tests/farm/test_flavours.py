# SPDX-License-Identifier: GPL-2.0-or-later
"""Flavours that are built and not booted: the shipped files, planning, a whole run with them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import flavours, planner, profiles
from farm.planner import Data, Flags, Request
from farm.records import Cell
from kernel_series import manifest as manifests
from kernel_series.manifest import ARCHES
from stress.scenario import load_all
from workers import kconfig, toolchain
from workers.errors import UserError
from workers.requests import Scope

CONFIGS = Path(flavours.__file__).parents[1] / "configs"
SHIPPED = profiles.names(CONFIGS / "build-only")
Program = Callable[..., str]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_flavour_loads(name: str) -> None:
    (flavour,) = flavours.load_all(CONFIGS, [name]).values()
    for arch in [flavour.arch] if flavour.arch else flavour.arches or ARCHES:
        config = flavour.configuration(CONFIGS / "kernel", name, arch)
        assert config.arch == arch
        # What is a wish is what the configuration does not change.
        assert config.start != kconfig.FROM_NOTHING or config.symbols
        assert bool(config.wishes) == bool(flavour.fragments)
    assert toolchain.COMPILER.fullmatch(flavour.toolchain) or flavour.toolchain == "auto"


def test_the_full_profile_takes_them_all_and_the_quick_one_none() -> None:
    assert set(profiles.load_profile(CONFIGS, "full").build_only) == set(SHIPPED)
    assert profiles.load_profile(CONFIGS, "quick").build_only == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "randconfig"}, r"odd\.yml: start: "),
        ({"start": "defconfig", "fragments": ["base"]}, "defconfig takes no symbols"),
        ({"arch": "arm64", "arches": ["i386"]}, "arch is one that no run has"),
        ({"builds": "everything"}, r"odd\.yml: builds: "),
        ({"colour": "red"}, r"odd\.yml: colour: "),
    ],
)
def test_a_flavour_with_a_fault_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "build-only").mkdir()
    (tmp_path / "build-only" / "odd.yml").write_text(yaml.safe_dump({"title": "odd"} | changes))
    with pytest.raises(UserError, match=message):
        flavours.load_all(tmp_path, ["odd"])


def test_names_that_are_unknown_or_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown build-only flavour 'no'; known: arm64, defconfig"):
        flavours.load_all(CONFIGS, ["no"])
    shutil.copytree(CONFIGS, tmp_path, dirs_exist_ok=True)
    shutil.copy(CONFIGS / "build-only" / "no-smp.yml", tmp_path / "build-only" / "preempt.yml")
    with pytest.raises(UserError, match=r"preempt\.yml has the name of a kernel fragment"):
        flavours.load_all(tmp_path, ["preempt"])


# Planning.


@pytest.fixture
def data() -> Data:
    chosen = ("no-kprobes", "warnings", "arm64")
    found = dict(flavours.load_all(CONFIGS, chosen))
    found["arm64"] = found["arm64"].model_copy(update={"toolchain": "auto"})
    return Data(
        kernel_configs=CONFIGS / "kernel",
        profile_name="full",
        profile=profiles.load_profile(CONFIGS, "full"),
        lab_name="laptop",
        lab=profiles.load_lab(CONFIGS, "laptop"),
        scenarios=load_all(),
        flavours=found,
    )


Plan = Callable[..., Request]


@pytest.fixture
def plan(series: Any, data: Data) -> Plan:
    def planned(
        flags: Flags = Flags(),  # noqa: B008
        exclude: tuple[dict[str, str], ...] = (),
        data: Data = data,
    ) -> Request:
        matrix = {"arch": ["x86_64", "i386"], "config": ["preempt-none"], "exclude": list(exclude)}
        return planner.plan(manifests.load(series.write(matrix=matrix)), None, flags, data)

    return planned


def built_only(request: Request) -> list[tuple[str, str]]:
    return [(cell.arch, cell.config) for cell in request.cells if not cell.boots]


def test_a_flavour_is_built_for_each_arch_of_the_run_or_for_its_own(plan: Plan) -> None:
    request = plan()
    assert [cell.config for cell in request.cells if cell.boots] == ["preempt-none"] * 2
    assert built_only(request) == [
        ("x86_64", "no-kprobes"),
        ("i386", "no-kprobes"),
        ("x86_64", "warnings"),
        ("arm64", "arm64"),
    ]
    assert request.not_tested == ()


@pytest.mark.parametrize(
    ("flags", "booted", "built"),
    [
        (Flags(arches=("i386",)), 1, [("i386", "no-kprobes")]),
        (Flags(arches=("arm64",)), 0, [("arm64", "arm64")]),
        (Flags(configs=("preempt-none",)), 2, []),
        (Flags(configs=("warnings",)), 0, [("x86_64", "warnings")]),
    ],
)
def test_flags_narrow(plan: Plan, flags: Flags, booted: int, built: list[tuple[str, str]]) -> None:
    request = plan(flags)
    assert sum(cell.boots for cell in request.cells) == booted
    assert built_only(request) == built


def test_what_flags_narrow_away_is_listed(plan: Plan) -> None:
    assert plan(Flags(arches=("i386",))).not_tested == (
        ("arch x86_64", "not asked for"),
        ("arch arm64", "not asked for"),
    )
    assert plan(Flags(configs=("preempt-none",))).not_tested == tuple(
        (f"config {name}", "not asked for") for name in ("no-kprobes", "warnings", "arm64")
    )


def test_a_manifest_excludes_them_too(plan: Plan) -> None:
    request = plan(exclude=({"config": "no-kprobes", "arch": "i386"}, {"config": "arm64"}))
    assert built_only(request) == [("x86_64", "no-kprobes"), ("x86_64", "warnings")]
    assert request.not_tested == (
        ("config no-kprobes, arch i386", "excluded by the series"),
        ("config arm64", "excluded by the series"),
    )


def test_caps_of_a_profile_count_for_the_architectures(plan: Plan, data: Data) -> None:
    capped = replace(data, profile=data.profile.model_copy(update={"arches": 1}))
    assert ("i386", "no-kprobes") not in built_only(plan(data=capped))


def test_a_compiler_that_is_not_there_is_said_with_its_package(plan: Plan, data: Data) -> None:
    found = dict(data.flavours)
    found["arm64"] = found["arm64"].model_copy(update={"toolchain": "vax-linux-gnu-gcc"})
    request = plan(data=replace(data, flavours=found))
    assert ("arm64", "arm64") not in built_only(request)
    ((what, why),) = request.not_tested
    assert what == "build-only arm64 on arm64"
    assert why.endswith(
        "vax-linux-gnu-gcc is not installed; install Debian's package gcc-vax-linux-gnu"
    )


def test_the_estimate_has_builds_for_them_and_no_boots(plan: Plan, data: Data) -> None:
    known = data.profile.estimates
    one, two = plan(Flags(configs=("warnings",))), plan(Flags(configs=("no-kprobes",)))
    for patches in (0, 9):
        more = planner.seconds(two, patches, data.profile)
        more -= planner.seconds(one, patches, data.profile)
        assert more == pytest.approx(known.base + patches * known.point)


def test_a_flavour_whose_file_went_away() -> None:
    cell = Cell("x86_64", "gone", "auto", boots=False)
    assert flavours.flavour_of(replace(cell, boots=True), {}) is None
    with pytest.raises(UserError, match="no build-only flavour gone any more; name it"):
        flavours.flavour_of(cell, {})


# A whole run.


def test_a_run_builds_them_and_boots_only_the_others(
    farm: Any, series: Any, program: Program
) -> None:
    series.base({"lib/Kconfig": "config OPTPROBES\n\tdef_bool y\n"})
    series.patch("explain", {"doc": "x\n"}).patch("go on", {"doc": "y\n"})
    path = series.write()
    words = ("--profile", "thorough")
    shown = farm("plan", path, "--lab", "fake", *words).stdout
    assert "builds on x86_64, no-kprobes, auto, not booted" in shown
    said = farm.submit(path, *words)
    assert said.status == 0, said.stderr
    points = said.document["points"]
    assert points[0]["checks"] is None
    assert [(one["tool"], one["level"]) for one in points[1]["checks"]] == [
        ("tags", "warning"),
        ("tags", "error"),
        ("checkpatch", "missing"),
    ]
    for point in points:
        booted, built = point["builds"]
        assert (booted["config"], booted["boots"]) == ("preempt-none", True)
        assert booted["tests"]
        assert (built["config"], built["boots"], built["tests"]) == ("no-kprobes", False, [])
        assert (built["status"], built["targets"]) == ("PASS", ["vmlinux"])
    assert [point["builds"][1]["identical_to"] for point in points] == [None, 0, 1]
    assert said.document["not_tested"] == [
        {"what": "node actor-2", "why": "not asked for"},
        {
            "what": "build-only no-optprobes on x86_64",
            "why": "OPTPROBES has no prompt in this kernel: it follows from other symbols",
        },
    ]
    shown = farm("results").stdout
    assert "Built and not booted" in shown
    assert "x86_64 no-kprobes" in shown
    assert "3 PASS" in shown
    assert "point 1: 1 warning, 1 error, 1 missing" in shown
    assert "tags error sign-off: there is no Signed-off-by" in shown


def test_a_flavour_that_does_not_build_is_a_regression(
    farm: Any, series: Any, program: Program
) -> None:
    makefile = series.files["Makefile"].replace(
        "vmlinux:\n",
        "vmlinux:\n\t@! grep -q 'KPROBES is not set' $(O)/.config || ! test -e stub ||"
        " { echo 'stub.h:1:1: error: no stub'; exit 1; }\n",
    )
    series.base({"Makefile": makefile})
    series.patch("explain", {"doc": "x\n"}).patch("forget a stub", {"stub": "x\n"})
    said = farm.submit(series.write(), "--profile", "thorough", "--config", "no-kprobes")
    assert said.status == 1, said.stderr
    (found,) = said.document["regressions"]
    assert (found["kind"], found["first_bad"]) == ("build", 2)
    assert found["where"] == [{"arch": "x86_64", "config": "no-kprobes", "node": None}]
    assert said.document["verdict"] == "REGRESSION"


def test_a_series_that_touches_nothing_compiled(farm: Any, series: Any) -> None:
    series.patch("explain", {"doc": "x\n"})
    (flavour,) = flavours.load_all(CONFIGS, ["defconfig"]).values()
    assert flavour.builds is Scope.OBJECTS
    said = farm.submit(series.write(), "--profile", "touching", "--config", "defconfig")
    assert said.status == 3
    assert {
        "what": "build-only defconfig on x86_64",
        "why": "the series touches no source that is compiled for x86_64",
    } in said.document["not_tested"]


def test_many_flavours_stand_in_tables_that_a_screen_holds(
    farm: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    series.patch("explain", {"doc": "x\n"})
    configs = ["preempt-none", "preempt", "preempt-voluntary"]
    path = series.write(matrix={"config": configs})
    said = farm.submit(path, *(word for name in configs for word in ("--config", name)))
    assert said.status == 0, said.stderr
    shown = farm("results").stdout
    assert shown.count("explain") == 2
    assert all(shown.count(f"x86_64 {name} ") == 1 for name in configs[1:])
    assert max(len(line) for line in shown.splitlines()) <= 100
