# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults planted on purpose: what becomes of each, and the verdict on what was to catch them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import planner, schedule, selftest
from farm.app import App
from farm.cli import live
from farm.db.runs import find_run
from farm.planner import Canary, Request
from farm.records import Cell
from farm.selftest import Caught, Result
from farm.settings import Settings
from farm.verdicts.regressions import Verdict
from kernel_series.errors import SeriesError
from kernel_series.manifest import Feature, load
from workers.errors import UserError
from workers.prepare import Plant
from workers.status import Status

Program = Callable[..., str]
Write = Callable[..., Path]

OK = '"smoke.first": "ok"'
CASES = '{\n    "smoke.first": "ok",\n    "smoke.second": "ok"\n   },'
WARNING = "WARNING: CPU: 0 PID: 29 at optimize_kprobe.part.0+0xd7/0xe0"
NOT_OK = '"smoke.first": "not ok # 5 of 10 hits"'


@pytest.fixture
def settings(tmp_path: Path, shared_cache: Path, configs: Path) -> Settings:
    """With data files of this test's own, so that it can add known issues."""
    shutil.copytree(configs, tmp_path / "configs")
    return Settings(tmp_path / "data", shared_cache, tmp_path / "configs", 1 << 30)


@pytest.fixture
def recipe(tmp_path: Path) -> Write:
    """Writes a canary; what is not said replaces the passing case by a failing one."""

    def write(name: str, *edits: dict[str, Any], **keys: Any) -> Path:
        folder = tmp_path / "canaries"
        folder.mkdir(exist_ok=True)
        fails = {"file": "program.json", "find": OK, "replace": NOT_OK}
        written = {"name": name, "title": f"canary {name}", "edits": list(edits) or [fails]}
        path = folder / f"{name}.yml"
        path.write_text(yaml.safe_dump(written | keys))
        return path

    return write


@pytest.fixture
def tested(farm: Any, series: Any, program: Program) -> Callable[..., Any]:
    """Runs a self test on a series of one patch, which brings the feature."""

    def run(*canaries: Path | str, **base: Any) -> Any:
        series.patch("enable", {"feature": "1\n", "program.json": program(optimized=True, **base)})
        path = series.write(enabling=1)
        words = ("--lab", "fake", "--node", "actor-1", "--json")
        return farm("selftest", *canaries, "--series", path, *words)

    return run


def edited(find: str, replace: str) -> dict[str, str]:
    return {"file": "program.json", "find": find, "replace": replace}


def told(said: Any) -> dict[str, tuple[str, str | None, str, str]]:
    return {
        one["name"]: (one["result"], one["case"], one["how"], one["control"])
        for one in said.document["canaries"]
    }


# A whole self test.


def test_what_becomes_of_a_canary(tested: Any, recipe: Write) -> None:
    """One run, one point for each; none has anything of another."""
    said = tested(
        recipe("fails"),
        recipe("unseen", {"file": "doc", "add": "nobody reads it\n"}),
        recipe("breaks-the-build", {"file": "broken.c", "add": "x\n"}),
        recipe("does-not-fit", edited("no such text", "x")),
        recipe("never-boots", edited('"boot": "up"', '"boot": "silent"')),
        recipe("in-no-case", edited(CASES, '{},\n   "ending": "flood",')),
        recipe("needs-more", needs=["nmi"]),
    )
    found = told(said)
    assert list(found) == [
        "fails",
        "unseen",
        "breaks-the-build",
        "does-not-fit",
        "never-boots",
        "in-no-case",
        "needs-more",
    ]
    assert found["fails"] == ("caught", "smoke.first", "smoke.first: 5 of 10 hits", "PASS")
    assert found["unseen"] == ("missed", None, "all 2 cases passed or were skipped", "PASS")
    result, _, how, _ = found["breaks-the-build"]
    assert (result, "error: expected a kernel" in how) == ("invalid", True)
    result, _, how, _ = found["does-not-fit"]
    assert (result, "found 0 times" in how) == ("invalid", True)
    result, _, how, _ = found["never-boots"]
    assert (result, how) == ("invalid", "does not boot: boot: silent")
    assert found["in-no-case"] == ("caught", None, "endless output in no case", "PASS")
    result, _, how, _ = found["needs-more"]
    assert (result, how) == ("not-observable", "not observable here: the node has no nmi")
    assert said.status == 1


