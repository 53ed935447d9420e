# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's stream, read as it comes: KTAP lines and stamped lines, told from everything else.

A stamped line is `# farm <token> <seq> <verb> <json> <crc32>`: the token of this boot, a number
that counts up from 0, and the zlib crc32 (8 lower-case hex digits) of the text from token to
json. On a serial line printk's text stands between and sometimes inside these lines, so whatever
does not fit is counted and left out. The bytes come from the kernel under test: nothing in them
raises, and time and memory stay linear in their length, up to `Limits`.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from stress import ktap
from stress.measurement import Measure

MAX_REASON = 1000
MAX_SAMPLES = 1000
_INT64 = range(-(2**63), 2**63)
_NAME = re.compile(r"[a-z0-9][a-z0-9_+-]*(\.[a-z0-9][a-z0-9_+-]*)*")
_STAMPED = re.compile(rb"([0-9a-z-]+) (0|[1-9][0-9]{0,9}) ([a-z]+) (.+) ([0-9a-f]{8})", re.DOTALL)
_MARK = b"# farm "


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept of a guest's words; the rest is counted and dropped. Sizes in bytes."""

    line: int = 64 * 1024
    total: int = 64 * 1024 * 1024
    scenarios: int = 256
    cases: int = 10_000
    evidence: int = 256
    measures: int = 256


class Rejection(StrEnum):
    """Why a line was left out."""

    OTHER = "other"
    """Neither KTAP nor stamped: printk's lines on a serial line, blank lines, comments."""
    TOKEN = "token"
    """Stamped with another boot's token, or not readable as a stamped line."""
    SUM = "sum"
    """The checksum is wrong: the line was damaged on its way."""
    SEQUENCE = "sequence"
    """Its number was there before."""
    FORM = "form"
    """Rightly stamped, but verb or values are not of the protocol: a fault of the guest side."""
    TOO_LONG = "too-long"
    """Longer than `Limits.line`."""
    OVER_TOTAL = "over-total"
    """A piece of the stream after `Limits.total`."""
    DISORDER = "disorder"
    """Fit to read, but it makes no sense where it stands, or there are too many of its kind."""


class Outcome(StrEnum):
    """How the guest says a scenario ended; whether it passed is decided from cases and evidence."""

    DONE = "done"
    SKIP = "skip"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ScenarioBegin:
    scenario: str
    uptime_ms: int


@dataclass(frozen=True, slots=True)
class CaseBegin:
    case: str
    uptime_ms: int


@dataclass(frozen=True, slots=True)
class Alive:
    uptime_ms: int


@dataclass(frozen=True, slots=True)
class Evidence:
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    measure: Measure


@dataclass(frozen=True, slots=True)
class ScenarioEnd:
    """`intact`: since the begin, all KTAP lines that the guest sent came, as it sent them, and no
    stamped line is missing or meaningless."""

    scenario: str
    outcome: Outcome
    reason: str | None
    intact: bool


@dataclass(frozen=True, slots=True)
class BootEnd:
    """The guest is through; `reason` says why it could not even begin, else None."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class Ktap:
    """A KTAP line; the texts in it are made printable and short."""

    line: ktap.Line


Event = ScenarioBegin | CaseBegin | Alive | Evidence | Measured | ScenarioEnd | BootEnd | Ktap


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a scenario as its line states it, before lines and sum are compared."""

    scenario: str
    outcome: Outcome
    reason: str | None
    lines: int
    checksum: str


