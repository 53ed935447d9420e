# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles and labs: data files that say how much is run, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stress import datafile
from stress.job import MAX_SEED
from stress.scenario import Clock, Parameter, Scenario
from workers import machines
from workers.boot import Limits
from workers.errors import UserError
from workers.machines import Node


class Data(BaseModel):
    """A data file, or a part of one: keys with dashes, and none that is not known."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )


class LimitsData(Data):
    """Host seconds; see ``workers.boot.Limits``."""

    boot: float = Field(gt=0)
    silence: float = Field(gt=0)
    whole: float = Field(gt=0)


class Estimates(Data):
    """Seconds on two cores, for ``farm plan`` only."""

    prepare: float
    base: float
    point: float
    boot: float


class Profile(Data):
    """How much of a manifest's matrix is run, and by which limits it is watched.

    ``leaves_out`` are scenarios that are run only when they are asked for by name.
    ``build_only`` names flavours that are built beside it and not booted (``farm.flavours``);
    ``check_patches`` asks for checkpatch and a look at the tags (``workers.checks``).
    """

    title: str
    arches: int | None = Field(ge=1)
    configs: int | None = Field(ge=1)
    clocks: tuple[Clock, ...]
    icount_shift: int = Field(ge=0, le=10)
    seed: int = Field(ge=0, le=MAX_SEED)
    parameters: dict[str, dict[str, Parameter]] = {}
    leaves_out: tuple[str, ...] = ()
    limits: LimitsData
    effects: dict[Clock, float]
    estimates: Estimates
    build_only: tuple[str, ...] = ()
    check_patches: bool = False

    def adapted(self, scenarios: Mapping[str, Scenario]) -> Mapping[str, Scenario]:
        """Return the scenarios with this profile's parameters in place of their defaults.

        UserError or ScenarioError for an unknown scenario or parameter, with the known ones.
        """
        for name in (*self.parameters, *self.leaves_out):
            if name not in scenarios:
                known = ", ".join(scenarios)
                raise UserError(
                    f"the profile names an unknown scenario {name!r}", f"known: {known}"
                )
        return MappingProxyType(
            {
                name: scenario.with_parameters(self.parameters.get(name, {}))
                for name, scenario in scenarios.items()
            }
        )

    @property
    def boot_limits(self) -> Limits:
        return Limits(self.limits.boot, self.limits.silence, self.limits.whole)


class NodeData(Data):
    """A node as a lab file describes it; ``boots`` is how many it bears at once."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: str
    arches: tuple[Literal["x86_64", "i386"], ...] = Field(min_length=1)
    cpu: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9,+=.-]*$")
    cpus: int = Field(ge=1, le=64)
    memory_mib: int = Field(ge=64)
    boots: int = Field(ge=1)

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in machines.known():
            raise ValueError(f"unknown machine kind {kind!r}; known: {', '.join(machines.known())}")
        return kind

    @property
    def node(self) -> Node:
        return Node(
            self.name, self.kind, self.arches, self.cpu, self.cpus, self.memory_mib, frozenset()
        )


class Lab(Data):
    """A file of nodes."""

    title: str
    nodes: tuple[NodeData, ...] = Field(min_length=1)

    @field_validator("nodes")
    @classmethod
    def _distinct(cls, nodes: tuple[NodeData, ...]) -> tuple[NodeData, ...]:
        if len({node.name for node in nodes}) < len(nodes):
            raise ValueError("two nodes have the same name")
        return nodes


_Model = TypeVar("_Model", bound=Data)


def names(folder: Path) -> tuple[str, ...]:
    """Return the names that a folder of data files offers."""
    return tuple(sorted(path.stem for path in folder.glob("*.yml")))


def load_profile(configs: Path, name: str) -> Profile:
    """Return a profile by its name; UserError lists the known ones."""
    return load(configs / "profiles", name, Profile, "profile")


def load_lab(configs: Path, name: str) -> Lab:
    """Return a lab by its name; UserError lists the known ones."""
    return load(configs / "labs", name, Lab, "lab")


def load(folder: Path, name: str, model: type[_Model], what: str) -> _Model:
    """Return a data file by its name; UserError lists the known ones or says what is wrong."""
    if name not in names(folder):
        raise UserError(f"unknown {what} {name!r}", f"known: {', '.join(names(folder))}")
    path = folder / f"{name}.yml"
    try:
        return model.model_validate(datafile.read(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {place}: {first['msg']}") from error
