# SPDX-License-Identifier: GPL-2.0-or-later
"""The archive that a kernel unpacks, read by another program than the one that wrote it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stress import guest
from workers import payload
from workers.cpio import ALIGNMENT, Entry, cpio
from workers.errors import InfrastructureError
from workers.status import Status

if TYPE_CHECKING:
    from tests.workers.conftest import Bench

FILES = (
    Entry("bin", stat.S_IFDIR | 0o755),
    Entry("bin/run", stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
    Entry("empty", stat.S_IFREG | 0o600),
    Entry("job.json", stat.S_IFREG | 0o444, b"{}"),
    *(Entry(f"length-{length}", stat.S_IFREG | 0o644, bytes(length)) for length in range(1, 9)),
    Entry("a" * 200, stat.S_IFREG | 0o644, b"long name"),
)


def busybox(archive: bytes, *words: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        ["busybox", "cpio", *words], input=archive, cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def archives(data: bytes) -> list[bytes]:
    """Cut what a kernel unpacks one after the other (init/initramfs.c: zeros are passed over)."""
    found = []
    while data:
        end = data.index(b"TRAILER!!!\0")
        end += -end % 4 + len(b"TRAILER!!!\0")
        found.append(data[:end] + bytes(-end % 4))
        data = data[end:].lstrip(b"\0")
    return found


def test_another_program_lists_what_is_in_it() -> None:
    assert busybox(cpio(FILES), "-t").splitlines() == [entry.path for entry in FILES]


def test_another_program_unpacks_it(tmp_path: Path) -> None:
    busybox(cpio(FILES), "-idm", folder=tmp_path)
    for entry in FILES:
        path = tmp_path / entry.path
        assert path.stat().st_mode == entry.mode
        if path.is_file():
            assert path.read_bytes() == entry.content
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        entry.path for entry in FILES
    }


def test_a_device_has_its_numbers() -> None:
    archive = cpio([Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))])
    assert busybox(archive, "-tv").startswith("crw------- ")
    rdevmajor = 6 + 8 * 9
    assert archive[rdevmajor : rdevmajor + 16] == b"00000005" + b"00000001"


def test_the_same_entries_are_the_same_bytes_and_whole_blocks() -> None:
    first = cpio(FILES)
    assert cpio(iter(FILES)) == first
    assert len(first) % ALIGNMENT == 0
    assert cpio(FILES[:-1]) != first


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(st.text("abc-.", min_size=1, max_size=20), unique=True, max_size=5),
    contents=st.lists(st.binary(max_size=600), min_size=5, max_size=5),
)
def test_every_field_is_where_the_format_says(names: list[str], contents: list[bytes]) -> None:
    """Documentation/driver-api/early-userspace/buffer-format.rst, read by hand."""
    entries = [
        Entry(name, stat.S_IFREG | 0o644, content)
        for name, content in zip(names, contents, strict=False)
    ]
    data = cpio(entries)
    at, found = 0, []
    while True:
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        inode, mode, uid, gid, links, mtime, size = fields[:7]
        name_at = at + 110
        name = data[name_at : name_at + fields[11]]
        assert name.endswith(b"\0")
        body_at = name_at + fields[11] + -(name_at + fields[11]) % 4
        at = body_at + size + -(body_at + size) % 4
        assert (uid, gid, mtime, fields[12]) == (0, 0, 0, 0)
        if name == b"TRAILER!!!\0":
            break
        assert (inode, links) == (len(found) + 1, 1)
        found.append(Entry(name[:-1].decode(), mode, data[body_at : body_at + size]))
    assert found == entries
    assert data[at:] == bytes(-at % ALIGNMENT)


def test_a_job_is_appended_and_the_rest_untouched(tmp_path: Path) -> None:
    common = tmp_path / "initramfs"
    common.write_bytes(cpio(FILES))
    job = json.dumps({"token": "0123456789abcdef"}).encode()
    payload.with_job(common, job, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    assert whole.startswith(common.read_bytes())
    assert common.read_bytes() == cpio(FILES)
    assert common.stat().st_size % ALIGNMENT == 0
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    parts = archives(whole)
    assert len(parts) == 2
    for part in parts:  # as a kernel does: what comes later wins
        busybox(part, "-idmu", folder=unpacked)
    assert (unpacked / "job.json").read_bytes() == job
    assert (unpacked / "job.json").stat().st_mode == stat.S_IFREG | 0o444
    assert (unpacked / "bin" / "run").read_bytes() == b"#!/bin/sh\n"


# of a kernel


@pytest.fixture
def initramfs(bench: Bench) -> bytes:
    """The payload of the mini kernel, with the real init."""
    result = bench.build(0)
    assert result.status is Status.PASS, bench.log(0).read_text()
    found = bench.builder.payloads.find(result.payload or "-")
    assert found is not None
    return (found / payload.INITRAMFS).read_bytes()


def test_all_that_a_guest_needs_is_there(initramfs: bytes, tmp_path: Path) -> None:
    modes = {}
    for line in busybox(initramfs, "-tv").splitlines():
        modes[line.split()[-1]] = line.split()[0]
    expected = {
        **dict.fromkeys(("bin", "dev", "proc", "sys", "scenarios"), "drwxr-xr-x"),
        "dev/console": "crw-------",
        "bin/busybox": "-rwxr-xr-x",
        "init": "-rwxr-xr-x",
        **dict.fromkeys(guest.MODULES, "-rw-r--r--"),
        **{f"scenarios/{name}": "-rwxr-xr-x" for name in guest.scripts()},
    }
    assert modes == expected
    names = ["init", "bin/busybox", *guest.MODULES]
    busybox(initramfs, "-idm", *names, folder=tmp_path)
    assert (tmp_path / "bin" / "busybox").read_bytes() == payload.BUSYBOX.read_bytes()
    assert (tmp_path / "init").read_bytes().startswith(b"\x7fELF")
    dynamic = subprocess.run(
        ["readelf", "--program-headers", tmp_path / "init"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "INTERP" not in dynamic.stdout


def test_a_module_in_the_archive_is_the_one_that_was_built(
    initramfs: bytes, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    busybox(initramfs, "-idm", *guest.MODULES, folder=tmp_path / "x")
    for name in guest.MODULES:
        built = bench.out.parent / "payload" / "module" / name
        assert (tmp_path / "x" / name).read_bytes() == built.read_bytes()


@pytest.mark.usefixtures("small_init")
def test_symbols_that_a_later_point_exports_are_seen(bench: Bench) -> None:
    """Kbuild leaves vmlinux.symvers; the module is checked against what is copied from it."""
    export = "EXPORT_SYMBOL(register_kprobe);\n"
    bench.kernel.edit("no export", "kernel/kprobes.c", export, "")
    bench.kernel.append("export", "kernel/kprobes.c", export)
    assert [bench.build(index).status for index in range(3)] == [
        Status.PASS,
        Status.ERROR,
        Status.PASS,
    ]


@pytest.mark.usefixtures("small_init")
def test_a_kernel_that_writes_its_own_symbol_versions_keeps_them(bench: Bench) -> None:
    """Before 5.8 Module.symvers is the kernel's, and there is no vmlinux.symvers."""
    text = bench.kernel.read("Makefile").replace("$(out)/vmlinux.symvers", "$(out)/Module.symvers")
    bench.kernel.commit("as before 5.8", {"Makefile": text})
    assert bench.build(1).status is Status.PASS
    assert not (bench.out / "vmlinux.symvers").exists()


