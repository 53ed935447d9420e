# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds that the host fails, that are stopped, or whose trees are hostile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stress import guest
from workers import build as stage
from workers import process
from workers.errors import Cancelled, InfrastructureError
from workers.folders import remove
from workers.kconfig import Symbol
from workers.process import Cancel, Limits
from workers.status import Status

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

pytestmark = pytest.mark.usefixtures("small_init")

ANOTHER_KEY = (Symbol("NOBODY_KNOWS", "y", "if there: makes the key of a kernel another one"),)


def in_the_makefile(bench: Bench, script: str, before: str = "", target: str = "vmlinux") -> None:
    """Commit a Makefile that runs a script, after what a target needs anyway is made."""
    rule = f"\n{target}: hostile\n.PHONY: hostile\nhostile: {before}\n"
    bench.kernel.append(
        "hostile", "Makefile", rule + "".join(f"\t{line}\n" for line in script.splitlines())
    )


# trouble of the host


@pytest.mark.parametrize("target", ["allnoconfig", "vmlinux", "modules"])
def test_a_full_disk_is_not_the_kernels_fault(target: str, bench: Bench) -> None:
    script = "@echo 'ld: final link failed: No space left on device'; exit 1"
    in_the_makefile(bench, script, target=target)
    with pytest.raises(InfrastructureError, match="cut off by the host: : No space left"):
        bench.build(1)
    bench.kernel.append("room again", "Makefile", "hostile: SHELL := /bin/true\n")
    bench.prepare()
    assert bench.build(2).status is Status.PASS
    assert "init/main.o" in bench.compiled(2)  # the lane was not trusted


def test_a_missing_program_is_not_the_kernels_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = bench.request(0)
    monkeypatch.setenv("PATH", str(bench.folder))
    with pytest.raises(InfrastructureError, match="make is not there; install Debian's package"):
        stage.build(request, bench.builder, bench.folder / "lane", Cancel())
    assert set(stage.NEEDED) <= set(process.PACKAGES)


def test_cancelling_leaves_no_process_and_a_lane_that_is_wiped(
    bench: Bench,
    for_ever: str,
    living: Callable[[str], list[int]],
    until: Callable[[Callable[[], bool]], None],
) -> None:
    in_the_makefile(
        bench, f"@setsid sleep {for_ever} & sleep {for_ever}", "$(out)/kernel/kprobes.o"
    )
    bench.kernel.append("no more", "Makefile", "hostile: SHELL := /bin/true\n")
    bench.prepare()

    def cancel_when_it_sleeps() -> None:
        until(lambda: len(living(for_ever)) == 2)
        bench.cancel.request("the run was cancelled")

    watcher = threading.Thread(target=cancel_when_it_sleeps)
    watcher.start()
    with pytest.raises(Cancelled, match="the run was cancelled"):
        bench.build(1)
    watcher.join()
    until(lambda: not living(for_ever))
    assert (bench.out / "kernel" / "kprobes.o").exists()

    (bench.out / "kernel" / "kprobes.o").write_text("half an object")
    bench.cancel = Cancel()
    result = bench.build(2)
    assert result.status is Status.PASS
    assert bench.compiled(2) == ["init/main.o", "kernel/kprobes.o"]


def test_a_lane_that_was_cut_off_begins_with_the_bases_output_again(bench: Bench) -> None:
    bench.kernel.jump_optimization()
    bench.build(0)
    bench.build(1)
    (bench.out.parent / "building").touch()
    assert bench.build(2).status is Status.PASS
    assert "init/main.o" in bench.compiled(2)  # its header changed
    bench.build(3)
    (bench.out.parent / "building").touch()
    bench.build(1, expected=ANOTHER_KEY)
    assert bench.compiled(1) == ["kernel/kprobes.o"]


