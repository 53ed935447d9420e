# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts for a guest while its host stands still, and what is doubted afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers import footing
from workers.console import crash
from workers.errors import InfrastructureError
from workers.footing import Footing

LOCKUP = b"[   30.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [swapper/0:1]\n"
PANIC = b"[   30.0] Kernel panic - not syncing: out of the blue\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    found = (tmp_path / "console.log", tmp_path / "results.log")
    for path in found:
        path.write_text("said\n")
    return found


def test_time_in_which_the_host_stood_still_does_not_count(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    times = [looked.count(passed, stopped=False) for passed in (0.05, 1.0, 3600.0)]
    assert times == [0.05, 1.0, footing.STALL_SECONDS]


def test_time_in_which_a_machine_is_stopped_does_not_count_and_has_an_end(
    files: tuple[Path, Path],
) -> None:
    looked = Footing(files, patience=60)
    assert [looked.count(40.0, stopped=True), looked.count(0.05, stopped=False)] == [0.0, 0.05]
    assert looked.count(40.0, stopped=True) == 0.0
    with pytest.raises(InfrastructureError, match="kept from running for 80 s"):
        looked.count(40.0, stopped=True)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_lockup_behind_a_pause_is_the_host_s(files: tuple[Path, Path], stopped: bool) -> None:
    looked = Footing(files, patience=60)
    looked.count(26.0, stopped)
    looked.check_crashes(crash.read(PANIC))
    with pytest.raises(InfrastructureError, match=r"stood still for 2[56] s.*lockup"):
        looked.check_crashes(crash.read(LOCKUP))


def test_a_lockup_by_itself_is_the_kernel_s(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    for _ in range(100):
        looked.count(1.5, stopped=False)
    looked.check_crashes(crash.read(LOCKUP))


def test_a_file_that_shrinks_was_cut(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    looked.check_files()
    files[1].write_text("")
    with pytest.raises(InfrastructureError, match=r"results\.log was cut off"):
        looked.check_files()


@pytest.mark.parametrize("before", [b"", bytes(5)])
def test_a_file_that_was_cut_off_and_has_grown_since(
    files: tuple[Path, Path], before: bytes
) -> None:
    """A machine goes on writing at the end, or where it was."""
    looked = Footing(files, patience=60)
    looked.check_files()
    files[1].write_bytes(before + b"and more than there was before\n")
    with pytest.raises(InfrastructureError, match=r"results\.log was cut off"):
        looked.check_files()


def test_a_file_that_grows_is_as_it_should_be(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    for text in ("", "s", "sa", "said\n" * 2, "said\n" * 20 + "\0"):
        files[0].write_text(text)
        assert looked.check_files() == max(len(text), 5)


def test_a_guest_may_begin_with_what_it_likes(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    for text in (b"\0", b"\0\0Linux", b"\0\0Linux version"):
        files[0].write_bytes(text)
        looked.check_files()


def test_a_file_that_is_gone_was_lost(files: tuple[Path, Path]) -> None:
    looked = Footing(files, patience=60)
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        looked.check_files()


def test_a_disk_without_room(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Footing(files, patience=60)
    looked.check_files()
    monkeypatch.setattr(footing, "LEAST_FREE", 1 << 80)
    with pytest.raises(InfrastructureError, match="is full"):
        looked.check_files()
