# SPDX-License-Identifier: GPL-2.0-or-later
"""The series that ship: their manifests load, the recipes fit a tree, the patches of 2010 apply.

The tests marked kernel_source need an untouched Debian tree, kernel_history a clone:
KERNEL_SOURCE=/path/to/linux-source-6.12 pytest -m kernel_source tests/kernel_series
KERNEL_HISTORY=/path/to/linux/.git pytest -m kernel_history tests/kernel_series
"""

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

import kernel_series
from kernel_series import edits
from kernel_series.content import Content
from kernel_series.manifest import load
from kernel_series.run import Run
from kernel_series.series import read_series
from kernel_series.sources import subjects
from kernel_series.sources.derive import load_derive
from kernel_series.tree import Change, Overlay, Tree

SHIPPED = Path(kernel_series.__file__).parent
SUBJECTS = [
    "kprobes/x86: Cleanup RELATIVEJUMP_INSTRUCTION to RELATIVEJUMP_OPCODE",
    "kprobes: Introduce generic insn_slot framework",
    "kprobes: Introduce kprobes jump optimization",
    "kprobes: Jump optimization sysctl interface",
    "kprobes/x86: Boost probes when reentering",
    "kprobes/x86: Cleanup save/restore registers",
    "kprobes/x86: Add detour and recovery hooks",
    "kprobes/x86: Support kprobes jump optimization on x86",
    "kprobes: Add documents of jump optimization",
]


def test_jump_optimization() -> None:
    manifest = load(SHIPPED / "jump-optimization/series.yml", confined=True)
    assert (manifest.base.value, manifest.base.version) == (
        "linux-source-6.12",
        "6.12.117-1~deb12u1",
    )
    assert [(f.kconfig, f.introduced_by) for f in manifest.features] == [("OPTPROBES", 8)]
    assert manifest.patches.path is not None
    recipe = load_derive(manifest.patches.path)
    assert [step.subject for step in recipe.steps] == SUBJECTS


def test_on_top() -> None:
    manifest = load(SHIPPED / "on-top/series.yml", confined=True)
    derived = load(SHIPPED / "jump-optimization/series.yml", confined=True)
    assert manifest.base == derived.base
    assert [(f.kconfig, f.introduced_by) for f in manifest.features] == [("OPTPROBES", 0)]
    found = subjects(manifest.patches.source, manifest.patches.path)
    assert found is not None
    assert len(found) == 10
    assert all(subject.startswith("kprobes") for subject in found)


RECIPES = sorted((*SHIPPED.glob("canaries/*.yml"), *SHIPPED.glob("cures/*.yml")))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_canary_and_a_cure_say_what_shows_them(path: Path) -> None:
    recipe = edits.load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.caught_by
    assert recipe.shows
    assert (recipe.cures is not None) == (path.parent.name == "cures")


@pytest.mark.kernel_source
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_canary_and_a_cure_fit_the_tree(path: Path, kernel_source: Tree, run: Run) -> None:
    assert edits.apply(edits.load_recipe(path).edits, kernel_source, run, path.name)


def test_jump_optimization_v8() -> None:
    manifest = load(SHIPPED / "jump-optimization-v8/series.yml", confined=True)
    assert manifest.base.ref == "628ada0cb03666dd463f7c25947eaccdf440c309"
    assert manifest.patches.value == "d498f763950^..b26486bf751"
    assert manifest.matrix.arch == ("x86_64", "i386")
    [feature] = manifest.features
    assert (feature.introduced_by, feature.unsupported_with) == (8, ("PREEMPT",))


@pytest.mark.kernel_history
def test_the_patches_of_2010_apply_in_order(kernel_history: Path, run: Run, tmp_path: Path) -> None:
    """On the base that the manifest names, each gives the tree of the commit that it was."""
    manifest = load(SHIPPED / "jump-optimization-v8/series.yml")
    content = read_series(manifest, run, repository=kernel_history)
    scratch = tmp_path / "scratch.git"
    environment = {
        **os.environ,
        "GIT_DIR": str(scratch),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(kernel_history / "objects"),
    }

    def git(*arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], env=environment, input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    git("init", "-q", "--bare", str(scratch))
    assert manifest.base.ref is not None
    git("read-tree", manifest.base.ref)
    for patch in content.patches:
        assert patch.diff is not None
        git("apply", "--cached", "--whitespace=nowarn", "-", stdin=patch.diff)
        commit = patch.origin.removeprefix("commit ")
        assert git("write-tree") == git("rev-parse", f"{commit}^{{tree}}")
    same = [number for number in range(9) if content.patches[number].subject == SUBJECTS[number]]
    assert same == [0, 1, 2, 3, 4, 5, 7, 8]  # the seventh is named for what stands in its place


@pytest.fixture(scope="module")
def content(kernel_source: Tree, run: Run) -> Content:
    manifest = load(SHIPPED / "jump-optimization/series.yml")
    return read_series(manifest, run, tree=kernel_source)


@pytest.fixture(scope="module")
def points(content: Content, kernel_source: Tree) -> list[Tree]:
    trees: list[Tree] = [Overlay(kernel_source, content.base)]
    for patch in content.patches:
        assert patch.change is not None
        trees.append(Overlay(trees[-1], patch.change))
    return trees


