# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is wrong with the input or the machine: one line says it, and nothing is left behind.

Each row is one input. What the readers below the command make of it in detail is tested with them;
here the command is held to its exit status, to one line on standard error that names the thing, and
to leaving no run, no process and no temporary file.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LONGEST = 600
"""Characters of a line that a person still reads."""

Prepare = Callable[[Any, Path], Any]
"""Makes a bad series of a good one; may return the words that name it."""


@dataclass(frozen=True)
class Row:
    """One bad input: how it comes about, what the line has to say, and the exit status.

    ``refused`` is False where it is found out only when a run is under way: the run is then ended.
    """

    name: str
    prepare: Prepare
    says: str
    status: int = 2
    refused: bool = True


def manifest(content: bytes | str) -> Prepare:
    """Return what writes other bytes into the manifest."""
    data = content if isinstance(content, bytes) else content.encode()

    def prepare(series: Any, folder: Path) -> None:
        series.write().write_bytes(data)

    return prepare


def keys(**keys: Any) -> Prepare:
    """Return what changes keys of the manifest."""

    def prepare(series: Any, folder: Path) -> None:
        series.patch("explain", {"doc": "x\n"}).write(**keys)

    return prepare


def patch(diff: str | bytes, subject: str = "Subject: [PATCH] odd") -> Prepare:
    """Return what adds a patch as it is."""

    def prepare(series: Any, folder: Path) -> None:
        series.raw(subject, diff if isinstance(diff, str) else "").write()
        if isinstance(diff, bytes):
            with (folder / "patches" / "0001.patch").open("ab") as file:
                file.write(diff)

    return prepare


def words(*more: str) -> Prepare:
    """Return what says something else on the command line."""

    def prepare(series: Any, folder: Path) -> list[str]:
        return [str(series.patch("explain", {"doc": "x\n"}).write()), *more]

    return prepare


def named(name: str) -> Prepare:
    """Return what names another path than the series'."""
    return lambda series, folder: [name.format(folder)]


def made(make: Callable[[Path], object], name: str = "{}/odd") -> Prepare:
    """Return what makes something in a folder and names it."""

    def prepare(series: Any, folder: Path) -> list[str]:
        series.write()
        make(folder / "odd")
        return [name.format(folder)]

    return prepare


def new(path: str, line: str = "x", mode: str = "100644") -> str:
    """Return a diff that makes a file."""
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\n"
        f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{line}\n"
    )


def link_loop(path: Path) -> None:
    path.symlink_to(path)


def tarball(name: str, content: bytes) -> Prepare:
    """Return what takes another tarball for a base."""

    def prepare(series: Any, folder: Path) -> None:
        series.patch("explain", {"doc": "x\n"}).write(base={"tarball": name})
        (folder / name).write_bytes(content)

    return prepare


def git_base(ref: str) -> Prepare:
    """Return what takes a ref of a git repository for a base; the repository holds nothing."""

    def prepare(series: Any, folder: Path) -> None:
        series.patch("explain", {"doc": "x\n"})
        subprocess.run(["git", "init", "-q", folder / "git"], check=True)
        series.write(base={"git": "git", "ref": ref})

    return prepare


BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HEAD = (
    "schema: 1\nseries: {title: t}\nbase: {tarball: base.tar.gz}\npatches: {directory: patches}\n"
)

