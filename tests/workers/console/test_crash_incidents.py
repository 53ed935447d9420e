# SPDX-License-Identifier: GPL-2.0-or-later
"""What is one incident and what are two."""

import pytest

from workers.console.crash import CrashKind, CrashReport, read
from workers.console.crash.incidents import REPORTS_LIMIT
from workers.console.crash.reader import BEFORE

BANNER = "Linux version 6.12.117 (farm@farm) (gcc) #1 SMP\nCommand line: console=ttyS0\n"


def warning(where: str, pid: int = 36) -> str:
    return f"""------------[ cut here ]------------
WARNING: CPU: 0 PID: {pid} at kernel/x.c:1 {where}+0x12/0x20
CPU: 0 UID: 0 PID: {pid} Comm: x Not tainted 6.12.117 #1
RIP: 0010:{where}+0x12/0x20
Call Trace:
 <TASK>
 caller_of_{where}+0x1/0x2
 </TASK>
---[ end trace 0000000000000000 ]---
"""


def oops(where: str, number: int = 1) -> str:
    return f"""BUG: kernel NULL pointer dereference, address: 0000000000000010
Oops: Oops: 0000 [#{number}] SMP
CPU: 0 UID: 0 PID: 36 Comm: x Not tainted 6.12.117 #1
RIP: 0010:{where}+0x12/0x20
Call Trace:
 <TASK>
 caller_of_{where}+0x1/0x2
 </TASK>
---[ end trace 0000000000000000 ]---
"""


def soft_lockup(where: str, pid: int, cpu: int = 0) -> str:
    return f"""watchdog: BUG: soft lockup - CPU#{cpu} stuck for 22s! [x:{pid}]
CPU: {cpu} UID: 0 PID: {pid} Comm: x Not tainted 6.12.117 #1
RIP: 0010:{where}+0x12/0x20
Call Trace:
 <TASK>
 kthread+0x1/0x2
 </TASK>
"""


def rcu_stall(where: str, pid: int) -> str:
    return f"""rcu: INFO: rcu_sched self-detected stall on CPU
rcu: \t1-....: (750 ticks this GP) idle=0674/1/0x4000000000000000 softirq=31/32 fqs=375
CPU: 1 UID: 0 PID: {pid} Comm: x Not tainted 6.12.117 #1
RIP: 0010:{where}+0x12/0x20
Call Trace:
 <TASK>
 kthread+0x1/0x2
 </TASK>
"""


PANIC = "Kernel panic - not syncing: {}\n"
QUIET = "".join(f"ktest: round {number}\n" for number in range(400))


def found(console: str) -> list[CrashReport]:
    return list(read(console.encode()))


def titles(console: str) -> list[str]:
    return [report.title for report in found(console)]


W, O = "WARNING in {}", "BUG: kernel NULL pointer dereference in {}"  # noqa: E741


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        pytest.param(
            warning("a") + QUIET + oops("b"), [W.format("a"), O.format("b")], id="early WARN"
        ),
        pytest.param(warning("a") + warning("b"), [W.format("a"), W.format("b")], id="two WARNs"),
        pytest.param(oops("a") + oops("b", 2), [O.format("a"), O.format("b")], id="two oopses"),
        pytest.param(
            oops("a") + PANIC.format("Fatal exception"), [O.format("a")], id="oops, panic"
        ),
        pytest.param(
            warning("a") + QUIET + PANIC.format("Attempted to kill init! exitcode=0x100"),
            [W.format("a"), "Kernel panic - not syncing: Attempted to kill init"],
            id="init that exits long after a WARN is no part of it",
        ),
        pytest.param(
            oops("a") + PANIC.format("Attempted to kill init! exitcode=0x0000000b"),
            [O.format("a")],
            id="init that dies of an oops",
        ),
        pytest.param(
            PANIC.format("VFS: no root") + warning("native_smp_send_stop") + soft_lockup("x", 1),
            ["Kernel panic - not syncing: VFS: no root"],
            id="after a panic nothing is news",
        ),
        pytest.param(
            PANIC.format("first") + BANNER + PANIC.format("second"),
            [f"Kernel panic - not syncing: {which}" for which in ("first", "second")],
            id="but after the next boot it is",
        ),
        pytest.param(
            oops("a") + QUIET + soft_lockup("lock", 99), [O.format("a")], id="oops, then stuck"
        ),
        pytest.param(
            soft_lockup("spin", 36) + QUIET + rcu_stall("other", 36),
            ["BUG: soft lockup in spin"],
            id="one stuck task, two watchers",
        ),
        pytest.param(
            rcu_stall("spin", 36) + QUIET + soft_lockup("spin", 37),
            ["INFO: rcu detected stall in spin"],
            id="one stuck place, two tasks",
        ),
        pytest.param(
            soft_lockup("spin", 36) + QUIET + rcu_stall("other", 37),
            ["BUG: soft lockup in spin", "INFO: rcu detected stall in other"],
            id="two stuck tasks",
        ),
    ],
)
def test_incidents(console: str, expected: list[str]) -> None:
    assert titles(BANNER + console) == expected


