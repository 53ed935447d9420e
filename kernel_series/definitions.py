# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in a C file a name is defined: what `within:` of an edit means.

A definition starts on a line whose first column holds a letter or `_` (kernel style: nothing but
file-scope code stands there) and that holds the name as a whole word. It is one of

    type name(arguments) attributes {   a function; its type may stand on the line before
    MACRO(name, ...) {                  a function made by a macro, such as SYSCALL_DEFINE1
    struct name {                       also union and enum
    type name[...] attributes = {       an object with an initialiser

A prototype, a declaration or a call ends in `;` before any `{` comes, and that is how they are
told apart. Comments, strings and character constants are blanked out first, so that no brace in
them counts.

The region goes up to and including the first later line that starts with `}`; a definition that
opens and closes its braces on one line (an empty stub) is that line. Definitions of one name under
#ifdef and #else are all regions of it.
"""

import re
from itertools import islice

LONGEST_LINE = 1000  # of a line that can define something
MOST_WORDS = 4  # times that such a line is looked at for one name: `struct x *x(struct x *x)`
LONGEST_SIGNATURE = 2000  # characters from the name to its `{`

# Every alternative also matches where its end is missing: so the scan of any file is linear.
_QUIET = re.compile(
    r"""/\*.*?(?:\*/|\Z) | //[^\n]* | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?""",
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTES = r"(?:\s+__\w+(?:\([^()]*\))?)*"
_BEFORE_FUNCTION = re.compile(r"(?:[A-Za-z_][\w\s*]*(?:\([^()]*\)[\w\s*]*)*)?")
_BEFORE_AGGREGATE = re.compile(r"(?:[A-Za-z_][\w\s]*\s)?(?:struct|union|enum)\s+")
_BEFORE_MADE = re.compile(r"(?:static\s+)?[A-Z][A-Z0-9_]*\(\s*")
_MADE = re.compile(r"(?:,[^(){};]*)?\)\s*\{")
_AGGREGATE = re.compile(_ATTRIBUTES + r"\s*\{")
_OBJECT = re.compile(r"(?:\[[^\]\n]*\])*" + _ATTRIBUTES + r"\s*=\s*\{")


def regions(text: str, name: str) -> tuple[tuple[int, int], ...]:
    """(start, end) of every definition of `name` in `text`, as offsets of whole lines."""
    code = _QUIET.sub(lambda quiet: re.sub(r"[^\n]", " ", quiet.group()), text)
    word = re.compile(rf"\b{re.escape(name)}\b")
    found: list[tuple[int, int]] = []
    start = 0
    for line in code.split("\n"):
        inside = bool(found) and start < found[-1][1]
        if not inside and len(line) <= LONGEST_LINE and re.match(r"[A-Za-z_]", line):
            for match in islice(word.finditer(line), MOST_WORDS):
                brace = _opening_brace(code, line[: match.start()], start + match.end())
                end = None if brace is None else _end(code, brace)
                if end is not None:
                    found.append((start, end))
                    break
        start += len(line) + 1
    return tuple(found)


def _opening_brace(code: str, before: str, end: int) -> int | None:
    """Offset of the `{` of what the word ending at `end` defines, None if it defines nothing."""
    after = code[end : end + LONGEST_SIGNATURE]
    if _BEFORE_AGGREGATE.fullmatch(before):
        match = _AGGREGATE.match(after)
    elif _BEFORE_MADE.fullmatch(before):
        match = _MADE.match(after)
    elif not _BEFORE_FUNCTION.fullmatch(before):
        return None
    elif re.match(r"\s*\(", after):
        brace = _behind_arguments(after)
        return None if brace is None else end + brace
    else:
        match = _OBJECT.match(after) if before else None
    return end + match.end() - 1 if match else None


def _behind_arguments(after: str) -> int | None:
    """Offset of the `{` behind an argument list, None when the declaration ends before it."""
    depth = 0
    for match in re.finditer(r"[(){};=,]", after):
        match match.group():
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case "{" if depth == 0:
                return match.start()
            case _ if depth <= 0:
                return None
    return None


def _end(code: str, brace: int) -> int | None:
    newline = code.find("\n", brace)
    rest = code[brace : newline + 1 if newline >= 0 else len(code)]
    if rest.count("{") == rest.count("}"):
        return brace + len(rest)
    close = code.find("\n}", brace)
    if close < 0:
        return None
    after = code.find("\n", close + 1)
    return after + 1 if after >= 0 else len(code)
