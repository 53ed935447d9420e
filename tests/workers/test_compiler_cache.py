# SPDX-License-Identifier: GPL-2.0-or-later
"""What builds have of each other's compiler caches: the real ccache, on the miniature kernel."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workers.cache import Cache
from workers.requests import BuildResult
from workers.sandbox import Sandbox
from workers.status import Status

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

pytestmark = [
    pytest.mark.usefixtures("small_init"),
    pytest.mark.skipif(shutil.which("ccache") is None, reason="there is no ccache"),
]

KPROBES = "kernel/kprobes.c"


def cached(bench: Bench, index: int) -> set[str]:
    """What is in the compiler cache of a point, by name."""
    folder = bench.builder.ccaches / (bench.points[index].chain or "none")
    return {path.name for path in folder.rglob("*") if path.is_file()} - {"CACHEDIR.TAG"}


def anew(bench: Bench, index: int) -> BuildResult:
    """Build a point in another lane, with no kernel kept."""
    kernels = Cache(bench.folder / "other-kernels")
    bench.builder = replace(bench.builder, kernels=kernels)
    bench.lane = "another"
    return bench.build(index)


def test_what_was_compiled_for_a_point_is_not_compiled_again(bench: Bench) -> None:
    bench.kernel.append("one", KPROBES, "int one;\n")
    first = bench.build(1)
    kept = cached(bench, 1)
    assert kept
    again = anew(bench, 1)
    assert not again.cached
    assert cached(bench, 1) == kept
    assert again.kernel_sha256 == first.kernel_sha256


def test_a_point_has_what_was_compiled_for_those_it_was_made_from(bench: Bench) -> None:
    bench.kernel.append("one", KPROBES, "int one;\n")
    bench.kernel.append("two", "init/main.c", "int two;\n")
    bench.build(1)
    kept = cached(bench, 1)
    assert anew(bench, 2).status is Status.PASS
    assert bench.compiled(2) == ["init/main.o", KPROBES.replace(".c", ".o")]
    # A result and a manifest, for the one file that the second patch changes.
    assert len(cached(bench, 2)) == 2
    assert cached(bench, 1) == kept


def test_the_base_is_compiled_without_a_cache(bench: Bench) -> None:
    """What is kept of it goes by a key that names no series."""
    bench.build(0)
    assert not bench.builder.ccaches.exists()


def test_in_the_open_there_is_no_cache(bench: Bench) -> None:
    bench.builder = replace(bench.builder, sandbox=Sandbox(enabled=False))
    bench.build(1)
    assert not bench.builder.ccaches.exists()


def test_a_point_sees_the_caches_of_its_own_line_and_writes_to_its_own(bench: Bench) -> None:
    rule = "\nvmlinux: hostile\n.PHONY: hostile\nhostile:\n"
    script = "\t-@ls /ccache/*; for at in /ccache/*; do touch $$at/poison; done\n"
    bench.kernel.append("one", KPROBES, "int one;\n")
    bench.kernel.append("two", "Makefile", rule + script)
    bench.build(1)
    bench.build(2)
    assert "poison" in cached(bench, 2)
    assert "poison" not in cached(bench, 1)

    # Another series on the same base, with the same first patch.
    bench.kernel.git("reset", "--quiet", "--hard", "HEAD~1")
    bench.kernel.append("another two", "Makefile", rule + script + "# another\n")
    bench.folder /= "other"
    bench.folder.mkdir()
    bench.prepare()
    bench.build(2)
    assert "poison\n" not in bench.log(2).read_text()
    assert len(list(bench.builder.ccaches.iterdir())) == 3


def test_a_file_that_the_assembler_includes_is_not_stale(bench: Bench) -> None:
    """No list of headers names it: see arch/x86/realmode/rmpiggy.S."""
    blob = {
        "kernel/Makefile": "obj-y += kernel/blob.o\n$(out)/kernel/blob.o: $(src)/kernel/blob.bin\n",
        "kernel/blob.c": 'asm(".incbin \\"/src/kernel/blob.bin\\"");\n',
    }
    bench.kernel.commit("one", {**blob, "kernel/blob.bin": "the first blob"})
    bench.kernel.commit("two", {"kernel/blob.bin": "the second one"})
    for index, text in ((1, b"the first blob"), (2, b"the second one")):
        result = bench.build(index)
        assert bench.compiled(index)[-1:] != []
        assert text in bench.kernel_of(result).read_bytes()