MANIFESTS = [
    Row("none", named("{}/none.yml"), r"none\.yml.*No such file or directory"),
    Row("folder without one", made(Path.mkdir), r"series\.yml.*No such file or directory"),
    Row("name too long", named("x" * 5000), "File name too long"),
    Row("name that paints", named("\x1b[31m\nno.yml"), r"\\x1b\[31m\\nno\.yml"),
    Row("device", named("/dev/zero"), "/dev/zero.*is not a regular file"),
    Row("pipe", made(os.mkfifo), "odd.*is not a regular file"),
    Row("loop of links", made(link_loop), "odd.*symbolic links"),
    Row("folder of that name", made(lambda path: (path / "series.yml").mkdir(parents=True)),
        r"series\.yml.*is a folder"),
    Row("empty", manifest(""), r"series\.yml: is empty"),
    Row("comment", manifest("# later\n"), r"series\.yml: is empty"),
    Row("binary", manifest(b"\x7fELF\x02\x01\x00\x00" * 100), r"series\.yml:1: .*control char"),
    Row("not UTF-8", manifest(HEAD.encode() + b"# \xe4\n"), r"series\.yml: is not UTF-8.*byte \d"),
    Row("UTF-16", manifest(HEAD.encode("utf-16")), r"series\.yml: is not UTF-8.*byte 0"),
    Row("malformed", manifest(HEAD + "matrix: [\n"), r"series\.yml:6:1: not YAML"),
    Row("tab", manifest(HEAD + "matrix:\n\tarch: x\n"), r"series\.yml:6:1: not YAML"),
    Row("huge", manifest("# " + "x" * (1 << 20)), r"series\.yml.*is larger than 256 KiB"),
    Row("list", manifest("- a\n"), r"series\.yml:1:1: found a list, wanted a mapping"),
    Row("two documents", manifest(HEAD + "---\n" + HEAD), r"series\.yml:5:1: .*another document"),
    Row("python object", manifest(HEAD + "adjust: !!python/object/apply:os.abort []\n"),
        r"series\.yml:5:9: tag .*python/object/apply:os\.abort.* is not taken"),
    Row("python name", manifest("!!python/name:os.system x\n"), r"series\.yml:1:1: tag"),
    Row("alias bomb", manifest(BOMB), r"series\.yml:1:4: anchors and aliases"),
    Row("alias of itself", manifest("a: &a [*a]\n"), r"series\.yml:1:4: anchors and aliases"),
    Row("deep", manifest("a: " + "[" * 20000), r"series\.yml:1:15: is nested deeper than 12"),
    Row("key twice", manifest(HEAD + "schema: 1\n"), r"series\.yml:5:1: schema: given twice"),
    Row("unknown key", keys(colour="red"),
        r"series\.yml:\d+:\d+: colour: unknown key.*known: schema, series, base, patches"),
    Row("newer schema", keys(schema=2), r"schema: 2 is newer than this farm.*update the farm"),
    Row("number past all bounds", keys(schema=10**4000), "schema: found .*wanted a whole number"),
]  # fmt: skip

NAMES = [
    Row("scenario", words("--scenario", "smke"), "unknown scenario 'smke'; known: .*smoke"),
    Row("config", words("--config", "rt"), "no config 'rt' in this series; known: preempt-none"),
    Row("arch", words("--arch", "vax"), "no arch 'vax' in this series; known: x86_64"),
    Row("node", words("--node", "moon"), "no node 'moon' in lab fake; known: actor-1, actor-2"),
    Row("lab", words("--lab", "moon"), "unknown lab 'moon'; known: fake, laptop"),
    Row("profile", words("--profile", "slow"), "unknown profile 'slow'; known: full, quick"),
    Row("path for a lab", words("--lab", "../labs/fake"), "unknown lab '../labs/fake'"),
    Row("tree", words("--tree", "/none"), "--tree /none: there is no such folder"),
    Row("tree too long", words("--tree", "x" * 5000), "there is no such folder"),
    Row("plant", words("--plant", "x@1"), "unknown canary 'x'; name a file"),
    Row("plant without a place", words("--plant", "x"), "--plant x: not of the form CANARY@K"),
    Row("option", words("--colour"), "No such option: --colour; farm submit --help"),
    Row("option without its value", words("--arch"), "'--arch' requires an argument"),
    Row("too many words", words("b"), r"unexpected extra argument\(s\) \(b\); farm submit --help"),
    Row("scenario in the manifest", keys(scenarios=["smke"]),
        r"series\.yml:\d+:\d+: unknown scenario 'smke'; known: .*smoke"),
    Row("config in the manifest", keys(matrix={"config": ["rt"]}),
        r"series\.yml:\d+:\d+: unknown config 'rt'; known: .*preempt-none"),
    Row("arch in the manifest", keys(matrix={"arch": ["vax"]}),
        r"series\.yml:\d+:\d+: matrix\.arch\[0\]: unknown: \"vax\"; known: x86_64, i386"),
    Row("toolchain in the manifest", keys(matrix={"toolchain": ["icc"]}),
        r"series\.yml:\d+:\d+: unknown toolchain 'icc'; known: auto, gcc-N"),
    Row("compiler that is not there", keys(matrix={"toolchain": ["gcc-1"]}),
        "gcc-1 is not installed; install Debian's package gcc-1"),
]  # fmt: skip

