# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be said of patches without building them: the tree's own checkpatch, and their tags.

checkpatch is a program of the series' tree, and so as hostile as its Makefiles: it runs in the
sandbox, and sees nothing but the patch and its own files.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from workers import process, tags
from workers.errors import InfrastructureError
from workers.process import Cancel, Limits
from workers.requests import Point
from workers.sandbox import Mount, Sandbox
from workers.tags import Remark
from workers.trees import TreeStore

CHECKPATCH = "scripts/checkpatch.pl"
FILES = (CHECKPATCH, "scripts/spelling.txt", "scripts/const_structs.checkpatch")
"""The script and the lists that it looks for beside itself; old trees lack some of them."""

SCRIPTS, GIVEN = "/src/scripts", "/given"
PATCH = "patch"
LIMITS = Limits(seconds=120.0, file_bytes=4 << 20)
MOST = 200
"""Remarks kept of one patch."""

SAID = re.compile(r"^[^:\n]*:(\d+): (ERROR|WARNING|CHECK):(?:([A-Z0-9_]+):)? (.+)$", re.MULTILINE)
CLEAN, WITH_REMARKS = 0, 1
"""checkpatch's exit statuses."""


def checked(
    points: Sequence[Point],
    store: TreeStore,
    sandbox: Sandbox,
    history: Path | None,
    cancel: Cancel,
) -> tuple[Point, ...]:
    """Return the points with the remarks on their patches.

    ``history`` is a repository that commits named by Fixes tags are looked for in. A checkpatch
    that can't be run is a remark too. Raises Cancelled.
    """
    known = _known_in(history)
    found = list[Point]()
    for point in points:
        before = None if point.made_from is None else points[point.made_from]
        if before is None or before.commit is None or point.commit is None:
            found.append(point)
            continue
        message = store.message(point.commit).partition("\n")[2].strip()
        mail = f"From: {point.author}\nSubject: [PATCH] {point.subject}\n\n{message}\n---\n"
        patch = mail.encode(errors="replace") + store.diff(before.commit, point.commit)
        remarks = [
            *tags.remarks(point.subject, point.author, message, known),
            *_checkpatch(patch, point.commit, store, sandbox, cancel),
        ]
        found.append(replace(point, remarks=tuple(remarks[:MOST])))
    return tuple(found)


def _checkpatch(
    patch: bytes, commit: str, store: TreeStore, sandbox: Sandbox, cancel: Cancel
) -> tuple[Remark, ...]:
    files = {name: store.read(commit, name) for name in FILES}
    script = files[CHECKPATCH]
    if script is None:
        return (_missing("the tree has no scripts/checkpatch.pl"),)
    with tempfile.TemporaryDirectory(prefix="farm-checkpatch-") as place:
        scripts, given = Path(place) / "scripts", Path(place) / "given"
        for folder in (scripts, given):
            folder.mkdir()
        for name, content in files.items():
            if content is not None:
                (scripts / Path(name).name).write_bytes(content)
        (given / PATCH).write_bytes(patch)
        words = ["perl", f"{SCRIPTS}/checkpatch.pl", "--no-tree", "--no-summary", "--terse"]
        words += ["--no-signoff", *(["--show-types"] if b"show-types" in script else [])]
        mounts = [Mount(scripts, SCRIPTS), Mount(given, GIVEN)]
        command = sandbox.wrap([*words, f"{GIVEN}/{PATCH}"], mounts, folder=GIVEN)
        status, said = _run(command, Path(place) / "said", cancel)
    remarks = tuple(
        Remark("checkpatch", level.lower(), kind, int(line), text.strip())
        for line, level, kind, text in SAID.findall(said)
    )
    if status == CLEAN or (status == WITH_REMARKS and remarks):
        return remarks
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    return (*remarks, _missing(f"checkpatch ended with status {status}: {last[:200]}"))


def _run(command: Sequence[str], log: Path, cancel: Cancel) -> tuple[int, str]:
    """Run a program with its output to a file of limited size; -1 when its time was up."""
    with log.open("wb") as said:
        running = process.start(
            command, stdout=said.fileno(), stderr=subprocess.STDOUT, limits=LIMITS
        )
        try:
            status = process.watch(running, "checkpatch", LIMITS, cancel)
        except InfrastructureError as error:
            return -1, str(error)
    return status, log.read_bytes().decode(errors="replace")


def _missing(why: str) -> Remark:
    return Remark("checkpatch", tags.MISSING, "", None, why)


def _known_in(history: Path | None) -> Callable[[str], bool | None]:
    """Return what tells whether a commit is in a repository; None where history is not there."""

    def git(*words: str) -> tuple[int, str]:
        ran = process.run(["git", "-C", str(history), *words])
        return ran.status, ran.stdout.decode(errors="replace").strip()

    if history is None or git("rev-parse", "--is-shallow-repository") != (0, "false"):
        return lambda commit: None
    return lambda commit: git("cat-file", "-e", f"{commit}^{{commit}}")[0] == 0
