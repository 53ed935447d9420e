# SPDX-License-Identifier: GPL-2.0-or-later
"""A boot as it is told, whole and broken off."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress.measurement import measurement
from stress.protocol import Limits, Outcome, Rejection
from stress.scenario import Clock, FeatureState, get
from stress.transcript import BootReport, Case, ScenarioReport, Transcript

STREAM = (Path(__file__).parent / "streams" / "smoke-overhead.port").read_bytes()
STREAM_TOKEN = "da10a57e0a6e04ba"
TOKEN = "0123456789abcdef"


class Guest:
    """Says what init says, with everything stamped rightly."""

    def __init__(self) -> None:
        self.said = b""
        self.seq = self.lines = self.sum = 0

    def stamp(self, verb: str, json: str) -> "Guest":
        text = f"{TOKEN} {self.seq} {verb} {json}"
        self.said += f"# farm {text} {zlib.crc32(text.encode()):08x}\n".encode()
        self.seq += 1
        return self

    def ktap(self, line: str) -> "Guest":
        self.lines += 1
        self.sum = zlib.crc32(f"{line}\n".encode(), self.sum)
        self.said += f"{line}\n".encode()
        return self

    def begin(self, name: str, uptime: int = 100) -> "Guest":
        self.lines = self.sum = 0
        return self.stamp("begin", f'{{"scenario": "{name}", "uptime_ms": {uptime}}}')

    def case(self, name: str, uptime: int = 150) -> "Guest":
        return self.stamp("begin", f'{{"case": "{name}", "uptime_ms": {uptime}}}')

    def end(self, name: str, outcome: str = "done") -> "Guest":
        state = f'"lines": {self.lines}, "sum": "{self.sum:08x}"'
        said = f'{{"scenario": "{name}", "outcome": "{outcome}", "reason": null, {state}}}'
        return self.stamp("end", said)

    def report(self, limits: Limits | None = None) -> BootReport:
        transcript = Transcript(TOKEN, limits)
        transcript.feed(self.said)
        return transcript.report()

    def only(self) -> ScenarioReport:
        (result,) = self.report().scenarios
        return result


def test_a_real_boot() -> None:
    transcript = Transcript(STREAM_TOKEN)
    transcript.feed(STREAM)
    boot = transcript.report()
    assert (boot.ended, boot.reason, boot.rejected, boot.missing) == (True, None, {}, 0)
    smoke, overhead = boot.scenarios
    assert smoke.intact
    assert overhead.intact
    assert [case.name for case in smoke.cases] == [
        f"smoke.{name}"
        for name in [
            "register",
            "hits",
            "optimized",
            "hits-optimized",
            "disable",
            "enable",
            "unregister",
            "text-restored",
        ]
    ]
    assert all(case.ok and not case.skip for case in smoke.cases + overhead.cases)
    for result in (smoke, overhead):
        for check in get(result.name).checks(FeatureState.PRESENT):
            assert check.holds(result.evidence), check.failure(result.evidence)
    figures = [measurement(measure, Clock.ICOUNT) for measure in overhead.measures]
    assert [case.name for case in overhead.cases] == [figure.name for figure in figures]
    assert all(figure.mad < 1 < figure.value for figure in figures)


def test_every_stop_leaves_a_result() -> None:
    """Cut the stream anywhere: only what was said counts, and it counts as not ended."""
    for at in range(0, len(STREAM), 7):
        transcript = Transcript(STREAM_TOKEN)
        transcript.feed(STREAM[:at])
        boot = transcript.report()
        assert not boot.ended
        for result in boot.scenarios:
            assert result.intact == (result.outcome is not None)


def test_a_crash_names_the_open_case() -> None:
    guest = Guest().begin("smoke").case("smoke.hits").ktap("    ok 1 smoke.hits")
    guest.case("smoke.optimized", 170).stamp("alive", '{"uptime_ms": 900}')
    result = guest.only()
    assert result.open_case == "smoke.optimized"
    assert result.cases == (Case("smoke.hits", ok=True, skip=False, reason=None),)
    assert (result.outcome, result.begin_ms, result.last_ms, result.intact) == (
        None,
        100,
        900,
        False,
    )


def test_an_error_keeps_the_open_case() -> None:
    guest = Guest().begin("smoke").case("smoke.hits").ktap("    1..0").end("smoke", "error")
    result = guest.only()
    assert (result.outcome, result.open_case) == (Outcome.ERROR, "smoke.hits")


def test_failures_and_skips() -> None:
    guest = Guest().begin("smoke").case("smoke.a").ktap("    not ok 1 smoke.a # 5 of 10")
    guest.case("smoke.b").ktap("    ok 2 smoke.b # SKIP not here").ktap("    1..2").end("smoke")
    result = guest.only()
    assert result.intact
    assert result.cases == (
        Case("smoke.a", ok=False, skip=False, reason="5 of 10"),
        Case("smoke.b", ok=True, skip=True, reason="not here"),
    )


def test_a_boot_that_could_not_begin() -> None:
    boot = Guest().stamp("end", '{"boot": true, "reason": "job.json: ..."}').report()
    assert (boot.ended, boot.reason, boot.scenarios, boot.last_ms) == (
        True,
        "job.json: ...",
        (),
        None,
    )


def started() -> Guest:
    return Guest().begin("smoke").case("smoke.a").ktap("    ok 1 smoke.a")


@pytest.mark.parametrize(
    "guest",
    [
        started().ktap("    ok 2 smoke.a").ktap("    1..2").end("smoke"),
        started().ktap("    not ok 1 smoke.b").ktap("    1..2").end("smoke"),
        started().ktap("    ok 2 other.b").ktap("    1..2").end("smoke"),
        started().ktap("    ok 2 smoke.B").ktap("    1..2").end("smoke"),
        started().case("smoke.b").ktap("    ok 2 smoke.c").ktap("    1..2").end("smoke"),
        started()
        .case("smoke.b")
        .case("smoke.c")
        .ktap("    ok 2 smoke.c")
        .ktap("    1..2")
        .end("smoke"),
        started().case("smoke.a").ktap("    1..1").end("smoke"),
        started().case("other.b").ktap("    1..1").end("smoke"),
        started().case("smoke.b").ktap("    1..1").end("smoke"),
        started().ktap("    1..2").end("smoke"),
        started().ktap("    1..1").ktap("    1..1").end("smoke"),
        started().end("smoke"),
        started().ktap("    1..1").end("other"),
    ],
    ids=[
        "case twice",
        "wrong number",
        "other scenario's case",
        "bad name",
        "result of another case than the open one",
        "case begins before the last ended",
        "case begins again",
        "other scenario's case begins",
        "case without result",
        "too few results",
        "two plans",
        "no plan",
        "other scenario ends",
    ],
)
def test_not_intact(guest: Guest) -> None:
    assert not guest.only().intact


def test_a_scenario_twice_is_left_out() -> None:
    guest = started().ktap("    1..1").end("smoke").begin("smoke").ktap("    not ok 1 smoke.z")
    boot = guest.report()
    assert len(boot.scenarios) == 1
    assert boot.rejected == {Rejection.DISORDER: 2}


def test_evidence_adds_up() -> None:
    guest = started().stamp("evidence", '{"a": 1, "b": 2}').stamp("evidence", '{"a": 3}')
    assert guest.only().evidence == {"a": 3, "b": 2}


def test_limits() -> None:
    limits = Limits(scenarios=1, cases=2, evidence=2, measures=1)
    guest = started().ktap("    ok 2 smoke.b").ktap("    ok 3 smoke.c")
    guest.stamp("evidence", '{"a": 1, "b": 2, "c": 3}').stamp("evidence", '{"d": 4}')
    for name in "xy":
        said = f'{{"name": "smoke.{name}", "calls": 1, "ns": [1], "base_ns": [1]}}'
        guest.stamp("measure", said)
    guest.begin("other")
    boot = guest.report(limits)
    (result,) = boot.scenarios
    assert [case.name for case in result.cases] == ["smoke.a", "smoke.b"]
    assert result.evidence == {"a": 1, "b": 2}
    assert [measure.name for measure in result.measures] == ["smoke.x"]
    assert boot.rejected == {Rejection.DISORDER: 5}


PRINTK = b"[    1.234567] farm_stress: loading out-of-tree module taints kernel.\r\n"


def test_between_the_lines_of_printk() -> None:
    serial = b"".join(
        PRINTK + line.replace(b"\n", b"\r\n") for line in STREAM.splitlines(keepends=True)
    )
    transcript = Transcript(STREAM_TOKEN)
    transcript.feed(serial)
    boot = transcript.report()
    assert boot.ended
    assert all(result.intact for result in boot.scenarios)
    assert boot.rejected == {Rejection.OTHER: len(STREAM.splitlines())}


def test_printk_inside_a_case_line_is_not_a_whole_result() -> None:
    line = b"    ok 2 smoke.hits\n"
    assert STREAM.count(line) == 1
    transcript = Transcript(STREAM_TOKEN)
    transcript.feed(STREAM.replace(line, line[:9] + PRINTK + line[9:]))
    smoke, overhead = transcript.report().scenarios
    assert not smoke.intact
    assert overhead.intact


LINES = STREAM.splitlines(keepends=True)


@given(st.lists(st.sampled_from(LINES) | st.binary(max_size=30)))
def test_any_order_of_lines(lines: list[bytes]) -> None:
    transcript = Transcript(STREAM_TOKEN, Limits(cases=5, evidence=2))
    for line in lines:
        transcript.feed(line)
        transcript.report()
