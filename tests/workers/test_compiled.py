# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a patch's lines are in a kernel: the real preprocessor, in a lane of a few files."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from workers import compiled
from workers.errors import InfrastructureError
from workers.folders import remove
from workers.lane import Lane
from workers.process import Cancel
from workers.sandbox import Sandbox
from workers.status import Status
from workers.trees import Difference

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

KPROBES_H, OPS_H = "include/linux/kprobes.h", "include/linux/ops.h"

SOURCE = """\
#include <linux/kprobes.h>

#ifdef CONFIG_OPTPROBES
static int optimized;
#else
static int plain;
#endif

#define ARM(p) do { \\
	(p)->armed = 1; \\
	(p)->hits = 0; \\
} while (0)

/* A comment
   of two lines. */
int register_kprobe(struct kprobe *p)
{
	ARM(p);

	return 0;
}

#if defined(CONFIG_OPTPROBES) && \\
	defined(CONFIG_SMP)
int never;
#endif
"""

HEADER = """\
struct kprobe {
	int armed;
	int hits;
#ifdef CONFIG_OPTPROBES
	int optimized;
#endif
};
#include "ops.h"
"""

# What kbuild of 6.12 writes, flags left out; objtool runs behind the compiler.
NEW = """\
savedcmd_{object} := gcc -Wp,-MMD,{dep} -nostdinc -I/src/include -I./include -include \
./include/generated/autoconf.h -D__KERNEL__ -std=gnu11 -Wall -Werror=strict-prototypes \
-DKBUILD_MODFILE='"{stem}"' -DKBUILD_BASENAME='"{name}"' -D__KBUILD_MODNAME=kmod_{name} \
-c -o {object} /src/{source} ; ./tools/objtool/objtool --hacks=jump_label --static-call {object}

source_{object} := /src/{source}

deps_{object} := \\
    $(wildcard include/config/OPTPROBES) \\
{deps}
{object}: $(deps_{object})

$(deps_{object}):
"""

# What kbuild of 2.6.33 writes.
OLD = """\
cmd_{object} := gcc -Wp,-MD,{dep}  -nostdinc -I/src/include -Iinclude  -include \
include/generated/autoconf.h -D__KERNEL__ -Wall -Wundef  -D"KBUILD_STR(s)=\\#s" \
-D"KBUILD_BASENAME=KBUILD_STR({name})"  -D"KBUILD_MODNAME=KBUILD_STR({name})"  \
-c -o {folder}/.tmp_{name}.o /src/{source}

deps_{object} := \\
  /src/{source} \\
    $(wildcard include/config/optprobes.h) \\
{deps}
{object}: $(deps_{object})

$(deps_{object}):
"""


DIG = "for one in $(seq 1300); do mkdir d && cd d || exit 1; done"
"""A shell makes more folders below each other than Python's functions can go."""


class MiniLane:
    """A lane with sources in it and the command files of their objects, as a build leaves them."""

    def __init__(self, folder: Path, sandbox: Sandbox, form: str) -> None:
        self.lane = Lane(folder, sandbox, (), 1)
        self.form = form
        self.scratch = folder / "scratch.i"
        for path in (self.lane.src, self.lane.out, self.lane.payload, self.lane.given):
            path.mkdir(parents=True)
        self.write(KPROBES_H, HEADER)
        self.write(OPS_H, "int arm_kprobe(struct kprobe *p);\n")
        generated = self.lane.out / "include" / "generated" / "autoconf.h"
        generated.parent.mkdir(parents=True)
        generated.write_text("#define CONFIG_KPROBES 1\n")

    def write(self, path: str, text: str) -> None:
        file = self.lane.src / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def built(self, source: str, text: str, includes: Iterable[str] = (KPROBES_H, OPS_H)) -> Path:
        """Write a source, and the command file that is left when it was compiled."""
        self.write(source, text)
        folder, name = str(Path(source).parent), Path(source).stem
        commands = self.lane.out / folder / f".{name}.o.cmd"
        commands.parent.mkdir(parents=True, exist_ok=True)
        commands.write_text(
            self.form.format(
                object=f"{folder}/{name}.o",
                dep=f"{folder}/.{name}.o.d",
                stem=f"{folder}/{name}",
                name=name,
                folder=folder,
                source=source,
                deps="".join(f"  /src/{path} \\\n" for path in includes),
            )
        )
        return commands

    def has_any(self, *differences: Difference) -> bool | None:
        found = compiled.any_line(differences, self.lane, self.scratch, Cancel())
        assert not self.scratch.exists()
        return found


