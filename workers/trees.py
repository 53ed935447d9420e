# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree store: one bare git repository that holds every base once and every point as a commit.

Nothing here checks a hostile tree out: points are made in an index file, so no path of a patch
touches this host's file system. Work trees are laid out for build lanes only.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kernel_series.errors import PatchUnreadable, printable, quoted
from kernel_series.run import Ran
from kernel_series.tree import Change, check_path, leaves_tree
from workers import process
from workers.cache import Cache, locked, scratch, sweep
from workers.errors import InfrastructureError, UserError
from workers.folders import remove

GIT_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "farm",
    "GIT_AUTHOR_EMAIL": "farm@localhost",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "farm",
    "GIT_COMMITTER_EMAIL": "farm@localhost",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "LC_ALL": "C",
}
"""Points are made the same way by everybody: neither the user's settings nor the clock enter."""

GIT_INHERITED = ("GIT_SSH", "GIT_SSL", "GIT_HTTP", "GIT_PROXY", "GIT_ASKPASS")
"""How the user's git reaches a server. The rest of its variables, which git sets for the programs
that it starts itself, would lead to another repository."""

GIT_LIMITS = process.Limits(seconds=900.0)

ABANDONED_SECONDS = 2 * GIT_LIMITS.seconds
"""A pack that git began and did not write to for so long was left by a farm that was killed."""

LARGEST_FILE = 64 << 20
"""Bytes of a file in a base; the largest of 6.12 has 23 MiB."""

CHUNK = 1 << 20

TREE_STORE = "trees.git"
"""The folder of a host's store, among its caches."""

WORK_TREES = "work-trees"
"""The folder beside the repository that holds the work trees which lanes share."""

MAKING = ".making"
"""How the name of one ends that is not whole yet."""

NO_OBJECT = "0" * 40

LINK = "120000"
"""Git's mode of a symbolic link."""

BRANCH = "refs/making"
COMMITTER = b"committer farm <farm@localhost> 1577836800 +0000\n"
"""Who and when, in the words of git fast-import; the same as in GIT_ENVIRONMENT."""

CONDITION = re.compile(r"\s*#\s*(?:if|el|endif)")
"""A line that begins or ends what the preprocessor may leave out."""

COMMENT = re.compile(r"\s*(?:/[/*]|\*|$)")
"""A line that is empty or, by its first letters, a comment."""

UNREADABLE = re.compile(
    r"^error: (corrupt (?:binary )?patch .*|No valid patches.*|patch with only garbage .*"
    r"|git diff header lacks .*|git apply: bad git-diff .*|unrecognized .*)$",
    re.MULTILINE,
)
"""What git apply says of text that is no patch, in whatever tree."""