def test_what_follows_is_named_and_makes_the_incident_fatal() -> None:
    (report,) = found(
        warning("a").replace("---[ end trace", "x") + PANIC.format("kernel: panic_on_warn set ...")
    )
    assert (report.kind, report.fatal) == (CrashKind.WARNING, True)
    assert report.also == ("Kernel panic - not syncing: kernel: panic_on_warn set",)
    assert "panic_on_warn" in report.excerpt


def test_the_same_report_again_is_counted() -> None:
    (report,) = found(BANNER + (warning("a", 36) + QUIET + warning("a", 37)) * 3)
    assert (report.line, report.repeats) == (3, 5)


def test_a_reboot_is_laid_to_the_death_before_it() -> None:
    (report,) = found(BANNER + oops("a") + QUIET + BANNER)
    assert (report.title, report.also) == (O.format("a"), ("unexpected reboot",))


def test_a_reboot_after_a_mere_warning_is_news() -> None:
    assert titles(BANNER + warning("a") + QUIET + BANNER) == [W.format("a"), "unexpected reboot"]


def test_a_reboot_that_was_asked_for_is_none() -> None:
    assert titles(BANNER + QUIET + "reboot: Restarting system\n" + BANNER) == []
    assert titles(BANNER + "reboot: Restarting system\n" + QUIET + BANNER) == ["unexpected reboot"]


def test_reading_proc_version_is_no_reboot() -> None:
    assert titles(BANNER + QUIET + BANNER.splitlines()[0] + "\n" + QUIET) == []


def test_reports_of_two_callers_are_read_apart() -> None:
    def from_caller(text: str, caller: str) -> list[str]:
        return [f"[    1.000000][{caller:>6}] {line}" for line in text.splitlines()]

    mixed = "\n".join(
        line
        for pair in zip(from_caller(warning("a"), "T1"), from_caller(oops("b"), "C1"), strict=True)
        for line in pair
    )
    reports = found(mixed)
    assert [report.title for report in reports] == [W.format("a"), O.format("b")]
    assert [report.frames for report in reports] == [("a", "caller_of_a"), ("b", "caller_of_b")]
    assert not any(report.corrupted for report in reports)


def test_reports_that_can_not_be_told_apart_are_corrupted() -> None:
    first, second = soft_lockup("a", 1).splitlines(), soft_lockup("b", 2, 1).splitlines()
    mixed = "\n".join(line for pair in zip(first, second, strict=True) for line in pair)
    assert [report.corrupted for report in found(mixed)] == [True, True]


def test_a_report_that_is_cut_off_before_its_place_is_corrupted() -> None:
    text = oops("a")
    for end in range(text.index("BUG") + 40, len(text)):
        (report,) = found(text[:end])
        assert report.corrupted == ("a+0x12/0x2" not in text[:end])


def test_the_excerpt_begins_a_few_lines_before() -> None:
    (report,) = found(BANNER + QUIET + warning("a"))
    assert report.excerpt.splitlines()[:BEFORE] == QUIET.splitlines()[-BEFORE:]


def test_the_first_incidents_are_told_apart() -> None:
    reports = found(BANNER + "".join(warning(f"f{number:03}") for number in range(150)))
    assert len(reports) == REPORTS_LIMIT
    assert reports[-1].title == W.format("f099")


def test_user_text_needs_a_trace_where_the_kernel_writes_the_time() -> None:
    timed = "".join(f"[    1.000000] {line}\n" for line in BANNER.splitlines())
    assert titles(timed + PANIC.format("said a script")) == []
    assert titles(timed + oops("a")) == [O.format("a")]