@pytest.fixture
def make_lane(tmp_path: Path, sandbox: Sandbox) -> Callable[[str], MiniLane]:
    return lambda form: MiniLane(tmp_path / "lane", sandbox, form)


@pytest.mark.parametrize("form", [NEW, OLD], ids=["6.12", "2.6.33"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((16,), True),
        ((18,), True),  # the call of a macro
        ((4,), False),  # behind an #ifdef that is false
        ((6,), True),  # behind its #else
        ((3, 4, 7), False),
        ((4, 16), True),
        ((9,), True),  # a macro's first line
        ((11,), True),  # a line in a macro, which the preprocessor joins
        ((14, 15), False),  # a comment
        ((19,), False),  # an empty line
        ((23, 24), False),  # a continued condition
        ((25,), False),
        ((1000,), False),
    ],
)
def test_lines_of_a_source(
    lines: tuple[int, ...], expected: bool, form: str, make_lane: Callable[[str], MiniLane]
) -> None:
    mini = make_lane(form)
    mini.built("kernel/kprobes.c", SOURCE)
    assert mini.has_any(Difference("kernel/kprobes.c", lines)) is expected


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (0, True),
        (3, False),  # behind an #ifdef that is false
        (4, False),  # in front of its #else
        (5, True),
        (10, True),  # in a macro
        (15, True),  # behind a comment
        (18, True),
        (24, False),
        (25, False),
        (1000, False),
    ],
)
def test_where_lines_were_taken_away(
    cut: int, expected: bool, make_lane: Callable[[str], MiniLane]
) -> None:
    mini = make_lane(NEW)
    mini.built("kernel/kprobes.c", SOURCE.replace("#include <linux/kprobes.h>", "int first;"))
    assert mini.has_any(Difference("kernel/kprobes.c", (), (cut,))) is expected


@pytest.mark.parametrize("form", [NEW, OLD], ids=["6.12", "2.6.33"])
@pytest.mark.parametrize(("lines", "expected"), [((2,), True), ((5,), False), ((4, 6), False)])
def test_lines_of_a_header(
    lines: tuple[int, ...], expected: bool, form: str, make_lane: Callable[[str], MiniLane]
) -> None:
    mini = make_lane(form)
    mini.built("kernel/kprobes.c", SOURCE)
    mini.built("kernel/other.c", "int other;\n", [])
    assert mini.has_any(Difference(KPROBES_H, lines)) is expected


def test_a_header_is_looked_at_through_more_than_one_source(
    make_lane: Callable[[str], MiniLane],
) -> None:
    mini = make_lane(NEW)
    mini.write(KPROBES_H, "#ifdef WITH_OPS\nint ops;\n#endif\n")
    mini.built("kernel/a.c", "#include <linux/kprobes.h>\n", [KPROBES_H])
    mini.built("kernel/b.c", "#define WITH_OPS\n#include <linux/kprobes.h>\n", [KPROBES_H])
    assert mini.has_any(Difference(KPROBES_H, (2,)))


def test_a_source_that_another_one_includes(make_lane: Callable[[str], MiniLane]) -> None:
    mini = make_lane(NEW)
    mini.write("kernel/sched/rt.c", "int rt;\n#ifdef X\nint never;\n#endif\n")
    mini.built("kernel/sched/build.c", '#include "rt.c"\n', ["kernel/sched/rt.c"])
    assert mini.has_any(Difference("kernel/sched/rt.c", (1,)))
    assert mini.has_any(Difference("kernel/sched/rt.c", (3,))) is False