BASES = [
    Row("no repository", keys(base={"git": ".", "ref": "v6.12"}),
        "v6.12 can't be had from .*git repository", refused=False),
    Row("no such ref", git_base("v6.12"), "v6.12 can't be had from .*v6.12", refused=False),
    Row("no such path", keys(base={"git": "none", "ref": "v6.12"}),
        "base.git: cannot find \"none\": No such file"),
    Row("ref that is an option", keys(base={"git": ".", "ref": "--upload-pack=x"}),
        "base.ref: found \"--upload-pack=x\", wanted a commit, tag or branch"),
    Row("transport that runs programs", keys(base={"git": "ext::sh -c id", "ref": "x"}),
        "base.git: found \"ext::sh -c id\""),
    Row("no tarball", keys(base={"tarball": "none.tar.xz"}), "base.tarball: cannot find"),
    Row("tarball of no kind", tarball("base.zip", b"PK"), r"base\.zip.*known: \.xz", refused=False),
    Row("damaged tarball", tarball("base.tar.xz", b"\xfd7zXZ\0" + bytes(99)),
        r"base\.tar\.xz is damaged|no readable tar archive", refused=False),
    Row("empty tarball", tarball("empty.tar.gz", b""), r"empty\.tar\.gz|no readable tar archive",
        refused=False),
    Row("folder for a tarball", keys(base={"tarball": "patches"}),
        "base.tarball: there is no file .*patches", refused=False),
    Row("no such package", keys(base={"debian-source": "linux-source-9.99"}),
        "Debian's archive has no package linux-source-9.99", refused=False),
    Row("another package", keys(base={"debian-source": "bash"}),
        "base.debian-source: found \"bash\", wanted a package like linux-source-6.12"),
]  # fmt: skip

