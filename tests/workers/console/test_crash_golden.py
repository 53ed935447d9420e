# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden consoles: every rule has one, and says the same however printk dresses its lines.

`origin: real` consoles were recorded from Linux 6.12.117 in QEMU with a module that commits the
fault on purpose, and trimmed; the others are written after the kernel's own format strings.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from workers.console.crash import EXCERPT_LIMIT, CrashKind, CrashReport, read, rules
from workers.console.crash.lines import lines
from workers.console.crash.rule import ANYWHERE, Rule

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.yml"))


@cache
def console(name: str) -> bytes:
    return (GOLDEN / f"{name}.txt").read_bytes()


@cache
def expected(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((GOLDEN / f"{name}.yml").read_text())
    return document


def described(report: CrashReport) -> dict[str, Any]:
    """A report as the golden files write it: what is empty is left out."""
    fields = {
        "title": report.title,
        "kind": report.kind.value,
        "line": report.line,
        "frames": list(report.frames),
        "fatal": report.fatal,
        "corrupted": report.corrupted,
    }
    rare = {"also": list(report.also), "repeats": report.repeats}
    return fields | {name: value for name, value in rare.items() if value}


def titles(console_bytes: bytes) -> list[str]:
    return [report.title for report in read(console_bytes)]


@cache
def rules_that_begin(name: str) -> frozenset[str]:
    found = (rules.find(line.text) for line in lines(console(name)))
    begun = {match[0].name for match in found if match is not None}
    return frozenset(begun | ({"reboot"} if rules.REBOOT.title in str(expected(name)) else set()))


@pytest.mark.parametrize("name", NAMES)
def test_reads_exactly_the_expected_reports(name: str) -> None:
    assert [described(report) for report in read(console(name))] == expected(name)["reports"]


@pytest.mark.parametrize("name", NAMES)
def test_the_excerpt_holds_the_report(name: str) -> None:
    text = console(name).decode().splitlines()
    for report in read(console(name)):
        first = text[report.line - 1].strip("\x1b\r ")
        assert first[-60:] in report.excerpt
        assert len(report.excerpt) <= EXCERPT_LIMIT
        assert "\0" not in report.excerpt
        assert report.skipped == 0


def test_consoles_and_expectations_come_in_pairs() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == NAMES
    assert {expected(name)["origin"] for name in NAMES} == {"real", "from format strings"}
    assert {expected(name)["kernel"] for name in NAMES} == {"2.6.33", 6.12}


def test_every_kind_has_a_golden_console() -> None:
    seen = {report["kind"] for name in NAMES for report in expected(name)["reports"]}
    assert seen == {kind.value for kind in CrashKind}


@pytest.mark.parametrize("rule", [*rules.RULES, rules.REBOOT], ids=lambda rule: rule.name)
def test_every_rule_begins_a_report_in_some_golden_console(rule: Rule) -> None:
    assert any(rule.name in rules_that_begin(name) for name in NAMES)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_without_a_rule_some_golden_console_is_read_wrong(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    concerned = [name for name in NAMES if rule.name in rules_that_begin(name)]
    rest = tuple(other for other in rules.RULES if other is not rule)
    monkeypatch.setattr(rules, "RULES", rest)
    right = [
        [described(report) for report in read(console(name))] == expected(name)["reports"]
        for name in concerned
    ]
    assert not all(right)


def test_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in rules.RULES]
    assert len(set(names)) == len(names)
    inside = {name for rule in rules.RULES for name in rule.inside} - ANYWHERE
    assert inside <= set(names)


# What differs from boot to boot, each with what may replace it.
CHANGES = {
    "addresses": (rb"\b(0x)?[89a-f][0-9a-f]{7}([0-9a-f]{8})?\b", rb"\g<1>c0ffee00"),
    "offsets": (rb"\+0x[0-9a-f]+/0x[0-9a-f]+", b"+0x77/0x777"),
    "times": (rb"\[ *\d+\.(\d{6})\]", rb"[98765.\1]"),
    "pids": (rb"(PID: |Pid: |pid: ?|tgid:|:|/)(\d+)\b(?=[],/ ])", rb"\g<1>31\g<2>"),
    "cpus": (rb"(CPU: |CPU |CPU#|cpu )\d+\b", rb"\g<1>13"),
    "suffixes": (rb"\b([a-z_]\w+)(?:\.[\w.]+)?(\+0x[0-9a-f]+/0x)", rb"\1.constprop.7.cold\2"),
    "modules": (rb"(\+0x[0-9a-f]+/0x[0-9a-f]+)(?: \[\w+\])?(?=\r?\n)", rb"\1 [other_name]"),
    "line-numbers": (rb"(\.c:)\d+", rb"\g<1>4711"),
    "crlf": (rb"\r*\n", b"\r\r\n"),
    "levels": (rb"(?m)^(\[ *\d+\.\d{6}\])", rb"<4>\1"),
    "blank-lines": (rb"\n", b"\n\n"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_titles_are_stable(name: str, change: str) -> None:
    changed = re.sub(*CHANGES[change], console(name))
    assert titles(changed) == [report["title"] for report in expected(name)["reports"]]


WITHOUT_CALLERS = [n for n in NAMES if not re.search(rb"\]\[ *[TC]\d", console(n))]
# Only the time tells the kernel's lines from the user's there.
NEED_TIMES = {"clean-tricky", "clean-tricky-caller-ids", "bug-other"}
TIMED = [name for name in WITHOUT_CALLERS if re.search(rb"\[ *\d+\.\d{6}\]", console(name))]


@pytest.mark.parametrize("caller", [b"T412", b"    C1", b"T412@C1"])
@pytest.mark.parametrize("name", WITHOUT_CALLERS)
def test_titles_do_not_depend_on_caller_ids(name: str, caller: bytes) -> None:
    with_caller = re.sub(rb"(\[ *\d+\.\d{6}\])", rb"\1[" + caller + b"]", console(name))
    assert titles(with_caller) == [report["title"] for report in expected(name)["reports"]]


@pytest.mark.parametrize("name", [name for name in TIMED if name not in NEED_TIMES])
def test_titles_do_not_depend_on_times(name: str) -> None:
    untimed = re.sub(rb"\[ *\d+\.\d{6}\] ?", b"", console(name))
    assert titles(untimed) == [report["title"] for report in expected(name)["reports"]]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "Linux version" not in str(console(name))]
)
def test_a_report_is_found_in_the_middle_of_a_boot(name: str) -> None:
    boot = console("clean" if name in TIMED else "clean-untimed").split(b"\n")
    middle = len(boot) // 2
    reports = read(b"\n".join([*boot[:middle], console(name), *boot[middle:-4]]))
    assert [report.title for report in reports] == [r["title"] for r in expected(name)["reports"]]
    assert [report.line - middle for report in reports] == [
        report["line"] for report in expected(name)["reports"]
    ]


def test_reports_of_two_boots_stay_apart() -> None:
    first, second = console("null-pointer"), console("int3")
    banner = b"[    0.000000] Linux version 6.12.117 (farm@farm) #1 SMP\n"
    assert titles(banner + first + banner + second) == [*titles(first), *titles(second)]
