# SPDX-License-Identifier: GPL-2.0-or-later
"""The contracts as JSON Schemas: each is one, is the model's, and holds for what is real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from farm import schemas
from farm.planner import Flags
from kernel_series import edits, manifest, sources
from kernel_series.errors import SeriesError

ROOT = Path(schemas.__file__).parents[1]
FOLDER = ROOT / "docs" / "schemas"
SHIPPED = {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
REGISTRY: Registry[Any] = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SHIPPED.items()
)
Program = Callable[..., str]


def faults(name: str, document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": name}, registry=REGISTRY)
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(document)]


class _DatesAreText(yaml.SafeLoader):
    """The farm takes scalars as they are written."""


_DatesAreText.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> Any:
    return yaml.load(text, _DatesAreText)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SHIPPED[name])
    assert SHIPPED[name]["title"]
    assert "SPDX-License-Identifier: GPL-2.0-or-later" in SHIPPED[name]["$comment"]
    assert faults(name, 1), "a schema that takes anything shows nothing"


def test_what_is_made_from_models_is_up_to_date() -> None:
    for name, text in schemas.generated().items():
        assert (FOLDER / name).read_text() == text, "make schemas"


# Files that people write.

FILES = [
    *(("build-only.json", path) for path in (ROOT / "configs" / "build-only").glob("*.yml")),
    *(("issue.json", path) for path in (ROOT / "configs" / "issues").glob("*.yml")),
    *(("lab.json", path) for path in (ROOT / "configs" / "labs").glob("*.yml")),
    *(("profile.json", path) for path in (ROOT / "configs" / "profiles").glob("*.yml")),
    *(("scenario.json", path) for path in (ROOT / "stress" / "scenarios").glob("*.yml")),
    *(("manifest.json", path) for path in (ROOT / "kernel_series").glob("*/series.yml")),
    *(("steps.json", path) for path in (ROOT / "kernel_series").glob("*/recipe.yml")),
    *(("recipe.json", path) for path in (ROOT / "kernel_series").glob("c*s/*.yml")),
]


@pytest.mark.parametrize(("schema", "path"), FILES, ids=lambda one: getattr(one, "name", one))
def test_every_shipped_file_keeps_to_its_schema(schema: str, path: Path) -> None:
    assert faults(schema, read(path.read_text())) == []


MANIFEST = """\
schema: 1
series: {title: t, version: 2, message-id: a@b}
base: {tarball: base.tar.gz}
patches: {directory: patches}
features: [{name: f, kconfig: OPTPROBES, introduced-by: 0, unsupported-with: [X], force: null}]
matrix: {arch: [i386], config: [preempt], toolchain: [auto], exclude: [{arch: i386}]}
scenarios: [smoke]
adjust: []
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("version: 2", "version: 0"),
        ("title: t", "titel: t"),
        ("title: t", "title: ' t'"),
        ("{tarball: base.tar.gz}", "{tarball: base.tar.gz, git: x}"),
        ("{tarball: base.tar.gz}", "{git: 'https://example.org/linux'}"),
        ("{tarball: base.tar.gz}", "{git: 'https://example.org/linux', ref: v6.12}"),
        ("{tarball: base.tar.gz}", "{git: 'https://example.org/linux', ref: -x}"),
        ("{tarball: base.tar.gz}", "{debian-source: linux-6.12}"),
        ("{directory: patches}", "{directory: patches, mbox: x}"),
        ("{directory: patches}", "{folder: patches}"),
        ("{directory: patches}", "{}"),
        ("kconfig: OPTPROBES", "kconfig: CONFIG_OPTPROBES"),
        ("introduced-by: 0", "introduced-by: -1"),
        ("force: null", "force: early.yml"),
        ("arch: [i386]", "arch: [arm]"),
        ("arch: [i386]", "arch: []"),
        ("config: [preempt]", "config: [preempt, preempt]"),
        ("config: [preempt]", "config: [../preempt]"),
        ("[{arch: i386}]", "[{}]"),
        ("scenarios: [smoke]", "scenarios: smoke"),
        ("schema: 1\n", ""),
    ],
)
def test_a_manifest_is_refused_by_both_or_by_none(tmp_path: Path, old: str, new: str) -> None:
    assert old in MANIFEST
    text = MANIFEST.replace(old, new, 1)
    (tmp_path / "base.tar.gz").touch()
    (tmp_path / "patches").mkdir()
    path = tmp_path / "series.yml"
    path.write_text(text)
    try:
        manifest.load(path)
        refused = False
    except SeriesError:
        refused = True
    assert bool(faults("manifest.json", read(text))) is refused