HUNK = "@@ -0,0 +1 @@\n+x\n"
PATCHES = [
    Row("no patch", made(Path.mkdir, "{}"), "holds neither .*patch files nor"),
    Row("no folder", keys(patches={"directory": "none"}), "patches.directory: cannot find"),
    Row("file for a folder", keys(patches={"directory": "base.tar.gz"}), "is not a folder"),
    Row("mbox without mail", keys(patches={"mbox": "base.tar.gz"}), "base.tar.gz is compressed"),
    Row("mbox of a web page", keys(patches={"mbox": "series.yml"}), "there is no patch in it"),
    Row("range of no repository", keys(patches={"git-range": "a..b"}), "git-range"),
    Row("only words", patch("nothing of it\n"), r"0001\.patch.*no diff in it"),
    Row("bytes", patch(bytes(range(256)) * 8), r"0001\.patch.*no diff in it"),
    Row("cut off", patch("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n-a\n"),
        r"0001\.patch: line \d+ of the patch: the hunk ends too early"),
    Row("word-wrapped", patch("--- a/x\n+++ b/x\n@@ -1 +1\n@@\n-a\n+b\n"), r"0001\.patch"),
    Row("binary without content", patch("diff --git a/x b/x\nBinary files a/x and b/x differ\n"),
        r"0001\.patch: line \d+ .*make the diff with --binary"),
    Row("out of the tree", patch(new("../../x")), r"0001\.patch.*path \"\.\./\.\./x\" leaves"),
    Row("absolute", patch(f"--- /dev/null\n+++ /etc/passwd\n{HUNK}"), r"0001\.patch.*is absolute"),
    Row("into .git", patch(new(".git/hooks/post-checkout")), r"0001\.patch.*points into \.git"),
    Row("into .GIT", patch(new("a/.GIT/config")), r"0001\.patch.*points into \.git"),
    Row("link out of the tree", patch(new("l", "/etc", "120000")),
        r"0001\.patch.*\"l\" would be a symbolic link out of the tree"),
    Row("link up and out", patch(new("a/l", "../../etc", "120000")), "symbolic link out of the"),
    Row("submodule", patch(new("sub", "Subproject commit " + "1" * 40, "160000")), "a submodule"),
    Row("rename out of the tree",
        patch("diff --git a/Makefile b/../x\nsimilarity index 100%\nrename from Makefile\n"
              "rename to ../x\n"), r"path \"\.\./x\" leaves"),
    Row("huge", patch(new("x", "x" * (17 << 20))), r"0001\.patch.*is larger than 17408 KiB"),
    Row("numbers that do not add up", patch(new("x"), "Subject: [PATCH 2/3] odd"),
        "patch 1/3, 3/3 is missing"),
    Row("recipe that is none", keys(patches={"edits": "base.tar.gz"}), r"base\.tar\.gz.*UTF-8"),
]  # fmt: skip

ROWS = [*MANIFESTS, *NAMES, *BASES, *PATCHES]


def children() -> set[str]:
    """Return the processes that this one started and that are still there, zombies included."""
    found = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    return {pid for pids in found for pid in pids}


def check_line(stderr: str, says: str) -> None:
    """Check that one line says it, in words that may be printed."""
    assert stderr.endswith("\n")
    line = stderr.removesuffix("\n").rpartition("\n")[2]
    assert line.startswith("farm: ")
    assert line.isprintable(), line
    assert re.search(says, line), line


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_input(
    farm: Any, series: Any, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = children()
    given = row.prepare(series, series.folder) or [str(series.folder)]
    said = farm("submit", "--lab", "fake", "--node", "actor-1", *given)
    assert said.status == row.status, said
    check_line(said.stderr, row.says)
    assert said.stderr.count("\n") == 1, said.stderr
    assert len(said.stderr) < LONGEST or "x" * 100 in said.stderr
    runs = farm("status", "--json").document["runs"]
    if row.refused:
        assert (said.stdout, runs) == ("", [])
    else:
        assert [run["state"] for run in runs] == ["finished"]
        assert set(runs[0]["jobs"]) == {"prepare failed"}
    assert children() == before
    assert list(temporary.iterdir()) == []


RUNS = [
    ("status", "2"),
    ("results", "%"),
    ("log", "none"),
    ("results", "x" * 5000),
    ("status", "\x1b[31m"),
]
"""What names a run, and none, or more than one: an id, a unique prefix or ``latest``."""


def test_a_run_that_cannot_be_told(farm: Any, series: Any) -> None:
    farm.submit(series.patch("explain", {"doc": "x\n"}).write())
    farm.submit(series.write())
    known = [run["run"] for run in farm("status", "--json").document["runs"]]
    for command, name in RUNS:
        said = farm(command, name)
        assert (said.status, said.stdout) == (2, ""), (command, name)
        check_line(said.stderr, "is not unique|there is no run")
        assert all(run in said.stderr for run in known), said.stderr


def test_every_row_has_a_name_of_its_own() -> None:
    for table in (MANIFESTS, NAMES, BASES, PATCHES):
        names = [row.name for row in table]
        assert len(set(names)) == len(names)
