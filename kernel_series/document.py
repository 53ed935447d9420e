# SPDX-License-Identifier: GPL-2.0-or-later
"""A YAML file as a tree of nodes that know their place, so that an error can say where.

Nothing is ever constructed from YAML: a node is text, a list or a mapping, and whoever reads it
says what it expects. So there are no tags to obey, `ref: 1234567` stays text, and `on` is no truth
value. Refused here: anchors and aliases (they can multiply a small file into a huge one), tags,
duplicate keys, deep nesting, more than one document, large, binary and empty files.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from kernel_series.errors import SeriesError, printable, quoted
from kernel_series.files import KIB, read_file

LARGEST = 256 * KIB  # a manifest or recipe is a page or two; pure-Python YAML reads about 100 KiB/s
DEEPEST = 12
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NULLS = ("", "~", "null", "Null", "NULL")

Value = str | tuple["Node", ...] | Mapping[str, "Node"] | None


@dataclass(frozen=True)
class Node:
    """One value of a file: `key` is its dotted path, `line` and `column` (from 1) its place."""

    file: str
    key: str
    line: int
    column: int
    value: Value

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def error(self, message: str, hint: str = "") -> SeriesError:
        """An error at this value. The key leads the message where there is one."""
        return SeriesError(self.place, f"{self.key}: {message}" if self.key else message, hint)

    def found(self) -> str:
        """What stands here, for a message."""
        match self.value:
            case None:
                return "nothing"
            case str(text):
                return quoted(text)
            case tuple():
                return "a list"
            case _:
                return "a mapping"

    def mapping(self, required: Collection[str], optional: Collection[str]) -> Mapping[str, "Node"]:
        """The entries of a mapping that has all the `required` keys and no unknown one."""
        if not isinstance(self.value, Mapping):
            raise self.error(f"found {self.found()}, wanted a mapping", _known(required, optional))
        for key, node in self.value.items():
            if key not in required and key not in optional:
                raise SeriesError(
                    node.place,
                    f"{node.key}: unknown key",
                    did_you_mean(key, [*required, *optional]),
                )
        for key in required:
            if key not in self.value:
                raise self.error(f"key {quoted(key)} is missing", _known(required, optional))
        return self.value

    def one_of(self, choices: Collection[str], others: Collection[str] = ()) -> tuple[str, "Node"]:
        """The single entry among `choices` in a mapping that may also hold `others`."""
        entries = self.mapping((), [*choices, *others])
        chosen = [key for key in entries if key in choices]
        one_of = "one of: " + ", ".join(choices)
        if not chosen:
            raise self.error("says nothing", one_of)
        if len(chosen) > 1:
            raise entries[chosen[1]].error(f"{' and '.join(chosen)} are both given", one_of)
        return chosen[0], entries[chosen[0]]

    def items(self) -> tuple["Node", ...]:
        """The entries of a list."""
        if not isinstance(self.value, tuple):
            raise self.error(
                f"found {self.found()}, wanted a list", "write [a, b] or one `- a` a line"
            )
        return self.value

    def text(self, what: str = "text") -> str:
        """A scalar as it was written, not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.error(f"found {self.found()}, wanted {what}")
        return self.value

    def line_of_text(self, what: str = "one line of text") -> str:
        """A scalar of one line without control characters."""
        text = self.text(what)
        if not text.isprintable() or text != text.strip():
            raise self.error(
                f"found {self.found()}, wanted {what}", "no line breaks, no blanks around it"
            )
        return text

    def number(self, least: int) -> int:
        """A whole number."""
        wanted = f"wanted a whole number, {least} or more"
        digits = isinstance(self.value, str) and re.fullmatch(r"[0-9]{1,9}", self.value)
        if not digits or int(digits[0]) < least:
            raise self.error(f"found {self.found()}, {wanted}")
        return int(digits[0])

    def matching(self, pattern: str | re.Pattern[str], what: str) -> str:
        """A scalar that matches the whole of `pattern`."""
        text = self.line_of_text(what)
        if not re.fullmatch(pattern, text):
            raise self.error(f"found {self.found()}, wanted {what}")
        return text

    def name(self) -> str:
        """A name of ours: of a config, a scenario, a toolchain, a feature, a capability."""
        return self.matching(NAME, "a name: small letters, digits, `.`, `_` and `-`")

    def choice(self, choices: Collection[str]) -> str:
        """One word out of a known set."""
        text = self.line_of_text()
        if text not in choices:
            raise self.error(f"unknown: {quoted(text)}", did_you_mean(text, choices))
        return text


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`known: a, b`, led by the one that `word` looks like."""
    near = difflib.get_close_matches(word[:64], known, n=1)
    return (f"did you mean {quoted(near[0])}? " if near else "") + "known: " + ", ".join(known)


def distinct(nodes: Collection[Node], values: Collection[str]) -> tuple[str, ...]:
    """`values`, read from `nodes`, as a tuple in which none comes twice."""
    seen: set[str] = set()
    for node, value in zip(nodes, values, strict=True):
        if value in seen:
            raise node.error(f"{quoted(value)} is listed twice")
        seen.add(value)
    return tuple(values)


def load(path: Path) -> Node:
    """Read one YAML file. Raises SeriesError, always of one line."""
    place = printable(str(path))
    data = read_file(path, LARGEST, place)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SeriesError(place, f"is not UTF-8 text (byte {error.start})") from error
    return parse(text, place)


def parse(text: str, place: str) -> Node:
    """Read YAML text; `place` is the file name to show."""
    try:
        # Only the text is handed over and only nodes come back, no Python object is built from it.
        loader = _Loader(text, place)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SeriesError(
            f"{place}:{line}", "holds a control character that YAML forbids"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}:{mark.column + 1}" if mark else place
        words = " ".join((error.problem or error.context or "does not parse").split())
        raise SeriesError(where, f"not YAML: {words[:200]}") from error
    except (ValueError, OverflowError) as error:  # PyYAML on an escape like "\\UFFFFFFFF"
        raise SeriesError(place, "not YAML: an escape names no character") from error
    if root is None:
        raise SeriesError(place, "is empty")
    return _node(root, place, "")


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses what a small file of ours never needs."""

    def __init__(self, text: str, place: str) -> None:
        super().__init__(text)
        self._place = place
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"{self._place}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise SeriesError(where, "anchors and aliases (& and *) are not taken", "write it out")
        if getattr(event, "tag", None) is not None:
            raise SeriesError(where, f"tag {quoted(str(event.tag))} is not taken", "leave it out")
        if self._depth >= DEEPEST:
            raise SeriesError(where, f"is nested deeper than {DEEPEST} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _node(node: yaml.Node, file: str, key: str, key_node: yaml.Node | None = None) -> Node:
    # A value that starts on a later line than its key is reported where its key stands.
    mark = node.start_mark
    if key_node is not None and key_node.start_mark.line != mark.line:
        mark = key_node.start_mark
    value: Value
    if isinstance(node, yaml.ScalarNode):
        value = None if node.style is None and node.value in NULLS else node.value
        if value is not None and any("\ud800" <= c <= "\udfff" for c in value):
            raise SeriesError(f"{file}:{mark.line + 1}", "an escape names half a character")
    elif isinstance(node, yaml.SequenceNode):
        value = tuple(_node(item, file, f"{key}[{i}]") for i, item in enumerate(node.value))
    else:
        value = _entries(node.value, file, key)
    return Node(file, key, mark.line + 1, mark.column + 1, value)


def _entries(pairs: list[tuple[yaml.Node, yaml.Node]], file: str, key: str) -> dict[str, Node]:
    entries: dict[str, Node] = {}
    for key_node, value_node in pairs:
        here = _node(key_node, file, key)
        if not isinstance(here.value, str):
            raise here.error(f"found {here.found()} for a key, wanted a word")
        word = here.value if NAME.fullmatch(here.value) else quoted(here.value)
        inner = _node(value_node, file, f"{key}.{word}" if key else word, key_node)
        if here.value in entries:
            first = entries[here.value].line
            raise SeriesError(here.place, f"{inner.key}: given twice", f"first on line {first}")
        entries[here.value] = inner
    return entries


def _known(required: Collection[str], optional: Collection[str]) -> str:
    return "known: " + ", ".join([*required, *optional])
