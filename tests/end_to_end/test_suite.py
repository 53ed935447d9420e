# SPDX-License-Identifier: GPL-2.0-or-later
"""All scenarios that the shipped series asks for, on its last point: passed, or a known fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm import issues, profiles
from farm.observe import observations
from farm.records import Purpose, Test
from farm.verdicts.judge import judge
from kernel_series import manifest
from stress import scenario
from stress.scenario import Clock, FeatureState
from workers import boot as booting
from workers import machines
from workers.boot import BootRequest
from workers.process import Cancel
from workers.sandbox import Sandbox
from workers.status import Status

ROOT = Path(__file__).parents[2]
SERIES = ROOT / "kernel_series" / "jump-optimization" / "series.yml"

KNOWN_ISSUES = {
    "enabled-again-stays-breakpoint",
    "late-post-handler",
    "loop-decides-before-counting",
    "neighbour-stays-breakpoint",
    "return-keeps-arguments",
}
"""What they find in an untouched 6.12."""

KNOWN = issues.load_all(ROOT / "configs" / "issues")


@pytest.mark.parametrize("clock", [Clock.WALL, Clock.ICOUNT])
def test_the_suite_on_the_last_point(submission, tmp_path: Path, clock: Clock) -> None:
    profile = profiles.load_profile(ROOT / "configs", "quick")
    known = profile.adapted(scenario.load_all())
    asked = [known[name] for name in manifest.load(SERIES).scenarios]
    chosen = tuple(one for one in asked if clock in one.clocks)
    (node,) = (one.node for one in profiles.load_lab(ROOT / "configs", "laptop").nodes)
    kind = machines.open_kind("qemu", Sandbox(), tmp_path)
    build = submission.builds()[-1]
    cache = submission.farm.cache / "kprobes-farm"
    request = BootRequest(
        arch="x86_64",
        kernel=cache / "kernels" / build["kernel"] / "vmlinux",
        initramfs=cache / "payloads" / build["payload"] / "initramfs",
        node=node,
        clock=clock,
        icount_shift=profile.icount_shift,
        scenarios=chosen,
        seed=profile.seed,
        limits=profile.boot_limits,
        folder=tmp_path / "boot",
    )
    result = booting.boot(request, lambda start: kind.start(node, start), Cancel())
    model = kind.model(node)
    seen = observations(request, result, Purpose.TEST, kind.accelerator, model)
    assert [one.reason for one in seen if one.outcome is None] == []
    recognised = set[str]()
    for one, observation in zip(chosen, seen, strict=True):
        test = Test("1", one.name, node.name, clock, profile.seed, None, FeatureState.PRESENT, None,
                    (observation,), False)  # fmt: skip
        found = judge(test, one, None, (), profile.icount_shift)
        told = {fault: issues.recognise(fault, KNOWN) for fault in found.faults}
        assert [fault.title for fault, issue in told.items() if issue is None] == []
        assert found.status is (Status.FAIL if told else Status.PASS), (one.name, found.reason)
        recognised |= {issue.id for issue in told.values() if issue is not None}
    assert recognised <= KNOWN_ISSUES
    if clock is Clock.WALL:
        assert recognised == KNOWN_ISSUES