@pytest.mark.kernel_source
def test_the_last_point_is_the_untouched_tree(
    content: Content, points: list[Tree], kernel_source: Tree
) -> None:
    touched = {path for patch in content.patches for path in patch.change or ()}
    assert touched == set(content.base)
    for path in touched:
        assert points[9].read(path) == kernel_source.read(path) is not None


@pytest.mark.kernel_source
def test_the_base_has_nothing_of_it(points: list[Tree], content: Content) -> None:
    """But empty stubs, and what calls them: nothing is conditional on the symbol any more."""
    assert points[0].read("arch/x86/kernel/kprobes/opt.c") is None
    left = {path for path in content.base if b"OPTPROBES" in (points[0].read(path) or b"")}
    assert left == set()


@pytest.mark.kernel_source
def test_the_symbol_comes_with_the_eighth_patch(points: list[Tree]) -> None:
    selected = [b"select HAVE_OPTPROBES" in (p.read("arch/x86/Kconfig") or b"") for p in points]
    assert selected == [False] * 8 + [True] * 2
    defined = [b"config OPTPROBES\n" in (p.read("arch/Kconfig") or b"") for p in points]
    assert defined == [False] * 3 + [True] * 7


@pytest.mark.kernel_source
def test_registers_are_saved_alike_before_and_after_the_sixth(points: list[Tree]) -> None:
    """What the recipe writes out is what the tree's macros say, instruction for instruction."""
    header = (points[6].read("arch/x86/kernel/kprobes/common.h") or b"").decode()
    trampoline = (points[6].read("arch/x86/kernel/rethook.c") or b"").decode()
    written_out = (points[5].read("arch/x86/kernel/rethook.c") or b"").decode()
    wide, narrow = header.split("#else\n", 1)
    wide_code, narrow_code = trampoline.split("#else\n", 1)
    for name in ("SAVE_REGS_STRING", "RESTORE_REGS_STRING"):
        wide_code = wide_code.replace(name, macro(wide, name))
        narrow_code = narrow_code.replace(name, macro(narrow, name))
    expected = instructions(wide_code + narrow_code)
    assert len(expected) > 60
    assert instructions(written_out) == expected


@pytest.fixture(scope="module")
def on_top(kernel_source: Tree, run: Run) -> list[Tree]:
    """The points of the series on top, the untouched tree first."""
    content = read_series(load(SHIPPED / "on-top/series.yml"), run, tree=kernel_source)
    assert content.base == Change()
    trees = [kernel_source]
    for patch in content.patches:
        assert patch.change is not None
        trees.append(Overlay(trees[-1], patch.change))
    return trees


def text_of(tree: Tree, path: str) -> str:
    return (tree.read(path) or b"").decode()


FILES = (
    "kernel/kprobes.c",
    "include/linux/kprobes.h",
    "arch/x86/kernel/kprobes/core.c",
    "arch/x86/kernel/kprobes/opt.c",
)


@pytest.mark.kernel_source
def test_what_each_patch_on_top_touches(on_top: list[Tree]) -> None:
    touched = [
        [FILES.index(path) for path in FILES if before.read(path) != after.read(path)]
        for before, after in pairwise(on_top)
    ]
    assert touched == [[0], [0], [2], [3], [3], [0], [0, 1], [1], [3], [3]]


@pytest.mark.kernel_source
def test_the_first_patch_on_top_is_a_comment(on_top: list[Tree]) -> None:
    before, after = (without_comments(text_of(tree, FILES[0])) for tree in on_top[:2])
    assert before.split() == after.split()
    assert text_of(on_top[0], FILES[0]).count("\n") < text_of(on_top[1], FILES[0]).count("\n")


@pytest.mark.kernel_source
def test_the_second_patch_on_top_is_a_name(on_top: list[Tree]) -> None:
    """Of a local variable, and every line keeps its number: nothing of it is in what is built."""
    before, after = (text_of(tree, FILES[0]).splitlines() for tree in on_top[1:3])
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [re.sub(r"\b_op\b", "queued", old) for old, _ in changed] == [new for _, new in changed]
    assert len(changed) == 3


@pytest.mark.kernel_source
@pytest.mark.parametrize(("patch", "file"), [(8, 1), (10, 3)])
def test_what_was_moved_is_all_there(on_top: list[Tree], patch: int, file: int) -> None:
    """The field of a struct, a function: the same lines, in another order."""
    before, after = (text_of(tree, FILES[file]).splitlines() for tree in on_top[patch - 1 :][:2])
    assert before != after
    assert sorted(before) == sorted(after)


@pytest.mark.kernel_source
def test_brackets_stay_in_pairs(on_top: list[Tree]) -> None:
    for before, after in pairwise(on_top):
        for path in FILES:
            for opening, closing in ("()", "{}", "[]"):
                old, new = (without_comments(text_of(tree, path)) for tree in (before, after))
                assert new.count(opening) - new.count(closing) == (
                    old.count(opening) - old.count(closing)
                )


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def macro(text: str, name: str) -> str:
    match = re.search(rf"#define {name}\s*\\\n((?:.*\\\n)*.*\n)", text)
    assert match
    return match[1]


def instructions(text: str) -> list[str]:
    """The assembly in a piece of C, one instruction an entry; comments and spacing do not count."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    words = re.findall(r'"([^"]*)"|(ENCODE_FRAME_POINTER)', text)
    lines = [piece for line, word in words for piece in re.split(r"\\n|;", line or word)]
    return [" ".join(line.split()) for line in lines if line.strip()]
