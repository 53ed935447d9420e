# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases by the kinds of the manifest: a commit, a tarball, Debian's source package."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_series.manifest import Base
from workers.bases import import_base
from workers.errors import InfrastructureError, UserError
from workers.trees import TreeStore

if TYPE_CHECKING:
    from tests.conftest import MiniKernel

PACKAGE = "linux-source-1.0"


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


def tree_of(mini_kernel: MiniKernel, commit: str = "HEAD") -> str:
    return mini_kernel.git("rev-parse", f"{commit}^{{tree}}")


# git


def test_a_commit_is_imported_once(
    mini_kernel: MiniKernel, store: TreeStore, downloads: Path
) -> None:
    base = Base("git", str(mini_kernel.folder), mini_kernel.base, path=mini_kernel.folder)
    imported = import_base(base, store, downloads, None)
    assert imported.commit == mini_kernel.base
    assert imported.title == f"{mini_kernel.folder} {mini_kernel.base}"
    (mini_kernel.folder / ".git" / "HEAD").unlink()  # nobody looks there again
    assert import_base(base, store, downloads, None) == imported


def test_a_branch_is_looked_up_each_time(
    mini_kernel: MiniKernel, store: TreeStore, downloads: Path
) -> None:
    base = Base("git", str(mini_kernel.folder), "main", path=mini_kernel.folder)
    assert import_base(base, store, downloads, None).commit == mini_kernel.base
    head = mini_kernel.append("more", "Makefile", "# more\n")
    assert import_base(base, store, downloads, None).commit == head


@pytest.mark.parametrize(
    ("kind", "ref", "expected"),
    [
        ("debian-source", None, "head"),  # what lies in the user's repository
        ("tarball", None, "head"),
        ("git", "BASE", "base"),  # the manifest's commit, from the user's repository
    ],
)
def test_a_tree_of_the_user_takes_the_place_of_the_manifests(
    kind: str,
    ref: str | None,
    expected: str,
    mini_kernel: MiniKernel,
    store: TreeStore,
    downloads: Path,
) -> None:
    mini_kernel.append("more", "Makefile", "# more\n")
    base = Base(kind, "https://localhost/nowhere.git", mini_kernel.base if ref else None)
    imported = import_base(base, store, downloads, mini_kernel.folder)
    assert imported.commit == getattr(mini_kernel, expected)


# tarballs


@pytest.mark.parametrize("ending", [".xz", ".gz", ".bz2"])
def test_a_tarball_is_imported_once(
    ending: str, mini_kernel: MiniKernel, store: TreeStore, downloads: Path, tmp_path: Path
) -> None:
    path = mini_kernel.tarball(tmp_path / f"mini-1.0.tar{ending}")
    base = Base("tarball", path.name, path=path)
    imported = import_base(base, store, downloads, None)
    assert imported.title == path.name
    assert store.tree(imported.commit) == tree_of(mini_kernel)
    again = import_base(base, store, downloads, None)
    assert again == imported


