# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's shell scripts, run by this host's busybox on a folder that stands for /sys and /proc.

The folder has no kernel behind it: what a kernel would do is a few functions of the shell, put
behind those of report.sh.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from stress import guest

KERNEL = """
place() { echo farm_traced_target+5; }
call() { echo "hit $1 0" >$TRACING/kprobe_profile; }
sleep() { :; }
bytes() {
	case $(tail -n 1 $TRACING/events/farm/hit/enable) in
	1) echo e900000000 ;;
	*) echo 48c7c00100 ;;
	esac
}
"""
"""One that makes a jump of each probe at once, and counts each hit."""

TRACING = "sys/kernel/tracing"
ENABLE = f"{TRACING}/events/farm/hit/enable"
KMEMLEAK = "sys/kernel/debug/kmemleak"
FILES = (f"{TRACING}/kprobe_events", f"{TRACING}/kprobe_profile", ENABLE, KMEMLEAK)
SYSCTL = "proc/sys/debug/kprobes-optimization"


@dataclass(frozen=True)
class Said:
    """What a script said: its cases with what stands behind their names, and its evidence.

    ``begun`` are the times of the guest, in ms, at which its cases began.
    """

    begun: list[int]
    cases: dict[str, tuple[str, str]]
    evidence: dict[str, int]
    other: list[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*FILES, SYSCTL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "proc/uptime").write_text("12.34 20.00\n")
    return tmp_path


def run(root: Path, script: str, *words: str, kernel: str = KERNEL) -> Said:
    """Run one of the guest's scripts, or a text that is not one of them, below ``root``."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox to run the guest's scripts with")
    sources = {name: text.decode() for name, text in guest.scripts().items()}
    sources["report.sh"] += kernel
    sources["script.sh"] = sources.get(script, script)
    (root / "scenarios").mkdir()
    for name, text in sources.items():
        below = re.sub(r"(?<![\w.])/(sys|proc|scenarios|tmp)/", rf"{root}/\1/", text)
        (root / "scenarios" / name).write_text(below)
    command = [busybox, "sh", root / "scenarios" / "script.sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = Said([], {}, {}, [])
    for line in done.stdout.splitlines():
        if case := re.fullmatch(r" {4}(ok|not ok) \d+ \w+\.(\S+)(?: # )?(.*)", line):
            said.cases[case[2]] = (case[1], case[3])
        elif line.startswith("# farm evidence "):
            said.evidence.update(json.loads(line.removeprefix("# farm evidence ")))
        elif line.startswith("# farm begin "):
            said.begun.append(json.loads(line.removeprefix("# farm begin "))["uptime_ms"])
        else:
            said.other.append(line)
    return said


def test_parameters_are_variables(root: Path) -> None:
    said = run(
        root,
        '. /scenarios/report.sh "$@"\necho "$hits $hit_count $text_1 $scenario"\n',
        "scenario=a-b",
        "hits=5",
        "hit-count=6",
        "text-1=x-y=z",
        "bad name=7",
        "$(reboot)=8",
    )
    assert said.other == ["5 6 x-y=z a-b"]


@pytest.mark.parametrize(("uptime", "ms"), [("0.00", 0), ("0.76", 760), ("1234.56", 1234560)])
def test_a_case_says_when_it_begins(root: Path, uptime: str, ms: int) -> None:
    """In the first second too, which a quick machine has for whole scenarios."""
    (root / "proc/uptime").write_text(f"{uptime} 20.00\n")
    said = run(root, '. /scenarios/report.sh "$@"\nbegin first\nok\n', "scenario=x")
    assert said.begun == [ms]


def refuse(path: Path) -> None:
    """Put a folder where a file was: not even root can write to that."""
    path.unlink()
    path.mkdir()


def kmemleak(root: Path, kernel: str = KERNEL) -> Said:
    return run(root, "kmemleak.sh", "scenario=kmemleak", "repetitions=3", kernel=kernel)


def test_kmemleak_has_the_probes_as_evidence(root: Path) -> None:
    said = kmemleak(root)
    assert said.cases == {"probes": ("ok", ""), "no-reports": ("ok", "")}
    assert said.evidence == {"hits": 3, "optimized": 3, "reports": 0, "other-reports": 1}


def test_kmemleak_waits_for_no_jump_where_there_is_none(root: Path) -> None:
    (root / SYSCTL).unlink()
    said = kmemleak(root)
    assert said.cases == {"probes": ("ok", ""), "no-reports": ("ok", "")}
    assert (said.evidence["hits"], said.evidence["optimized"]) == (3, 0)


@pytest.mark.parametrize(
    ("path", "word"), [(FILES[0], "p:farm/hit farm_stress:farm_traced_target+5"), (ENABLE, "1")]
)
def test_kmemleak_says_what_the_kernel_refuses(root: Path, path: str, word: str) -> None:
    refuse(root / path)
    said = kmemleak(root)
    assert said.cases["probes"] == (
        "not ok",
        f"the kernel refuses to write {word} to {root}/{path}",
    )
    assert (said.evidence["hits"], said.evidence["optimized"]) == (0, 0)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("call() { :; }", "0 0"),
        ("call() { : >$TRACING/kprobe_profile; }", "0 0"),
        ("bytes() { grep -q 1 $TRACING/events/farm/hit/enable && echo e9 || echo 48; }", "3 3"),
    ],
)
def test_kmemleak_demands_hits_and_the_text(root: Path, fault: str, seen: str) -> None:
    said = kmemleak(root, KERNEL + fault)
    reason = f"hits, and probes whose text was not restored: {seen}, not 3 0"
    assert said.cases["probes"] == ("not ok", reason)


def test_kmemleak_that_no_longer_scans_found_nothing(root: Path) -> None:
    switched_off = f'sleep() {{ [ "$1" = 6 ] && rm /{KMEMLEAK} && mkdir /{KMEMLEAK}; }}'
    said = kmemleak(root, KERNEL + switched_off)
    assert said.cases["no-reports"] == ("not ok", "kmemleak refuses to scan")
    assert "reports" not in said.evidence


def test_kmemleak_is_skipped_where_it_is_switched_off(root: Path) -> None:
    refuse(root / KMEMLEAK)
    said = kmemleak(root)
    assert said.other == ["# farm skip kmemleak is switched off in this boot"]
    assert not said.cases