def test_a_build_that_never_ends_is_ended(
    bench: Bench,
    for_ever: str,
    living: Callable[[str], list[int]],
    until: Callable[[Callable[[], bool]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_the_makefile(bench, f"@sleep {for_ever}")
    monkeypatch.setattr(stage, "BUILD_LIMITS", Limits(seconds=1.0))
    with pytest.raises(InfrastructureError, match="make did not end within 1 s"):
        bench.build(1)
    until(lambda: not living(for_ever))


@pytest.mark.parametrize("trouble", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_what_was_cut_off_while_it_was_taken_is_made_again(
    trouble: BaseException, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kernel.append("a warning", "kernel/kprobes.c", "static int unused;\n")
    take = stage.take

    def cut_off(*words: Any) -> None:
        raise trouble

    bench.build(0)
    monkeypatch.setattr(stage, "take", cut_off)
    with pytest.raises(type(trouble)):
        bench.build(1)
    monkeypatch.setattr(stage, "take", take)
    result = bench.build(1)
    assert [warning.file for warning in result.warnings] == ["kernel/kprobes.c"]


def test_a_product_that_was_refused_costs_no_lane(bench: Bench) -> None:
    in_the_makefile(bench, "rm -f $(out)/System.map", before="$(out)/vmlinux")
    bench.kernel.append("mended", "Makefile", "hostile: SHELL := /bin/true\n")
    results = [bench.build(index).status for index in (1, 2)]
    assert results[0] is Status.FAIL
    assert bench.compiled(2) == []


# hostile trees


@pytest.mark.parametrize("name", ["vmlinux", "System.map", ".config"])
@pytest.mark.parametrize(
    "replacement", ["ln -s /etc/passwd $(out)/{0}", "mkfifo $(out)/{0}", "mkdir $(out)/{0}", "true"]
)
def test_a_product_that_is_no_file_is_refused(name: str, replacement: str, bench: Bench) -> None:
    script = f"rm -f $(out)/{name}\n{replacement.format(name)}"
    in_the_makefile(bench, script, before="$(out)/vmlinux")
    result = bench.build(1)
    assert result.status is Status.FAIL
    assert result.reason is not None
    assert name in result.reason
    assert list(bench.builder.kernels.root.iterdir()) == []


@pytest.mark.parametrize("name", ["module/farm_stress.ko", "init/init", "init", "module"])
def test_a_payload_that_is_no_file_is_refused(name: str, bench: Bench) -> None:
    secret = bench.folder / "secret"
    secret.mkdir()
    for file in ("farm_stress.ko", "init"):
        (secret / file).write_text("not the build's")
    target = secret if "/" not in name else secret / Path(name).name
    script = f"rm -rf /payload/{name}\nln -s {target} /payload/{name}"
    modules = " ".join(f"$(M)/{module}" for module in guest.MODULES)
    in_the_makefile(bench, script, before=modules, target="modules")
    result = bench.build(1)
    assert result.status is Status.FAIL
    assert "the build left no" in (result.reason or "")
    assert list(bench.builder.payloads.root.iterdir()) == []


def test_nothing_is_written_through_a_link_that_a_build_left(bench: Bench) -> None:
    outside = bench.folder / "outside"
    outside.mkdir()
    for name in ("config", "map", "symvers", "folder"):
        (outside / name).write_text("untouched")
    script = "\n".join(
        [
            f"ln -sf {outside}/config $(out)/include/generated/utsrelease.h",
            f"ln -sf {outside}/symvers $(out)/Module.symvers",
            f"ln -sfn {outside} $(out)/linked",
            f"ln -sfn {outside} /payload/module",
            f"ln -sfn {outside} /payload/init",
        ]
    )
    # On the base, so that the output is copied for others and adopted by them.
    text = bench.kernel.read("Makefile") + "\nvmlinux: hostile\nhostile: $(out)/vmlinux\n"
    bench.kernel.commit(
        "base", {"Makefile": text + "".join(f"\t{line}\n" for line in script.split("\n"))}
    )
    bench.kernel = replace(bench.kernel, base=bench.kernel.head)
    bench.kernel.append("patch", "kernel/kprobes.c", "int x;\n")
    before = {path: path.stat().st_mtime_ns for path in outside.iterdir()}
    for _ in range(2):
        bench.build(0)
    bench.lane = "another"
    bench.build(1)
    assert {path: path.stat().st_mtime_ns for path in outside.iterdir()} == before
    assert [path.read_text() for path in before] == ["untouched"] * 4
    for kept in bench.builder.outputs.root.iterdir():
        assert (kept / "out" / "linked").readlink() == outside


def test_folders_of_any_depth_are_kept_adopted_and_removed(bench: Bench) -> None:
    dig = "@cd $(out); for one in $$(seq 1300); do mkdir -p d && cd d || exit 1; done"
    in_the_makefile(bench, dig)
    bench.kernel = replace(bench.kernel, base=bench.kernel.head)
    header = bench.kernel.read("include/linux/kprobes.h").removesuffix("#endif\n")
    bench.kernel.commit("patch", {"include/linux/kprobes.h": f"{header}extern int x;\n#endif\n"})
    assert bench.build(0).status is Status.PASS
    bench.lane = "another"
    assert bench.build(1).status is Status.PASS
    assert bench.compiled(1) == ["init/main.o", "kernel/kprobes.o"]
    (kept,) = bench.builder.outputs.root.iterdir()
    for folder in (kept, *(bench.folder / "lanes").iterdir()):
        assert (folder / "out" / "d" / "d").is_dir()
        remove(folder)


def test_an_output_that_can_not_be_copied_is_not_kept(bench: Bench) -> None:
    dig = "@cd $(out); perl -e 'for (1..3000) { mkdir q(d); chdir q(d) or die }'"
    in_the_makefile(bench, dig)
    bench.kernel = replace(bench.kernel, base=bench.kernel.head)
    bench.kernel.append("patch", "kernel/kprobes.c", "int x;\n")
    assert [bench.build(index).status for index in (0, 1)] == [Status.PASS] * 2
    assert list(bench.builder.outputs.root.iterdir()) == []
    remove(bench.out.parent)


def test_a_build_cannot_change_its_sources_or_what_it_is_given(bench: Bench) -> None:
    script = "-echo x > /src/kernel/kprobes.c\n-echo x > /given/wanted.config\n-touch /src/new"
    in_the_makefile(bench, script)
    assert bench.build(1).status is Status.PASS
    assert not (bench.out.parent / "src" / "new").exists()
    assert "KPROBES" in (bench.out.parent / "given" / "wanted.config").read_text()
