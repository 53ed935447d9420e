# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the text of a unified diff far enough to judge it before `git apply` sees it.

Which files it touches, where its hunks are (so that a failure can be explained), and whether it
stays inside the tree. Takes git's format (Documentation/diff-generate-patch in git) and plain
`diff -u` output with one leading path part (-p1). Text before, between and after the files of a
diff is passed over, as git does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kernel_series.errors import PatchUnreadable, SeriesError, quoted
from kernel_series.files import MIB
from kernel_series.tree import check_path

LARGEST_PATCH = 16 * MIB
LARGEST_TARGET = 1024  # of a symbolic link

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_MODE = re.compile(
    rb"(?:(?:new|old|deleted file|new file) mode |index [0-9a-f]+\.\.[0-9a-f]+ )([0-7]{6})$"
)
_MOVED = re.compile(rb"(?:rename|copy) (?:from|to) (.*)$")
_EXTENDED = re.compile(
    rb"(?:old mode|new mode|deleted file|new file|copy|rename|(?:dis)?similarity|index) "
)
_QUOTED_PATH = re.compile(rb'"(?:[^"\\]|\\.)*"')
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(.))")
_LETTERS = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_SYMLINK, _SUBMODULE = b"120000", b"160000"


@dataclass(frozen=True)
class Hunk:
    """A place that a diff changes: line numbers (from 1, 0 for an empty side) and line counts."""

    old_start: int
    old_lines: int
    new_start: int
    new_lines: int


@dataclass(frozen=True)
class FileDiff:
    """What a diff does to one file. `old` is None for a new file, `new` for one that goes away."""

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...] = ()
    binary: bool = False

    @property
    def path(self) -> str:
        """The name to speak of: the new one, the old one of a deleted file."""
        return self.new or self.old or ""


def read_diff(data: bytes, place: str) -> tuple[FileDiff, ...]:
    """The files that a diff touches, at least one. Raises PatchUnreadable."""
    if len(data) > LARGEST_PATCH:
        raise PatchUnreadable(place, f"the patch is larger than {LARGEST_PATCH // MIB} MiB")
    files = tuple(_Reader(data, place).files())
    if not files:
        raise PatchUnreadable(place, "no diff in it", "wanted a unified diff, as git diff makes it")
    return files


def first_diff_line(data: bytes) -> int | None:
    """Offset of the line where the first file of a diff begins, None if there is no diff."""
    found = re.search(rb"^diff --git |^--- [^\n]+\n\+\+\+ [^\n]+\n@@ -", data, re.MULTILINE)
    return found.start() if found else None


