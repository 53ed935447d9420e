# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting, watching and ending processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers import process
from workers.errors import Cancelled, InfrastructureError
from workers.process import Cancel, Limits

ROOT = Path(__file__).parent.parent.parent

Living = Callable[[str], list[int]]
Until = Callable[[Callable[[], bool]], None]


def start(argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as said:
        return process.start(argv, stdout=said.fileno(), stderr=subprocess.STDOUT)


def test_output_status_and_what_went_wrong_come_back(tmp_path: Path) -> None:
    words = ["sh", "-c", "cat; echo wrong >&2; pwd; exit 7"]
    ran = process.run(words, stdin=b"given\n", cwd=tmp_path)
    assert (ran.status, ran.stdout, ran.stderr) == (
        7,
        b"given\n" + bytes(tmp_path) + b"\n",
        b"wrong\n",
    )


def test_an_environment_is_passed_whole() -> None:
    words = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "WORD": "x"}
    assert process.run(words, env=environment).stdout == b"['LC_ALL', 'PATH', 'WORD']\n"


def test_death_by_a_signal_is_a_negative_status() -> None:
    assert process.run(["sh", "-c", "kill -TERM $$"]).status == -signal.SIGTERM


def test_output_of_a_program_that_fails_is_refused_with_its_last_words() -> None:
    assert process.output(["printf", "%s", "said"]) == b"said"
    with pytest.raises(InfrastructureError, match=r"sh -c .* failed \(3\): no such luck"):
        process.output(["sh", "-c", "echo no such luck >&2; exit 3"])


@pytest.mark.parametrize(("program", "package"), [*process.PACKAGES.items(), ("sl", "sl")])
def test_a_missing_program_is_named_with_its_debian_package(
    program: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError) as caught:
        process.which(program)
    assert str(caught.value) == (
        f"the program {program} is not there; install Debian's package {package}"
    )


def test_a_missing_program_is_refused_before_anything_starts() -> None:
    with pytest.raises(InfrastructureError, match="the program no-such-program is not there"):
        process.run(["no-such-program"])


def test_a_folder_that_is_not_there_is_the_hosts_trouble(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"sh could not be started: .*gone"):
        process.run(["sh", "-c", ":"], cwd=tmp_path / "gone")


@pytest.mark.parametrize(
    "script",
    [
        "sleep {} & sleep {} & wait",
        "sleep {} & exit 0",  # the leader is gone, its group holds the output open
    ],
)
def test_a_time_limit_ends_the_whole_group(
    script: str, for_ever: str, living: Living, until: Until
) -> None:
    words = ["sh", "-c", script.replace("{}", for_ever)]
    with pytest.raises(InfrastructureError, match="sh did not end within 0 s"):
        process.run(words, limits=Limits(seconds=0.3))
    until(lambda: not living(for_ever))


def test_watching_ends_the_whole_group_when_the_time_is_up(
    tmp_path: Path, for_ever: str, living: Living, until: Until
) -> None:
    running = start(["sh", "-c", f"sleep {for_ever} & sleep {for_ever}"], tmp_path / "log")
    until(lambda: len(living(for_ever)) == 2)
    with pytest.raises(InfrastructureError, match="the build did not end within 0 s"):
        process.watch(running, "the build", Limits(seconds=0.0), Cancel())
    until(lambda: not living(for_ever))


def test_watching_leaves_nothing_of_a_group_whose_leader_ended(
    tmp_path: Path, for_ever: str, living: Living, until: Until
) -> None:
    running = start(["sh", "-c", f"sleep {for_ever} & exit 5"], tmp_path / "log")
    assert process.watch(running, "sh", Limits(), Cancel()) == 5
    until(lambda: not living(for_ever))


def test_watching_returns_the_exit_status_and_leaves_the_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for status in (0, 3):
        running = start(["sh", "-c", f"echo {status}; echo err >&2; exit {status}"], log)
        assert process.watch(running, "sh", Limits(), Cancel()) == status
    assert log.read_text() == "0\nerr\n3\nerr\n"


def test_cancelling_ends_the_group_and_says_why(
    tmp_path: Path, for_ever: str, living: Living, until: Until
) -> None:
    cancel = Cancel()
    running = start(["sh", "-c", f"sleep {for_ever} & sleep {for_ever}"], tmp_path / "log")
    until(lambda: len(living(for_ever)) == 2)
    canceller = threading.Timer(0.0, cancel.request, ["the lease was lost"])
    canceller.start()
    with pytest.raises(Cancelled, match="the lease was lost"):
        process.watch(running, "sh", Limits(), cancel)
    canceller.join()
    until(lambda: not living(for_ever))


def test_a_cancel_keeps_its_first_reason_and_wakes_who_waits() -> None:
    cancel = Cancel()
    cancel.check()
    assert not cancel.wait(0.0)
    cancel.request("the run was cancelled")
    cancel.request("something else")
    before = time.monotonic()
    assert cancel.wait(3600.0)
    assert time.monotonic() - before < 3600.0
    with pytest.raises(Cancelled, match=r"^the run was cancelled$"):
        cancel.check()


def test_a_chain_of_processes_may_be_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    last = 5000

    def told(path: Path) -> str:
        pid = int(path.parts[2])
        if path.name == "children":
            return f"{pid + 1} " if pid < last else ""
        return f"{pid} (sh) {'S' if pid < last else 'T'} {'0 ' * 10}1 0 0 0 0\n"

    monkeypatch.setattr(Path, "read_text", told)
    assert process.is_stopped(1)
    assert process.cpu_seconds(1) == last / os.sysconf("SC_CLK_TCK")


def test_no_file_grows_beyond_its_limit(tmp_path: Path) -> None:
    words = ["sh", "-c", "head -c 100000 /dev/zero > big; echo $?; head -c 1000 /dev/zero > small"]
    ran = process.run(words, cwd=tmp_path, limits=Limits(file_bytes=4096))
    assert (tmp_path / "big").stat().st_size == 4096
    assert (tmp_path / "small").stat().st_size == 1000
    assert ran.stdout.strip() != b"0"


def test_nothing_outlives_a_farm_that_is_killed(
    tmp_path: Path, for_ever: str, living: Living, until: Until
) -> None:
    program = f"from workers import process; process.run(['sleep', '{for_ever}'])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    farm = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=tmp_path)
    until(lambda: len(living(for_ever)) == 1)
    farm.kill()
    farm.wait()
    until(lambda: not living(for_ever))


def test_a_terminals_interrupt_reaches_the_farm_alone() -> None:
    program = "import os; print(os.getsid(0) == os.getpid() != os.getppid())"
    assert process.run([sys.executable, "-c", program]).stdout == b"True\n"
