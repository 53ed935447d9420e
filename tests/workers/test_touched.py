# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series touches, and the targets that make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers import touched
from workers.requests import Scope

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

FILES = (
    "arch/arm64/kernel/probes/kprobes.c",
    "arch/x86/kernel/kprobes/core.c",
    "arch/x86/kernel/kprobes/opt.c",
    "arch/x86/lib/memcpy_64.S",
    "kernel/kprobes.c",
    "tools/objtool/check.c",
)


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_targets_of_an_architecture(arch: str) -> None:
    assert touched.targets(FILES, Scope.OBJECTS, arch) == (
        "arch/x86/kernel/kprobes/core.o",
        "arch/x86/kernel/kprobes/opt.o",
        "arch/x86/lib/memcpy_64.o",
        "kernel/kprobes.o",
    )
    assert touched.targets(FILES, Scope.FOLDERS, arch) == (
        "arch/x86/kernel/kprobes/",
        "arch/x86/lib/",
        "kernel/",
    )


def test_targets_of_another_architecture() -> None:
    found = touched.targets(FILES, Scope.OBJECTS, "arm64")
    assert found == ("arch/arm64/kernel/probes/kprobes.o", "kernel/kprobes.o")


def test_what_a_series_touches(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.kernel.commit("hostile names", {"-f/x.c": "int x;\n", "V=1/x.c": "int x;\n"})
    bench.kernel.commit("gone again", {"kernel/opt.c": None, "kernel/new.S": "\n"})
    bench.prepare()
    found = touched.sources(bench.points, bench.builder.store)
    assert found == ("kernel/kprobes.c", "kernel/new.S", "kernel/opt.c")
    there = bench.builder.store.existing(bench.points[-1].commit or "", found)
    assert there == ("kernel/kprobes.c", "kernel/new.S")
    assert bench.builder.store.existing(bench.points[0].commit or "", ()) == ()


def test_what_make_has_no_rule_for() -> None:
    log = """\
make[3]: *** No rule to make target 'samples/kprobes/kprobe_example.o'.
/src/kernel/kprobes.c:1:1: error: expected a kernel
make[2]: *** No rule to make target './kernel/nosuch.o'.  Stop.
"""
    assert touched.without_rule(log) == {"samples/kprobes/kprobe_example.o", "kernel/nosuch.o"}
