# SPDX-License-Identifier: GPL-2.0-or-later
"""Edits of a source tree, told in YAML: one engine for deriving, canaries, cures and adjustments.

A recipe says what to change by exact text, not by line number or context, so that it fits more
than one version of a tree; where it does not fit it is refused, never bent. Edits see a file as
the earlier edits of the same list left it.

A recipe is hostile input. Its regular expressions (`cut:`) are searched line by line, never in a
line longer than LONGEST_LINE, and may hold neither a repeated group, a lookaround nor a back
reference, and no more than a few repeats and alternatives, so that the time for a line is bounded
by a small polynomial.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_series import document
from kernel_series.definitions import regions
from kernel_series.document import Node
from kernel_series.errors import RecipeMisfit, SeriesError, quoted
from kernel_series.files import MIB
from kernel_series.run import Run, first_line, run_tool
from kernel_series.tree import Change, Overlay, Tree, check_path

LARGEST_FILE = 4 * MIB  # the largest file of 6.12 that is not a table of registers has 0.9 MiB
LONGEST_PATTERN = 200
LONGEST_LINE = 400
MOST_REPEATS = 2
MOST_ALTERNATIVES = 4

_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_CLASS = r"\[\^?\]?[^\]]*(?:\]|$)"
_UNIFDEF_OPTION = rf"-[UD]{_IDENTIFIER}(=[A-Za-z0-9_]{{1,64}})?"


@dataclass(frozen=True)
class Replace:
    """Put `replace` for `find`: exact text, may span lines, must be there `count` times."""

    find: str
    replace: str
    count: int = 1


@dataclass(frozen=True)
class Cut:
    """Take out the line matching `start` up to, not including, the first later one matching `end`.

    Exactly one line may match `start`.
    """

    start: str
    end: str


@dataclass(frozen=True)
class Unifdef:
    """Resolve preprocessor conditionals as unifdef(1) does, with options like -UCONFIG_X."""

    options: tuple[str, ...]


@dataclass(frozen=True)
class Delete:
    """Remove the file."""


@dataclass(frozen=True)
class Add:
    """Make a file that is not there yet."""

    text: str


Operation = Replace | Cut | Unifdef | Delete | Add


@dataclass(frozen=True)
class Edit:
    """One operation on the first of `files` that exists, `within` the definition of a name."""

    files: tuple[str, ...]
    operation: Operation
    within: str | None = None
    line: int = 0  # in the recipe


@dataclass(frozen=True)
class Recipe:
    """A named list of edits: a canary, a cure, an adjustment.

    ``cures`` names the known issue that a cure is the fix of.
    """

    path: Path
    name: str
    title: str
    source: str
    edits: tuple[Edit, ...]
    needs: tuple[str, ...] = ()
    caught_by: tuple[str, ...] = ()
    shows: str = ""
    cures: str | None = None

    @property
    def touches_header(self) -> bool:
        """Whether an edit may be in a header, so that all that reads it is built again."""
        return any(file.endswith(".h") for edit in self.edits for file in edit.files)


def load_recipe(path: Path) -> Recipe:
    """Read an edit recipe. Raises SeriesError."""
    root = document.load(path)
    optional = ("source", "needs", "caught-by", "shows", "cures")
    keys = root.mapping(("name", "title", "edits"), optional)

    def names(key: str) -> tuple[str, ...]:
        nodes = keys[key].items() if key in keys else ()
        return document.distinct(nodes, [node.name() for node in nodes])

    return Recipe(
        path=path,
        name=keys["name"].name(),
        title=keys["title"].line_of_text(),
        source=keys["source"].line_of_text() if "source" in keys else "own",
        edits=read_edits(keys["edits"]),
        needs=names("needs"),
        caught_by=names("caught-by"),
        shows=keys["shows"].text() if "shows" in keys else "",
        cures=keys["cures"].name() if "cures" in keys else None,
    )


def read_edits(node: Node) -> tuple[Edit, ...]:
    """The edits in a YAML list; there must be at least one. Raises SeriesError."""
    edits = tuple(_read_edit(item) for item in node.items())
    if not edits:
        raise node.error("is empty", "an edit recipe needs at least one edit")
    return edits


def apply(edits: Sequence[Edit], tree: Tree, run: Run, place: str) -> Change:
    """What `edits` change in `tree`: every file that is different in the end.

    `place` is the recipe's name as messages should show it. Raises RecipeMisfit where an edit does
    not fit, SeriesError where a tool is missing or a file is too large.
    """
    changed: dict[str, bytes | None] = {}
    here = Overlay(tree, changed)
    for number, edit in enumerate(edits, 1):
        spot = _Spot(place, number, len(edits), edit)
        if isinstance(edit.operation, Add):
            if here.read(edit.files[0]) is not None:
                raise spot.misfit(edit.files[0], "exists already, wanted a new file", found=1)
            changed[edit.files[0]] = edit.operation.text.encode()
            continue
        path, content = _first_existing(here, spot)
        if isinstance(edit.operation, Delete):
            changed[path] = None
        else:
            changed[path] = _edited(content, path, spot, run)
    return Change({p: new for p, new in changed.items() if new != tree.read(p)}, place)


# --- one edit ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spot:
    """Where in a recipe we are, for messages."""

    place: str
    number: int
    total: int
    edit: Edit

    def at(self, file: str) -> str:
        return f"{self.place}:{self.edit.line}: edit {self.number} of {self.total}: {file}"

    def misfit(self, file: str, message: str, hint: str = "", *, found: int = 0) -> RecipeMisfit:
        hint = hint or "the recipe does not fit this tree"
        return RecipeMisfit(self.at(file), message, hint, file, self.number, found)


def _first_existing(tree: Tree, spot: _Spot) -> tuple[str, bytes]:
    for path in spot.edit.files:
        content = tree.read(path)
        if content is not None:
            return path, content
    raise spot.misfit(" or ".join(spot.edit.files), "no such file in the tree")


def _edited(content: bytes, path: str, spot: _Spot, run: Run) -> bytes:
    if len(content) > LARGEST_FILE:
        raise SeriesError(spot.at(path), f"is larger than {LARGEST_FILE // MIB} MiB")
    operation = spot.edit.operation
    if isinstance(operation, Unifdef):
        return _unifdef(content, operation, path, spot, run)
    # surrogateescape: a file in another encoding comes back byte for byte
    text = content.decode("utf-8", "surrogateescape")
    areas = _areas(text, path, spot)
    if isinstance(operation, Replace):
        new = _replace(text, areas, operation, path, spot)
    elif isinstance(operation, Cut):
        new = _cut(text, areas, operation, path, spot)
    else:
        raise AssertionError(operation)
    return new.encode("utf-8", "surrogateescape")


def _areas(text: str, path: str, spot: _Spot) -> tuple[tuple[int, int], ...]:
    if spot.edit.within is None:
        return ((0, len(text)),)
    areas = regions(text, spot.edit.within)
    if not areas:
        mentioned = len(re.findall(rf"\b{re.escape(spot.edit.within)}\b", text))
        raise spot.misfit(
            path, f"no definition of {spot.edit.within} (the name stands there {mentioned} times)"
        )
    return areas


def _where(spot: _Spot) -> str:
    return f" within {spot.edit.within}" if spot.edit.within else ""


def _replace(
    text: str, areas: tuple[tuple[int, int], ...], edit: Replace, path: str, spot: _Spot
) -> str:
    found = _count(text, areas, edit, path, spot)
    if found != edit.count:
        first, newline, _ = edit.find.partition("\n")
        partly = text.count(first) if newline and first.strip() else 0
        hint = f"its first line alone is in the file {partly} times" if partly else ""
        raise spot.misfit(
            path,
            f"{quoted(edit.find)} found {found} times{_where(spot)}, wanted {edit.count}",
            hint,
            found=found,
        )
    # Before anything is replaced: a short text may be there many times, and a long one come for it.
    size = len(text.encode("utf-8", "surrogateescape"))
    if size + found * (len(edit.replace.encode()) - len(edit.find.encode())) > LARGEST_FILE:
        raise SeriesError(spot.at(path), f"would be larger than {LARGEST_FILE // MIB} MiB")
    pieces: list[str] = []
    done = 0
    for start, end in areas:
        pieces += [text[done:start], text[start:end].replace(edit.find, edit.replace)]
        done = end
    return "".join([*pieces, text[done:]])


def _count(
    text: str, areas: Iterable[tuple[int, int]], edit: Replace, path: str, spot: _Spot
) -> int:
    """How often the text is there; places that overlap are refused, for which of them is meant?"""
    found = 0
    for start, end in areas:
        behind = start
        at = text.find(edit.find, start, end)
        while at >= 0:
            found += 1
            if at < behind:
                raise spot.misfit(
                    path,
                    f"{quoted(edit.find)} found at places that overlap{_where(spot)}",
                    "take in more of the text around it",
                    found=found,
                )
            behind = at + len(edit.find)
            at = text.find(edit.find, at + 1, end)
    return found


def _cut(text: str, areas: Iterable[tuple[int, int]], edit: Cut, path: str, spot: _Spot) -> str:
    start, end = re.compile(edit.start), re.compile(edit.end)
    matches: list[tuple[int, int]] = []  # offset of the line, end of its area
    for area_start, area_end in areas:
        matches += [(at, area_end) for at in _matching_lines(text, start, area_start, area_end)]
    if len(matches) != 1:
        raise spot.misfit(
            path,
            f"{len(matches)} lines match {quoted(edit.start)}{_where(spot)}, wanted 1",
            found=len(matches),
        )
    from_line, area_end = matches[0]
    behind = text.find("\n", from_line) + 1 or len(text)
    to_line = next(_matching_lines(text, end, behind, area_end), None)
    if to_line is None:
        raise spot.misfit(path, f"no later line matches {quoted(edit.end)}{_where(spot)}")
    return text[:from_line] + text[to_line:]


def _matching_lines(text: str, pattern: re.Pattern[str], start: int, end: int) -> Iterator[int]:
    """Offsets of the lines in text[start:end] that match. `start` is the start of a line."""
    at = start
    for line in text[start:end].split("\n"):
        if at < end and len(line) <= LONGEST_LINE and pattern.search(line):
            yield at
        at += len(line) + 1


def _unifdef(content: bytes, edit: Unifdef, path: str, spot: _Spot, run: Run) -> bytes:
    # -x2: exit status 0 whether or not something changed, so that only trouble is not 0.
    argv = ["unifdef", "-x2", *edit.options]
    ran = run_tool(run, argv, package="unifdef", place=spot.at(path), stdin=content)
    if ran.status != 0:
        raise spot.misfit(path, f"unifdef failed: {first_line(ran.stderr)}")
    if ran.stdout == content:
        raise spot.misfit(path, f"unifdef {' '.join(edit.options)} changes nothing")
    return ran.stdout


# --- reading one edit ----------------------------------------------------------------------------

_OPERATIONS = ("find", "cut", "unifdef", "delete", "add")


def _read_edit(node: Node) -> Edit:
    kind, value = node.one_of(_OPERATIONS, ("file", "within", "replace", "count"))
    allowed = {"find": ("replace", "within", "count"), "cut": ("within",)}.get(kind, ())
    keys = node.mapping(("file", kind), allowed)
    within = None
    if "within" in keys:
        within = keys["within"].matching(_IDENTIFIER, "the name of a function, struct or object")
    files = _files(keys["file"])
    if kind == "add" and len(files) != 1:
        raise keys["file"].error("names several files", "`add` makes exactly one")
    return Edit(files, _read_operation(kind, value, node, keys), within, node.line)


def _read_operation(kind: str, value: Node, node: Node, keys: Mapping[str, Node]) -> Operation:
    match kind:
        case "find":
            if "replace" not in keys:
                raise node.error('"replace" is missing', 'replace: "" takes the text out')
            replace = keys["replace"]
            new = replace.value
            if not isinstance(new, str):
                raise replace.error(
                    f"found {replace.found()}, wanted text", '"" takes the text out'
                )
            if value.text() == new:
                raise replace.error("is the same text as `find`")
            count = keys["count"].number(1) if "count" in keys else 1
            return Replace(value.text(), new, count)
        case "cut":
            ends = value.mapping(("from", "to"), ())
            return Cut(_pattern(ends["from"]), _pattern(ends["to"]))
        case "unifdef":
            options = [
                n.matching(_UNIFDEF_OPTION, "-UNAME, -DNAME or -DNAME=1") for n in value.items()
            ]
            if not options:
                raise value.error("is empty", "write for example [-UCONFIG_X]")
            return Unifdef(document.distinct(value.items(), options))
        case "delete":
            value.choice(("true",))
            return Delete()
        case _:
            return Add(value.text())


def _files(node: Node) -> tuple[str, ...]:
    nodes = node.items() if isinstance(node.value, tuple) else (node,)
    if not nodes:
        raise node.error(
            "is empty", "name a file, or a list of which the first that exists is taken"
        )
    files = [check_path(n.text("a path in the tree"), n.place) for n in nodes]
    return document.distinct(nodes, files)


def _pattern(node: Node) -> str:
    """A regular expression that cannot take long on a short line."""
    text = node.text("a regular expression for a line")
    if len(text) > LONGEST_PATTERN or "\n" in text:
        raise node.error(f"is longer than one line of {LONGEST_PATTERN} characters")
    # Escaped characters first, then whole classes, stand as one plain character each.
    unescaped = re.sub(r"\\[^0-9]", "x", text)
    bare = re.sub(_CLASS, "x", unescaped)
    if re.search(r"\)\s*[*+?{]|\(\?|\\[0-9]", bare):
        raise node.error("repeats a group, looks around or refers back", "keep it plain")
    if any(re.search(r"\[|--|&&|\|\||~~", inside[1:]) for inside in re.findall(_CLASS, unescaped)):
        raise node.error("has a character class that Python warns of", "escape what is in it")
    if len(re.findall(r"[*+?{]", bare)) > MOST_REPEATS or bare.count("|") > MOST_ALTERNATIVES:
        limits = f"{MOST_REPEATS} repeats (* + ? {{) or {MOST_ALTERNATIVES} alternatives"
        raise node.error(f"has more than {limits}", "keep it plain")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise node.error(f"not a regular expression: {error}") from error
    return text
