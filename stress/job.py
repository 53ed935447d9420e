# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest is told: `/job.json`, read by guest/init/job.h."""

import json
import re
from collections.abc import Sequence

from stress.errors import ScenarioError
from stress.scenario import Clock, Scenario

MAX_SCENARIOS = 64
TOKEN = re.compile(r"[0-9a-z]{8,64}")
MAX_SEED = 2**31 - 1
"""Scenarios read it as a C int, as they read all their parameters."""


def job_json(token: str, seed: int, clock: Clock, scenarios: Sequence[Scenario]) -> bytes:
    """The job of one boot: `scenarios` in this order, with their parameters.

    `token` is fresh for each boot and marks what its init says; `seed` (0 .. MAX_SEED) drives all
    that is random in the guest. ScenarioError where the guest's reader would refuse it.
    """
    if not TOKEN.fullmatch(token):
        raise ScenarioError("job", f"token {token[:80]!r}", "use 8 to 64 of 0-9a-z")
    if not 0 <= seed <= MAX_SEED:
        raise ScenarioError("job", f"seed {seed} is out of range", f"use 0 to {MAX_SEED}")
    if not 1 <= len(scenarios) <= MAX_SCENARIOS:
        raise ScenarioError("job", f"{len(scenarios)} scenarios", f"give 1 to {MAX_SCENARIOS}")
    names = [scenario.name for scenario in scenarios]
    if len(set(names)) != len(names):
        raise ScenarioError("job", f"a scenario twice in one boot: {', '.join(names)}")
    job = {
        "token": token,
        "seed": seed,
        "clock": clock.value,
        "scenarios": [
            {"name": one.name, "run": one.run, "parameters": dict(one.parameters)}
            for one in scenarios
        ],
    }
    return json.dumps(job).encode("ascii")
