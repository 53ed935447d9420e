# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel tree that builds in milliseconds, guests that act, and a farm to try both on.

The tree's Makefile has the targets that the build stage calls; its "kernel" is a script for the
machine kind ``fake``. So a whole ``farm submit`` runs here in a second or two, through the true
sandbox, database, scheduling and protocol.
"""

from __future__ import annotations

import difflib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm import cli
from farm.app import App
from farm.db.database import Database
from farm.settings import Settings
from stress import guest
from stress.scenario import FeatureState, Scenario, load_all

ROOT = Path(__file__).parents[2]

PATIENCE = 300.0
"""Seconds after which something hangs: no test takes a tenth of it on the busiest host."""

SCENARIOS = load_all()
NEEDED = sorted({name for one in SCENARIOS.values() for name in one.needs.kernel} - {"OPTPROBES"})

MAKEFILE = f"""\
ifdef M
modules:
\t@for ko in {" ".join(guest.MODULES)}; do cp module.c $(M)/$$ko; done
else
allnoconfig:
\t@grep -v CONFIG_OPTPROBES= $(KCONFIG_ALLCONFIG) >$(O)/.config
\t@for name in {" ".join(NEEDED)}; do grep -q "CONFIG_$$name[= ]" $(O)/.config || \
\t\techo CONFIG_$$name=y >>$(O)/.config; done
\t@if test -e feature; then echo CONFIG_OPTPROBES=y >>$(O)/.config; fi
vmlinux:
\t@if test -e broken.c; then echo "broken.c:1:1: error: expected a kernel"; exit 1; fi
\t@if test -e wait && ! test -e go; then echo held; fi
\t@while test -e wait && ! test -e go; do sleep 0.02; done
\t@cp program.json $(O)/vmlinux
\t@touch $(O)/System.map $(O)/vmlinux.symvers
modules_prepare:
endif
"""
"""``wait`` in the tree holds a build until somebody puts a file ``go`` into its lane's ``src``."""


def evidence(scenario: Scenario, state: FeatureState) -> dict[str, int]:
    """Return what a run of a scenario shows for which all checks hold."""
    checks = scenario.checks(state)
    values = [one.value + shift for one in checks for shift in (0, 1, -1)]
    return {
        name: next(
            value
            for value in values
            if all(one.holds({name: value}) for one in checks if one.name == name)
        )
        for name in {one.name for one in checks}
    }


def passing(scenario: Scenario) -> dict[str, Any]:
    """Return the act of a scenario that passes, with the feature and without it."""
    plain, fast = (evidence(scenario, one) for one in (FeatureState.ABSENT, FeatureState.PRESENT))
    return {
        "cases": {f"{scenario.name}.first": "ok", f"{scenario.name}.second": "ok"},
        "evidence": {
            name: {"plain": plain.get(name, 0), "optimized": fast.get(name, 0)}
            for name in sorted({*plain, *fast})
        },
    }


def program(*, optimized: bool = False, boot: str = "up", console: str = "", **acts: Any) -> str:
    """Return a guest in which all shipped scenarios pass, but for what ``acts`` changes of them."""
    scenarios = {one.run: {**passing(one), **acts.get(name, {})} for name, one in SCENARIOS.items()}
    played = {"optimized": optimized, "boot": boot, "console": console, "scenarios": scenarios}
    return json.dumps(played, indent=1) + "\n"


