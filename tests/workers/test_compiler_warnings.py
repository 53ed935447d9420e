# SPDX-License-Identifier: GPL-2.0-or-later
"""Warnings read off a build's log, and those that stand because nothing was built again."""

from __future__ import annotations

import pytest

from workers import compiler_warnings
from workers.compiler_warnings import CompilerWarning, accumulate, read

UNUSED = "unused variable 'x' [-Wunused-variable]"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"kernel/kprobes.c:12:7: warning: {UNUSED}", CompilerWarning("kernel/kprobes.c", UNUSED)),
        (
            f"../kernel/kprobes.c:12:7: warning: {UNUSED}",
            CompilerWarning("kernel/kprobes.c", UNUSED),
        ),
        (
            f"../../kernel/kprobes.c:12: warning: {UNUSED}",
            CompilerWarning("kernel/kprobes.c", UNUSED),
        ),
        (
            f"/src/kernel/kprobes.c:12:7: warning: {UNUSED}",
            CompilerWarning("kernel/kprobes.c", UNUSED),
        ),
        (
            "arch/x86/Kconfig:5:warning: ignoring unsupported character '@'",
            CompilerWarning("arch/x86/Kconfig", "ignoring unsupported character '@'"),
        ),
        (
            "arch/x86/lib/x.S:3: Warning: no instruction mnemonic suffix given",
            CompilerWarning("arch/x86/lib/x.S", "no instruction mnemonic suffix given"),
        ),
        (
            "ld: warning: vmlinux has a LOAD segment with RWX permissions",
            CompilerWarning("ld", "vmlinux has a LOAD segment with RWX permissions"),
        ),
        (
            "WARNING: modpost: vmlinux: section mismatch in reference: a (section: .text) -> b",
            CompilerWarning(
                "", "modpost: vmlinux: section mismatch in reference: a (section: .text) -> b"
            ),
        ),
        (
            "vmlinux.o: warning: objtool: foo() falls through to next function bar()",
            CompilerWarning("vmlinux.o", "objtool: foo() falls through to next function bar()"),
        ),
        (f"kernel/kprobes.c:12:7: note: {UNUSED}", None),
        (f"kernel/kprobes.c:12:7: error: {UNUSED} [-Werror]", None),
        ("kernel/kprobes.c: In function 'register_kprobe':", None),
        ("   12 |  int x; /* warning: not one */", None),
        ("  CC      kernel/warning.o", None),
        ("cc1: all warnings being treated as errors", None),
    ],
)
def test_lines_of_a_log(line: str, expected: CompilerWarning | None) -> None:
    assert read(line)[0] == (() if expected is None else (expected,))


def test_a_warning_has_no_line_number_and_counts_once() -> None:
    log = f"kernel/a.c:1:2: warning: {UNUSED}\nkernel/a.c:99:2: warning: {UNUSED}\n"
    assert read(log)[0] == (CompilerWarning("kernel/a.c", UNUSED),)
    assert str(read(log)[0][0]) == f"kernel/a.c: {UNUSED}"
    assert str(CompilerWarning("", "modpost: x")) == "modpost: x"


def test_what_was_compiled_is_known_without_its_ending() -> None:
    log = """\
make[1]: Entering directory '/out'
  SYNC    include/config/auto.conf
  CC      kernel/kprobes.o
  AS      arch/x86/lib/memcpy.o
  CC [M]  drivers/x.o
  HOSTCC  scripts/mod/modpost.o
  HOSTCC  scripts/basic/fixdep
  AR      kernel/built-in.a
  LD      vmlinux.o
"""
    assert read(log)[1] == {
        "kernel/kprobes",
        "arch/x86/lib/memcpy",
        "drivers/x",
        "scripts/mod/modpost",
    }


def test_a_hostile_log_has_its_bound() -> None:
    log = "".join(f"kernel/a.c:1:2: warning: number {number}\n" for number in range(5000))
    found, _ = read(log)
    assert len(found) == compiler_warnings.MOST


@pytest.mark.parametrize("name", ["../", "/src/", ":1", "a"])
def test_a_hostile_log_is_read_in_passing(name: str) -> None:
    """By the square of a line's length, this would take an hour and more."""
    longest = name * (compiler_warnings.LINE_LIMIT // len(name))
    log = f"{longest}\n" * 2000 + f"{name * (8 << 20)}\nkernel/a.c:1:2: warning: {UNUSED}\n"
    assert read(log)[0] == (CompilerWarning("kernel/a.c", UNUSED),)


OLD = CompilerWarning("kernel/kprobes.c", "old")
NEW = CompilerWarning("kernel/kprobes.c", "new")
ELSEWHERE = CompilerWarning("kernel/trace.c", "elsewhere")
UNPLACED = CompilerWarning("", "modpost: x")


@pytest.mark.parametrize(
    ("parent", "found", "compiled", "expected"),
    [
        ((), (), (), ()),
        ((OLD,), (), (), (OLD,)),  # not built again: it stands
        ((OLD,), (), ("kernel/kprobes",), ()),  # built again without it: mended
        ((OLD,), (OLD,), ("kernel/kprobes",), (OLD,)),
        ((OLD, ELSEWHERE), (NEW,), ("kernel/kprobes",), (NEW, ELSEWHERE)),
        ((OLD,), (), ("kernel/kprobes2", "kprobes"), (OLD,)),
        ((UNPLACED,), (UNPLACED,), ("kernel/kprobes",), (UNPLACED,)),
    ],
)
def test_warnings_of_a_point_on_top_of_its_parent(
    parent: tuple[CompilerWarning, ...],
    found: tuple[CompilerWarning, ...],
    compiled: tuple[str, ...],
    expected: tuple[CompilerWarning, ...],
) -> None:
    assert accumulate(parent, found, frozenset(compiled)) == tuple(sorted(expected))
