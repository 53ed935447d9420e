# SPDX-License-Identifier: GPL-2.0-or-later
"""Do the scenarios cry wolf? A profile's suite again and again, on a kernel that is as it is to be.

Boots the last point of the newest run of the shipped series, once for each clock and each time
with another seed. Whatever is no PASS, and no known issue of the tree, is a false alarm.

    .venv/bin/farm submit kernel_series/jump-optimization
    .venv/bin/python tests/bench/false_alarms.py [--runs N] [--profile quick|full] [--first SEED]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from farm import issues, profiles, settings
from farm.app import LAB, App
from farm.observe import observations
from farm.records import Purpose, Test
from farm.verdicts.judge import judge
from kernel_series import manifest
from stress.scenario import Clock, FeatureState, Scenario
from workers import boot as booting
from workers import machines
from workers.boot import BootRequest
from workers.process import Cancel
from workers.sandbox import Sandbox
from workers.status import Status

SERIES = Path(__file__).parent.parent.parent / "kernel_series" / "jump-optimization"


class Suite:
    """A profile's scenarios on one kernel."""

    def __init__(self, farm: App, profile: str, folder: Path) -> None:
        self._profile = profiles.load_profile(farm.settings.configs, profile)
        known = self._profile.adapted(farm.scenarios)
        names = manifest.load(SERIES / "series.yml").scenarios
        self._scenarios = [known[name] for name in names if name not in self._profile.leaves_out]
        self._issues = farm.issues
        self._folder = folder
        (self._node,) = profiles.load_lab(farm.settings.configs, LAB).nodes
        self._kind = machines.open_kind(self._node.node.kind, Sandbox(), folder)
        build = max(farm.judged("latest").run.builds, key=lambda one: one.point)
        if build.result is None:
            sys.exit("the newest run has no kernel of its last point: submit the shipped series")
        self._arch = build.cell.arch
        cache = farm.settings.cache
        self._kernel = cache / "kernels" / str(build.result.kernel) / "vmlinux"
        self._initramfs = cache / "payloads" / str(build.result.payload) / "initramfs"

    def boot(self, clock: Clock, seed: int) -> tuple[float, list[str]]:
        """Run what the clock is for once; returns the seconds, and what nobody knows of."""
        chosen = tuple(one for one in self._scenarios if clock in one.clocks)
        node = self._node.node
        request = BootRequest(
            arch=self._arch,
            kernel=self._kernel,
            initramfs=self._initramfs,
            node=node,
            clock=clock,
            icount_shift=self._profile.icount_shift,
            scenarios=chosen,
            seed=seed,
            limits=self._profile.boot_limits,
            folder=self._folder / f"{clock}-{seed}",
        )
        result = booting.boot(request, lambda start: self._kind.start(node, start), Cancel())
        model = self._kind.model(node)
        seen = observations(request, result, Purpose.TEST, self._kind.accelerator, model)
        trouble = list[str]()
        for number, scenario in enumerate(chosen):
            if number < len(seen):
                test = Test(
                    id=scenario.name,
                    scenario=scenario.name,
                    node=node.name,
                    clock=clock,
                    seed=seed,
                    skip=None,
                    state=FeatureState.PRESENT,
                    inherited_from=None,
                    observations=(seen[number],),
                    pending=False,
                )
                trouble += self._unknown(test, scenario)
            else:
                trouble.append(f"{scenario.name}: the boot did not come to it ({result.ending})")
        return result.seconds, trouble

    def _unknown(self, test: Test, scenario: Scenario) -> Iterator[str]:
        found = judge(test, scenario, None, (), self._profile.icount_shift)
        for fault in found.faults:
            if issues.recognise(fault, self._issues) is None:
                yield fault.title
        if not found.faults and found.status is not Status.PASS:
            yield f"{scenario.name} is {found.status}: {found.reason}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--runs", type=int, default=30)
    words.add_argument("--profile", default="quick")
    words.add_argument("--first", type=int, default=1)
    asked = words.parse_args()
    farm = App(settings.load(os.environ))
    alarms = Counter[str]()
    seconds = list[float]()
    with tempfile.TemporaryDirectory(dir=farm.settings.cache, prefix="false-alarms-") as folder:
        suite = Suite(farm, asked.profile, Path(folder))
        for seed in range(asked.first, asked.first + asked.runs):
            boots = {clock: suite.boot(clock, seed) for clock in (Clock.WALL, Clock.ICOUNT)}
            seconds.append(sum(took for took, _ in boots.values()))
            told = {f"{clock}: {one}": None for clock, (_, all_) in boots.items() for one in all_}
            alarms.update(told)
            each = ", ".join(f"{clock} {took:.0f} s" for clock, (took, _) in boots.items())
            print(f"seed {seed}: {each}; {'; '.join(told) or 'no alarm'}", flush=True)
    farm.close()
    spread = f"{min(seconds):.0f} to {max(seconds):.0f}"
    print(f"{asked.runs} runs, {statistics.median(seconds):.0f} s each (spread {spread})")
    for title, count in alarms.most_common():
        print(f"false alarm in {count} of {asked.runs}: {title}")
    sys.exit(1 if alarms else 0)


if __name__ == "__main__":
    main()