class _Reader:
    """Walks over the lines of one diff."""

    def __init__(self, data: bytes, place: str) -> None:
        self.lines = data.removesuffix(b"\n").split(b"\n")
        self.at = 0
        self.place = place

    def files(self) -> Iterator[FileDiff]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith(b"diff --git "):
                yield self._git_file()
            elif self._names_follow():
                yield self._plain_file()
            elif _HUNK.match(line):
                raise self._error("a hunk without a file name above it")
            else:
                self.at += 1

    def _error(self, message: str, hint: str = "") -> PatchUnreadable:
        return PatchUnreadable(f"{self.place}: line {self.at + 1} of the patch", message, hint)

    def _line(self, ahead: int = 0) -> bytes:
        index = self.at + ahead
        return self.lines[index] if index < len(self.lines) else b""

    def _names_follow(self) -> bool:
        return (
            self._line().startswith(b"--- ")
            and self._line(1).startswith(b"+++ ")
            and self._line(2).startswith(b"@@ -")
        )

    def _plain_file(self) -> FileDiff:
        old, new = self._name(self._line()[4:]), self._name(self._line(1)[4:])
        if old is None and new is None:
            raise self._error("both sides are /dev/null")
        if old is not None and new is not None:
            old = new  # `a.orig/x` and `a/x`: without git's header nothing is renamed
        self.at += 2
        return FileDiff(old, new, tuple(self._hunks(link=False)))

    def _git_file(self) -> FileDiff:
        header = self._line()[len(b"diff --git ") :]
        self.at += 1
        created = deleted = False
        modes: set[bytes] = set()
        moved: list[str | None] = []
        while _EXTENDED.match(self._line()):
            line = self._line().rstrip(b"\r")
            created |= line.startswith(b"new file")
            deleted |= line.startswith(b"deleted file")
            if mode := _MODE.match(line):
                modes.add(mode[1])
            if move := _MOVED.match(line):
                moved.append(self._name(move[1], strip=False))
            self.at += 1
        if _SUBMODULE in modes:
            raise self._error("changes a submodule, which a kernel tree has not")
        binary = False
        hunks: tuple[Hunk, ...] = ()
        if self._names_follow():
            old, new = self._name(self._line()[4:]), self._name(self._line(1)[4:])
            self.at += 2
            hunks = tuple(self._hunks(link=_SYMLINK in modes, path=new))
        else:
            if len(moved) == 2:
                old, new = moved
            else:
                old = new = self._name_in_header(header)
            binary = self._skip_binary()
        if binary and _SYMLINK in modes:
            raise self._error("makes a symbolic link from binary data")
        old, new = None if created else old, None if deleted else new
        if old is None and new is None:
            raise self._error("the file is on neither side")
        return FileDiff(old, new, hunks, binary)

    def _skip_binary(self) -> bool:
        """Pass over a binary patch; False if there is none here."""
        if self._line().startswith((b"Binary files ", b"Files ")):
            raise self._error("a binary file without its content", "make the diff with --binary")
        if not self._line().startswith(b"GIT binary patch"):
            return False
        self.at += 1
        while re.match(rb"(?:literal|delta) \d+$", self._line().rstrip(b"\r")):
            while self._line().strip():
                self.at += 1
            self.at += 1
        return True

    def _hunks(self, *, link: bool, path: str | None = None) -> Iterator[Hunk]:
        while match := _HUNK.match(self._line()):
            numbers = [1 if group is None else int(group) for group in match.groups()]
            hunk = Hunk(*numbers)
            old, new = hunk.old_lines, hunk.new_lines
            self.at += 1
            while old > 0 or new > 0:
                kind = self._line()[:1]
                if self.at >= len(self.lines) or kind not in (b" ", b"", b"+", b"-", b"\\"):
                    raise self._error("the hunk ends too early: a damaged or line-wrapped patch")
                old -= kind in (b" ", b"", b"-")
                new -= kind in (b" ", b"", b"+")
                if link and path and kind == b"+":
                    self._check_target(path, self._line()[1:])
                self.at += 1
            if old < 0 or new < 0:
                raise self._error("the hunk has more lines than it says: a damaged patch")
            while self._line().startswith(b"\\"):
                self.at += 1
            yield hunk
        if self._line().startswith(b"@@ -"):
            raise self._error("the head of a hunk is damaged, or line-wrapped")

    def _check_target(self, path: str, target: bytes) -> None:
        """A symbolic link must stay inside the tree.

        An early word on what the text alone shows; the tree that comes of it is looked at too.
        """
        depth = path.count("/")
        for part in target.split(b"/"):
            depth += {b"..": -1, b".": 0, b"": 0}.get(part, 1)
            if depth < 0 or target.startswith(b"/") or len(target) > LARGEST_TARGET:
                raise self._error(f"{quoted(path)} would be a symbolic link out of the tree")

    def _name_in_header(self, header: bytes) -> str | None:
        """The path in `a/PATH b/PATH`: the same on both sides where only the header tells it."""
        header = header.rstrip(b"\r")
        if header.startswith(b'"'):
            match = _QUOTED_PATH.match(header)
            return self._name(match[0] if match else header)
        half = len(header) // 2
        left, right = header[:half], header[half + 1 :]
        if header[half : half + 1] != b" " or left.partition(b"/")[2] != right.partition(b"/")[2]:
            raise self._error(
                f"cannot tell the file name in {quoted(header.decode('utf-8', 'replace'))}"
            )
        return self._name(left)

    def _name(self, raw: bytes, *, strip: bool = True) -> str | None:
        """A path as a diff writes it, checked; None for /dev/null."""
        raw = raw.rstrip(b"\r")
        if raw.startswith(b'"'):
            match = _QUOTED_PATH.match(raw)
            if match is None:
                raise self._error("a quoted file name does not end")
            raw = _ESCAPE.sub(_unescaped, match[0][1:-1])
        else:
            raw = raw.partition(b"\t")[0]  # `diff -u` puts a date behind a tab
        if raw == b"/dev/null":
            return None
        name = raw.decode("utf-8", "surrogateescape")
        if strip and not name.startswith("/"):
            first, _, name = name.partition("/")
            if not name:
                raise self._error(
                    f"{quoted(first)} has no leading part to strip", "make it with -p1"
                )
        try:
            return check_path(name, self.place)
        except SeriesError as error:
            raise self._error(error.message, error.hint) from error


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, letter = match.groups()
    return bytes([int(octal, 8) & 0xFF]) if octal else _LETTERS.get(letter, letter)
