# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the stress module that need no kernel, compiled for this host."""

import errno
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from stress import guest

HERE = Path(__file__).parent
SOURCES = Path(guest.__file__).parent / "module"


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """module_harness.c as a program; the headers of the kernel are empty."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("there is no gcc to compile the stress module's parts with")
    folder = tmp_path_factory.mktemp("module")
    (folder / "linux").mkdir()
    (folder / "linux" / "kmod.h").touch()
    program = folder / "harness"
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
    folders = ["-I", str(SOURCES), "-I", str(folder)]
    subprocess.run([gcc, *warnings, *folders, "-o", program, HERE / "module_harness.c"], check=True)
    return program


def number(harness: Path, *words: str) -> int:
    done = subprocess.run([harness, *words], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (0, 0),
        (-errno.ENOENT, -errno.ENOENT),
        (errno.EBUSY << 8, -errno.EBUSY),
        (signal.SIGKILL, -errno.EINTR),
        (signal.SIGSEGV | 0x80, -errno.EINTR),
    ],
)
def test_a_helper_that_was_killed_did_nothing(harness: Path, status: int, result: int) -> None:
    assert number(harness, "helper", str(status)) == result


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        ([10], 10),
        ([10, 10, 10], 10),
        ([10, 9, 10], 9),
        ([8, 9, 10], 8),
        ([10, 11, 10], 11),
        ([10, 10, 0], 0),
    ],
)
def test_no_round_hides_another(harness: Path, seen: Sequence[int], kept: int) -> None:
    assert number(harness, "keep", "10", *map(str, seen)) == kept
