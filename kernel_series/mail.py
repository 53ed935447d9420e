# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as they travel: mails, and files that `git format-patch` or quilt wrote.

Follows git-mailinfo(1): what is the message, what is the diff, which lines at the top of a body
overrule the headers, what a scissors line cuts off. MIME, encoded headers, quoted-printable,
base64, format=flowed (RFC 3676) and CRLF are undone; the diff stays bytes, only the message
becomes text.
"""

import email
import email.errors
import email.header
import email.message
import email.policy
import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from kernel_series.content import NO_DATE, NOBODY, Patch, commit_text
from kernel_series.difftext import LARGEST_PATCH, first_diff_line, read_diff
from kernel_series.errors import PatchUnreadable, quoted
from kernel_series.files import KIB, MIB

LARGEST_MAIL = LARGEST_PATCH + MIB
LONGEST_SUBJECT = 500
LONGEST_AUTHOR = 1000
LONGEST_FIELD = 16 * KIB  # the email package takes quadratic time for some that are longer
MOST_PARTS = 1000

_FIELD = re.compile(r"(?:Subject|From|Date|Message-Id|Content-[A-Za-z-]+):", re.IGNORECASE)
_ENVELOPE = re.compile(rb"From \S+ .*\d\d?:\d\d")
_HEADER = re.compile(rb"(?:From |[A-Za-z][A-Za-z0-9-]*:)")
_SUBJECT = re.compile(rb"^Subject:", re.MULTILINE | re.IGNORECASE)
_REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?)(?:\[\d+\])?:", re.IGNORECASE)
_BRACKET = re.compile(r"\s*\[([^\[\]]{0,200})\]")
_NUMBER = re.compile(r"(?<!\d)(\d{1,4})/(\d{1,4})(?!\d)")
_VERSION = re.compile(r"(?<![a-z0-9])v(\d{1,4})(?![a-z0-9])", re.IGNORECASE)
_IN_BODY = re.compile(r"(From|Subject|Date):[ \t]+(.*)", re.IGNORECASE)
_BREAK = re.compile(rb"diff -|Index: |---(?:\s*$| [^\s])")
_MARKS = (">8", "8<", ">%", "%<")
# What the email package is known to raise on parameters like `name*0*=` that contradict each other.
_EMAIL_FAULTS = (email.errors.MessageError, TypeError, LookupError, ValueError)
_PATCH_TYPES = ("text/plain", "text/x-patch", "text/x-diff", "application/x-patch")


@dataclass(frozen=True)
class Mail:
    """One mail, taken apart. Its subject says `number` of `total` and `version`, or nothing: None.

    `diff` is None if there is none in it. `message_id` may be empty.
    """

    subject: str
    version: int | None
    number: int | None
    total: int | None
    reply: bool
    author: str
    date: str
    message_id: str
    message: str
    diff: bytes | None

    @property
    def title(self) -> str:
        """How to name this mail to a person."""
        return quoted(self.subject) + (f" <{self.message_id}>" if self.message_id else "")

    @property
    def version_meant(self) -> int:
        """The version of the series it belongs to; [PATCH k/M] without vN is the first."""
        return self.version or 1

    def patch(self, origin: str) -> Patch:
        """This mail as a patch. Raises PatchUnreadable."""
        read_diff(self.diff or b"", origin)
        return Patch(self.subject, self.author, self.date, self.message, self.diff, None, origin)


def split_mbox(data: bytes) -> list[bytes]:
    """The mails of an mbox file, in file order; one mail without a `From ` line is one mail.

    As in git-mailsplit a `From ` line counts only if it holds a time, so that a sentence that
    starts with this word cuts no mail in two. One `>` of a `>From ` line is taken off (mboxrd).
    """
    mails: list[list[bytes]] = []
    blank = True
    for line in data.split(b"\n"):
        if blank and _ENVELOPE.match(line):
            mails.append([])
        elif mails or line.strip():
            if not mails:
                mails.append([])
            mails[-1].append(line[1:] if re.match(rb">+From ", line) else line)
        blank = not line.strip()
    return [b"\n".join(lines) for lines in mails]


def looks_like_mail(data: bytes) -> bool:
    """Whether a file starts with mail headers, as format-patch writes them."""
    headers = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return _HEADER.match(headers) is not None and _SUBJECT.search(headers) is not None


def read_mail(data: bytes, place: str) -> Mail:
    """Take one mail apart. Raises PatchUnreadable if it is too large or damaged."""
    if len(data) > LARGEST_MAIL:
        raise PatchUnreadable(place, f"the mail is larger than {LARGEST_MAIL // MIB} MiB")
    data = re.sub(rb"\A(?:From [^\n]*\n)", b"", _unix_lines(data))
    if data.lower().count(b"\ncontent-type:") > MOST_PARTS:
        raise PatchUnreadable(place, f"has more than {MOST_PARTS} parts")
    try:
        mail = email.message_from_bytes(data, policy=_BoundedHeaders())
        body, charset = _body(mail)
    except _LongHeader as error:
        limit = f"more than {LONGEST_FIELD // KIB} KiB"
        raise PatchUnreadable(place, f"has a header of {limit}") from error
    except RecursionError as error:
        raise PatchUnreadable(place, "is nested too deeply") from error
    except _EMAIL_FAULTS as error:
        raise PatchUnreadable(place, "its MIME headers are damaged") from error
    headers = {key: _header(mail, key) for key in ("Subject", "From", "Date", "Message-Id")}
    message, diff = _split_body(body, charset)
    message, overrules = _in_body_headers(message)
    subject, brackets, reply = _opening(headers["Subject"])
    if "subject" in overrules:
        subject, more, _ = _opening(overrules["subject"])
        brackets += more
    version, number, total = _tag(brackets)
    return Mail(
        subject=subject or "(no subject)",
        version=version,
        number=number,
        total=total,
        reply=reply,
        author=_author(overrules.get("from", headers["From"])),
        date=_date(overrules.get("date", headers["Date"])),
        message_id=headers["Message-Id"].strip("<>")[:200],
        message=message,
        diff=diff,
    )


def read_plain(data: bytes, name: str) -> Mail:
    """A patch file without mail headers, as quilt has it: text (or DEP-3 fields), then a diff."""
    message, diff = _split_body(_unix_lines(data), "utf-8")
    described = re.search(r"^(?:Subject|Description):[ \t]*(\S.*)", message, re.MULTILINE)
    author = re.search(r"^(?:From|Author):[ \t]*(\S.*)", message, re.MULTILINE)
    first = described[1] if described else message.partition("\n")[0] or name
    return Mail(
        subject=_opening(_one_line(first))[0] or name,
        version=None,
        number=None,
        total=None,
        reply=False,
        author=_author(_one_line(author[1]) if author else ""),
        date=NO_DATE,
        message_id="",
        message=message,
        diff=diff,
    )


class _LongHeader(Exception):
    """A header that is longer than LONGEST_FIELD."""


class _BoundedHeaders(email.policy.Compat32):
    """Looks at each header as it is parsed, in parts of a mail too, before anything is made of it.

    What only looks like one, in a commit message or a log, is none here.
    """

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        if _FIELD.match(sourcelines[0]) and sum(map(len, sourcelines)) > LONGEST_FIELD:
            raise _LongHeader
        return super().header_source_parse(sourcelines)


# --- the body ------------------------------------------------------------------------------------


def _body(mail: email.message.Message) -> tuple[bytes, str]:
    """The text parts and attached patches of a mail, decoded, and the first one's character set."""
    pieces: list[bytes] = []
    charset = ""
    for part in mail.walk():
        name = str(part.get_filename() or "")
        if part.is_multipart() or not (
            part.get_content_type() in _PATCH_TYPES or name.endswith((".patch", ".diff"))
        ):
            continue
        payload = part.get_payload(decode=True)
        text = _unix_lines(payload) if isinstance(payload, bytes) else b""
        if str(part.get_param("format", "")).lower() == "flowed":
            text = _unflow(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
        pieces.append(text)
        charset = charset or str(part.get_content_charset() or "")
    return b"\n".join(pieces), charset or "utf-8"


def _unix_lines(data: bytes) -> bytes:
    """CRLF made LF, if every line ends so: else a CR belongs to what is patched."""
    lines = data.count(b"\n")
    return data.replace(b"\r\n", b"\n") if lines and data.count(b"\r\n") == lines else data


def _unflow(data: bytes, *, delete_space: bool) -> bytes:
    """Join what format=flowed broke and take off its stuffing (RFC 3676, 4.4 and 4.5)."""
    lines: list[bytes] = []
    held: list[bytes] = []  # of a line that goes on

    for raw in data.split(b"\n"):
        if raw == b"-- ":  # the signature mark is no soft break
            lines += [b"".join(held), raw] if held else [raw]
            held = []
            continue
        line = raw[1:] if raw.startswith(b" ") else raw
        if line.endswith(b" "):
            held.append(line[:-1] if delete_space else line)
        else:
            lines.append(b"".join([*held, line]))
            held = []
    return b"\n".join([*lines, b"".join(held)] if held else lines)


def _split_body(body: bytes, charset: str) -> tuple[str, bytes | None]:
    """The commit message and the diff of a mail's body."""
    start = 0
    message: list[bytes] = []
    for line in body.split(b"\n"):
        if _BREAK.match(line):
            break
        start += len(line) + 1
        message.append(line)
        if _is_scissors(line):
            message = []
    rest = body[start:]
    at = first_diff_line(rest)
    return commit_text(b"\n".join(message), charset).strip(), None if at is None else rest[at:]


def _is_scissors(line: bytes) -> bool:
    """A line such as `-- >8 --`: eight characters or more, a third of them dashes and scissors."""
    text = "".join(line.decode("latin-1").split())
    marks = sum(text.count(mark) for mark in _MARKS)
    dashes = text.count("-")
    return (
        len(line.strip()) >= 8
        and marks > 0
        and dashes >= 2
        and 3 * (dashes + 2 * marks) > len(text)
    )


def _in_body_headers(message: str) -> tuple[str, dict[str, str]]:
    """From:, Subject: and Date: at the top of a body overrule the mail's own headers.

    Of one that goes on and on only the beginning is kept.
    """
    lines = message.split("\n")
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for index, line in enumerate(lines):
        match = _IN_BODY.match(line)
        if match and match[1].lower() not in found:
            last = found[match[1].lower()] = [match[2]]
        elif last and line[:1] in (" ", "\t"):
            last.append(line)
        else:
            lines = lines[index:]
            break
    else:
        lines = []
    headers = {key: _one_line("".join(some)[:LONGEST_FIELD]) for key, some in found.items()}
    return "\n".join(lines).strip(), headers


# --- the headers ---------------------------------------------------------------------------------


def _header(mail: email.message.Message, name: str) -> str:
    """A header as one line of text; encoded words (RFC 2047) decoded, empty if it is missing."""
    value = mail.get(name)
    if value is None:
        return ""
    text = ""
    try:
        for part, charset in email.header.decode_header(value):
            text += part if isinstance(part, str) else commit_text(part, charset or "utf-8")
    except (email.errors.HeaderParseError, ValueError):
        text = str(value)
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _opening(subject: str) -> tuple[str, list[str], bool]:
    """A subject without what git-am takes off its start: (rest, [brackets], whether a `Re:`)."""
    at = 0
    brackets: list[str] = []
    reply = False
    while match := (_BRACKET.match(subject, at) or _REPLY.match(subject, at)):
        if match.re is _BRACKET:
            brackets.append(match[1])
        else:
            reply = True
        at = match.end()
    return subject[at:].strip()[:LONGEST_SUBJECT], brackets, reply


def _tag(brackets: list[str]) -> tuple[int | None, int | None, int | None]:
    """(version, number, total) from what stands in [PATCH v8 3/9]."""
    version = number = total = None
    for bracket in brackets:
        if match := _NUMBER.search(bracket):
            number, total = int(match[1]), int(match[2])
        if match := _VERSION.search(bracket):
            version = int(match[1])
    return version, number, total


def _author(text: str) -> str:
    try:
        name, address = email.utils.parseaddr(text[:LONGEST_AUTHOR])
    except RecursionError:  # comments in comments: ((((
        return NOBODY
    name = "".join(c for c in name if c not in "<>").strip()
    address = "".join(c for c in address if c not in "<> ")
    if "@" not in address:
        return f"{name} <unknown@localhost>" if name else NOBODY
    return f"{name or address} <{address}>"


def _date(text: str) -> str:
    """ISO 8601 with the offset from UTC; NO_DATE if it is none, or none that git could store."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        if not datetime(1971, 1, 1, tzinfo=UTC) <= date < datetime(2100, 1, 1, tzinfo=UTC):
            return NO_DATE
    except (TypeError, ValueError, IndexError, OverflowError):
        return NO_DATE
    return date.isoformat()
