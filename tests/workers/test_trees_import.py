# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases come into the tree store, from tar streams and from repositories."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_series.errors import SeriesError
from workers import trees
from workers.errors import USER_ERRORS, InfrastructureError, UserError
from workers.trees import TreeStore

ROOT = Path(__file__).parent.parent.parent


def member(
    name: str,
    content: bytes = b"",
    mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
) -> tuple[tarfile.TarInfo, bytes]:
    about = tarfile.TarInfo(name)
    about.mode, about.type, about.linkname, about.size = mode, kind, link, len(content)
    return about, content


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for about, content in members:
            archive.addfile(about, io.BytesIO(content))
    return stream.getvalue()


def nothing_missing() -> None:
    """The stream was whole."""


def import_tar(store: TreeStore, data: bytes) -> str:
    return store.import_tar("tar", io.BytesIO(data), nothing_missing)


def listed(store: TreeStore, commit: str) -> dict[str, str]:
    """Modes by path."""
    said = store.git(["ls-tree", "-r", "-z", commit]).stdout
    lines = said.decode(errors="surrogateescape").split("\0")[:-1]
    return {line.partition("\t")[2]: line[:6] for line in lines}


GOOD = [
    member("mini-1.0", kind=tarfile.DIRTYPE, mode=0o755),
    member("mini-1.0/Makefile", b"all:\n"),
    member("mini-1.0/scripts/run.sh", b"#!/bin/sh\n", 0o755),
    member("mini-1.0/scripts/link", kind=tarfile.SYMTYPE, link="../Makefile"),
]


def test_files_links_and_modes_come_in_without_the_leading_folder(store: TreeStore) -> None:
    commit = import_tar(store, tar(GOOD))
    assert listed(store, commit) == {
        "Makefile": "100644",
        "scripts/run.sh": "100755",
        "scripts/link": "120000",
    }
    assert store.read(commit, "Makefile") == b"all:\n"
    assert store.read(commit, "scripts/link") == b"../Makefile"
    assert store.resolve("refs/bases/tar") == commit


def test_the_same_tar_is_the_same_commit(store: TreeStore, tmp_path: Path) -> None:
    other = TreeStore(tmp_path / "other.git")
    later = [(about, content) for about, content in GOOD]
    for about, _ in later:
        about.mtime = 10**9
    assert import_tar(store, tar(GOOD)) == import_tar(other, tar(later))


def test_a_leading_dot_is_no_folder(store: TreeStore) -> None:
    members = [member(".", kind=tarfile.DIRTYPE), member("./mini/Makefile", b"x")]
    assert listed(store, import_tar(store, tar(members))) == {"Makefile": "100644"}


@pytest.mark.parametrize(
    "path", ["a b", 'quo"te', "back\\slash", "ünï", "byte\udcff", "-dash", "trailing\\", "x" * 300]
)
def test_any_name_of_a_file_is_kept(path: str, store: TreeStore) -> None:
    commit = import_tar(store, tar([member(f"mini/{path}", b"content")]))
    assert listed(store, commit) == {path: "100644"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (member("mini/../../etc/passwd", b"x"), "leaves the tree"),
        (member("mini/.git/config", b"x"), "points into .git"),
        (member("mini/a//b", b"x"), "is not a normal path of a file"),
        (member("mini/new\nline", b"x"), "holds a control character"),
        (member("mini/l", kind=tarfile.LNKTYPE, link="mini/Makefile"), "neither a file of at most"),
        (member("mini/fifo", kind=tarfile.FIFOTYPE), "neither a file of at most"),
        (member("mini/disk", kind=tarfile.BLKTYPE), "neither a file of at most"),
        (member("mini/large", b"12345678901"), "neither a file of at most"),
        (member("other/Makefile", b"x"), 'two leading folders, "mini" and "other"'),
        (member("Makefile", b"x"), 'two leading folders, "mini" and "Makefile"'),
    ],
)
def test_what_no_kernels_tarball_holds_is_refused(
    bad: tuple[tarfile.TarInfo, bytes],
    reason: str,
    store: TreeStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trees, "LARGEST_FILE", 10)
    with pytest.raises((UserError, SeriesError), match=reason):
        import_tar(store, tar([member("mini/Makefile", b"all:\n"), bad]))
    assert store.resolve("refs/bases/tar") is None
    assert list(store.path.glob("fast_import_crash*")) == []


@pytest.mark.parametrize(
    "data", [b"", b"no tar archive", tar(GOOD)[:1030], bytes(10240)[:100], os.urandom(4096)]
)
def test_what_is_no_whole_archive_is_refused(data: bytes, store: TreeStore) -> None:
    with pytest.raises(UserError, match="the base tar is no readable tar archive"):
        import_tar(store, data)
    assert store.resolve("refs/bases/tar") is None


def test_a_stream_that_ends_too_early_is_no_base(store: TreeStore) -> None:
    """Cut between two files a tar archive looks whole; who wrote the stream knows better."""
    whole = tar(GOOD)
    cut = whole[: whole.index(b"mini-1.0/scripts/run.sh")]

    def damaged() -> None:
        raise UserError("mini.tar.xz is damaged")

    with pytest.raises(UserError, match="is damaged"):
        store.import_tar("tar", io.BytesIO(cut), damaged)
    assert store.resolve("refs/bases/tar") is None


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    bytes_there=st.lists(st.tuples(st.integers(0, 10239), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 10240),
)
def test_a_damaged_archive_is_a_user_error_or_a_base(
    store: TreeStore, bytes_there: list[tuple[int, int]], length: int
) -> None:
    archive = bytearray(tar(GOOD))
    for at, byte in bytes_there:
        archive[at] = byte
    name = f"tar-{uuid4()}"
    try:
        commit = store.import_tar(name, io.BytesIO(archive[:length]), nothing_missing)
    except USER_ERRORS:
        assert store.resolve(f"refs/bases/{name}") is None
        return
    assert store.git(["read-tree", commit], index=store.path / "index").status == 0


