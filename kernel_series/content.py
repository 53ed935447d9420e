# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch source gives: patches in order, and what they start from."""

import re
from dataclasses import dataclass

from kernel_series.tree import Change

# For patches that do not say; fixed, so that the commits made from a series are the same each time.
NOBODY = "unknown <unknown@localhost>"
NO_DATE = "2000-01-01T00:00:00+00:00"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Patch:
    """One patch of a series: exactly one of `diff` and `change` is set.

    `subject` is one line without [PATCH ...]; `message` is the rest of the commit message, without
    the subject, and may be empty. `author` is `Name <mail>`, `date` ISO 8601 with its offset from
    UTC. `diff` is unified diff text as `git apply` takes it (-p1); `change` is whole files.
    `origin` says where the patch was found: a commit, a message id, a file, a step of a recipe.
    """

    subject: str
    author: str
    date: str
    message: str
    diff: bytes | None
    change: Change | None
    origin: str

    def __post_init__(self) -> None:
        if (self.diff is None) == (self.change is None):
            raise ValueError(f"{self.origin}: a patch is either a diff or a change")


@dataclass(frozen=True)
class Content:
    """A series, read. `base` is what point 0 differs in from the base tree (empty unless derived).

    `notes` are things that a report should show, such as a mail that was left out. `base_subject`
    says what point 0 is, where the source knows. A `derived` series leads back to the base tree,
    file modes included.
    """

    base: Change
    patches: tuple[Patch, ...]
    notes: tuple[str, ...] = ()
    base_subject: str = ""
    derived: bool = False


def commit_text(data: bytes, charset: str) -> str:
    """Text of a commit or mail. Never fails; control characters are left out."""
    try:
        text = data.decode(charset, "replace")
    except (LookupError, ValueError):  # an unknown or ill-formed character set
        text = data.decode("utf-8", "replace")
    return _CONTROL.sub("", text)
