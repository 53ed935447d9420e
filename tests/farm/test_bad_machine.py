# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that lacks something, in real processes: what is missing is named, and how to get it.

A full disk is a real one: a small tmpfs in a mount namespace of the test's own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from farm import doctor
from farm.settings import load
from workers.machines import qemu

ROOT = Path(__file__).parents[2]
FARM = [sys.executable, "-c", "from farm.cli import main; main()"]
FAKE = ["--lab", "fake", "--node", "actor-1"]

COMMANDS = ("apt ", "modprobe ", "usermod ", "rm ", "sysctl ", "export ", "farm ")
"""What an advice may begin with."""


def check_line(said: Any, says: str, status: int = 2) -> None:
    """Check that a command said one line on standard error, and nothing else."""
    assert (said.status, said.stdout) == (status, ""), said
    assert said.stderr.startswith("farm: ")
    assert said.stderr.count("\n") == 1, said.stderr
    assert says in said.stderr


def path_without(folder: Path, missing: Sequence[str]) -> str:
    """Return a PATH with all programs of this host but a few."""
    folder.mkdir()
    for place in reversed(os.get_exec_path()):
        for program in Path(place).glob("*"):
            link = folder / program.name
            link.unlink(missing_ok=True)
            link.symlink_to(program)
    for name in missing:
        (folder / name).unlink()
    return str(folder)


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        (["git"], "git"),
        (["gcc"], "gcc"),
        (["make", "bison"], "bison make"),
        (["bwrap"], "bubblewrap"),
        (["setpriv", "prlimit"], "util-linux"),
        (list(qemu.PROGRAMS.values()), "qemu-system-x86"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_program_that_is_missing_is_named_before_there_is_a_run(
    farm: Any,
    tmp_path: Path,
    series: Any,
    missing: list[str],
    package: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series.patch("explain", {"doc": "x\n"}).write()
    monkeypatch.setenv("PATH", path_without(tmp_path / "bin", missing))
    lab = [] if package.startswith("qemu") else FAKE
    said = farm("submit", series.folder, *lab)
    check_line(said, missing[0])
    assert said.stderr.endswith(package + "\n")
    assert farm("status", "--json").document["runs"] == []


def test_a_run_is_not_resumed_on_a_machine_that_lacks_something(
    farm: Any, tmp_path: Path, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    series.patch("explain", {"doc": "x\n"}).write()
    assert farm("submit", series.folder, *FAKE).status == 0
    monkeypatch.setenv("PATH", path_without(tmp_path / "bin", ["git"]))
    said = farm("resume")
    check_line(said, "this machine has no git; apt install git\n")


def test_without_a_sandbox_none_is_needed(
    farm: Any, tmp_path: Path, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    series.patch("explain", {"doc": "x\n"}).write()
    monkeypatch.setenv("PATH", path_without(tmp_path / "bin", ["bwrap"]))
    assert farm("submit", series.folder, *FAKE, "--no-sandbox").status == 0


@pytest.mark.parametrize("home", ["/proc/farm", "/dev/null", "/sys/kernel"])
def test_a_home_that_cannot_be_written(
    farm: Any, series: Any, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    series.patch("explain", {"doc": "x\n"}).write()
    settings = load({"FARM_HOME": home})
    monkeypatch.setattr("farm.settings.load", lambda environment: settings)
    for words in (["submit", series.folder, *FAKE], ["status"], ["resume"]):
        said = farm(*words)
        check_line(said, f"the farm can't keep anything in {home}/")
        assert said.stderr.endswith("export FARM_HOME=FOLDER\n")


def test_a_database_that_breaks(farm: Any, series: Any, settings: Any) -> None:
    """Its head is whole, so that it can be opened; what stands in it can't be read."""
    series.patch("explain", {"doc": "x\n"}).write()
    assert farm("submit", series.folder, *FAKE).status == 0
    path = settings.data / "farm.db"
    path.write_bytes(path.read_bytes()[:8192] + b"\xa5" * (path.stat().st_size - 8192))
    said = farm("status")
    check_line(said, "farm.db can't be", status=3)


# A full disk

SMALL_DISK = 'mount -t tmpfs -o "size=$1" none "$2" || exit 99; shift 2; eval "$1"'


def on_small_disk(size: str, home: Path, script: str) -> Any:
    """Run a shell script whose FARM_HOME lies on a disk of ``size``; ``farm`` is the command."""
    home.mkdir()
    command = f'farm() {{ {shlex.join(FARM)} "$@"; }}\n{SMALL_DISK}'
    unshared = ["unshare", "--map-root-user", "--mount"]
    said = subprocess.run(
        [*unshared, "sh", "-c", command, "sh", size, str(home), script],
        cwd=ROOT,
        env={**os.environ, "FARM_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode != 99, said.stderr
    return said


FILLING = "vmlinux:\n\t@head -c 8388608 /dev/zero >$(O)/x"


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("16k", "can't be opened: disk I/O error; .*"),
        ("180k", "database or disk is full; .* farm resume 2.* goes on"),
        ("4m", "farm resume 2.* goes on"),
    ],
    ids=["before the run", "in prepare", "in a build"],
)
def test_a_full_disk_loses_nothing(tmp_path: Path, series: Any, size: str, says: str) -> None:
    """Once there is room again, the same run goes on; or a new one, if there was none yet."""
    series.base({"Makefile": series.files["Makefile"].replace("vmlinux:", FILLING)})
    path = series.patch("explain", {"doc": "x\n"}).write()
    submit = shlex.join(["farm", "submit", str(path), *FAKE])
    again = submit if size == "16k" else "farm resume"
    said = on_small_disk(
        size,
        tmp_path / "home",
        f'{submit}; test $? = 3 && mount -o remount,size=64m none "$FARM_HOME" && {again}',
    )
    assert said.returncode == 0, said
    assert re.fullmatch(f"farm: .*{says}\n", said.stderr), said.stderr
    assert "PASS" in said.stdout.splitlines()[-1]


# What the doctor finds


def findings(settings: Any, which: Any = lambda program: f"/usr/bin/{program}") -> Any:
    return {one.what: one for one in doctor.examine(settings, which)}


def check_advice(found: Any) -> None:
    for one in found.values():
        assert (one.state == doctor.GOOD) == (one.advice == "")
        assert one.state == doctor.GOOD or one.advice.startswith(COMMANDS), one


def test_every_advice_is_a_command(settings: Any) -> None:
    found = findings(settings, lambda program: None)
    check_advice(found)
    assert found["git"].advice == "apt install git"
    assert {one.state for one in found.values()} >= {doctor.MISSING, doctor.BETTER}


def test_without_kvm(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, advice in (("none", "modprobe "), ("broken", "rm ")):
        device = tmp_path / name
        if name == "broken":
            device.write_text("")
        monkeypatch.setattr("workers.machines.accelerator.DEVICE", device)
        found = findings(settings)
        check_advice(found)
        assert found["accelerator"].state == doctor.BETTER
        assert found["accelerator"].found.startswith("tcg: ")
        assert found["accelerator"].advice.startswith(advice)


def test_without_space(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE", 1 << 80)
    found = findings(settings)
    check_advice(found)
    assert found["disk"].state == doctor.BETTER


def test_a_home_that_the_doctor_cannot_use(farm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"FARM_HOME": "/proc/farm"})
    monkeypatch.setattr("farm.settings.load", lambda environment: settings)
    said = farm("doctor")
    assert (said.status, said.stderr) == (1, "")
    assert said.stdout.count("-> export FARM_HOME=FOLDER\n") == 2