# repositories


class Repository:
    """A repository on this host with a few commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main", str(folder))

    def git(self, *words: str) -> str:
        cwd = self.folder if self.folder.exists() else None
        identity = ["-c", "user.name=A", "-c", "user.email=a@localhost"]
        return subprocess.run(
            ["git", *identity, *words], cwd=cwd, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    def commit(self, text: str) -> str:
        (self.folder / "Makefile").write_text(text)
        self.git("add", "Makefile")
        self.git("commit", "--quiet", "--message", text)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    # A name that would mean something else in a URL.
    return Repository(tmp_path / "linux %41 #1")


def test_a_commit_comes_by_its_id_without_history(store: TreeStore, repository: Repository) -> None:
    commits = [repository.commit(text) for text in ("first", "second", "third")]
    found = store.import_git("linux", str(repository.folder), commits[1])
    assert found == commits[1] == store.resolve("refs/bases/linux")
    assert store.read(found, "Makefile") == b"second"
    assert store.resolve(commits[0]) is None
    assert store.git(["rev-list", "--count", found]).stdout == b"1\n"


@pytest.mark.parametrize("ref", ["main", "refs/heads/main", "v1.0", "HEAD"])
def test_a_branch_or_a_tag_comes_by_its_name(
    ref: str, store: TreeStore, repository: Repository
) -> None:
    commit = repository.commit("first")
    repository.git("tag", "--annotate", "--message", "tag", "v1.0")
    assert store.import_git("linux", str(repository.folder), ref) == commit


def test_a_branch_that_was_rewritten_comes_again(store: TreeStore, repository: Repository) -> None:
    repository.commit("first")
    repository.commit("second")
    store.import_git("linux", str(repository.folder), "main")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    commit = repository.commit("another second")
    assert store.import_git("linux", str(repository.folder), "main") == commit


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("nothing", "nothing can't be had from .*: couldn't find remote ref nothing; name a ref"),
        ("1" * 40, "1111 can't be had from .*: .*not our ref 1111"),
        ("--upload-pack=touch x", "can't start with a dash"),
    ],
)
def test_a_ref_that_is_not_there_is_a_user_error(
    ref: str, reason: str, store: TreeStore, repository: Repository
) -> None:
    repository.commit("first")
    with pytest.raises(UserError, match=reason):
        store.import_git("linux", str(repository.folder), ref)


def test_a_repository_that_is_not_there_is_a_user_error(store: TreeStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not appear to be a git repository"):
        store.import_git("linux", str(tmp_path / "nowhere"), "HEAD")
    with pytest.raises(UserError, match="can't start with a dash"):
        store.import_git("linux", "--upload-pack=touch x", "HEAD")


def test_a_fetch_that_was_killed_is_not_in_the_way(
    store: TreeStore, repository: Repository
) -> None:
    commit = repository.commit("first")
    (store.path / "shallow.lock").write_text("")
    assert store.import_git("linux", str(repository.folder), "main") == commit


def farms(program: str, arguments: Iterable[Iterable[str | Path]]) -> list[str]:
    """Run a program in processes that go on together; returns what each says."""
    head = "import sys\nfrom pathlib import Path\nfrom workers.trees import TreeStore\n"
    head += "store = TreeStore(Path(sys.argv[1]))\nprint('ready', flush=True)\nsys.stdin.read(1)\n"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", head + program, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in arguments
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("g")
        one.stdin.flush()
    said = [one.communicate() for one in running]
    assert [stderr for _, stderr in said] == [""] * len(said)
    return [stdout.strip() for stdout, _ in said]


def test_two_who_import_the_same_base_at_once_import_it_once(
    store: TreeStore, tmp_path: Path
) -> None:
    (tmp_path / "mini.tar").write_bytes(tar(GOOD))
    program = """
with store.importing("tar") as known, open(sys.argv[2], "rb") as stream:
    print(known or "new " + store.import_tar("tar", stream, lambda: None))
"""
    said = farms(program, [[store.path, tmp_path / "mini.tar"]] * 2)
    commit = store.resolve("refs/bases/tar")
    assert sorted(said) == sorted([str(commit), f"new {commit}"])


def test_different_bases_may_come_at_once(store: TreeStore, tmp_path: Path) -> None:
    commits, arguments = [], []
    for number in range(4):
        repository = Repository(tmp_path / f"linux-{number}")
        commits.append(repository.commit(f"tree {number}"))
        arguments.append([store.path, f"linux-{number}", repository.folder])
    said = farms("print(store.import_git(sys.argv[2], sys.argv[3], 'main'))", arguments)
    assert said == commits


def test_the_store_may_be_made_by_two_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "trees.git"
    assert farms("print(store.resolve('HEAD'))", [[folder]] * 3) == ["None"] * 3


def test_trouble_of_the_store_is_the_hosts(store: TreeStore) -> None:
    (store.path / "objects" / "pack").rmdir()
    (store.path / "objects" / "pack").write_text("in the way")
    with pytest.raises(InfrastructureError, match="importing the base tar failed"):
        import_tar(store, tar(GOOD))
