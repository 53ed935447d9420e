# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine kinds are found by their names, and say what results may be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workers import machines
from workers.errors import UserError
from workers.machines import Node, qemu
from workers.machines.accelerator import Accelerator
from workers.sandbox import Sandbox

NODE = Node("n", "qemu", ("x86_64",), "qemu64", 2, 256, frozenset())


def test_a_kind_is_a_module_that_offers_one() -> None:
    assert machines.known() == ("fake", "qemu")


@pytest.mark.parametrize("name", ["", "accelerator", "qemu.version", "../qemu", "os"])
def test_an_unknown_kind_is_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown machine kind .*; known: fake, qemu"):
        machines.open_kind(name, Sandbox(), tmp_path)


def test_a_model_names_everything_that_a_figure_depends_on() -> None:
    fake = machines.open_kind("fake", Sandbox(), Path())
    tcg, kvm = (qemu.Qemu(Sandbox(), Accelerator(name, ""), None) for name in ("tcg", "kvm"))
    models = [kind.model(NODE) for kind in (fake, tcg, kvm)]
    models += [
        tcg.model(replace(NODE, **change))
        for change in ({"cpu": "max"}, {"cpus": 4}, {"memory_mib": 512})
    ]
    assert len(set(models)) == len(models)
    assert tcg.model(NODE) == tcg.model(replace(NODE, name="m", capabilities=frozenset({"x"})))
    assert qemu.version("x86_64") in tcg.model(NODE)
    assert [kind.accelerator for kind in (fake, tcg, kvm)] == ["fake", "tcg", "kvm"]
