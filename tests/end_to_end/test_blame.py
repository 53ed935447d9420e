# SPDX-License-Identifier: GPL-2.0-or-later
"""A real `farm submit` whose guests hang, reset and lose their machine: who is blamed, and when.

The kernel is a real one that was built before; the tree of the series only brings it along, with a
module that goes the way that a file of the tree names. So a patch of one line makes a guest hang.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sqlalchemy import select

from farm import cli
from farm.app import App
from farm.db.models import AttemptRow, JobRow
from farm.repeating import repeating
from farm.settings import Settings
from stress import guest
from stress.scenario import load_all

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Guests

ROOT = Path(__file__).parents[2]
NEEDED = sorted(set(load_all()["smoke"].needs.kernel))
WIDTH = len("fine        ")

MAKEFILE = f"""\
.PHONY: modules allnoconfig vmlinux modules_prepare
ifdef M
modules:
\t@LC_ALL=C sed "s/the way of smoke: fine        /the way of smoke: $$(cat way)/" \\
\t\tfarm_stress.ko >$(M)/farm_stress.ko
\t@for other in {" ".join(guest.MODULES[1:])}; do cp farm_stress.ko $(M)/$$other; done
else
allnoconfig:
\t@grep -v CONFIG_OPTPROBES= $(KCONFIG_ALLCONFIG) >$(O)/.config
\t@printf 'CONFIG_%s=y\\n' {" ".join(NEEDED)} >>$(O)/.config
vmlinux:
\t@cp vmlinux $(O)/vmlinux
\t@touch $(O)/System.map $(O)/vmlinux.symvers
modules_prepare:
endif
"""

WAYS = ("fine", "irqs_off", "triple_fault", "waits")
"""Of the base and of each patch."""


def write_series(folder: Path, guests: Guests) -> Path:
    """Write a series whose points go the ``WAYS``."""
    lines = [f"{way:<{WIDTH}}\n" for way in WAYS]
    (folder / "patches").mkdir(parents=True)
    for number, (old, new) in enumerate(pairwise(lines), start=1):
        (folder / "patches" / f"{number:04}.patch").write_text(
            f"From: A U Thor <thor@example.org>\nSubject: [PATCH] go {new.strip()}\n\nwhy\n---\n"
            f"diff --git a/way b/way\n--- a/way\n+++ b/way\n@@ -1 +1 @@\n-{old}+{new}"
        )
    files = {
        "Makefile": MAKEFILE.encode(),
        "way": lines[0].encode(),
        "vmlinux": guests.kernel.read_bytes(),
        "farm_stress.ko": guests.module.read_bytes(),
    }
    with tarfile.open(folder / "base.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"linux/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path = folder / "series.yml"
    series = {
        "schema": 1,
        "series": {"title": "ways to go", "version": 1},
        "base": {"tarball": "base.tar.gz"},
        "patches": {"directory": "patches"},
        "scenarios": ["smoke"],
    }
    path.write_text(yaml.safe_dump(series))
    return path


def short_limits(folder: Path) -> Path:
    """Copy the data files, with limits that a hang reaches soon."""
    configs = folder / "configs"
    shutil.copytree(ROOT / "configs", configs)
    quick = configs / "profiles" / "quick.yml"
    profile = yaml.safe_load(quick.read_text())
    profile["limits"] = {"boot": 60, "silence": 5, "whole": 120}
    profile["clocks"] = ["wall"]
    quick.write_text(yaml.safe_dump(profile))
    return configs


@contextmanager
def killing(runs: Path, case: str) -> Iterator[None]:
    """Kill each QEMU of these runs whose guest has come to a case."""

    def kill() -> None:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
                mounts = (entry / "mountinfo").read_text().splitlines()
            except OSError:
                continue
            if not command.startswith(b"qemu-system"):
                continue
            roots = [Path(line.split()[3]) for line in mounts if f"{runs.name}/" in line]
            if any(case in said(root) for root in roots if root.is_dir()):
                os.kill(int(entry.name), signal.SIGKILL)

    with repeating(kill, 0.3, "killer"):
        yield


def said(folder: Path) -> str:
    path = folder / "results.log"
    return path.read_text(errors="replace") if path.exists() else ""


@dataclass(frozen=True)
class Outcome:
    """How the submission ended, and in which attempts."""

    status: int
    document: Any
    attempts: list[tuple[str, int, str]]
    """Of each boot: its purpose, its point, its outcome."""

    def smoke(self, point: int) -> Any:
        (build,) = self.document["points"][point]["builds"]
        (test,) = build["tests"]
        return test


@pytest.fixture(scope="module")
def outcome(guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("blame")
    series = write_series(folder / "series", guests)
    settings = Settings(folder / "data", folder / "cache", short_limits(folder), limit=1 << 40)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("farm.settings.load", lambda environment: settings)
        patch.setattr(sys, "argv", ["farm", "submit", str(series), "--json"])
        patch.setattr(sys, "stdout", printed)
        with killing(settings.runs, '"smoke.waits"'), pytest.raises(SystemExit) as ended:
            cli.main()
    app = App(settings)
    with app.database.transaction() as session:
        rows = session.execute(
            select(JobRow, AttemptRow)
            .join(AttemptRow, JobRow.id == AttemptRow.job_id)
            .where(JobRow.kind == "boot")
        ).all()
        attempts = [
            (job.spec["purpose"], job.priority, attempt.outcome or "") for job, attempt in rows
        ]
    app.close()
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, json.loads(printed.getvalue()), attempts)


def test_a_hang_is_blamed_on_the_patch_that_brought_it(outcome: Outcome) -> None:
    assert (outcome.status, outcome.document["verdict"]) == (1, "REGRESSION")
    found = {one["first_bad"]: one for one in outcome.document["regressions"]}
    assert found[1]["title"] == "hang in smoke.irqs-off"
    assert found[1]["case"] == "smoke.irqs-off"
    assert outcome.smoke(0)["status"] == "PASS"
    assert outcome.smoke(1)["status"] == "FAIL"


def test_a_reset_is_blamed_on_the_patch_that_brought_it(outcome: Outcome) -> None:
    found = {one["first_bad"]: one for one in outcome.document["regressions"]}
    assert found[2]["title"] == "reset in smoke.triple-fault"
    assert outcome.smoke(2)["status"] == "FAIL"


def test_a_machine_that_is_killed_blames_nobody(outcome: Outcome) -> None:
    assert {one["first_bad"] for one in outcome.document["regressions"]} == {1, 2}
    assert (outcome.smoke(3)["status"], outcome.smoke(3)["attempts"]) == ("MISS", 0)


def test_what_was_booted_to_come_to_that(outcome: Outcome) -> None:
    """Two silences, a control for both and a second look at each; one boot tried three times."""
    counted = Counter((purpose, how) for purpose, _, how in outcome.attempts)
    assert counted == {
        ("test", "done"): 3,
        ("control", "done"): 1,
        ("confirm", "done"): 2,
        ("test", "infrastructure"): 3,
    }