@dataclass(frozen=True)
class ApplyFailure:
    """Why a patch does not apply: the first file that refused, its hunk's line, git's words."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True)
class Difference:
    """One file that differs between two points: its path and the lines added in the newer one.

    ``added`` holds 1-based line numbers of the newer file; ``cut`` the lines, or 0, behind which
    code was taken away with nothing in its place and no condition of the preprocessor in it.
    """

    path: str
    added: tuple[int, ...]
    cut: tuple[int, ...] = ()


class TreeStore:
    """A bare repository at ``path``, made when it is not there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "HEAD").exists():
            # Whole or not there, for others may come at the same time.
            with Cache(path.parent).filling(path.name) as folder:
                where = {**self._environment(), "GIT_DIR": str(folder)}
                process.output(["git", "init", "--quiet", "--bare", "--template="], env=where)

    # git

    def git(
        self,
        words: list[str],
        *,
        stdin: bytes = b"",
        index: Path | None = None,
        work_tree: Path | None = None,
    ) -> Ran:
        """Run git on the store, within ``work_tree`` if there is one.

        The exit status is the caller's to judge.
        """
        environment = self._environment()
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        # Some commands insist on a work tree even when they only touch the index.
        if (place := work_tree or (index and index.parent)) is not None:
            environment["GIT_WORK_TREE"] = str(place)
        return process.run(
            ["git", *words], stdin=stdin, cwd=work_tree, env=environment, limits=GIT_LIMITS
        )

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name.startswith(GIT_INHERITED)
        }
        return {**inherited, **GIT_ENVIRONMENT, "GIT_DIR": str(self.path)}

    def _output(self, words: list[str], **how: object) -> bytes:
        ran = self.git(words, **how)  # type: ignore[arg-type]
        if ran.status != 0:
            said = ran.stderr.decode(errors="replace").strip()
            raise InfrastructureError(f"tree store {self.path}: git {words[0]}: {said[-500:]}")
        return ran.stdout

    def _checked(self, words: list[str], **how: object) -> str:
        return self._output(words, **how).decode(errors="replace").strip()

    def _listed(self, words: list[str]) -> list[str]:
        said = self._output([words[0], "-z", *words[1:]])
        return said.decode(errors="surrogateescape").split("\0")[:-1]

    def resolve(self, name: str) -> str | None:
        """Return the id of a commit, or None when the store has no such thing."""
        ran = self.git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
        )
        return ran.stdout.decode().strip() or None

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        return self._checked(["rev-parse", "--verify", f"{commit}^{{tree}}"])

    def keep(self, name: str, commit: str) -> None:
        """Give a commit a name under refs/, so that a clean-up of the store keeps it."""
        # Who gives a name is alone with it: a lock on it was left by a farm that was killed.
        (self.path / f"refs/{name}.lock").unlink(missing_ok=True)
        self._checked(["update-ref", f"refs/{name}", commit])

    def sweep(self) -> None:
        """Remove what killed processes left half made, of work trees too."""
        sweep(self.path)
        for making in (self.path.parent / WORK_TREES).glob(f"*{MAKING}"):
            with suppress(BlockingIOError), locked(making.with_suffix(".lock"), wait=False):
                remove(making)
        for pack in (self.path / "objects" / "pack").glob("tmp_*"):
            with suppress(FileNotFoundError):
                if pack.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    pack.unlink()

    # bases

    @contextmanager
    def importing(self, name: str) -> Iterator[str | None]:
        """Hold the lock of one base's import.

        Yields its commit when somebody imported it already.
        """
        with locked(self.path / f"import-{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.lock"):
            yield self.resolve(f"refs/bases/{name}")

    def import_tar(self, name: str, stream: IO[bytes], check: Callable[[], None]) -> str:
        """Import a tar stream with one leading folder as base ``name``; returns its commit.

        The files go straight into one pack: nothing is unpacked on this host. At the end of the
        stream ``check`` is called, and raises if something was missing: then there is no base.
        Raises UserError for what is no kernel's tarball.
        """
        # One stream of 1.4 GB: light compression, and no search for deltas between unlike files.
        words = ["git", "-c", "core.compression=1", "fast-import", "--quiet", "--depth=0", "--done"]
        with tempfile.TemporaryFile() as said:
            importer = process.start(
                words,
                stdin=subprocess.PIPE,
                stdout=said.fileno(),
                stderr=said.fileno(),
                env=self._environment(),
            )
            try:
                if importer.stdin is None:
                    raise AssertionError("started with a pipe")
                # An importer that ends early has said why.
                with suppress(BrokenPipeError), importer.stdin as pipe:
                    _fast_import(f"refs/bases/{name}", stream, check, pipe.write)
                process.watch(importer, "git fast-import", GIT_LIMITS, process.Cancel())
            except tarfile.TarError as error:
                raise UserError(f"the base {name} is no readable tar archive: {error}") from error
            finally:
                process.kill(importer)
                (self.path / f"fast_import_crash_{importer.pid}").unlink(missing_ok=True)
            if importer.returncode != 0:
                said.seek(0)
                words_said = said.read().decode(errors="replace").strip()
                raise InfrastructureError(f"importing the base {name} failed: {words_said[-500:]}")
        return self._checked(["rev-parse", "--verify", f"refs/bases/{name}"])

    def import_git(self, name: str, source: str, ref: str) -> str:
        """Import one commit, without its history, from a repository given by path or URL."""
        if source.startswith("-") or ref.startswith("-"):
            raise UserError(f"{source} {ref}: a repository or a ref can't start with a dash")
        words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--no-write-fetch-head"]
        # A clean-up of the store would go on in the background, where nothing ends it.
        words += ["--no-auto-maintenance", "--end-of-options", source, f"+{ref}:refs/bases/{name}"]
        # A fetch locks the list of shallow commits as long as it takes, and git gives up where it
        # finds it locked. Who holds our lock is alone: git's own was left by a farm that was
        # killed.
        with locked(self.path / "fetch.lock"):
            (self.path / "shallow.lock").unlink(missing_ok=True)
            ran = self.git(words)
        if ran.status != 0:
            said = ran.stderr.decode(errors="replace").splitlines() or ["git fetch failed"]
            fatal = next((line for line in said if line.startswith("fatal: ")), said[0])
            raise UserError(
                f"{ref} can't be had from {source}: {printable(fatal.removeprefix('fatal: '))}",
                "name a ref or a full commit id that this repository has",
            )
        return self._checked(["rev-parse", "--verify", f"refs/bases/{name}^{{commit}}"])

    # points

    def read(self, commit: str, path: str) -> bytes | None:
        """Return a file of a commit; None when it has no such file."""
        ran = self.git(["cat-file", "blob", f"{commit}:{path}"])
        return ran.stdout if ran.status == 0 else None

    def commit_change(
        self, parent: str, change: Change, message: str, *, modes: str | None = None
    ) -> str:
        """Return the commit that writes and deletes whole files on top of ``parent``.

        Files have the mode that they have in the commit ``modes``, or in ``parent``. Raises
        PatchUnreadable for a symbolic link out of the tree.

        The same as by an index file, which would be read and written some times over: of the tree's
        87,000 files this looks at those that change.
        """
        parts = [_commit_for_git(BRANCH), b"mark :1\n", COMMITTER, _data_for_git(message.encode())]
        parts.append(f"from {parent}\n".encode())
        for path, content in change.items():
            name = _quoted_for_git(path.encode(errors="surrogateescape"))
            if content is None:
                parts.append(b"D " + name + b"\n")
            else:
                mode = self._mode(modes or parent, path).encode()
                parts += [b"M " + mode + b" inline " + name + b"\n", _data_for_git(content)]
        # The branch is dropped again before it was ever written: only the commit is wanted.
        parts.append(f"get-mark :1\nreset {BRANCH}\nfrom {NO_OBJECT}\n\ndone\n".encode())
        made = self._checked(["fast-import", "--quiet", "--done"], stdin=b"".join(parts))
        return self._inside(parent, made, message)

    def commit_patch(self, parent: str, diff: bytes, message: str) -> str | ApplyFailure:
        """Return the commit of a patch on top of ``parent``, or why it does not apply.

        As strict as ``git am``: context must match exactly, in any place of the file. Raises
        PatchUnreadable for what git takes for no patch, and for a symbolic link out of the tree.
        """
        with self._index(parent) as index:
            words = ["apply", "--cached", "--whitespace=nowarn", "-p1", "-"]
            ran = self.git(words, stdin=diff, index=index)
            if ran.status != 0:
                said = ran.stderr.decode(errors="replace")
                if match := UNREADABLE.search(said):
                    raise PatchUnreadable(f"patch {quoted(message.splitlines()[0])}", match[1])
                return _apply_failure(said)
            return self._inside(parent, self._commit(index, parent, message), message)

    def _inside(self, parent: str, commit: str, message: str) -> str:
        """Return the commit, unless it lets a symbolic link lead out of the tree.

        Here it is seen whatever the patch looks like. One link may lead through another: so where
        one comes, goes or changes, and only there, all are followed.
        """
        raw = iter(self._listed(["diff-tree", "-r", "--no-renames", parent, commit]))
        changed = {
            path
            for about, path in zip(raw, raw, strict=True)
            if LINK in about.removeprefix(":").split()[:2]
        }
        astray = self._astray(commit) if changed else {}
        # What the base brought along is not this patch's fault.
        known = self._astray(parent).keys() - changed if astray else set()
        for path, target in astray.items():
            if path not in known:
                raise PatchUnreadable(
                    f"patch {quoted(message.splitlines()[0])}",
                    f"{quoted(path)} would be a symbolic link out of the tree, to {quoted(target)}",
                    "a link has to end inside the tree, on the way through other links too",
                )
        return commit

    def _astray(self, commit: str) -> dict[str, str]:
        """Return the symbolic links of a commit that lead out of its tree, with their targets."""
        entries = (entry.partition("\t") for entry in self._listed(["ls-tree", "-r", commit]))
        blobs = {path: about.split()[2] for about, _, path in entries if about.startswith(LINK)}
        said = self._output(["cat-file", "--batch"], stdin="\n".join(blobs.values()).encode())
        links = dict[str, str]()
        at = 0
        for path in blobs:  # of each: a line that ends in its size, so many bytes, a line's end
            start = said.index(b"\n", at) + 1
            end = start + int(said[at:start].split()[2])
            links[path] = said[start:end].decode(errors="surrogateescape")
            at = end + 1
        return {path: target for path, target in links.items() if leaves_tree(path, links)}

    def diff(self, old: str, new: str) -> bytes:
        """Return what makes ``new`` of ``old``, as ``commit_patch`` takes it."""
        ran = self.git(["diff", "--binary", "--no-renames", "--no-ext-diff", old, new, "--"])
        if ran.status != 0:
            raise InfrastructureError(f"tree store {self.path}: no difference of {old} and {new}")
        return ran.stdout

    def differences(self, old: str, new: str) -> tuple[Difference, ...]:
        """Return the files that differ in ``new``; deleted ones have no added lines."""
        words = ["-c", "core.quotePath=false", "diff", "--no-renames", "--no-color"]
        words += ["--no-ext-diff", "--unified=0", old, new, "--"]
        ran = self.git(words)
        if ran.status != 0:
            raise InfrastructureError(f"tree store {self.path}: no difference of {old} and {new}")
        return tuple(_differences(ran.stdout.decode(errors="surrogateescape")))

    def message(self, commit: str) -> str:
        """Return a commit's message, its subject the first line."""
        return self._checked(["show", "--no-patch", "--format=%B", commit])

    def existing(self, commit: str, paths: Sequence[str]) -> tuple[str, ...]:
        """Return those of the paths that are files of a commit."""
        if not paths:
            return ()
        listed = self._checked(["ls-tree", "-z", "--name-only", commit, "--", *paths])
        there = set(listed.split("\0"))
        return tuple(path for path in paths if path in there)

    def subtree(self, commit: str, folder: str) -> str | None:
        """Return the id of a folder of a commit; None where there is no such folder."""
        return self._checked(["ls-tree", "-d", "--object-only", commit, "--", folder]) or None

    # work trees

    def lay_out(
        self, commit: str, folder: Path, current: str | None, *, shared: bool = False
    ) -> None:
        """Bring a work tree from the commit ``current`` to another, touching what differs only.

        ``current`` is None for a new one. A new work tree gets one old modification time for all
        its files, so that objects copied from an earlier build of the same base are newer than
        their sources; what a later point changes is newer than every object. The files of a
        ``shared`` one are those of all others of its commit: only git, which puts a new file in an
        old one's place, may ever change it.
        """
        if current is not None:
            # Without an index, which lists all of the tree's 87,000 files.
            if change := self.diff(current, commit):
                self._checked(["apply", "--whitespace=nowarn"], stdin=change, work_tree=folder)
        elif not (shared and self._link(self._shared(commit), folder)):
            self._check_out(commit, folder)

    def _check_out(self, commit: str, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with self._index(commit) as index:
            parallel = ["-c", "checkout.workers=0", "checkout-index", "--all", "--force"]
            self._checked(parallel, index=index, work_tree=folder)
        for parent, _, files in os.walk(folder):
            for name in files:
                os.utime(os.path.join(parent, name), (0, 0), follow_symlinks=False)  # noqa: PTH118

    def _shared(self, commit: str) -> Path:
        """Return a folder with a work tree of a commit, made when it is not there.

        What a kill left half made is wiped by the next who wants it.
        """
        parent = self.path.parent / WORK_TREES
        parent.mkdir(exist_ok=True)
        kept, making = parent / commit, parent / f"{commit}{MAKING}"
        with locked(parent / f"{commit}.lock"):
            if not kept.is_dir():
                shutil.rmtree(making, ignore_errors=True)
                self._check_out(commit, making / "src")
                making.rename(kept)
        os.utime(kept)  # what was used longest ago goes first
        return kept

    @staticmethod
    def _link(kept: Path, folder: Path) -> bool:
        """Make a work tree of links to a shared one's files; False where that can't be done."""
        folder.mkdir(parents=True, exist_ok=True)
        words = ["cp", "--archive", "--link", "--", f"{kept / 'src'}/.", str(folder)]
        return process.run(words, limits=GIT_LIMITS).status == 0

    @contextmanager
    def _index(self, commit: str) -> Iterator[Path]:
        with scratch(self.path) as folder:
            index = folder / "index"
            self._checked(["read-tree", commit], index=index)
            yield index

    def _commit(self, index: Path, parent: str, message: str) -> str:
        tree = self._checked(["write-tree"], index=index)
        return self._checked(["commit-tree", tree, "-p", parent], stdin=message.encode())

    def _mode(self, commit: str, path: str) -> str:
        listed = self._checked(["ls-tree", commit, "--", path])
        mode, kind = listed.split()[:2] if listed else ("", "nothing")
        return mode if kind == "blob" else "100644"


def _fast_import(
    ref: str, stream: IO[bytes], check: Callable[[], None], write: Callable[[bytes], object]
) -> None:
    write(_commit_for_git(ref) + COMMITTER + _data_for_git(b"base\n"))
    leading = None
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            first, _, path = member.name.removeprefix("./").partition("/")
            if first == ".":
                continue
            leading = leading or first
            if first != leading:
                raise UserError(
                    f"the base's tarball has two leading folders, {quoted(leading)} and"
                    f" {quoted(first)}",
                    "make it of one folder that holds the kernel tree",
                )
            if not member.isdir():
                mode, content = _file(member, archive)
                name = check_path(path, "the base's tarball").encode(errors="surrogateescape")
                write(b"M %s inline " % mode + _quoted_for_git(name) + b"\n")
                write(_data_for_git(content))
    # What follows the archive is padding; only its end shows whether the stream was whole.
    while stream.read(CHUNK):
        pass
    check()
    write(b"done\n")


def _file(member: tarfile.TarInfo, archive: tarfile.TarFile) -> tuple[bytes, bytes]:
    """Return git's mode and the content of a file or symbolic link."""
    if member.issym():
        return b"120000", member.linkname.encode(errors="surrogateescape")
    file = archive.extractfile(member) if member.isfile() else None
    if file is None or member.size > LARGEST_FILE:
        raise UserError(
            f"the base's tarball: {quoted(member.name)} is neither a file of at most"
            f" {LARGEST_FILE >> 20} MiB nor a symbolic link",
            "make it as `git archive` does",
        )
    return (b"100755" if member.mode & 0o100 else b"100644"), file.read()


def _commit_for_git(ref: str) -> bytes:
    return f"commit {ref}\n".encode()


def _data_for_git(content: bytes) -> bytes:
    return b"data %d\n" % len(content) + content + b"\n"


def _quoted_for_git(path: bytes) -> bytes:
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _apply_failure(said: str) -> ApplyFailure:
    """Read git apply's words: the first complaint, with its place where there is one."""
    complaints = re.findall(r"^error: (.+)$", said, re.MULTILINE)
    first = printable(complaints[0] if complaints else said.strip() or "git apply failed")
    if match := re.fullmatch(r"patch failed: (.+):(\d+)", first):
        return ApplyFailure(
            match[1], int(match[2]), "the hunk at this line does not match the tree"
        )
    path, separator, reason = first.partition(": ")
    return ApplyFailure(path, None, reason) if separator else ApplyFailure("patch", None, first)


def _differences(diff: str) -> Iterator[Difference]:
    lines = iter(diff.split("\n"))
    path, added, cut = "", list[int](), list[int]()
    for line in lines:
        if line.startswith("diff --git "):
            if path:
                yield Difference(path, tuple(added), tuple(cut))
            # "a/PATH b/PATH": without renames both are the same.
            names = line.removeprefix("diff --git ")
            path, added, cut = names[len(names) // 2 + 1 :].removeprefix("b/"), [], []
        elif match := re.match(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            gone, start, count = (int(match[number] or 1) for number in (1, 2, 3))
            added += range(start, start + count)
            removed = [one.removeprefix("-") for one in itertools.islice(lines, gone)]
            conditional = any(map(CONDITION.match, removed))
            if count == 0 and not conditional and not all(map(COMMENT.match, removed)):
                cut.append(start)
    if path:
        yield Difference(path, tuple(added), tuple(cut))
