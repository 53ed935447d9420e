# SPDX-License-Identifier: GPL-2.0-or-later
"""The series that ship: their manifests load, the patches of 2010 apply.

The test marked kernel_history needs a clone of the kernel's history:
KERNEL_HISTORY=/path/to/linux/.git pytest -m kernel_history tests/kernel_series
"""

import os
import subprocess
from pathlib import Path

import pytest

import kernel_series
from kernel_series import edits
from kernel_series.manifest import load
from kernel_series.run import Run
from kernel_series.series import read_series
from kernel_series.sources import subjects
from kernel_series.sources.derive import load_derive

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
