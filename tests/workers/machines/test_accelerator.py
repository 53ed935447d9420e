# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM is taken when a guest runs under it as fast as it should, and the answer is remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from workers.machines import accelerator
from workers.machines.accelerator import Accelerator, choose
from workers.sandbox import Sandbox

Probe = Callable[..., Accelerator]


class Guests:
    """Guests that take so many seconds, or fail with a text, by accelerator."""

    def __init__(self, seconds: Mapping[str, float | str]) -> None:
        self.seconds = seconds
        self.ran = list[str]()

    def run(self, name: str, program: str, sandbox: Sandbox, limit: float) -> float | str:
        self.ran.append(name)
        took = self.seconds[name]
        return (
            f"did not run within {limit:.1f} s"
            if isinstance(took, float) and took > limit
            else took
        )


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Probe:
    monkeypatch.setattr("os.access", lambda *words: True)

    def run(guests: Guests, program: str = "qemu") -> Accelerator:
        monkeypatch.setattr(accelerator, "_run", guests.run)
        return choose(tmp_path / "notes" / "accelerator.json", program, Sandbox())

    return run


@pytest.mark.parametrize(
    ("tcg", "kvm", "name", "reason"),
    [
        (0.1, 0.1, "kvm", "a guest ran under KVM"),
        (0.1, 0.9, "kvm", "a guest ran under KVM"),
        (0.1, 3.4, "tcg", "a guest under KVM did not run within 1.0 s"),
        (0.4, 3.4, "kvm", "a guest ran under KVM"),
        (0.1, 99.0, "tcg", "a guest under KVM did not run within 1.0 s"),
        (0.1, "failed: no VM", "tcg", "a guest under KVM failed: no VM"),
        ("failed: x", 0.1, "kvm", "a guest ran under KVM"),
    ],
)
def test_kvm_has_to_be_about_as_fast_as_emulation(
    probe: Probe, tcg: float | str, kvm: float | str, name: str, reason: str
) -> None:
    assert probe(Guests({"tcg": tcg, "kvm": kvm})) == Accelerator(name, reason)


def test_the_answer_is_remembered_for_each_program(probe: Probe) -> None:
    guests = Guests({"tcg": 0.1, "kvm": 0.1})
    assert probe(guests) == probe(guests)
    assert guests.ran == ["tcg", "kvm"]
    probe(guests, "another-qemu")
    assert len(guests.ran) == 4


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[]", b"null", b'{"host": 1}', b'{"host": "x"}', b"\xff", b"\0" * 4096]
)
def test_a_note_that_says_nothing_is_none(probe: Probe, tmp_path: Path, note: bytes) -> None:
    """Who wrote it was killed, or the disk was full."""
    guests = Guests({"tcg": 0.1, "kvm": 0.1})
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "accelerator.json").write_bytes(note)
    assert probe(guests) == probe(guests) == Accelerator("kvm", "a guest ran under KVM")
    assert guests.ran == ["tcg", "kvm"]
    assert {path.name for path in notes.iterdir()} == {"accelerator.json", "accelerator.lock"}


def test_without_the_device_nothing_is_run(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *words: False)
    guests = Guests({})
    assert probe(guests).name == "tcg"
    assert guests.ran == []
