# SPDX-License-Identifier: GPL-2.0-or-later
"""Do figures that are counted in instructions come out the same, whenever a kernel is booted?

Takes the last point of the newest run and boots each of its kernels twice, by the profile's icount
shift and by shift 0, and compares the rounds of every row one by one. Rows of different shifts are
not compared: each shift is another interleaving of timers and code.

    .venv/bin/farm submit kernel_series/jump-optimization
    .venv/bin/python tests/bench/overhead_repeats.py [SCENARIO]...
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from farm import profiles, settings
from farm.app import LAB, App
from farm.records import Build
from stress.measurement import Measure, measurement
from stress.scenario import Clock, Scenario
from workers import machines
from workers.boot import BootRequest, boot
from workers.cache import Cache
from workers.machines import Kind, Node, Running, Start
from workers.process import Cancel
from workers.sandbox import Sandbox

PROFILE = "quick"


@dataclass(frozen=True)
class Bench:
    """Where kernels lie, and what boots them."""

    cache: Path
    node: Node
    kind: Kind
    profile: profiles.Profile
    scenarios: tuple[Scenario, ...]

    def measures(self, made: Build, shift: int) -> Mapping[str, Measure]:
        """Boot a kernel under icount; return what it measured by name."""
        assert made.result is not None
        kernel = Cache(self.cache / "kernels").find(made.result.kernel or "")
        payload = Cache(self.cache / "payloads").find(made.result.payload or "")
        if kernel is None or payload is None:
            sys.exit("the newest run's kernel is not in the cache any more: submit it again")

        def start(machine: Start) -> Running:
            return self.kind.start(self.node, machine)

        with tempfile.TemporaryDirectory(prefix="repeats-") as folder:
            asked = BootRequest(
                arch=made.cell.arch,
                kernel=kernel / "vmlinux",
                initramfs=payload / "initramfs",
                node=self.node,
                clock=Clock.ICOUNT,
                icount_shift=shift,
                scenarios=self.scenarios,
                seed=self.profile.seed,
                limits=self.profile.boot_limits,
                folder=Path(folder),
            )
            seen = boot(asked, start, Cancel())
        for crash in seen.crashes:
            print(f"crash: {crash.title}")
        return {one.name: one for told in seen.report.scenarios for one in told.measures}


def bench(farm: App, names: Sequence[str]) -> Bench:
    """Return what the newest run was made with."""
    data = farm.data(PROFILE, LAB)
    node = data.lab.nodes[0].node
    cache = farm.settings.cache
    scenarios = tuple(data.scenarios[name] for name in names)
    kind = machines.open_kind(node.kind, Sandbox(), cache)
    return Bench(cache, node, kind, data.profile, scenarios)


def compared(
    first: Mapping[str, Measure], second: Mapping[str, Measure], shift: int
) -> Iterator[tuple[str, bool]]:
    """Return a line for each row of two boots, and whether both have it alike."""
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one is None or other is None:
            yield f"{name}: in one boot only", False
            continue
        figures = [measurement(measure, Clock.ICOUNT, shift) for measure in (one, other)]
        values = " and ".join(f"{figure.value:.2f}" for figure in figures)
        figure = figures[0]
        text = f"{name}: {values} {figure.unit}, MAD {figure.mad:.2f}, n {figure.n}"
        yield text, one == other


def main() -> None:
    farm = App(settings.load(os.environ))
    run = farm.judged("latest").run
    made = [build for build in run.builds if build.point == run.points[-1].index and build.result]
    setup = bench(farm, sys.argv[1:] or ["overhead"])
    rows = different = 0
    for build in made:
        for shift in sorted({0, setup.profile.icount_shift}):
            print(f"{build.cell.name}, point {build.point}, shift {shift}", flush=True)
            pair = [setup.measures(build, shift) for _ in range(2)]
            for text, same in compared(pair[0], pair[1], shift):
                print(f"  {'same     ' if same else 'DIFFERENT'} {text}", flush=True)
                rows += 1
                different += not same
    print(f"{rows - different} of {rows} rows are equal")
    sys.exit(rows == 0 or different > 0)


if __name__ == "__main__":
    main()