def test_another_tarball_of_the_same_name_is_another_base(
    mini_kernel: MiniKernel, store: TreeStore, downloads: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mini.tar.gz"
    trees = []
    for text in ("# one\n", "# two\n"):
        mini_kernel.append("more", "Makefile", text)
        mini_kernel.tarball(path)
        imported = import_base(Base("tarball", path.name, path=path), store, downloads, None)
        trees.append(store.tree(imported.commit))
        assert trees[-1] == tree_of(mini_kernel)
    assert len(set(trees)) == 2


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize("ending", [".xz", ".gz"])
@pytest.mark.parametrize("damage", [cut, flip, lambda data: b"", lambda data: b"<html>404</html>"])
def test_a_damaged_tarball_is_no_base(
    ending: str,
    damage: Callable[[bytes], bytes],
    mini_kernel: MiniKernel,
    store: TreeStore,
    downloads: Path,
    tmp_path: Path,
) -> None:
    path = mini_kernel.tarball(tmp_path / f"mini.tar{ending}")
    whole = path.read_bytes()
    base = Base("tarball", path.name, path=path)
    path.write_bytes(damage(whole))
    with pytest.raises(UserError, match=r"damaged|no readable tar archive"):
        import_base(base, store, downloads, None)
    path.write_bytes(whole)
    assert store.tree(import_base(base, store, downloads, None).commit) == tree_of(mini_kernel)


def test_a_tarball_cut_between_two_files_is_no_base(
    store: TreeStore, downloads: Path, tmp_path: Path
) -> None:
    """What xz could read of it is an archive that looks whole."""
    folder = tmp_path / "mini"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_bytes(os.urandom(512))
    path = tmp_path / "mini.tar.xz"
    words = ["tar", "--create", "--blocking-factor=1", "--sort=name", "mini"]
    archive = subprocess.run(words, cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    # One block of xz for each of tar's, and the file ends with the fourth: folder, a's header, a.
    packed = subprocess.run(
        ["xz", "-c", "--block-size=512"], input=archive, stdout=subprocess.PIPE, check=True
    ).stdout
    for length in range(len(packed), 0, -4):
        path.write_bytes(packed[:length])
        read = subprocess.run(["xz", "-dc", path], capture_output=True, check=False).stdout
        if len(read) == 3 * 512:
            break
    base = Base("tarball", path.name, path=path)
    with pytest.raises(UserError, match=r"mini\.tar\.xz is damaged: xz can't read it; fetch it"):
        import_base(base, store, downloads, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.tar.xz", "base.tarball: there is no file .*gone.tar.xz"),
        ("mini.zip", r"mini.zip: not a tarball with a known ending; known: \.xz \.gz \.bz2 \.zst"),
    ],
)
def test_a_tarball_that_is_none_is_a_user_error(
    name: str, reason: str, store: TreeStore, downloads: Path, tmp_path: Path
) -> None:
    (tmp_path / "mini.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=reason):
        import_base(Base("tarball", name, path=tmp_path / name), store, downloads, None)


# Debian's source packages


@pytest.fixture
def make_deb(mini_kernel: MiniKernel, downloads: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a source package like Debian's, of the mini kernel as it is."""

    def make(version: str, folder: Path = downloads, tarballs: int = 1) -> Path:
        root = tmp_path / f"package-{version}"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: A Developer <developer@localhost>\nDescription: a kernel\n"
        )
        (root / "usr" / "src").mkdir(parents=True)
        for number in range(tarballs):
            mini_kernel.tarball(root / "usr" / "src" / f"{PACKAGE}-{number}.tar.xz")
        folder.mkdir(exist_ok=True)
        # apt-get names a file like this.
        path = folder / f"{PACKAGE}_{version.replace(':', '%3a')}_all.deb"
        words = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, path]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        return path

    return make


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in the place of Debian's archive, behind apt's two commands."""
    folder = tmp_path / "archive"
    folder.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    # madison lists the newest first; what is not there it does not list, and says nothing.
    (programs / "apt-cache").write_text(
        f"""#!/bin/sh
cd {folder} && ls -r | sed -n 's/^\\('"$2"'\\)_\\(.*\\)_all.deb$/ \\1 | \\2 | http:/p' |
sed 's/%3a/:/'
"""
    )
    (programs / "apt-get").write_text(
        f"""#!/bin/sh
wanted=$(echo "$3" | sed 's/=/_/; s/:/%3a/')
cp {folder}/"$wanted"_all.deb . || {{ echo "E: Failed to fetch $3" >&2; exit 100; }}
"""
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("version", ["1.0.1-1", "1.0.1-1~deb12u1", "1:1.0.1-1+b1"])
def test_a_package_that_was_downloaded_needs_no_network(
    version: str,
    mini_kernel: MiniKernel,
    make_deb: Callable[..., Path],
    store: TreeStore,
    downloads: Path,
    archive: Path,
) -> None:
    make_deb(version)
    base = Base("debian-source", PACKAGE, version=version)
    imported = import_base(base, store, downloads, None)
    assert imported.title == f"{PACKAGE} {version}"
    assert store.tree(imported.commit) == tree_of(mini_kernel)


def test_a_package_that_was_imported_needs_not_even_its_file(
    make_deb: Callable[..., Path], store: TreeStore, downloads: Path, archive: Path
) -> None:
    deb = make_deb("1.0.1-1")
    base = Base("debian-source", PACKAGE, version="1.0.1-1")
    imported = import_base(base, store, downloads, None)
    deb.unlink()
    assert import_base(base, store, downloads, None) == imported


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("1.0.1-1", "1.0.1-1"), ("1.0.0-1", "1.0.2-1"), (None, "1.0.2-1")],
)
def test_a_version_that_is_gone_gives_way_to_the_newest(
    wanted: str | None,
    found: str,
    make_deb: Callable[..., Path],
    store: TreeStore,
    downloads: Path,
    archive: Path,
) -> None:
    for version in ("1.0.1-1", "1.0.2-1"):
        make_deb(version, archive)
    base = Base("debian-source", PACKAGE, version=wanted)
    assert import_base(base, store, downloads, None).title == f"{PACKAGE} {found}"
    assert [path.name for path in downloads.glob("*.deb")] == [f"{PACKAGE}_{found}_all.deb"]
    assert [path for path in downloads.iterdir() if path.is_dir()] == []


def test_a_package_that_debian_does_not_have_is_a_user_error(
    store: TreeStore, downloads: Path, archive: Path
) -> None:
    base = Base("debian-source", PACKAGE)
    with pytest.raises(UserError, match=f"has no package {PACKAGE} .*; run apt-get update, or"):
        import_base(base, store, downloads, None)


def test_a_download_that_fails_is_the_hosts_trouble(
    make_deb: Callable[..., Path], store: TreeStore, downloads: Path, archive: Path
) -> None:
    deb = make_deb("1.0.1-1", archive)
    deb.unlink()
    deb.symlink_to("nowhere")
    reason = f"{PACKAGE} 1.0.1-1 could not be downloaded: .*E: Failed to fetch"
    with pytest.raises(InfrastructureError, match=f"(?s){reason}"):
        import_base(Base("debian-source", PACKAGE), store, downloads, None)
    assert list(downloads.glob("*.deb")) == []


def test_a_broken_package_says_what_to_remove(
    mini_kernel: MiniKernel, make_deb: Callable[..., Path], store: TreeStore, downloads: Path
) -> None:
    deb = make_deb("1.0.1-1")
    whole = deb.read_bytes()
    base = Base("debian-source", PACKAGE, version="1.0.1-1")
    for broken in (b"", b"no package", whole[:2000]):
        deb.write_bytes(broken)
        with pytest.raises(InfrastructureError, match=f"{deb.name}: .*; remove {deb}$"):
            import_base(base, store, downloads, None)
    deb.write_bytes(whole)
    imported = import_base(base, store, downloads, None)
    assert store.tree(imported.commit) == tree_of(mini_kernel)
    assert sorted(path.suffix for path in downloads.iterdir()) == [".deb", ".lock"]


@pytest.mark.parametrize("tarballs", [0, 2])
def test_a_package_without_one_tarball_is_refused(
    tarballs: int, make_deb: Callable[..., Path], store: TreeStore, downloads: Path
) -> None:
    make_deb("1.0.1-1", tarballs=tarballs)
    with pytest.raises(InfrastructureError, match="not one source tarball in it; remove"):
        import_base(Base("debian-source", PACKAGE, version="1.0.1-1"), store, downloads, None)
