# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the base of a series into the tree store, once for each base.

The kinds are those of the manifest: a commit of a git repository, a tarball, or the kernel source
as Debian packages it, which is unpacked from the .deb without being installed.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kernel_series.manifest import Base
from workers import process
from workers.cache import locked, scratch
from workers.errors import InfrastructureError, UserError
from workers.trees import TreeStore

DECOMPRESSORS = {".xz": "xz", ".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}

DOWNLOAD_LIMITS = process.Limits(seconds=600.0)


@dataclass(frozen=True)
class Imported:
    """A base in the store: its commit, and in words what it is (with the version it came in)."""

    commit: str
    title: str


def import_base(base: Base, store: TreeStore, downloads: Path, tree: Path | None) -> Imported:
    """Return the base's commit in the store, importing it when it is not there yet.

    ``tree`` is a repository of the user's that takes the place of the manifest's (``--tree``);
    packages are kept in ``downloads``. Raises UserError when there is no such base.
    """
    if base.kind == "git" or tree is not None:
        return _git(base, store, tree)
    if base.kind == "tarball":
        return _tarball(base.path or Path(base.value), store)
    return _debian_source(base.value, base.version, store, downloads)


def _git(base: Base, store: TreeStore, tree: Path | None) -> Imported:
    """Take one commit: the manifest's ref, or HEAD of a repository that replaces another kind."""
    source = str(tree or base.path or base.value)
    ref = base.ref or "HEAD"
    name = "git-" + hashlib.sha256(f"{source}\0{ref}".encode()).hexdigest()[:16]
    with store.importing(name) as known:
        # A commit id names its content; what a branch or a tag points to may have moved since.
        if known is not None and re.fullmatch(r"[0-9a-f]{40}", ref):
            return Imported(known, f"{source} {ref}")
        return Imported(store.import_git(name, source, ref), f"{source} {ref}")


def _tarball(path: Path, store: TreeStore) -> Imported:
    if not path.is_file():
        raise UserError(f"base.tarball: there is no file {path}")
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return Imported(_import_tar(f"tarball-{digest[:32]}", path, store), path.name)


def _debian_source(
    package: str, version: str | None, store: TreeStore, downloads: Path
) -> Imported:
    """Fetch the pinned version, or the newest one when the archive no longer has it."""
    downloads.mkdir(parents=True, exist_ok=True)
    chosen = _available_version(package, version, store, downloads)
    name = _name(package, chosen)
    title = f"{package} {chosen}"
    if (known := store.resolve(f"refs/bases/{name}")) is not None:
        return Imported(known, title)
    deb = _download(package, chosen, downloads)
    with scratch(downloads) as folder:
        ran = process.run(["dpkg-deb", "--extract", str(deb), str(folder)])
        tarballs = sorted(folder.glob("usr/src/*.tar.*"))
        if ran.status != 0 or len(tarballs) != 1:
            said = ran.stderr.decode(errors="replace").strip()[-300:]
            raise InfrastructureError(
                f"{deb.name}: {said or 'not one source tarball in it'}", f"remove {deb}"
            )
        return Imported(_import_tar(name, tarballs[0], store), title)


def _name(package: str, version: str) -> str:
    """Return a version's name in the store: a ref can hold neither ``~`` nor ``:``."""
    return f"debian-{package}-{version.replace('~', '-').replace(':', '-')}"


def _file_pattern(package: str, version: str) -> str:
    """Return a pattern of the file that apt-get downloads a version to."""
    return f"{package}_{version.replace(':', '%3a')}_*.deb"


def _available_version(package: str, pinned: str | None, store: TreeStore, downloads: Path) -> str:
    """Return the version to use: the pinned one if it is here or can be had, else the newest."""
    if pinned is not None:
        if store.resolve(f"refs/bases/{_name(package, pinned)}"):
            return pinned
        if any(downloads.glob(_file_pattern(package, pinned))):
            return pinned
    listed = process.output(["apt-cache", "madison", package]).decode(errors="replace")
    versions = [
        fields[1].strip()
        for fields in (line.split("|") for line in listed.splitlines())
        if len(fields) > 2
    ]
    if not versions:
        raise UserError(
            f"base.debian-source: Debian's archive has no package {package} as this host sees it",
            "run apt-get update, or name another linux-source package",
        )
    return pinned if pinned in versions else versions[0]


def _download(package: str, version: str, downloads: Path) -> Path:
    with locked(downloads / f"{package}.lock"):
        pattern = _file_pattern(package, version)
        if found := sorted(downloads.glob(pattern)):
            return found[0]
        # In a folder of its own first: what lies in downloads has arrived whole.
        with scratch(downloads) as folder:
            words = ["apt-get", "download", "-qq", f"{package}={version}"]
            ran = process.run(words, cwd=folder, limits=DOWNLOAD_LIMITS)
            arrived = sorted(folder.glob(pattern))
            if ran.status != 0 or not arrived:
                said = ran.stderr.decode(errors="replace").strip()[-300:]
                raise InfrastructureError(f"{package} {version} could not be downloaded: {said}")
            return arrived[0].rename(downloads / arrived[0].name)


def _import_tar(name: str, path: Path, store: TreeStore) -> str:
    with store.importing(name) as known:
        if known is not None:
            return known
        with _decompressed(path) as (stream, check):
            return store.import_tar(name, stream, check)


@contextmanager
def _decompressed(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Yield the tar stream of a tarball, decompressed by a process (and a core) of its own.

    Beside it a check for the end of the stream: a damaged file gives a stream that is too short.
    """
    program = DECOMPRESSORS.get(path.suffix)
    if program is None:
        raise UserError(
            f"{path}: not a tarball with a known ending", f"known: {' '.join(DECOMPRESSORS)}"
        )
    decompressor = process.start(
        [program, "-dc", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    def check() -> None:
        if decompressor.wait() != 0:
            raise UserError(f"{path} is damaged: {program} can't read it", "fetch it anew")

    try:
        if decompressor.stdout is None:
            raise AssertionError("started with a pipe")
        with decompressor.stdout as stream:
            yield stream, check
    finally:
        process.kill(decompressor)