class Series:
    """A small series: files of the base, then patches that add, change or (None) delete files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.patches: list[str] = []
        self.files = {"Makefile": MAKEFILE, "module.c": "int m;\n", "program.json": program()}
        self._base = dict(self.files)

    def base(self, files: Mapping[str, str]) -> Series:
        """Put files into the base."""
        self._base.update(files)
        self.files = dict(self._base)
        return self

    def patch(self, subject: str, files: Mapping[str, str | None]) -> Series:
        diff = ""
        for name, text in files.items():
            old = self.files.get(name)
            diff += _diff(name, old, text)
            self.files.pop(name, None)
            if text is not None:
                self.files[name] = text
        return self.raw(f"Subject: [PATCH] {subject}", diff)

    def raw(self, subject: str, diff: str) -> Series:
        """Add a patch as it is."""
        self.patches.append(f"From: A U Thor <thor@example.org>\n{subject}\n\nwhy\n---\n{diff}")
        return self

    def write(self, enabling: int | None = None, **keys: Any) -> Path:
        """Write the manifest and all that it names; returns the manifest's path.

        ``enabling`` is the number of the patch that brings the feature.
        """
        patches = self.folder / "patches"
        shutil.rmtree(patches, ignore_errors=True)
        patches.mkdir(parents=True)
        for number, text in enumerate(self.patches, start=1):
            (patches / f"{number:04}.patch").write_text(text)
        _tarball(self.folder / "base.tar.gz", self._base)
        feature = {"name": "optprobes", "kconfig": "OPTPROBES", "introduced-by": enabling}
        manifest: dict[str, Any] = {
            "schema": 1,
            "series": {"title": "miniature", "version": 1},
            "base": {"tarball": "base.tar.gz"},
            "patches": {"directory": "patches"},
            "features": [] if enabling is None else [feature],
            "matrix": {"arch": ["x86_64"], "config": ["preempt-none"]},
            "scenarios": ["smoke"],
        }
        path = self.folder / "series.yml"
        path.write_text(yaml.safe_dump(manifest | keys, sort_keys=False))
        return path


def _diff(name: str, old: str | None, new: str | None) -> str:
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{name}",
        "/dev/null" if new is None else f"b/{name}",
    )
    mode = "new file mode 100644\n" if old is None else ""
    mode += "deleted file mode 100644\n" if new is None else ""
    return f"diff --git a/{name} b/{name}\n{mode}{''.join(lines)}"


def _tarball(path: Path, files: Mapping[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"linux/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def at_once(folder: Path, count: int, code: str, *words: str) -> None:
    """Run Python code in so many processes that begin together; all must end well.

    The code calls ``begin()`` when it is ready.
    """
    waiting = (
        "import sys, pathlib\n"
        "def begin():\n"
        "    pathlib.Path(sys.argv.pop()).touch()\n"
        "    go = pathlib.Path(sys.argv.pop())\n"
        "    while not go.exists(): pass\n"
    )
    go = folder / "go"
    there = [folder / f"there{number}" for number in range(count)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", waiting + code, *words, str(go), str(ready)],
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for ready in there
    ]
    try:
        wait_until(lambda: all(ready.exists() for ready in there))
        go.touch()
        said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, said


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until something has come about; fails when it does not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Farm:
    """A farm of its own, and its command line in this process."""

    settings: Settings
    command: Callable[[Sequence[str]], Said]

    def __call__(self, *words: str | Path) -> Said:
        return self.command([str(word) for word in words])

    def submit(self, series: Path, *words: str) -> Said:
        return self("submit", series, "--lab", "fake", "--node", "actor-1", "--json", *words)

    @property
    def app(self) -> App:
        return App(self.settings)


@pytest.fixture(autouse=True)
def _small_init(small_init: None) -> None:
    """Nothing here runs it: the guests of this folder are scripts."""


@pytest.fixture(name="at_once")
def _at_once() -> Callable[..., None]:
    return at_once


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    return wait_until


@pytest.fixture(name="evidence")
def _evidence() -> Callable[..., dict[str, int]]:
    return evidence


@pytest.fixture(name="program")
def _program() -> Callable[..., str]:
    return program


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return Series(tmp_path / "series")


@pytest.fixture(scope="session")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped data files, but with limits that no test has to wait for.

    Profile ``thorough`` is ``quick`` and what the full one does beside it, as far as it can be
    played here.
    """
    folder = tmp_path_factory.mktemp("configs") / "configs"
    shutil.copytree(ROOT / "configs", folder)
    quick = folder / "profiles" / "quick.yml"
    profile = yaml.safe_load(quick.read_text())
    profile["limits"] = {"boot": 0.1, "silence": 0.1, "whole": 5}
    profile["clocks"] = ["icount"]
    quick.write_text(yaml.safe_dump(profile))
    profile |= {"build-only": ["no-kprobes", "no-optprobes"], "check-patches": True}
    (folder / "profiles" / "thorough.yml").write_text(yaml.safe_dump(profile))
    profile["build-only"] = ["defconfig"]
    (folder / "profiles" / "touching.yml").write_text(yaml.safe_dump(profile))
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees and kernels that were made once are there for all: they are found by their content."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(tmp_path: Path, shared_cache: Path, configs: Path) -> Settings:
    return Settings(tmp_path / "data", shared_cache, configs, 1 << 30)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.database)
    yield opened
    opened.close()


@pytest.fixture
def farm(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Farm:
    monkeypatch.setattr("farm.settings.load", lambda environment: settings)

    def command(words: Sequence[str]) -> Said:
        monkeypatch.setattr(sys, "argv", ["farm", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        said = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0, said.out, said.err)

    return Farm(settings, command)
