# SPDX-License-Identifier: GPL-2.0-or-later
"""Real `farm submit` processes, stopped, killed, cancelled and left alone by their terminal.

The run goes on or ends as it should, and nothing is left behind.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from farm.db import claims
from farm.db.database import Database
from farm.db.models import AttemptRow, JobRow, RunRow
from farm.dispatch.local import holder_name
from farm.settings import Settings, load

ROOT = Path(__file__).parents[2]
LANE = "x86_64-preempt-none-auto"
COMMAND = [sys.executable, "-c", "from farm.cli import main; main()"]

Program = Callable[..., str]
WaitUntil = Callable[[Callable[[], bool]], None]


class Home:
    """A FARM_HOME and the commands that are run on it."""

    def __init__(self, folder: Path, wait_until: WaitUntil) -> None:
        self.folder = folder
        self.settings: Settings = load({"FARM_HOME": str(folder)})
        self.wait_until = wait_until

    @contextmanager
    def running(self, *words: str | Path, **streams: int) -> Iterator[subprocess.Popen[str]]:
        """Run a command; whatever happens in the block, it is gone afterwards."""
        command = [*COMMAND, *map(str, words)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "FARM_HOME": str(self.folder)},
            text=True,
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def submit(self, series: Path) -> Any:
        return self.running("submit", series, "--lab", "fake", "--node", "actor-1", "--json")

    def resume(self) -> Any:
        return self.running("resume", "--json")

    def call(self, *words: str | Path, **streams: int) -> tuple[int, str, str]:
        """Run a command to its end; returns its status and what it said."""
        with self.running(*words, **streams) as process:
            stdout, stderr = process.communicate()
        return process.returncode, stdout, stderr

    def run(self) -> str | None:
        """Return the id of the newest run, None while there is none."""
        return self.ask("SELECT id FROM runs ORDER BY created DESC LIMIT 1")

    def done(self, kind: str) -> int:
        """Return how many jobs of a kind are done."""
        question = "SELECT count(*) FROM jobs WHERE kind = ? AND state = ?"
        return self.ask(question, kind, claims.DONE) or 0

    def ask(self, question: str, *values: str) -> Any:
        """Return one value of the database, None where there is none; so cheap as to be polled."""
        place = f"{self.settings.data.as_uri()}/farm.db?mode=rw"
        try:
            with closing(sqlite3.connect(place, uri=True)) as database:
                row = database.execute(question, values).fetchone()
        except sqlite3.OperationalError:
            return None  # there is no file yet, or there are no tables in it
        return None if row is None else row[0]

    def held(self, point: int) -> bool:
        """Whether the build of a point is under way and held in its Makefile."""
        run = self.run()
        log = self.settings.runs / (run or "none") / "builds" / LANE / f"{point}.log"
        return self.done("build") == point and log.exists() and "held" in log.read_text()

    def let_go(self, point: int) -> None:
        """Let a build that is held go on; to be repeated, for a resumed run lays its lane out."""
        src = self.settings.runs / (self.run() or "none") / "lanes" / LANE / "src"
        if self.held(point):
            with suppress(FileNotFoundError):
                (src / "go").touch()

    def left(self) -> list[int]:
        """Return the processes that belong to this home, by their command line or their mounts."""
        mine = str(self.folder).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                seen = (entry / "cmdline").read_bytes() + (entry / "mountinfo").read_bytes()
            except OSError:
                continue
            if mine in seen:
                found.append(int(entry.name))
        return found


@pytest.fixture
def home(tmp_path: Path, wait_until: WaitUntil) -> Home:
    return Home(tmp_path / "home", wait_until)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.fixture
def held_series(series: Any, program: Program) -> Path:
    """Three patches; the builds of the second and third are held; the second breaks a case."""
    bad = {"cases": {"smoke.first": "not ok # 5 of 10"}}
    series.patch("explain", {"doc": "x\n"})
    series.patch("break", {"wait": "", "program.json": program(smoke=bad)})
    series.patch("explain more", {"doc": "y\n"})
    return Path(series.write())


def verdict(home: Home, process: subprocess.Popen[str]) -> tuple[int, str, list[tuple[int, str]]]:
    """Let a process go to its end; returns its status, verdict and regressions."""
    said = list[str]()

    def ended() -> bool:
        home.let_go(2)
        try:
            said.extend(process.communicate(timeout=0.05))
        except subprocess.TimeoutExpired:
            return False
        return True

    home.wait_until(ended)
    document = json.loads(said[0])
    found = [(one["first_bad"], one["title"]) for one in document["regressions"]]
    return process.returncode, document["verdict"], found


EXPECTED = (1, "REGRESSION", [(2, "smoke.first: 5 of 10")])


def test_left_finds_what_is_left(home: Home, held_series: Path) -> None:
    """Else the tests below could not fail."""
    with home.submit(held_series):
        home.wait_until(lambda: home.held(2))
        assert len(home.left()) >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_resume_finishes(
    home: Home, held_series: Path, number: signal.Signals
) -> None:
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert f"farm resume {home.run()} goes on from here" in stderr
    assert home.left() == []
    with home.resume() as process:
        assert verdict(home, process) == EXPECTED
    assert home.left() == []


def test_kill_at_any_moment(home: Home, held_series: Path) -> None:
    moments: list[Callable[[], bool]] = [
        lambda: home.run() is not None,
        lambda: home.done("prepare") == 1,
        lambda: home.done("build") >= 1,
        lambda: home.held(2) and home.done("boot") >= 1,
    ]
    command = home.submit(held_series)
    for moment in moments:
        with command as process:
            home.wait_until(moment)
            process.kill()
            process.wait()
        home.wait_until(lambda: home.left() == [])
        command = home.resume()
    with command as process:
        assert verdict(home, process) == EXPECTED
    assert home.left() == []


def test_two_submits_at_once_share_the_slots(home: Home, tmp_path: Path, series: Any) -> None:
    paths = []
    for name in ("one", "two"):
        series.folder = tmp_path / name
        series.patch(f"explain {name}", {"doc": f"{name}\n"})
        paths.append(series.write())
    with home.submit(paths[0]) as first, home.submit(paths[1]) as second:
        assert verdict(home, first) == verdict(home, second) == (0, "PASS", [])
    database = Database(home.settings.database)
    with database.transaction() as session:
        rows = session.execute(
            select(JobRow.slot, JobRow.run_id, AttemptRow.started, AttemptRow.ended).join(
                AttemptRow, AttemptRow.job_id == JobRow.id
            )
        ).all()
    database.close()
    assert len({run for _, run, _, _ in rows}) == 2
    most = {"prepare": 1, "build": 1, "node actor-1": 4}
    for slot, capacity in most.items():
        # At one moment an end comes before a beginning.
        events = sorted(
            event
            for name, _, started, ended in rows
            if name == slot
            for event in ((started, 1), (ended, -1))
        )
        used = 0
        for _, change in events:
            used += change
            assert used <= capacity, slot
        assert used == 0


def test_a_lane_that_a_killed_farm_left_is_removed(home: Home, held_series: Path) -> None:
    """Killed between the record of the last build and the end of its lane."""
    with home.submit(held_series) as process:
        assert verdict(home, process) == EXPECTED
    lane = home.settings.runs / (home.run() or "") / "lanes" / LANE
    (lane / "src").mkdir(parents=True)
    with home.resume() as process:
        assert verdict(home, process) == EXPECTED
    assert not lane.exists()


def test_two_resumes_of_one_run_work_it_off_together(home: Home, held_series: Path) -> None:
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        process.kill()
        process.wait()
    home.wait_until(lambda: home.left() == [])
    with home.resume() as first, home.resume() as second:
        assert verdict(home, first) == verdict(home, second) == EXPECTED
    assert home.left() == []
    status, said, _ = home.call("log", "--json")
    jobs = json.loads(said)["jobs"]
    assert status == 0
    assert {job["state"] for job in jobs} == {"done"}
    # The build that was killed was begun twice, and everything else once.
    tries = [[one["outcome"] for one in job["attempts"]] for job in jobs]
    assert sorted(tries) == sorted([["done"]] * (len(jobs) - 1) + [["lost", "done"]])


def test_a_run_is_cancelled_from_another_process(home: Home, held_series: Path) -> None:
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        run = home.run() or ""
        status, said, _ = home.call("cancel", run, "--json")
        assert (status, json.loads(said)) == (
            0,
            {"schema": 1, "run": run, "state": "cancelled", "stopped": True},
        )
        stdout, stderr = process.communicate()
    assert process.returncode == 3, stderr
    document = json.loads(stdout)
    assert (document["state"], document["verdict"]) == ("cancelled", "INCONCLUSIVE")
    assert [point["builds"][0]["status"] for point in document["points"]][:3] == [
        "PASS", "PASS", "MISS",
    ]  # fmt: skip
    assert home.left() == []
    assert not (home.settings.runs / run / "lanes").exists()
    status, _, said = home.call("resume", run)
    assert status == 2
    assert f"run {run} was cancelled and stays so; submit the series again" in said
    assert home.call("cancel", run)[0] == 0, "cancelling twice is no mistake"
    assert home.call("results", run, "--json")[1] == stdout


def test_a_run_whose_farm_was_killed_is_cancelled(home: Home, held_series: Path) -> None:
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        process.kill()
        process.wait()
    run = home.run() or ""
    assert home.call("cancel", run) == (0, f"run {run} is cancelled\n", "")
    states = {job["state"] for job in json.loads(home.call("log", run, "--json")[1])["jobs"]}
    assert states == {"done", "cancelled"}
    home.wait_until(lambda: home.left() == [])


def test_a_detached_run_is_watched_to_its_end(home: Home, held_series: Path) -> None:
    words = ("submit", held_series, "--lab", "fake", "--node", "actor-1", "--detach")
    status, said, _ = home.call(*words)
    run = said.strip()
    assert (status, run) == (0, home.run())
    home.wait_until(lambda: home.held(2))
    with home.running("watch", run, "--json") as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == f"run {run}\n"
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate()
        assert (watching.returncode, said.splitlines()[-1]) == (
            130,
            f"the run goes on; farm watch {run} shows it",
        )
    with home.running("watch", run, "--json") as watching:
        assert verdict(home, watching) == EXPECTED
    home.wait_until(lambda: home.left() == [])
    assert (home.settings.runs / run / "farm.log").read_text().splitlines()[0] == f"run {run}"
    assert home.call("watch", run)[0] == 1, "one that has ended is shown"
    assert home.call("cancel", run)[0] == 2


def test_a_run_that_nobody_works_on_is_not_watched_for_ever(home: Home, held_series: Path) -> None:
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        process.kill()
        process.wait()
    database = Database(home.settings.database)
    with database.transaction() as session:
        # The half minute in which it could still be slow has passed.
        session.execute(update(RunRow).values(alive_until=1.0))
    database.close()
    status, _, said = home.call("watch")
    assert status == 3
    assert f"nobody works on run {home.run()}; farm resume {home.run()} goes on" in said
    home.wait_until(lambda: home.left() == [])


def test_after_a_reboot_of_the_host_a_run_goes_on(home: Home, held_series: Path) -> None:
    """What another boot of this host held, nobody holds any more, whatever pids there are now."""
    with home.submit(held_series) as process:
        home.wait_until(lambda: home.held(2))
        process.kill()
        process.wait()
    home.wait_until(lambda: home.left() == [])
    node, pid, started = holder_name().split(":")
    database = Database(home.settings.database)
    with database.transaction() as session:
        running = update(JobRow).where(JobRow.state == claims.RUNNING)
        before = f"{node}:{pid}:0123abcd.{started.partition('.')[2]}"
        assert session.execute(running.values(holder=before)).rowcount == 1  # type: ignore[attr-defined]
    database.close()
    with home.resume() as process:
        assert verdict(home, process) == EXPECTED


# Whoever reads what a command prints may go away.


def test_a_run_whose_progress_nobody_reads_comes_to_its_end(
    home: Home, series: Any, program: Program, unread: int
) -> None:
    """As with `farm submit ... | head -1`: its status is no verdict that nobody could read."""
    bad = {"cases": {"smoke.first": "not ok # 5 of 10"}}
    path = series.patch("break", {"program.json": program(smoke=bad)}).write()
    words = ("submit", path, "--lab", "fake", "--node", "actor-1")
    status, _, said = home.call(*words, stdout=unread)
    run = home.run()
    again = f"farm: the results can't be printed: Broken pipe; farm results {run} shows them\n"
    assert (status, said) == (3, again)
    assert json.loads(home.call("results", "--json")[1])["verdict"] == "REGRESSION"
    assert home.call("resume", "--json", stdout=unread)[0] == 3
    status, said, _ = home.call(*words, "--json", stderr=unread)
    assert (status, json.loads(said)["verdict"]) == (1, "REGRESSION")
    test, *_ = json.loads(said)["points"][1]["builds"][0]["tests"]
    assert home.call("reproduce", test["id"], stdout=unread)[0] == 3
    for words_ in (["results"], ["results", "--json"], ["log"], ["log", run or "", "1"],
                   ["status", "--json"], ["regressions"], ["submit", "--help"], []):  # fmt: skip
        assert home.call(*words_, stdout=unread) == (3, None, ""), words_
    assert home.call("submit", "nowhere", stderr=unread) == (2, "", None)


def test_streams_that_are_closed_from_the_start(home: Home, series: Any, program: Program) -> None:
    bad = {"cases": {"smoke.first": "not ok # 5 of 10"}}
    path = series.patch("break", {"program.json": program(smoke=bad)}).write()
    closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *COMMAND]
    for words, status in (
        (["submit", path, "--lab", "fake", "--node", "actor-1"], 1),
        (["resume", "--json"], 1),
        (["results"], 0),
        (["submit", "nowhere"], 2),
    ):
        environment = {**os.environ, "FARM_HOME": str(home.folder)}
        ran = subprocess.run([*closed, *words], cwd=ROOT, env=environment, check=False)
        assert ran.returncode == status, words


def test_a_disk_that_is_too_full_for_the_results(home: Home, series: Any) -> None:
    path = series.patch("explain", {"doc": "x\n"}).write()
    full = os.open("/dev/full", os.O_WRONLY)
    words = ("submit", path, "--lab", "fake", "--node", "actor-1")
    try:
        for options in ((), ("--json",)):
            status, _, said = home.call(*words, *options, stdout=full)
            assert status == 3
            assert "the results can't be printed: No space left on device; farm results" in said
        run = home.ask("SELECT run_id FROM jobs WHERE id = 1")
        status, _, said = home.call("log", run, "1", stdout=full)
        assert (status, said.count("\n")) == (3, 1)
        assert "No space left on device" in said
    finally:
        os.close(full)