class Reader:
    """Turns bytes into events, incrementally. One Reader reads one boot.

    `rejected` counts the lines left out by Rejection; `missing` counts the stamped lines that,
    by their numbers, were sent and never came.
    """

    def __init__(self, token: str, limits: Limits | None = None) -> None:
        self.rejected: dict[Rejection, int] = {}
        self.missing = 0
        self._token = token.encode("ascii")
        self._limits = limits or Limits()
        self._room = self._limits.total
        self._partial = bytearray()
        self._skipping = False
        self._next_seq = 0
        self._ktap_lines = 0
        self._ktap_sum = 0
        self._lost = 0
        self._lost_before = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete, in order."""
        if len(data) > self._room:
            self.reject(Rejection.OVER_TOTAL)
            data = data[: self._room]
        self._room -= len(data)
        *ends, rest = data.split(b"\n")
        events = []
        for end in ends:
            self._extend(end)
            if not self._skipping:
                event = self._line(bytes(self._partial).removesuffix(b"\r"))
                if event is not None:
                    events.append(event)
            self._partial.clear()
            self._skipping = False
        self._extend(rest)
        return events

    def reject(self, why: Rejection) -> None:
        """Count one line as left out."""
        self.rejected[why] = self.rejected.get(why, 0) + 1

    def _extend(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._partial += piece
        if len(self._partial) > self._limits.line:
            self._partial.clear()
            self._skipping = True
            self.reject(Rejection.TOO_LONG)

    def _line(self, line: bytes) -> Event | None:
        # A printk without newline may stand before the mark; the checksum says where ours is.
        start = line.rfind(_MARK)
        if start >= 0:
            return self._stamped(line[start + len(_MARK) :])
        parsed = ktap.parse(line.decode("utf-8", "replace"))
        if parsed is None:
            self.reject(Rejection.OTHER)
            return None
        self._ktap_lines += 1
        self._ktap_sum = zlib.crc32(line + b"\n", self._ktap_sum)
        return Ktap(_tamed(parsed))

    def _stamped(self, text: bytes) -> Event | None:
        match = _STAMPED.fullmatch(text)
        if match is None or match[1] != self._token:
            self.reject(Rejection.TOKEN)
            return None
        if f"{zlib.crc32(text[: match.end(4)]):08x}".encode() != match[5]:
            self.reject(Rejection.SUM)
            return None
        seq = int(match[2])
        if seq < self._next_seq:
            self.reject(Rejection.SEQUENCE)
            return None
        self.missing += seq - self._next_seq
        self._lost += seq - self._next_seq
        self._next_seq = seq + 1
        try:
            event = _VERBS[match[3].decode()](_object(match[4]))
        except (KeyError, ValueError, RecursionError):
            self.reject(Rejection.FORM)
            self._lost += 1
            return None
        if isinstance(event, ScenarioBegin):
            self._ktap_lines = self._ktap_sum = 0
            self._lost_before = self._lost
        if isinstance(event, _End):
            seen = (self._ktap_lines, f"{self._ktap_sum:08x}")
            intact = seen == (event.lines, event.checksum) and self._lost == self._lost_before
            return ScenarioEnd(event.scenario, event.outcome, event.reason, intact)
        return event


def printable(text: str) -> str:
    """Guest text that is fit to store and show: one line, no control characters, bounded."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_REASON])


def is_name(text: str) -> bool:
    """Whether a guest's word is a dotted name (`smoke`, `smoke.hits`) of up to 200 characters."""
    return len(text) <= 200 and _NAME.fullmatch(text) is not None


def _tamed(line: ktap.Line) -> ktap.Line:
    match line:
        case ktap.Subtest(depth, name):
            return ktap.Subtest(depth, printable(name))
        case ktap.Result(depth, ok, number, name, skip, reason):
            reason = printable(reason) if reason else None
            return ktap.Result(depth, ok, number, printable(name), skip, reason)
        case _:
            return line


def _object(text: bytes) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _int(value: object, low: int = 0) -> int:
    if type(value) is not int or not low <= value <= _INT64[-1]:
        raise ValueError("not an integer in range")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("not a name")
    return value


def _reason(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("not a text")
    return printable(value)


def _samples(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SAMPLES:
        raise ValueError("not a list of samples")
    return tuple(_int(one) for one in value)


def _begin(said: Mapping[str, Any]) -> Event:
    uptime = _int(said["uptime_ms"])
    if "case" in said:
        return CaseBegin(_name(said["case"]), uptime)
    return ScenarioBegin(_name(said["scenario"]), uptime)


def _alive(said: Mapping[str, Any]) -> Event:
    return Alive(_int(said["uptime_ms"]))


def _evidence(said: Mapping[str, Any]) -> Event:
    return Evidence(tuple((_name(name), _int(said[name], _INT64[0])) for name in said))


def _measure(said: Mapping[str, Any]) -> Event:
    calls = _int(said["calls"], low=1)
    unit: Literal["ns", "bytes"] = "bytes" if "bytes" in said else "ns"
    totals, base = _samples(said[unit]), _samples(said[f"base_{unit}"])
    return Measured(Measure(_name(said["name"]), calls, totals, base, unit))


def _end(said: Mapping[str, Any]) -> Event | _End:
    reason = _reason(said.get("reason"))
    if said.get("boot") is True:
        return BootEnd(reason)
    if not isinstance(said["sum"], str):
        raise ValueError("not a sum")
    outcome, lines = Outcome(said["outcome"]), _int(said["lines"])
    return _End(_name(said["scenario"]), outcome, reason, lines, said["sum"])


_VERBS: Mapping[str, Callable[[Mapping[str, Any]], Event | _End]] = {
    "begin": _begin,
    "alive": _alive,
    "evidence": _evidence,
    "measure": _measure,
    "end": _end,
}
