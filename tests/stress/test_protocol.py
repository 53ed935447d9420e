# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of the guest's stream: what it takes, what it leaves out, and that it never breaks."""

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress import ktap
from stress.measurement import Measure
from stress.protocol import (
    Alive,
    BootEnd,
    CaseBegin,
    Event,
    Evidence,
    Ktap,
    Limits,
    Measured,
    Outcome,
    Reader,
    Rejection,
    ScenarioBegin,
    ScenarioEnd,
)

TOKEN = "0123456789abcdef"
STREAM = (Path(__file__).parent / "streams" / "smoke-overhead.port").read_bytes()
STREAM_TOKEN = "da10a57e0a6e04ba"


def stamped(seq: int | str, verb: str, said: object, token: str = TOKEN) -> bytes:
    """A stamped line; `said` is made JSON unless it is bytes already."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    text = f"{token} {seq} {verb} ".encode() + body
    return b"# farm " + text + f" {zlib.crc32(text):08x}\n".encode()


def read(data: bytes, limits: Limits | None = None) -> tuple[list[Event], Reader]:
    reader = Reader(TOKEN, limits)
    return reader.feed(data), reader


END = {"scenario": "smoke", "outcome": "done", "reason": None, "lines": 0, "sum": "00000000"}


@pytest.mark.parametrize(
    ("verb", "said", "event"),
    [
        ("begin", {"scenario": "smoke", "uptime_ms": 1234}, ScenarioBegin("smoke", 1234)),
        ("begin", {"case": "smoke.hits", "uptime_ms": 5}, CaseBegin("smoke.hits", 5)),
        ("begin", {"case": "geometry.plus+9", "uptime_ms": 5}, CaseBegin("geometry.plus+9", 5)),
        ("alive", {"uptime_ms": 0, "more": "later"}, Alive(0)),
        ("evidence", {"a": 1, "b-c": -2}, Evidence((("a", 1), ("b-c", -2)))),
        (
            "measure",
            {"name": "overhead.kprobe", "calls": 10, "ns": [5, 6], "base_ns": [1]},
            Measured(Measure("overhead.kprobe", 10, (5, 6), (1,))),
        ),
        (
            "measure",
            {"name": "memory.system", "calls": 10, "bytes": [5], "base_bytes": [1]},
            Measured(Measure("memory.system", 10, (5,), (1,), "bytes")),
        ),
        ("end", END, ScenarioEnd("smoke", Outcome.DONE, None, True)),
        (
            "end",
            END | {"outcome": "error", "reason": "errno\n\x1b[31m 5"},
            ScenarioEnd("smoke", Outcome.ERROR, "errno??[31m 5", True),
        ),
        ("end", END | {"lines": 1}, ScenarioEnd("smoke", Outcome.DONE, None, False)),
        ("end", END | {"sum": "00000001"}, ScenarioEnd("smoke", Outcome.DONE, None, False)),
        ("end", {"boot": True}, BootEnd(None)),
        ("end", {"boot": True, "reason": "no job"}, BootEnd("no job")),
    ],
)
def test_stamped_lines(verb: str, said: object, event: Event) -> None:
    events, reader = read(stamped(0, verb, said))
    assert events == [event]
    assert reader.rejected == {}


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("begin", {"scenario": "smoke"}),
        ("begin", {"scenario": "Smoke", "uptime_ms": 1}),
        ("begin", {"scenario": "../x", "uptime_ms": 1}),
        ("begin", {"case": "smoke..x", "uptime_ms": 1}),
        ("begin", {"case": "a" * 201, "uptime_ms": 1}),
        ("begin", {"case": None, "uptime_ms": 1}),
        ("alive", {"uptime_ms": -1}),
        ("alive", {"uptime_ms": True}),
        ("alive", {"uptime_ms": 1.5}),
        ("alive", {"uptime_ms": 2**63}),
        ("alive", b'{"uptime_ms": NaN}'),
        ("alive", b'{"uptime_ms": ' + b"9" * 5000 + b"}"),
        ("alive", b"[" * 50_000),
        ("alive", b"{} {}"),
        ("alive", b"\xff\xfe"),
        ("alive", []),
        ("alive", {}),
        ("evidence", {"hits": "1000"}),
        ("evidence", {"hits": True}),
        ("evidence", {"Hits": 1}),
        ("measure", {"name": "a.b", "calls": 1, "bytes": [1], "base_ns": [1]}),
        ("measure", {"name": "a.b", "calls": 0, "ns": [1], "base_ns": [1]}),
        ("measure", {"name": "a.b", "calls": 1, "ns": [], "base_ns": [1]}),
        ("measure", {"name": "a.b", "calls": 1, "ns": [-1], "base_ns": [1]}),
        ("measure", {"name": "a.b", "calls": 1, "ns": [1] * 1001, "base_ns": [1]}),
        ("measure", {"name": "a.b", "calls": 1, "ns": 1, "base_ns": [1]}),
        ("end", END | {"outcome": "pass"}),
        ("end", END | {"sum": 5}),
        ("end", END | {"reason": 5}),
        ("end", {"boot": 1}),
        ("kill", {}),
    ],
)
def test_rightly_stamped_nonsense(verb: str, said: object) -> None:
    events, reader = read(stamped(0, verb, said))
    assert events == []
    assert reader.rejected == {Rejection.FORM: 1}


GOOD = stamped(0, "alive", {"uptime_ms": 1})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (stamped(0, "alive", {"uptime_ms": 1}, token="fedcba9876543210"), Rejection.TOKEN),
        (b"# farm \n", Rejection.TOKEN),
        (b"# farm " + TOKEN.encode() + b" 0 alive\n", Rejection.TOKEN),
        (stamped("00", "alive", {"uptime_ms": 1}), Rejection.TOKEN),
        (stamped("-1", "alive", {"uptime_ms": 1}), Rejection.TOKEN),
        (stamped("99999999999", "alive", {"uptime_ms": 1}), Rejection.TOKEN),
        (GOOD.replace(b": 1", b": 2"), Rejection.SUM),
        (GOOD.replace(b" 0 ", b" 5 "), Rejection.SUM),
        (GOOD.upper().replace(b"# FARM", b"# farm"), Rejection.TOKEN),
        (GOOD[:20] + b"[    1.5] oops\n", Rejection.TOKEN),
        (b"[    0.000000] Linux version 6.12\n", Rejection.OTHER),
        (b"\n", Rejection.OTHER),
        (b"\xff\xfe\x00\n", Rejection.OTHER),
    ],
)
def test_left_out(line: bytes, why: Rejection) -> None:
    events, reader = read(line + GOOD)
    assert events == [Alive(1)]
    assert reader.rejected == {why: 1}


def test_a_number_that_was_there_is_left_out() -> None:
    events, reader = read(GOOD + GOOD)
    assert events == [Alive(1)]
    assert reader.rejected == {Rejection.SEQUENCE: 1}
    assert reader.missing == 0


def test_a_gap_is_counted_and_the_scenario_is_not_intact() -> None:
    begin = stamped(3, "begin", {"scenario": "smoke", "uptime_ms": 1})
    events, reader = read(begin + stamped(5, "end", END))
    assert events[-1] == ScenarioEnd("smoke", Outcome.DONE, None, intact=False)
    assert reader.missing == 4
    # What was missing before its begin is not this scenario's loss.
    events, _ = read(begin + stamped(4, "end", END))
    assert events[-1] == ScenarioEnd("smoke", Outcome.DONE, None, intact=True)


def test_a_meaningless_line_leaves_the_scenario_not_intact() -> None:
    begin = stamped(0, "begin", {"scenario": "smoke", "uptime_ms": 1})
    events, _ = read(begin + stamped(1, "evidence", {"hits": "x"}) + stamped(2, "end", END))
    assert events[-1] == ScenarioEnd("smoke", Outcome.DONE, None, intact=False)


def test_printk_before_the_mark_and_a_carriage_return_after() -> None:
    events, _ = read(b"[    1.0] no newline" + GOOD.replace(b"\n", b"\r\n"))
    assert events == [Alive(1)]


def test_ktap_is_tamed() -> None:
    events, _ = read(b"    not ok 1 smoke.x # \x1b[2J\xff" + b"y" * 2000 + b"\n")
    (event,) = events
    assert isinstance(event, Ktap)
    assert isinstance(event.line, ktap.Result)
    assert event.line.reason is not None
    assert event.line.reason.startswith("?[2J\N{REPLACEMENT CHARACTER}y")
    assert len(event.line.reason) == 1000


def test_a_line_that_is_too_long() -> None:
    long = b"x" * 100
    events, reader = read(long + GOOD + GOOD, Limits(line=100))
    assert events == [Alive(1)]
    assert reader.rejected == {Rejection.TOO_LONG: 1}


def test_nothing_is_kept_of_an_endless_line() -> None:
    reader = Reader(TOKEN)
    for _ in range(100):
        reader.feed(b"x" * 10_000)
    assert reader.rejected == {Rejection.TOO_LONG: 1}
    assert len(reader._partial) == 0


def test_the_total_is_limited() -> None:
    reader = Reader(TOKEN, Limits(total=len(GOOD) + 5))
    assert reader.feed(GOOD + GOOD) == [Alive(1)]
    assert reader.feed(GOOD) == []
    assert reader.rejected == {Rejection.OVER_TOTAL: 2}


def test_what_a_real_guest_said() -> None:
    reader = Reader(STREAM_TOKEN)
    events = reader.feed(STREAM)
    assert reader.rejected == {}
    assert reader.missing == 0
    ends = [event for event in events if isinstance(event, ScenarioEnd)]
    assert ends == [
        ScenarioEnd("smoke", Outcome.DONE, None, intact=True),
        ScenarioEnd("overhead", Outcome.DONE, None, intact=True),
    ]
    assert events[-1] == BootEnd(None)


@given(st.lists(st.integers(1, 200), min_size=1))
def test_the_pieces_do_not_matter(sizes: list[int]) -> None:
    reader, events, at = Reader(STREAM_TOKEN), [], 0
    while at < len(STREAM):
        size = sizes[at % len(sizes)]
        events += reader.feed(STREAM[at : at + size])
        at += size
    assert events == Reader(STREAM_TOKEN).feed(STREAM)


pieces = st.one_of(
    st.binary(),
    st.sampled_from(
        [b"\n", b"# farm ", TOKEN.encode(), b" 0 ", b"ok 1 ", b"    ", b"KTAP version 1"]
    ),
    st.builds(
        stamped,
        st.integers(0, 20),
        st.sampled_from(["begin", "alive", "evidence", "measure", "end"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.just("smoke"),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        ["scenario", "case", "uptime_ms", "name", "calls", "ns", "boot"]
                    ),
                    inner,
                )
            ),
        ),
    ),
)


@given(st.lists(pieces))
def test_nothing_raises(data: list[bytes]) -> None:
    reader = Reader(TOKEN, Limits(line=500, total=5000))
    for piece in data:
        reader.feed(piece)


@given(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=20))
def test_damage_is_seen(at: int, garbage: bytes) -> None:
    """Bytes overwritten anywhere: a scenario that still counts as intact lost nothing."""
    damaged = STREAM[:at] + garbage + STREAM[at + len(garbage) :]
    good = told(Reader(STREAM_TOKEN).feed(STREAM))
    for name, events in told(Reader(STREAM_TOKEN).feed(damaged)).items():
        end = events[-1]
        if isinstance(end, ScenarioEnd) and end.intact:
            assert events == good[name]


def told(events: list[Event]) -> dict[str, list[Event]]:
    """The events by scenario, from its begin to its end."""
    stories: dict[str, list[Event]] = {}
    now: list[Event] = []
    for event in events:
        if isinstance(event, ScenarioBegin):
            now = stories[event.scenario] = []
        now.append(event)
        if isinstance(event, ScenarioEnd):
            now = []
    return stories
