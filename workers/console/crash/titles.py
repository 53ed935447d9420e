# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes stable titles: what differs from boot to boot goes, what tells faults apart stays."""

import re

from workers.console.crash.frames import SYMBOL, function

TITLE_LIMIT = 200
"""Characters of a title."""

_SYMBOL = re.compile(SYMBOL)
_MODULE = re.compile(r" \[[\w-]{1,64}\]")
_SUFFIX = re.compile(r"(?<=\w)\.(?:isra|constprop|part|cold|llvm|lto_priv|clone)\b[\w.]*")
_NUMBER = re.compile(r"\b(?:0x[0-9a-fA-F]{1,16}|[0-9a-f]{8,16}|\d{1,20})\b")
_BLANKS = re.compile(r"\s+")
_FOREIGN = re.compile(r"[^ -~]")


def title(template: str, groups: dict[str, str]) -> str:
    """A title: at most TITLE_LIMIT characters, and only ASCII, like what the kernel writes."""
    return _FOREIGN.sub("?", template.format(**groups))[:TITLE_LIMIT]


def stable(text: str) -> str:
    """A piece of a kernel's message without offsets, modules, compiler suffixes and numbers."""
    text = _SYMBOL.sub(lambda match: function(match.group()), text[:1000])
    text = _SUFFIX.sub("", _MODULE.sub("", text))
    text = _BLANKS.sub(" ", _NUMBER.sub("N", text))
    return text.strip(" .:;,!")