def test_assembly_is_preprocessed_too(make_lane: Callable[[str], MiniLane]) -> None:
    mini = make_lane(NEW)
    text = "#ifdef CONFIG_OPTPROBES\n\tnop\n#endif\n.globl x\nx:\tret\n"
    mini.built("arch/x86/kernel/probe.S", text, [])
    assert mini.has_any(Difference("arch/x86/kernel/probe.S", (5,)))
    assert mini.has_any(Difference("arch/x86/kernel/probe.S", (2,))) is False


@pytest.mark.parametrize(
    "differences",
    [
        (),
        (Difference("Documentation/kprobes.txt", (1, 2)),),
        (Difference("kernel/Makefile", (1,)), Difference("arch/x86/Kconfig", (5,))),
        (Difference("kernel/not_in_this_config.c", (1,)),),
        (Difference("include/linux/used_nowhere.h", (1,)),),
        (Difference("tools/lib/x.c", (1,)),),
        (Difference("kernel/gone.c", ()),),
    ],
)
def test_what_is_in_no_object(
    differences: tuple[Difference, ...], make_lane: Callable[[str], MiniLane]
) -> None:
    mini = make_lane(NEW)
    mini.built("kernel/kprobes.c", SOURCE)
    mini.built("kernel/gone.c", "int gone;\n")
    (mini.lane.src / "kernel/gone.c").unlink()  # its object stays in the output
    assert mini.has_any(*differences) is None


def test_where_a_comment_went_away(make_lane: Callable[[str], MiniLane]) -> None:
    mini = make_lane(NEW)
    mini.built("kernel/kprobes.c", SOURCE)
    assert mini.has_any(Difference("kernel/kprobes.c", ())) is False


def test_what_no_object_holds_is_told_by_the_kernel(bench: Bench) -> None:
    makefile = "kernel/Makefile"
    patches: dict[str, dict[str, str | None]] = {
        "Add a source": {"kernel/more.c": "int more = 1;\n"},
        "Build it": {makefile: "obj-y += kernel/more.o\n"},
        "Explain why": {makefile: "# There is never enough.\nobj-y += kernel/more.o\n"},
        "Take it away": {makefile: None, "kernel/more.c": None},
    }
    for subject, files in patches.items():
        bench.kernel.commit(subject, files)
    results = {subject: bench.build(index) for index, subject in enumerate(["base", *patches])}
    assert {result.status for result in results.values()} == {Status.PASS}
    assert {subject: result.compiled for subject, result in results.items()} == {
        "base": True,
        "Add a source": False,
        "Build it": True,
        "Explain why": False,
        "Take it away": True,
    }


def test_one_line_of_many_files_is_enough(make_lane: Callable[[str], MiniLane]) -> None:
    mini = make_lane(NEW)
    mini.built("kernel/kprobes.c", SOURCE)
    assert mini.has_any(
        Difference("Documentation/kprobes.txt", (1,)),
        Difference("kernel/gone.c", (1,)),
        Difference(KPROBES_H, (5,)),
        Difference("kernel/kprobes.c", (4, 16)),
    )


def test_without_a_sandbox_the_paths_are_the_hosts(
    make_lane: Callable[[str], MiniLane], tmp_path: Path
) -> None:
    mini = make_lane(NEW)
    commands = mini.built("kernel/kprobes.c", SOURCE)
    link = tmp_path / "link"
    link.symlink_to(mini.lane.folder)  # make writes down where a folder really is
    mini.lane = Lane(link, Sandbox(enabled=False), (), 1)
    commands.write_text(commands.read_text().replace("/src/", f"{tmp_path}/lane/src/"))
    assert mini.has_any(Difference("kernel/kprobes.c", (16,)))
    assert mini.has_any(Difference("kernel/kprobes.c", (4,))) is False
    assert mini.has_any(Difference(KPROBES_H, (2,)))


