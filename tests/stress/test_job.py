# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest is told. That its own reader understands it is shown in test_guest_init.py."""

import json
from dataclasses import replace

import pytest

from stress.errors import ScenarioError
from stress.job import MAX_SEED, job_json
from stress.scenario import Clock, Scenario, get

TOKEN = "0123456789abcdef"


def test_job() -> None:
    smoke = get("smoke").with_parameters({"hits": 7})
    assert json.loads(job_json(TOKEN, 5, Clock.ICOUNT, [smoke])) == {
        "token": TOKEN,
        "seed": 5,
        "clock": "icount",
        "scenarios": [{"name": "smoke", "run": "smoke", "parameters": {"hits": 7}}],
    }


def crowd(count: int) -> list[Scenario]:
    return [replace(get("smoke"), name=f"smoke-{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("token", "seed", "scenarios", "message"),
    [
        ("short", 1, crowd(1), "token 'short'"),
        ("bad token!", 1, crowd(1), "token"),
        (TOKEN, -1, crowd(1), "seed -1 is out of range"),
        (TOKEN, MAX_SEED + 1, crowd(1), f"is out of range; use 0 to {MAX_SEED}"),
        (TOKEN, 1, [], "0 scenarios"),
        (TOKEN, 1, crowd(65), "65 scenarios"),
        (TOKEN, 1, crowd(1) * 2, "a scenario twice"),
    ],
)
def test_refused(token: str, seed: int, scenarios: list[Scenario], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        job_json(token, seed, Clock.WALL, scenarios)
