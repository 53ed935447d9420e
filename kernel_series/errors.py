# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with a series: always something its owner can mend, never a fault of the farm.

Text of a series that ends up in a message goes through `quoted`, so that a message stays one line
and cannot carry control characters to somebody's terminal.
"""

LONGEST_QUOTE = 80


class SeriesError(Exception):
    """A user error: where it is, what is wrong there, and (often) what would be right."""

    def __init__(self, place: str, message: str, hint: str = "") -> None:
        super().__init__(place, message, hint)
        self.place = place
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class RecipeMisfit(SeriesError):
    """An edit recipe that does not fit the tree it was applied to.

    `file` is the edited file, `edit` the number of the edit in its list (from 1), `found` how often
    the edit's text, line or name was found there.
    """

    def __init__(
        self,
        place: str,
        message: str,
        hint: str = "",
        file: str = "",
        edit: int = 0,
        found: int = 0,
    ) -> None:
        super().__init__(place, message, hint)
        self.args = (place, message, hint, file, edit, found)  # so that pickling keeps them
        self.file = file
        self.edit = edit
        self.found = found


class PatchUnreadable(SeriesError):
    """A patch that must not be applied: no diff in it, damaged, too large, a forbidden path."""


def quoted(text: str, limit: int = LONGEST_QUOTE) -> str:
    """`text` as it may stand in a message: in double quotes, on one line, not too long."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return '"' + printable(shown.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(text: str) -> str:
    """`text` with every character escaped that could break a line or command a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