def test_folders_below_each_other_without_end(make_lane: Callable[[str], MiniLane]) -> None:
    mini = make_lane(NEW)
    mini.built("kernel/kprobes.c", SOURCE)
    subprocess.run(["sh", "-c", DIG], cwd=mini.lane.out, check=True)
    assert mini.has_any(Difference(KPROBES_H, (2,)))
    remove(mini.lane.out)  # pytest can't


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(compiled.FILE_LIMIT + 1)


def garbage(path: Path) -> None:
    path.write_bytes(b"savedcmd_x.o := gcc 'unbalanced \xff\0\n")


def another_program(path: Path) -> None:
    path.write_text("savedcmd_x.o := sh -c 'echo int x; > /out/ran' gcc\n")


@pytest.mark.parametrize("make", [fifo, link, large, Path.mkdir, garbage, another_program])
def test_a_hostile_command_file_says_nothing(
    make: Callable[[Path], object], make_lane: Callable[[str], MiniLane]
) -> None:
    mini = make_lane(NEW)
    commands = mini.built("kernel/kprobes.c", SOURCE)
    commands.unlink()
    make(commands)
    assert mini.has_any(Difference("kernel/kprobes.c", (16,))) is None
    assert mini.has_any(Difference(KPROBES_H, (2,))) is None
    assert not (mini.lane.out / "ran").exists()


class Longest(io.BytesIO):
    """Output of a preprocessor that is only ever asked for so much of it."""

    def readline(self, size: int | None = -1, /) -> bytes:
        assert size == compiled.LINE_LIMIT
        return super().readline(size)

    def __next__(self) -> bytes:
        raise AssertionError("a whole line was asked for")


@pytest.mark.parametrize("length", [0, 1, 2, 1000, 200_000, 10 * compiled.LINE_LIMIT])
def test_a_line_without_end_counts_once(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'# 7 "/src/a.c"\n' + b"x" * length + b"\nint y;\n" + b"z" * length
    for limit in (1 << 16, length + 1, length, length - 1):
        if limit < 32:
            continue
        monkeypatch.setattr(compiled, "LINE_LIMIT", limit)
        found = list(compiled._lines(compiled._beginnings(Longest(text)), "/src/"))
        expected = [("a.c", 7), ("a.c", 8), ("a.c", 9)] if length else [("a.c", 8)]
        assert found == expected


def hostile_compiler(mini: MiniLane, script: str) -> None:
    commands = mini.built("kernel/kprobes.c", SOURCE)
    program = mini.lane.out / "gcc"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    commands.write_text("savedcmd_x.o := /out/gcc -c x.c\n")


def test_what_a_hostile_command_prints_has_a_bound(
    make_lane: Callable[[str], MiniLane], monkeypatch: pytest.MonkeyPatch
) -> None:
    mini = make_lane(NEW)
    monkeypatch.setattr(compiled, "LIMITS", replace(compiled.LIMITS, file_bytes=1 << 20))
    sizes = list[int]()

    def measured(text: IO[bytes]) -> Iterator[bytes]:
        sizes.append(os.fstat(text.fileno()).st_size)
        return iter(())

    monkeypatch.setattr(compiled, "_beginnings", measured)
    hostile_compiler(mini, "head -c 4000000 /dev/zero")
    assert mini.has_any(Difference("kernel/kprobes.c", (16,))) is False
    assert sizes == [1 << 20]


def test_what_was_printed_is_gone_when_the_host_fails(
    make_lane: Callable[[str], MiniLane],
) -> None:
    mini = make_lane(NEW)
    hostile_compiler(mini, "echo int x; kill -9 $$")
    with pytest.raises(InfrastructureError):
        mini.has_any(Difference("kernel/kprobes.c", (16,)))
    assert not mini.scratch.exists()


def test_a_hostile_command_runs_where_the_build_ran(
    make_lane: Callable[[str], MiniLane], tmp_path: Path
) -> None:
    mini = make_lane(NEW)
    outside = tmp_path / "outside"
    hostile_compiler(mini, f"echo ran > /out/ran\necho ran > {outside}")
    assert mini.has_any(Difference("kernel/kprobes.c", (16,))) is False
    assert (mini.lane.out / "ran").exists()
    assert not outside.exists()
