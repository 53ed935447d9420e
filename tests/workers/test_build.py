# SPDX-License-Identifier: GPL-2.0-or-later
"""The build stage from end to end: a kernel in miniature, in the real sandbox and by gcc."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workers import build as stage
from workers import payload
from workers.compiler_warnings import CompilerWarning
from workers.kconfig import Config, Symbol
from workers.requests import Goal, Scope
from workers.sandbox import Sandbox
from workers.status import Status

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

pytestmark = pytest.mark.usefixtures("small_init")

OPTPROBES = Symbol("OPTPROBES", "y", "feature optprobes")
ANOTHER_KEY = (Symbol("NOBODY_KNOWS", "y", "if there: makes the key of a kernel another one"),)


# what a series does


def test_every_point_of_a_series(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    results = [
        bench.build(0),
        bench.build(1),
        bench.build(2, expected=(OPTPROBES,)),
        bench.build(3, expected=(OPTPROBES,)),
    ]
    for result in results:
        assert (result.status, result.reason, result.cached) == (Status.PASS, None, False)
        assert result.warnings == ()
        assert "KPROBES" in result.symbols
        vmlinux = bench.kernel_of(result)
        assert vmlinux.read_bytes().startswith(b"\x7fELF")
        assert stage.digest(vmlinux) == result.kernel_sha256
        assert "CONFIG_KPROBES=y\n" in vmlinux.with_name("config").read_text()
        assert " T start_kernel\n" in vmlinux.with_name("System.map").read_text()
        initramfs = (bench.builder.payloads.find(result.payload or "-") or Path()) / "initramfs"
        assert stage.digest(initramfs) == result.payload_sha256
    assert ["OPTPROBES" in result.symbols for result in results] == [False, False, True, True]
    assert [result.compiled for result in results] == [True, True, True, False]
    # Only what a patch touches is compiled again.
    assert [bench.compiled(index) for index in range(4)] == [
        ["init/main.o", "kernel/kprobes.o"],
        ["kernel/kprobes.o"],
        ["init/main.o", "kernel/kprobes.o", "kernel/opt.o"],
        [],
    ]
    kernels = [result.kernel_sha256 for result in results]
    assert kernels[3] == kernels[2]
    assert len(set(kernels)) == 3
    assert len({result.kernel for result in results}) == 4


def test_a_feature_that_a_config_excludes_is_not_there(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    symbols = (*bench.config.symbols, Symbol("PREEMPT", "y", "the other model"))
    result = bench.build(2, config=replace(bench.config, symbols=symbols))
    assert result.status is Status.PASS
    assert "OPTPROBES" not in result.symbols
    assert bench.compiled(2) == ["init/main.o", "kernel/kprobes.o"]


def test_a_kernel_is_the_same_in_every_lane(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.build(0)
    first = bench.build(2)
    bench.lane = "a lane of another name"
    second = bench.build(2, reuse=False)  # from nothing, not on top of point 0
    assert not second.cached
    assert second.kernel_sha256 == first.kernel_sha256
    assert second.payload_sha256 == first.payload_sha256


# what does not build


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        (
            "kernel/kprobes.c",
            "int broken(void)\n{\n\treturn nowhere;\n}\n",
            "does not build: /src/kernel/kprobes.c:19:16: error: 'nowhere' undeclared",
        ),
        (
            "kernel/kprobes.c",
            "int nowhere(void);\nint broken(void) { return nowhere(); }\n",
            "undefined reference to `nowhere'",
        ),
        (
            "kernel/kprobes.c",
            '#include "nowhere.h"\n',
            "kprobes.c:17:10: fatal error: nowhere.h: No such file or directory",
        ),
        (
            "Makefile",
            "objects += nowhere.o\n$(out)/vmlinux: $(out)/nowhere.o\n",
            "does not build: make: *** No rule to make target '/out/nowhere.o'",
        ),
        ("Makefile", "vmlinux: x\nx: ; @echo some words; exit 1\n", "does not build: make: *** ["),
        ("Kconfig", "choice\n", "configuring failed: Kconfig:"),
    ],
)
def test_a_kernel_that_does_not_build_says_why(
    path: str, text: str, reason: str, bench: Bench
) -> None:
    bench.kernel.append("broken", path, text)
    result = bench.build(1)
    assert result.status is Status.FAIL
    assert result.reason is not None
    assert reason in result.reason
    assert (result.kernel, result.payload, result.symbols) == (None, None, ())


def test_a_point_behind_one_that_does_not_build_is_built_on_top_of_it(bench: Bench) -> None:
    """A compiler that failed cut nothing off; all that was built before can stay."""
    bench.kernel.edit(
        "a warning",
        "init/main.c",
        "static struct kprobe first;",
        "static int unused; static struct kprobe first;",
    )
    bench.kernel.append("broken", "kernel/kprobes.c", "int broken(void) { return nowhere; }\n")
    bench.kernel.edit("mended", "kernel/kprobes.c", "return nowhere", "return 0")
    warned = bench.build(1)
    broken = bench.build(2)
    mended = bench.build(3)
    assert [warned.status, broken.status, mended.status] == [Status.PASS, Status.FAIL, Status.PASS]
    assert bench.compiled(3) == ["kernel/kprobes.o"]
    expected = CompilerWarning("init/main.c", "'unused' defined but not used [-Wunused-variable]")
    for result in (warned, broken, mended):
        assert expected in result.warnings


# symbols


def test_a_symbol_that_is_not_as_asked_fails(bench: Bench) -> None:
    symbols = (*bench.config.symbols, Symbol("NO_SUCH", "y", "why"), Symbol("MODULES", "n", "why"))
    config = replace(bench.config, symbols=tuple({one.name: one for one in symbols}.values()))
    bench.kernel.append("no modules without", "Kconfig", "config MODULES\n\tdef_bool y\n")
    result = bench.build(1, config=config)
    assert result.status is Status.FAIL
    assert result.reason == "not in .config as asked: MODULES=n, NO_SUCH=y"


def test_a_feature_that_is_not_there_is_missing_evidence(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    assert bench.build(1, expected=(OPTPROBES,)).reason == (
        "evidence: not in .config as asked: OPTPROBES=y"
    )
    assert bench.build(2, expected=(OPTPROBES,)).status is Status.PASS


def test_an_optional_symbol_may_be_unknown_but_not_left_out(bench: Bench) -> None:
    optional = Symbol("SOMETHING_NEW", "y", "if there: the kernel knows it")
    config = replace(bench.config, symbols=(*bench.config.symbols, optional))
    kconfig = 'config SOMETHING_NEW\n\tbool "new"\n\tdepends on NO_SUCH\n'
    bench.kernel.append("known, and can't be set", "Kconfig", kconfig)
    bench.kernel.edit("can be set", "Kconfig", "\tdepends on NO_SUCH\n", "")
    assert bench.build(0, config=config).status is Status.PASS
    refused = bench.build(1, config=config)
    assert refused.status is Status.FAIL
    assert refused.reason == "not in .config as asked: SOMETHING_NEW=y"
    accepted = bench.build(2, config=config)
    assert "SOMETHING_NEW" in accepted.symbols


COUNTS = "allnoconfig: count\ncount: ; @echo configured\n"


def configured(bench: Bench, index: int) -> int:
    """How often a point with COUNTS in its Makefile was configured when it was last built."""
    return bench.log(index).read_text().count("configured\n")


def test_a_configuration_is_made_again_only_when_it_must(bench: Bench) -> None:
    bench.kernel.append("counts", "Makefile", COUNTS)
    bench.kernel.append("code", "kernel/kprobes.c", "int x;\n")
    bench.kernel.append("symbol", "Kconfig", "config NEW\n\tdef_bool y\n")
    results = [bench.build(index) for index in (1, 2, 3)]
    assert [result.status for result in results] == [Status.PASS] * 3
    assert [configured(bench, index) for index in (1, 2, 3)] == [1, 0, 1]
    assert ["NEW" in result.symbols for result in results] == [False, False, True]
    bench.build(3, expected=(Symbol("NEW", "y", "feature"),))
    assert configured(bench, 3) == 1


def test_a_trees_own_defaults_are_looked_at_again(bench: Bench) -> None:
    config = Config("defconfig", "x86_64", (), start="defconfig")
    defaults = "CONFIG_KPROBES=y\n"
    bench.kernel.commit("another place", {"arch/defaults": defaults})
    bench.kernel.edit("use it", "Makefile", "$(src)/scripts/defconfig", "$(src)/arch/defaults")
    bench.kernel.append("one more", "arch/defaults", "CONFIG_MODULES=y\n")
    bench.kernel.append("code", "kernel/kprobes.c", "int x;\n")
    goal = Goal(boots=False)
    results = [bench.build(index, config=config, goal=goal) for index in (2, 3, 4)]
    assert ["MODULES" in result.symbols for result in results] == [False, True, True]
    assert bench.compiled(4) == ["kernel/kprobes.o"]


# what is built and not booted


def test_a_flavour_that_is_not_booted_has_no_payload(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    off = replace(bench.config, symbols=(Symbol("KPROBES", "n", "the point of it"),))
    off = replace(off, name="no-kprobes", wishes=bench.config.symbols)
    goal = Goal(boots=False)
    results = [bench.build(index, config=off, goal=goal) for index in (0, 1, 3)]
    for result in results:
        assert (result.status, result.targets) == (Status.PASS, ("vmlinux",))
        assert "KPROBES" not in result.symbols
        assert (result.payload, result.payload_sha256) == (None, None)
        assert result.kernel_sha256 is not None
        kept = bench.builder.kernels.find(result.kernel or "-")
        assert kept is not None
        assert {path.name for path in kept.iterdir()} == {"build.json", "config"}
    assert list(bench.builder.payloads.root.iterdir()) == []
    again = bench.build(3, config=off, goal=goal)
    assert again == replace(results[-1], cached=True, seconds=again.seconds, steps=())
    assert not bench.build(3).cached


def test_what_a_configuration_wishes_for_may_not_come(bench: Bench) -> None:
    wish = Symbol("NO_SUCH", "y", "a wish")
    config = Config("mini", "x86_64", (Symbol("KPROBES", "y", "asked"),), (wish,))
    assert bench.build(0, config=config).status is not Status.FAIL
    asked = replace(config, symbols=(*config.symbols, wish), wishes=())
    assert bench.build(0, config=asked).reason == "not in .config as asked: NO_SUCH=y"


def test_only_what_the_series_touches_is_built(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.kernel.edit("broken", "kernel/kprobes.c", "return -1;", "return nowhere;")
    config = Config("defconfig", "x86_64", (), start="defconfig")
    goal = Goal(Scope.OBJECTS, touched=("kernel/kprobes.c", "kernel/opt.c"), boots=False)
    results = [bench.build(index, config=config, goal=goal) for index in range(5)]
    assert [result.reason for result in results[:4]] == [None] * 4
    assert [result.targets for result in results[:4]] == [
        ("kernel/kprobes.o",),
        ("kernel/kprobes.o",),
        ("kernel/kprobes.o", "kernel/opt.o"),
        ("kernel/kprobes.o", "kernel/opt.o"),
    ]
    assert [result.compiled for result in results[:4]] == [True, True, True, False]
    assert {result.kernel_sha256 for result in results} == {None}
    assert [bench.compiled(index) for index in (0, 1, 3)] == [
        ["kernel/kprobes.o"],
        ["kernel/kprobes.o"],
        [],
    ]
    assert results[4].status is Status.FAIL
    assert "error: 'nowhere' undeclared" in (results[4].reason or "")


def test_a_source_that_the_configuration_leaves_out_is_no_fault(bench: Bench) -> None:
    bench.kernel.commit("not built", {"kernel/nobody.c": "int nobody;\n"})
    sources = ("kernel/kprobes.c", "kernel/nobody.c")
    goal = Goal(Scope.OBJECTS, touched=sources, boots=False)
    result = bench.build(1, goal=goal)
    assert (result.status, result.targets) == (Status.PASS, ("kernel/kprobes.o",))
    nothing = bench.build(1, goal=replace(goal, touched=("kernel/nobody.c",)))
    assert (nothing.status, nothing.targets) == (Status.PASS, ("prepare",))


def test_more_warnings_in_the_folders_that_the_series_touches(bench: Bench) -> None:
    function = "int {}(int unused)\n{{\n\treturn 0;\n}}\n"
    bench.kernel.append("one", "kernel/kprobes.c", function.format("one"))
    bench.kernel.append("two", "kernel/kprobes.c", "int two(int also)\n{\n\treturn 0;\n}\n")
    goal = Goal(Scope.FOLDERS, words=("W=1",), touched=("kernel/kprobes.c",), boots=False)
    results = [bench.build(index, goal=goal) for index in range(3)]
    assert [result.targets for result in results] == [("kernel/",)] * 3
    told = "unused parameter '{}' [-Wunused-parameter]"
    texts = [[warning.text for warning in result.warnings] for result in results]
    assert texts == [[], [told.format("unused")], [told.format("also"), told.format("unused")]]
    bench.lane = "another"
    assert bench.build(0).warnings == ()


# what was there before


def test_the_second_time_nothing_is_built(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    first = bench.build(1)
    bench.log(1).unlink()
    bench.lane = "another"
    again = bench.build(1)
    assert [step.name for step in first.steps][:3] == ["lay out", "configure", "make vmlinux"]
    assert again == replace(first, cached=True, seconds=again.seconds, steps=())
    assert not bench.log(1).exists()
    assert not bench.out.exists()


def test_the_bases_output_is_where_another_lane_begins(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.build(0)
    bench.lane = "another"
    assert bench.build(1).status is Status.PASS
    assert bench.compiled(1) == ["kernel/kprobes.o"]


def test_the_bases_configuration_is_kept_with_its_output(bench: Bench) -> None:
    bench.kernel.append("counts", "Makefile", COUNTS)
    bench.kernel = replace(bench.kernel, base=bench.kernel.head)
    bench.kernel.append("code", "kernel/kprobes.c", "int x;\n")
    bench.build(0)
    bench.lane = "another"
    assert bench.build(1).status is Status.PASS
    assert configured(bench, 1) == 0
    bench.lane = "with another configuration"
    assert bench.build(1, expected=ANOTHER_KEY).status is Status.PASS
    assert configured(bench, 1) == 1


def test_only_a_base_from_nothing_is_kept_for_others(bench: Bench) -> None:
    """A lane that was at a later point holds what a series made."""
    bench.kernel.jump_optimization()
    bench.build(1)
    assert bench.build(0).status is Status.PASS
    assert list(bench.builder.outputs.root.iterdir()) == []
    bench.lane = "another"
    bench.build(0, expected=ANOTHER_KEY)
    assert len(list(bench.builder.outputs.root.iterdir())) == 1


def test_the_same_tree_behind_other_points_is_another_kernel(bench: Bench) -> None:
    """What an earlier point left in the lane may be in the kernel, so it is not shared."""
    text = bench.kernel.read("kernel/kprobes.c")
    bench.kernel.append("hostile", "kernel/kprobes.c", "int hostile;\n")
    bench.kernel.commit("reverted", {"kernel/kprobes.c": text})
    base, hostile, reverted = (bench.request(index) for index in range(3))
    assert base.point.tree == reverted.point.tree
    keys = {stage.kernel_key(one, bench.builder.sandbox) for one in (base, hostile, reverted)}
    assert len(keys) == 3
    bench.build(0)
    assert not bench.build(2).cached


def test_a_key_names_all_that_a_kernel_depends_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, sandbox = bench.request(0), bench.builder.sandbox
    key = stage.kernel_key(request, sandbox)
    others = [
        replace(request, point=replace(request.point, chain="0")),
        replace(request, config=replace(request.config, arch="i386")),
        replace(request, config=replace(request.config, symbols=())),
        replace(request, expected=(OPTPROBES,)),
        replace(request, toolchain=replace(request.toolchain, identity="0")),
    ]
    keys = [stage.kernel_key(other, sandbox) for other in others]
    keys.append(stage.kernel_key(request, Sandbox(enabled=False)))
    renamed = replace(request, log=Path("x"), config=replace(request.config, name="x"))
    assert stage.kernel_key(renamed, sandbox) == key
    monkeypatch.setattr(payload, "ours", lambda: "another stress module")
    keys.append(stage.kernel_key(request, sandbox))
    assert key not in keys
    assert len(set(keys)) == len(keys)


def test_a_stress_module_that_changed_is_built_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.build(0)
    monkeypatch.setattr(payload.guest, "scripts", lambda: {"new.sh": b"#!/bin/sh\n"})
    after = bench.build(0)
    assert not after.cached
    assert after.payload_sha256 != before.payload_sha256
    assert after.kernel_sha256 == before.kernel_sha256
    assert bench.build(0).cached


def test_a_payload_that_is_gone_is_made_again(bench: Bench) -> None:
    first = bench.build(0)
    kept = bench.builder.payloads.find(first.payload or "-")
    assert kept is not None
    kept.rename(bench.folder / "away")
    again = bench.build(0)
    assert not again.cached
    assert again.payload_sha256 == first.payload_sha256
    assert bench.build(0).cached


def test_without_reuse_all_is_built_and_kept_apart(bench: Bench) -> None:
    reused = bench.build(0)
    bench.lane = "another"
    first, second = bench.build(0, reuse=False), bench.build(0, reuse=False)
    assert not first.cached
    assert not second.cached
    assert len({reused.kernel, first.kernel, second.kernel}) == 3
    assert bench.kernel_of(second).read_bytes() == bench.kernel_of(reused).read_bytes()
    assert len(list(bench.builder.outputs.root.iterdir())) == 1
    assert bench.build(0).kernel == reused.kernel


# our own code


def test_a_payload_that_does_not_build_is_our_error(bench: Bench) -> None:
    """A kernel that no longer exports what the stress module needs is for people to look at."""
    bench.kernel.edit("no export", "kernel/kprobes.c", "EXPORT_SYMBOL(register_kprobe);\n", "")
    bench.build(0)
    result = bench.build(1)
    assert result.status is Status.ERROR
    assert result.reason == (
        f"the stress module does not build against this kernel; see {bench.log(1)}"
    )
    assert '"register_kprobe"' in bench.log(1).read_text()


# in the open


def test_without_a_sandbox_the_same_is_built(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.kernel.append("a warning", "kernel/kprobes.c", "static int unused;\n")
    bench.builder = replace(bench.builder, sandbox=Sandbox(enabled=False))
    results = [bench.build(index) for index in range(5)]
    assert [result.status for result in results] == [Status.PASS] * 5
    assert [result.compiled for result in results] == [True, True, True, False, True]
    assert [warning.file for warning in results[4].warnings] == ["kernel/kprobes.c"]
    assert bench.compiled(1) == ["kernel/kprobes.o"]
    bench.builder = replace(bench.builder, sandbox=Sandbox())
    bench.lane = "another"
    assert not bench.build(0).cached


def test_a_result_is_the_same_when_it_was_stored(bench: Bench) -> None:
    result = bench.build(0)
    assert stage.RESULT.validate_json(stage.RESULT.dump_json(result)) == result
