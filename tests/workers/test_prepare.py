# SPDX-License-Identifier: GPL-2.0-or-later
"""A series becomes points in the tree store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from kernel_series import manifest
from kernel_series.errors import SeriesError
from workers.errors import Cancelled, InfrastructureError, UserError
from workers.prepare import Plant, PrepareRequest, PrepareResult, prepare, run_tool
from workers.process import Cancel
from workers.requests import Point
from workers.trees import TreeStore

if TYPE_CHECKING:
    from tests.conftest import MiniKernel

Prepare = Callable[..., PrepareResult]


@pytest.fixture
def prepared(store: TreeStore, tmp_path: Path) -> Prepare:
    """Runs the stage on a series.yml."""

    def run(
        path: Path, tree: Path | None = None, name: str = "run", **how: Cancel
    ) -> PrepareResult:
        request = PrepareRequest(manifest.load(path), tree, name)
        return prepare(request, store, tmp_path / "downloads", how.get("cancel", Cancel()))

    return run


def test_every_point_is_the_tree_after_its_patch(
    mini_kernel: MiniKernel, store: TreeStore, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    result = prepared(mini_kernel.manifest(tmp_path / "series.yml"))
    commits = mini_kernel.git("rev-list", "--reverse", "main").split()
    subjects = mini_kernel.git("log", "--reverse", "--format=%s").splitlines()
    assert [point.index for point in result.points] == [0, 1, 2, 3]
    assert [point.subject for point in result.points] == ["base", *subjects[1:]]
    assert [point.tree for point in result.points] == [
        mini_kernel.git("rev-parse", f"{commit}^{{tree}}") for commit in commits
    ]
    assert [point.reason for point in result.points] == [None] * 4
    assert result.points[1].author == "A Developer <developer@localhost>"
    assert result.base == f"{mini_kernel.folder} {mini_kernel.base}"
    for point in result.points:
        assert store.resolve(f"refs/runs/run/{point.index}") == point.commit
    parents = [point.commit for point in result.points[:-1]]
    assert parents == [store.resolve(f"{point.commit}^") for point in result.points[1:]]


def test_points_are_the_same_each_time_and_everywhere(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    path = mini_kernel.manifest(tmp_path / "series.yml")
    first = prepared(path)
    assert prepared(path, name="other") == first
    other = TreeStore(tmp_path / "elsewhere.git")
    request = PrepareRequest(manifest.load(path), None, "run")
    assert prepare(request, other, tmp_path / "downloads", Cancel()) == first


def test_a_chain_names_the_points_before_too(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    """The same trees in another order: an incremental build sees what lay there before."""
    text = mini_kernel.read("Documentation/kprobes.txt")
    mini_kernel.commit("there", {"Documentation/kprobes.txt": text + "more\n"})
    mini_kernel.commit("and back", {"Documentation/kprobes.txt": text})
    points = prepared(mini_kernel.manifest(tmp_path / "series.yml")).points
    assert points[0].tree == points[2].tree
    chains = [point.chain for point in points]
    assert None not in chains
    assert len(set(chains)) == 3


def test_the_first_patch_that_does_not_apply_ends_the_points(
    mini_kernel: MiniKernel, store: TreeStore, prepared: Prepare, tmp_path: Path
) -> None:
    for number in range(1, 6):
        mini_kernel.append(f"patch {number}", "kernel/kprobes.c", f"int added_{number};\n")
    path = mini_kernel.manifest(tmp_path / "series.yml")
    third = next((tmp_path / "series.patches").glob("0003-*"))
    third.write_text(third.read_text().replace(" int added_2;", " int something_else;"))
    points = prepared(path).points
    assert [point.reason for point in points] == [
        None,
        None,
        None,
        "kernel/kprobes.c:16: the hunk at this line does not match the tree",
        "patch 3 does not apply",
        "patch 3 does not apply",
    ]
    assert [point.subject for point in points[3:]] == ["patch 3", "patch 4", "patch 5"]
    for point in points:
        there = (point.commit is not None, point.tree is not None, point.chain is not None)
        assert there == (point.reason is None,) * 3
        assert (store.resolve(f"refs/runs/run/{point.index}") is not None) is there[0]
    for point in points[:3]:
        assert point.tree == mini_kernel.git("rev-parse", f"main~{5 - point.index}^{{tree}}")


def test_an_adjustment_is_on_every_point_and_under_no_patch(
    mini_kernel: MiniKernel, store: TreeStore, prepared: Prepare, tmp_path: Path
) -> None:
    adjust = {
        "name": "fewer-probes",
        "title": "one probe less",
        "edits": [
            {
                "file": "kernel/kprobes.c",
                "find": "#define LAST_PROBE 9\n",
                "replace": "#define LAST_PROBE 8\n",
            }
        ],
    }
    (tmp_path / "adjust.yml").write_text(yaml.safe_dump(adjust))
    # The adjusted line is in the context of this patch, which must not see it.
    mini_kernel.edit(
        "a comment", "kernel/kprobes.c", "#define LAST_PROBE 9\n", "#define LAST_PROBE 9\n/* */\n"
    )
    mini_kernel.append("another", "kernel/kprobes.c", "/* another */\n")
    points = prepared(mini_kernel.manifest(tmp_path / "series.yml", adjust=["adjust.yml"])).points
    for back, point in zip((2, 1, 0), points, strict=True):
        unadjusted = mini_kernel.git("show", f"main~{back}:kernel/kprobes.c") + "\n"
        found = store.read(point.commit or "", "kernel/kprobes.c")
        assert found == unadjusted.replace("PROBE 9", "PROBE 8").encode()
        assert store.tree(point.commit or "") == point.tree


def test_an_adjustment_that_does_not_fit_is_the_series_fault(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    edits = [{"file": "kernel/kprobes.c", "find": "no such text", "replace": "x"}]
    adjust = {"name": "misfit", "title": "does not fit", "edits": edits}
    (tmp_path / "adjust.yml").write_text(yaml.safe_dump(adjust))
    mini_kernel.jump_optimization()
    path = mini_kernel.manifest(tmp_path / "series.yml", adjust=["adjust.yml"])
    with pytest.raises(SeriesError, match=r"adjust\.yml.*edit 1"):
        prepared(path)


def test_a_derived_series_ends_with_the_untouched_tree(
    mini_kernel: MiniKernel, store: TreeStore, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    call = {"file": "kernel/kprobes.c", "find": "\toptimize_kprobe(p);\n", "replace": ""}
    recipe = {
        "name": "mini",
        "title": "jump optimization, taken out again",
        "base": "the tree without it",
        "author": "A Developer <developer@localhost>",
        "date": "2010-01-22T12:00:00+00:00",
        "steps": [
            {
                "subject": "kprobes: Declare jump optimization",
                "message": "For later.",
                "undo": [
                    {
                        "file": "include/linux/kprobes.h",
                        "cut": {"from": "^#ifdef CONFIG_OPTPROBES", "to": "^$"},
                    },
                    {"file": "kernel/opt.c", "delete": True},
                    {"file": "kernel/Makefile", "delete": True},
                ],
            },
            {"subject": "kprobes: Optimize", "message": "Now.", "undo": [call]},
        ],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    base = {"git": str(mini_kernel.folder), "ref": mini_kernel.head}
    path = mini_kernel.manifest(
        tmp_path / "series.yml", base=base, patches={"derive": "recipe.yml"}
    )
    points = prepared(path).points
    assert [point.subject for point in points] == [
        "the tree without it",
        "kprobes: Declare jump optimization",
        "kprobes: Optimize",
    ]
    assert points[2].tree == mini_kernel.git("rev-parse", "HEAD^{tree}")
    base_text = store.read(points[0].commit or "", "include/linux/kprobes.h") or b""
    assert b"OPTPROBES" not in base_text
    assert store.read(points[0].commit or "", "kernel/opt.c") is None
    found = [
        b"optimize_kprobe(p)" in (store.read(point.commit or "", "kernel/kprobes.c") or b"")
        for point in points
    ]
    assert found == [False, False, True]


@pytest.fixture
def derivable(mini_kernel: MiniKernel, tmp_path: Path) -> Callable[..., Path]:
    """Commits files that are programs and links; returns a series.yml that takes them out."""

    def make(*undo: dict[str, object]) -> Path:
        (mini_kernel.folder / "tools").mkdir(exist_ok=True)
        program = mini_kernel.folder / "tools" / "run.sh"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        (mini_kernel.folder / "tools" / "link").symlink_to("run.sh")
        mini_kernel.commit("tools", {})
        about = {"base": "before", "author": "A <a@localhost>", "date": "2010-01-22T12:00:00+00:00"}
        step = {"subject": "tools: Come", "message": "Why.", "undo": undo}
        recipe = {"name": "mini", "title": "taken out", **about, "steps": [step]}
        (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
        base = {"git": str(mini_kernel.folder), "ref": mini_kernel.head}
        patches = {"derive": "recipe.yml"}
        return mini_kernel.manifest(tmp_path / "series.yml", base=base, patches=patches)

    return make


def test_a_derived_file_comes_back_as_what_it_was(
    mini_kernel: MiniKernel, store: TreeStore, prepared: Prepare, derivable: Callable[..., Path]
) -> None:
    """A program as a program, a symbolic link as a link."""
    files = ("tools/run.sh", "tools/link")
    points = prepared(derivable(*({"file": file, "delete": True} for file in files))).points
    assert [store.read(points[0].commit or "", file) for file in files] == [None, None]
    assert points[1].tree == mini_kernel.git("rev-parse", "HEAD^{tree}")


def test_a_derived_series_that_does_not_lead_back_is_refused(
    prepared: Prepare, derivable: Callable[..., Path]
) -> None:
    path = derivable({"file": "tools", "add": "a file in the place of a folder\n"})
    with pytest.raises(UserError) as caught:
        prepared(path)
    where = manifest.load(path).where("patches.derive")
    assert str(caught.value) == (
        f'{where}: patches.derive: the last point is not the untouched tree, "tools/link" '
        "differs; an `undo:` may not put a file in the place of a folder that it leaves"
    )


def test_a_range_is_taken_from_the_users_repository(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    path = mini_kernel.manifest(
        tmp_path / "series.yml",
        base={"git": "https://localhost/nowhere.git", "ref": mini_kernel.base},
        patches={"git-range": f"{mini_kernel.base}..main"},
    )
    points = prepared(path, tree=mini_kernel.folder).points
    assert [point.tree for point in points[1:]] == [
        mini_kernel.git("rev-parse", f"main~{back}^{{tree}}") for back in (2, 1, 0)
    ]


def test_what_the_source_noted_comes_along(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.append("patch", "kernel/kprobes.c", "int x;\n")
    mail = next(mini_kernel.format_patches(tmp_path / "thread").iterdir()).read_text()
    reply = mail.replace("Subject: [PATCH]", "In-Reply-To: <x@localhost>\nSubject: Re: [PATCH]")
    (tmp_path / "thread.mbox").write_text(f"{mail}\n{reply}")
    path = mini_kernel.manifest(tmp_path / "series.yml", patches={"mbox": "thread.mbox"})
    result = prepared(path)
    assert [point.subject for point in result.points] == ["base", "patch"]
    assert len(result.notes) == 1
    assert result.notes[0].startswith("left out the reply")


def test_a_base_that_is_not_there_is_a_user_error(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    base = {"git": str(mini_kernel.folder), "ref": "no-such-branch"}
    with pytest.raises(UserError, match="no-such-branch can't be had from"):
        prepared(mini_kernel.manifest(tmp_path / "series.yml", base=base))


def test_a_patch_that_can_not_be_read_is_the_series_fault(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    path = mini_kernel.manifest(tmp_path / "series.yml")
    for patch in (tmp_path / "series.patches").iterdir():
        patch.write_text(patch.read_text().replace("b/kernel/", "b/../kernel/"))
    with pytest.raises(SeriesError, match="leaves the tree"):
        prepared(path)


def test_a_cancelled_stage_stops(
    mini_kernel: MiniKernel, prepared: Prepare, tmp_path: Path
) -> None:
    mini_kernel.jump_optimization()
    cancel = Cancel()
    cancel.request("the run was cancelled")
    with pytest.raises(Cancelled, match="the run was cancelled"):
        prepared(mini_kernel.manifest(tmp_path / "series.yml"), cancel=cancel)


def test_the_tool_runner_says_what_is_not_installed() -> None:
    assert run_tool(["no-such-program"]).status == 127
    assert run_tool(["cat"], stdin=b"x").stdout == b"x"
    with pytest.raises(InfrastructureError):
        run_tool(["sh"], cwd=Path("/nowhere"))


# Faults that are planted: points of their own, in a series or side by side.


def canary(
    folder: Path, name: str, find: str, replace: str, file: str = "kernel/kprobes.c"
) -> Path:
    """Write a recipe of one edit; returns its path."""
    edits = [{"file": file, "find": find, "replace": replace}]
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump({"name": name, "title": f"canary {name}", "edits": edits}))
    return path


@pytest.fixture
def three(mini_kernel: MiniKernel, tmp_path: Path) -> Path:
    """A series.yml of three patches, each of which adds a line to a file of its own."""
    for number in (1, 2, 3):
        mini_kernel.commit(f"patch {number}", {f"kernel/{number}.c": f"int added_{number};\n"})
    return mini_kernel.manifest(tmp_path / "series.yml")


@pytest.fixture
def planting(store: TreeStore, tmp_path: Path) -> Callable[..., tuple[Point, ...]]:
    """Runs the stage with plants or siblings."""

    def run(path: Path, **planted: tuple[Plant, ...] | tuple[Path, ...]) -> tuple[Point, ...]:
        request = PrepareRequest(manifest.load(path), None, "run", **planted)  # type: ignore[arg-type]
        return prepare(request, store, tmp_path / "downloads", Cancel()).points

    return run


Planting = Callable[..., tuple[Point, ...]]
FAULT = ("LAST_PROBE 9", "LAST_PROBE 8")


def contents(store: TreeStore, points: tuple[Point, ...], path: str) -> list[bytes | None]:
    return [store.read(point.commit or "", path) for point in points]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_plant_is_a_point_and_the_later_ones_stand_on_it(
    three: Path, planting: Planting, prepared: Prepare, store: TreeStore, tmp_path: Path, at: int
) -> None:
    plain = prepared(three, name="plain").points
    points = planting(three, plants=(Plant(canary(tmp_path, "fault", *FAULT), at),))
    subjects = ["base", "patch 1", "patch 2", "patch 3"]
    subjects.insert(at + 1, "canary fault")
    assert [point.subject for point in points] == subjects
    assert [point.index for point in points] == [0, 1, 2, 3, 4]
    assert points[: at + 1] == plain[: at + 1]
    faulty = [b"PROBE 8" in (text or b"") for text in contents(store, points, "kernel/kprobes.c")]
    assert faulty == [index > at for index in range(5)]
    for number in (1, 2, 3):
        there = [text is not None for text in contents(store, points, f"kernel/{number}.c")]
        assert there == [index >= number + (at < number) for index in range(5)]
    # A commit's parent is the point before it, so that a build goes from one to the next.
    for before, point in pairwise(points):
        assert store.resolve(f"{point.commit}^") == before.commit
        assert store.resolve(f"refs/runs/run/{point.index}") == point.commit
        assert store.tree(point.commit or "") == point.tree
    assert len({point.chain for point in points}) == 5
    assert [point.made_from for point in points] == [None, 0, 1, 2, 3]


def test_the_places_of_several_plants_are_the_unplanted_series(
    three: Path, planting: Planting, store: TreeStore, tmp_path: Path
) -> None:
    first = canary(tmp_path, "first", *FAULT)
    second = canary(tmp_path, "second", "return -1", "return -2")
    points = planting(three, plants=(Plant(second, 2), Plant(first, 0)))
    assert [point.subject for point in points] == [
        "base",
        "canary first",
        "patch 1",
        "patch 2",
        "canary second",
        "patch 3",
    ]
    texts = contents(store, points, "kernel/kprobes.c")
    assert [b"PROBE 8" in (text or b"") for text in texts] == [False] + [True] * 5
    assert [b"return -2" in (text or b"") for text in texts] == [False] * 4 + [True] * 2


def test_a_patch_that_does_not_apply_on_top_of_a_plant(
    mini_kernel: MiniKernel, planting: Planting, tmp_path: Path
) -> None:
    mini_kernel.append("good", "kernel/kprobes.c", "int good;\n")
    mini_kernel.edit("same line", "kernel/kprobes.c", "LAST_PROBE 9", "LAST_PROBE 6")
    mini_kernel.append("after it", "kernel/kprobes.c", "int after;\n")
    path = mini_kernel.manifest(tmp_path / "series.yml")
    points = planting(path, plants=(Plant(canary(tmp_path, "fault", *FAULT), 0),))
    assert [point.reason is None for point in points] == [True, True, True, False, False]
    assert (points[3].reason or "").startswith("kernel/kprobes.c:")
    assert points[4].reason == "a patch before it does not apply"
    assert {point.commit for point in points[3:]} == {point.chain for point in points[3:]} == {None}


def test_a_plant_leaves_the_reasons_of_a_broken_series(
    three: Path, planting: Planting, tmp_path: Path
) -> None:
    second = next((tmp_path / "series.patches").glob("0002-*"))
    second.write_text(second.read_text().replace("kernel/2.c", "kernel/1.c"))
    points = planting(three, plants=(Plant(canary(tmp_path, "fault", *FAULT), 1),))
    assert [point.reason is None for point in points] == [True, True, True, False, False]
    assert points[3].reason != points[4].reason == "patch 2 does not apply"
    with pytest.raises(UserError, match=r"fault\.yml: can't be planted on point 3: patch 2 does"):
        planting(three, plants=(Plant(tmp_path / "fault.yml", 3),))


def test_plants_that_cannot_be(three: Path, planting: Planting, tmp_path: Path) -> None:
    fits = canary(tmp_path, "fits", *FAULT)
    with pytest.raises(UserError, match="there is no point 4 to plant it on") as caught:
        planting(three, plants=(Plant(fits, 4),))
    assert caught.value.hint == "the points go from 0 to 3"
    misfit = canary(tmp_path, "misfit", "no such text", "x")
    with pytest.raises(SeriesError, match=r"misfit\.yml.*found 0 times"):
        planting(three, plants=(Plant(misfit, 1),))


def test_siblings_stand_side_by_side_on_the_last_point(
    three: Path, planting: Planting, prepared: Prepare, store: TreeStore, tmp_path: Path
) -> None:
    tip = prepared(three, name="plain").points[3]
    other = canary(tmp_path, "other", "added_3", "added_4", file="kernel/3.c")
    misfit = canary(tmp_path, "misfit", "no such text", "x")
    fault = canary(tmp_path, "fault", *FAULT)
    points = planting(three, siblings=(other, misfit, fault))
    assert [point.subject for point in points] == [
        "patch 3",
        "canary other",
        "canary misfit",
        "canary fault",
    ]
    assert [point.index for point in points] == [0, 1, 2, 3]
    assert [point.made_from for point in points] == [None, 0, 0, 0]
    assert (points[0].commit, points[0].tree) == (tip.commit, tip.tree)
    assert [point.reason is None for point in points] == [True, True, False, True]
    assert "found 0 times" in (points[2].reason or "")
    assert points[2].commit is points[2].chain is None
    # The last one has nothing of the first: neither in its tree nor in what its build goes from.
    assert b"added_3" in (store.read(points[3].commit or "", "kernel/3.c") or b"")
    assert store.resolve(f"{points[3].commit}^") == tip.commit
    again = planting(three, siblings=(fault,))
    assert again[1].chain == points[3].chain


def test_siblings_need_a_last_point(three: Path, planting: Planting, tmp_path: Path) -> None:
    third = next((tmp_path / "series.patches").glob("0003-*"))
    third.write_text(third.read_text().replace("kernel/3.c", "kernel/1.c"))
    with pytest.raises(UserError, match=r"the series. last patch does not apply: kernel"):
        planting(three, siblings=(canary(tmp_path, "fault", *FAULT),))