def test_what_a_canary_says_is_shown_as_text(
    farm: Any, tested: Any, recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its row and in the last line, which says what went wrong."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    said = "printf 'a.c:1:1: error: \\033]0;owned\\007\\033[2J[bold red]harmless[/]\\n'; exit 1"
    build = "@cp program.json $(O)/vmlinux"
    assert tested(
        recipe("hostile", {"file": "Makefile", "find": build, "replace": f"@{said}"})
    ).status
    shown = farm("results").stdout
    assert shown.count("[bold red]harmless[/]") == 2
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown


def test_nothing_is_said_of_a_canary_that_is_still_open(
    settings: Settings, tested: Any, recipe: Write
) -> None:
    later = edited('"smoke.second": "ok"', '"smoke.second": "not ok"')
    tested(recipe("fails"), recipe("later", later))
    app = App(settings)
    with app.database.transaction() as session:
        run = find_run(session, "latest")
        run.state, run.verdict = schedule.STARTED, None
        for test in run.builds[2].tests:
            for seen in test.observations:
                session.delete(seen)
    judged = app.judged("latest")
    assert [(one.name, one.result) for one in judged.canaries or ()] == [("fails", Caught.CAUGHT)]
    app.close()


def test_all_that_can_be_seen_here_is_caught(farm: Any, tested: Any, recipe: Write) -> None:
    said = tested(recipe("fails"), recipe("needs-more", needs=["nmi"]))
    assert [one[0] for one in told(said).values()] == ["caught", "not-observable"]
    assert said.status == 0
    (shown,) = (farm("results", "latest").stdout,)
    assert "1 of 2 caught, the others not observable here" in " ".join(shown.split())


def test_a_fault_that_the_base_has_too_is_not_what_catches(tested: Any, recipe: Write) -> None:
    bad = {"cases": {"smoke.first": "not ok # 1 of 10 hits", "smoke.second": "ok"}}
    other = recipe("other", {"file": "doc", "add": "x\n"})
    said = tested(other, smoke=bad)
    assert told(said)["other"] == ("missed", None, "FAIL: smoke.first: 1 of 10 hits", "FAIL")
    assert said.status == 1


def test_a_canary_runs_the_scenarios_that_are_to_catch_it(
    farm: Any, tested: Any, recipe: Write
) -> None:
    said = tested(
        recipe("by-smoke", **{"caught-by": ["smoke"]}),
        recipe("by-overhead", **{"caught-by": ["overhead"]}),
    )
    assert [one[0] for one in told(said).values()] == ["caught", "missed"]
    run = farm.app.judged("latest").run
    ran = {build.point: [test.scenario for test in build.tests] for build in run.builds}
    assert {point: sorted(names) for point, names in ran.items()} == {
        0: ["overhead", "smoke"],
        1: ["smoke"],
        2: ["overhead"],
    }


ISSUE = {
    "title": "too few hits",
    "kinds": ["case"],
    "match": ["smoke.first"],
    "fixed-by": None,
    "seen-in": "6.12.117",
}


def test_a_cure_has_to_make_the_base_s_known_fault_go_away(
    tested: Any, recipe: Write, settings: Settings
) -> None:
    issues = settings.configs / "issues"
    issues.mkdir(exist_ok=True)
    (issues / "few-hits.yml").write_text(yaml.safe_dump(ISSUE))
    (issues / "not-here.yml").write_text(yaml.safe_dump(ISSUE | {"match": ["smoke.second"]}))
    bad = {"cases": {"smoke.first": "not ok # 5 of 10 hits", "smoke.second": "ok"}}
    said = tested(
        recipe("heals", edited(NOT_OK, OK), cures="few-hits"),
        recipe("does-not", {"file": "doc", "add": "x\n"}, cures="few-hits"),
        recipe("of-nothing", edited(NOT_OK, OK), cures="not-here"),
        recipe("of-what", edited(NOT_OK, OK), cures="nobody-knows"),
        smoke=bad,
    )
    found = told(said)
    title = "smoke.first: 5 of 10 hits"
    assert found["heals"] == ("caught", "smoke.first", f"without it: {title}", "FAIL")
    assert found["does-not"] == ("missed", "smoke.first", f"still there: {title}", "FAIL")
    assert found["of-nothing"] == ("missed", None, "the base does not show the issue", "FAIL")
    assert found["of-what"] == ("invalid", None, "there is no known issue nobody-knows", "FAIL")
    assert said.status == 1


def test_a_cure_of_a_warning_that_cuts_no_case_off(
    tested: Any, recipe: Write, settings: Settings
) -> None:
    """The scenario goes on to its end: only the test as a whole tells."""
    issues = settings.configs / "issues"
    issues.mkdir(exist_ok=True)
    warns = ISSUE | {"kinds": ["crash"], "match": ["WARNING in optimize_kprobe"]}
    (issues / "warns.yml").write_text(yaml.safe_dump(warns))
    cases = {"smoke.first": "ok", "smoke.second": "ok"}
    said = tested(
        recipe("heals", edited(json.dumps(WARNING)[1:-1], "all is well"), cures="warns"),
        recipe("does-not", {"file": "doc", "add": "x\n"}, cures="warns"),
        smoke={"cases": cases, "console": WARNING},
    )
    found = told(said)
    how = "WARNING in optimize_kprobe"
    assert found["heals"] == ("caught", None, f"without it: {how}", "FAIL")
    assert found["does-not"] == ("missed", None, f"still there: {how}", "FAIL")


def test_a_known_issue_of_the_base_is_listed_and_does_not_count(
    farm: Any, series: Any, program: Program, settings: Settings
) -> None:
    """The other use of an issue: in a run that plants nothing."""
    (settings.configs / "issues").mkdir(exist_ok=True)
    (settings.configs / "issues" / "few-hits.yml").write_text(yaml.safe_dump(ISSUE))
    bad = {"cases": {"smoke.first": "not ok # 5 of 10 hits", "smoke.second": "ok"}}
    series.base({"program.json": program(smoke=bad)}).patch("explain", {"doc": "x\n"})
    said = farm.submit(series.write())
    (listed,) = said.document["regressions"]
    assert (listed["state"], listed["issue"], listed["first_bad"]) == ("known", "few-hits", 0)
    assert (said.status, said.document["verdict"]) == (0, "PASS")


def test_a_base_that_tells_nothing(tested: Any, recipe: Write) -> None:
    said = tested(recipe("fails"), boot="dies")
    ((result, _, _, control),) = told(said).values()
    assert (result, control, said.status) == ("missed", "MISS", 3)


FULL = '@echo "x.c: No space left on device"; exit 1'


def test_a_canary_that_came_to_no_result_tells_nothing(
    tested: Any, recipe: Write, settings: Settings
) -> None:
    """What the host does to its boots or its build is not the suite's doing."""
    (settings.configs / "issues" / "few-hits.yml").write_text(yaml.safe_dump(ISSUE))
    dies = edited('"boot": "up"', '"boot": "dies"')
    bad = {"cases": {"smoke.first": "not ok # 5 of 10 hits", "smoke.second": "ok"}}
    said = tested(
        recipe("not-booted", dies),
        recipe("not-cured", dies, cures="few-hits"),
        recipe("not-built", edited("@cp program.json $(O)/vmlinux", FULL) | {"file": "Makefile"}),
        smoke=bad,
    )
    found = {one["name"]: one for one in said.document["canaries"]}
    assert [one["complete"] for one in found.values()] == [False] * 3
    assert found["not-booted"]["how"].startswith("MISS: no boot of it came to a result")
    assert found["not-cured"]["how"].startswith("MISS: no boot of it came to a result")
    assert found["not-built"]["how"].startswith("it was not built")
    assert said.status == 3


def test_a_canary_that_does_not_build_is_not_good(tested: Any, recipe: Write) -> None:
    said = tested(recipe("breaks-the-build", {"file": "broken.c", "add": "x\n"}))
    ((result, _, _, control),) = told(said).values()
    assert (result, control, said.status) == ("invalid", "PASS", 1)


def test_a_self_test_whose_base_cannot_be_had(
    farm: Any, series: Any, recipe: Write, tmp_path: Path
) -> None:
    """There is no point then, so there is nothing to say of a canary but why."""
    path = series.patch("explain", {"doc": "x\n"}).write()
    (tmp_path / "series" / "base.tar.gz").write_bytes(b"no tarball")
    said = farm("selftest", recipe("fails"), "--series", path, "--lab", "fake", "--json")
    assert said.status == 2
    assert "is no readable tar archive" in said.stderr
    assert farm.app.judged("latest").canaries == ()


# A planted series.


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_planted_fault_is_found_at_its_place(
    farm: Any, series: Any, program: Program, recipe: Write, at: int
) -> None:
    """On a series whose base has the feature: nothing of it is the patches' doing."""
    series.base({"feature": "1\n", "program.json": program(optimized=True)})
    series.patch("explain", {"doc": "x\n"}).patch("explain more", {"doc": "y\n"})
    plant = f"{recipe('fails')}@{at}"
    said = farm.submit(series.write(enabling=0), "--plant", plant)
    assert said.status == 1
    (found,) = said.document["regressions"]
    assert (found["title"], found["first_bad"]) == ("smoke.first: 5 of 10 hits", at + 1)
    assert (found["state"], found["introduced"]) == ("new", True)
    subjects = [point["subject"] for point in said.document["points"]]
    assert subjects.index("canary fails") == at + 1
    assert len(subjects) == 4


def test_the_same_series_without_a_plant(farm: Any, series: Any, program: Program) -> None:
    series.base({"feature": "1\n", "program.json": program(optimized=True)})
    series.patch("explain", {"doc": "x\n"}).patch("explain more", {"doc": "y\n"})
    said = farm.submit(series.write(enabling=0))
    assert (said.status, said.document["regressions"]) == (0, [])
    builds = [point["builds"][0] for point in said.document["points"]]
    assert [build["identical_to"] for build in builds] == [None, 0, 1]


def test_a_plant_on_a_point_that_is_not_there(farm: Any, series: Any, recipe: Write) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    said = farm.submit(path, "--plant", f"{recipe('fails')}@2")
    assert said.status == 2
    assert "there is no point 2 to plant it on" in said.stderr


# Names of canaries.


@pytest.fixture
def shipped(tmp_path: Path, recipe: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ships two canaries and a cure."""
    for folder, names in {"canaries": ("b", "a"), "cures": ("c",)}.items():
        (tmp_path / "package" / folder).mkdir(parents=True)
        for name in names:
            recipe(name).rename(tmp_path / "package" / folder / f"{name}.yml")
    monkeypatch.setattr(selftest, "SHIPPED", tmp_path / "package")
    return tmp_path / "package"


def names(canaries: tuple[Canary, ...]) -> list[str]:
    return [canary.name for canary in canaries]


def test_canaries_by_name_file_and_folder(shipped: Path, recipe: Write) -> None:
    mine = recipe("mine", needs=["nmi"], **{"caught-by": ["smoke"]})
    assert names(selftest.find([])) == ["a", "b", "c"]
    assert names(selftest.find(["c", "a"])) == ["c", "a"]
    assert names(selftest.find([str(shipped / "canaries"), str(mine)])) == ["a", "b", "mine"]
    (found,) = selftest.find([str(mine)])
    assert found == Canary(mine, "mine", "canary mine", ("smoke",), ("nmi",), None)


def test_canaries_that_are_not_there(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="unknown canary 'x'") as caught:
        selftest.find(["x"])
    assert caught.value.hint == (
        f"name a file, a folder, or one of the 3 of {selftest.SHIPPED}, like c, b, a"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: there is no canary in this folder"):
        selftest.find([str(tmp_path / "empty")])
    (tmp_path / "bad.yml").write_text("name: bad\n")
    with pytest.raises(SeriesError, match=r'bad\.yml:1:1: key "title" is missing'):
        selftest.find([str(tmp_path / "bad.yml")])
    monkeypatch.setattr(selftest, "SHIPPED", tmp_path / "empty")
    with pytest.raises(UserError, match="no canary is shipped"):
        selftest.find([])


def test_where_to_plant(shipped: Path) -> None:
    a, b = shipped / "canaries" / "a.yml", shipped / "canaries" / "b.yml"
    assert selftest.plants(["a@0", f"{b}@12"]) == (Plant(a, 0), Plant(b, 12))
    assert selftest.plants([]) == ()


@pytest.mark.parametrize("word", ["a", "a@", "a@-1", "a@x", "a@1.5", "@1", "x@1"])
def test_words_that_plant_nothing(shipped: Path, word: str) -> None:
    with pytest.raises(UserError):
        selftest.plants([word])


# The verdict.


def result(
    name: str, caught: Caught, control: Status = Status.PASS, complete: bool = True
) -> Result:
    return Result(name, caught, None, "how", control, 1.0, complete)


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ([result("a", Caught.CAUGHT)], (Verdict.PASS, "1 of 1 caught")),
        ([result("a", Caught.NOT_OBSERVABLE)], (Verdict.PASS, "0 of 1 caught")),
        ([result("a", Caught.CAUGHT), result("b", Caught.MISSED)],
         (Verdict.REGRESSION, "b missed: how")),
        ([result("a", Caught.INVALID)], (Verdict.REGRESSION, "a invalid: how")),
        ([result("a", Caught.MISSED, Status.MISS)], (Verdict.INCONCLUSIVE, "a missed: how")),
        ([result("a", Caught.MISSED, Status.MISS), result("b", Caught.MISSED)],
         (Verdict.REGRESSION, "b missed: how")),
        ([result("a", Caught.MISSED, complete=False)], (Verdict.INCONCLUSIVE, "a missed: how")),
        ([result("a", Caught.INVALID, complete=False), result("b", Caught.INVALID)],
         (Verdict.REGRESSION, "b invalid: how")),
        ([result("a", Caught.CAUGHT, complete=False)], (Verdict.PASS, "1 of 1 caught")),
        ([], (Verdict.INCONCLUSIVE, "nothing was planted")),
    ],
)  # fmt: skip
def test_the_verdict(results: list[Result], wanted: tuple[Verdict, str]) -> None:
    kind, reason = selftest.verdict(results)
    assert (kind, reason[: len(wanted[1])]) == wanted


# Planning with what is planted.


@pytest.fixture
def request_of(series: Any) -> Request:
    path = series.patch("one", {"doc": "x\n"}).patch("two", {"doc": "y\n"}).write()
    return Request(
        manifest=path,
        tree=None,
        profile="quick",
        lab="fake",
        cells=(Cell("x86_64", "preempt-none", "auto"),),
        nodes=("actor-1",),
        scenarios=("overhead", "smoke"),
        features=(),
        not_tested=(),
        reuse=True,
        sandbox=True,
    )


ANY = Canary(Path("any.yml"), "any", "t", (), (), None)
BY_SMOKE = replace(ANY, name="by-smoke", caught_by=("smoke",), needs=("nmi",))


@pytest.mark.parametrize(
    ("introduced_by", "plants", "shifted"),
    [
        (0, (0, 5), 0),
        (3, (), 3),
        (3, (2,), 4),
        (3, (3,), 3),
        (3, (0, 2, 3, 9), 5),
        (3, (1, 1), 5),
    ],
)
def test_a_feature_comes_later_in_a_planted_series(
    introduced_by: int, plants: tuple[int, ...], shifted: int
) -> None:
    feature = Feature("f", "F", introduced_by)
    found = planner.shifted([feature], [Plant(Path("c.yml"), at) for at in plants])
    assert found == (replace(feature, introduced_by=shifted),)


def test_what_a_canary_is_tested_with(request_of: Request, farm: Any) -> None:
    planted = replace(request_of, canaries=(ANY, BY_SMOKE))
    assert [planted.scenarios_of(point) for point in range(3)] == [
        ("overhead", "smoke"),
        ("overhead", "smoke"),
        ("smoke",),
    ]
    assert request_of.scenarios_of(2) == ("overhead", "smoke")
    (node, *_) = farm.app.data("quick", "fake").lab.nodes
    why = "not observable here: the node has no nmi"
    assert [planner.canary_skip(planted, point, node) for point in range(3)] == [None, None, why]
    assert planner.canary_skip(request_of, 2, node) is None


@pytest.mark.parametrize(
    ("planted", "points"),
    [
        ({}, 2),
        ({"plants": (Plant(Path("c.yml"), 1),)}, 3),
        ({"canaries": (ANY, BY_SMOKE, ANY, ANY)}, 4),
    ],
    ids=["nothing", "a plant", "a self test"],
)
def test_how_many_points_there_will_be(
    farm: Any, request_of: Request, planted: dict[str, Any], points: int
) -> None:
    """The live view reckons with it as long as the points are not there yet."""
    request = replace(request_of, **planted)
    series = load(request.manifest)
    assert planner.patches(series, request) == points
    app = farm.app
    view = live._View(app, app.submit(series, request), 0.0)
    known = app.data("quick", "fake").profile.estimates
    assert view._remaining() == known.prepare + known.base + points * known.point


def test_the_document_of_a_self_test(tested: Any, recipe: Write) -> None:
    said = tested(recipe("fails"))
    assert set(said.document) == {"schema", "run", "canaries"}
    (one,) = said.document["canaries"]
    assert set(one) == {"name", "result", "case", "how", "control", "seconds", "complete"}
    assert one["seconds"] >= 0
    assert json.loads(said.stdout) == said.document