INIT = """\
int main(void)
{
#warning seen
	return 0;
}
"""
NOLIBC_HEADER = "#include <unistd.h>\nint main(void);\nvoid _start(void)\n{\n\tmain();\n}\n"


def test_init_is_built_again_only_for_another_library(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at nothing else of a kernel."""
    said = {"init.c": INIT.encode()}
    monkeypatch.setattr(guest, "init_sources", lambda: said)
    bench.kernel.append("nothing of init's", "kernel/kprobes.c", "int more;\n")
    bench.kernel.commit("a library", {f"{guest.NOLIBC}/nolibc.h": NOLIBC_HEADER})
    bench.kernel.append("another one", f"{guest.NOLIBC}/nolibc.h", "int another;\n")
    bench.kernel.append("nothing of init's again", "kernel/kprobes.c", "int still_more;\n")
    built = list[bool]()
    for index in range(5):
        if index == 4:
            said["init.c"] += b"int more;\n"
        assert bench.build(index).status is Status.PASS, bench.log(index).read_text()
        built.append("#warning seen" in bench.log(index).read_text())
    assert built == [True, False, True, True, True]


@pytest.mark.usefixtures("small_init")
def test_without_a_busybox_the_host_is_to_blame(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "BUSYBOX", bench.folder / "busybox")
    with pytest.raises(InfrastructureError, match="install Debian's package busybox-static"):
        bench.build(0)


def test_a_guest_whose_init_does_not_build_is_our_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "init_sources", lambda: {"init.c": b"no C\n"})
    result = bench.build(0)
    assert result.status is Status.ERROR
    assert result.reason == f"gcc failed while the payload was built; see {bench.log(0)}"
    assert "error:" in bench.log(0).read_text()


def test_a_key_is_of_the_kernel_and_of_all_that_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {payload.key("kernel"), payload.key("another")}
    for part in ("module_sources", "init_sources", "scripts"):
        with monkeypatch.context() as patch:
            patch.setattr(guest, part, lambda: {"new": b"content"})
            keys.add(payload.key("kernel"))
    monkeypatch.setattr(payload, "BUSYBOX", tmp_path / "busybox")
    keys.add(payload.key("kernel"))
    (tmp_path / "busybox").write_bytes(os.urandom(8))
    keys.add(payload.key("kernel"))
    assert len(keys) == 7