def test_a_manifests_schema_knows_what_the_farm_knows() -> None:
    keys = SHIPPED["manifest.json"]["properties"]
    known = {next(iter(one["required"])) for one in keys["patches"]["oneOf"]}
    assert known == set(sources.known())
    assert {one["required"][0] for one in keys["base"]["oneOf"]} == set(manifest.BASES)
    assert keys["matrix"]["properties"]["arch"]["items"]["enum"] == list(manifest.ARCHES)


@pytest.mark.parametrize(
    "edit",
    [
        "{file: a.c, find: x, replace: y, within: f, count: 2}",
        "{file: [a.c, b.c], cut: {from: ^x$, to: ^y$}}",
        "{file: a.c, unifdef: [-UCONFIG_X, -DY=1]}",
        "{file: a.c, delete: true}",
        "{file: a.c, add: text}",
        "{file: a.c, find: x}",
        "{file: a.c, find: x, replace: y, add: z}",
        "{file: a.c, find: x, replace: y, count: 0}",
        "{file: a.c, cut: {from: ^x$}}",
        "{file: a.c, unifdef: []}",
        "{file: a.c, unifdef: [-f]}",
        "{file: a.c, delete: false}",
        "{file: [a.c, b.c], add: text}",
        "{file: a.c, add: text, within: f}",
        "{find: x, replace: y}",
        "{file: a.c}",
    ],
)
def test_an_edit_is_refused_by_both_or_by_none(tmp_path: Path, edit: str) -> None:
    text = f"name: n\ntitle: t\nedits:\n- {edit}\n"
    path = tmp_path / "recipe.yml"
    path.write_text(text)
    try:
        edits.load_recipe(path)
        refused = False
    except SeriesError:
        refused = True
    assert bool(faults("recipe.json", read(text))) is refused


# What the farm prints.


def test_real_output_keeps_to_its_schema(farm: Any, series: Any, program: Program) -> None:
    series.patch("explain", {"doc": "x\n"})
    act = {"cases": {"smoke.first": "not ok # broken"}}
    series.patch("break", {"program.json": program(smoke=act)})
    path = series.write()
    planned = farm("plan", path, "--lab", "fake", "--profile", "thorough", "--json").document
    assert planned["cells"][1]["boots"] is False
    assert faults("plan.json", planned) == []
    assert faults("runs.json", farm("status", "--json").document) == []
    said = farm.submit(path, "--profile", "thorough")
    assert said.status == 1
    assert faults("results.json", said.document) == []
    listed = farm("status", "--json").document
    assert listed["runs"][0]["jobs"]
    assert faults("runs.json", listed) == []
    found = farm("regressions", "latest", "--json").document
    assert len(found["regressions"]) == 1
    assert faults("regressions.json", found) == []
    jobs = farm("log", "--json").document
    assert jobs["jobs"]
    assert faults("log.json", jobs) == []
    assert faults("log.json", farm("log", "latest", "2", "--json").document) == []
    test = said.document["points"][2]["builds"][0]["tests"][0]["id"]
    again = farm("reproduce", test, "--json").document
    assert again["now"] == "FAIL"
    assert faults("reproduce.json", again) == []
    assert faults("log.json", farm("log", "--json").document) == [], "with a job of its own"
    sizes = farm("gc", "--dry-run", "--size", "0", "--json").document
    assert sizes["kept"]
    assert faults("gc.json", sizes) == []
    app = farm.app
    request, _ = app.plan(manifest.load(path), None, Flags(), "quick", "fake")
    run = app.submit(manifest.load(path), request)
    app.close()
    assert faults("cancel.json", farm("cancel", run, "--json").document) == []


def test_lists_keep_to_their_schemas(farm: Any) -> None:
    for command in ("scenarios", "doctor"):
        document = farm(command, "--json").document
        assert faults(f"{command}.json", document) == []


def test_a_self_test_keeps_to_its_schema(farm: Any, series: Any, tmp_path: Path) -> None:
    canary = tmp_path / "odd.yml"
    canary.write_text("name: odd\ntitle: odd\nedits: [{file: no/file, find: a, replace: b}]\n")
    path = series.patch("explain", {"doc": "x\n"}).write()
    words = ("--series", path, "--lab", "fake", "--node", "actor-1", "--json")
    document = farm("selftest", canary, *words).document
    assert document["canaries"][0]["result"] == "invalid"
    assert faults("selftest.json", document) == []
