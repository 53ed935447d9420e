# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios as data: one file `scenarios/NAME.yml` each, found by its name, validated when read.

A scenario says what runs in the guest (`run` and `parameters`), where it can run (`needs`,
`clocks`, `smp`), how long it may take, and which evidence must hold for a pass, by the state of
the feature under test. docs/scenarios.md tells how to add one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from stress import datafile
from stress.errors import ScenarioError

FOLDER = Path(__file__).parent / "scenarios"

Parameter = bool | int | str
"""The value of a parameter; its type is the type of the default in the scenario's file."""

# What the guest's job reader and the line given to the module hold (guest/init/job.h).
MAX_PARAMETERS = 16
MAX_NAME = 31
MAX_TEXT = 63
INT64 = range(-(2**63), 2**63)
GIVEN_BY_INIT = ("scenario", "seed", "clock")


class FeatureState(StrEnum):
    """What may be expected of the feature under test at one point of a series."""

    ABSENT = "absent"
    """No patch up to this point brought it."""
    UNSUPPORTED = "unsupported"
    """It is there, but not with this config (`unsupported-with` of the manifest)."""
    PRESENT = "present"


class Clock(StrEnum):
    """Which clock a boot's figures come from; figures of different clocks are never compared."""

    ICOUNT = "icount"
    """QEMU counts instructions: the same in each boot, and never a time."""
    WALL = "wall"


_OPERATORS: Mapping[str, tuple[str, Callable[[int, int], bool]]] = MappingProxyType(
    {
        "eq": ("==", eq),
        "ne": ("!=", ne),
        "ge": (">=", ge),
        "gt": (">", gt),
        "le": ("<=", le),
        "lt": ("<", lt),
    }
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the evidence must show: `name op value`, such as `optimized ge 1`."""

    name: str
    op: str
    value: int

    def holds(self, evidence: Mapping[str, int]) -> bool:
        """Whether the guest's evidence shows it; evidence that is missing shows nothing."""
        return self.name in evidence and _OPERATORS[self.op][1](evidence[self.name], self.value)

    def failure(self, evidence: Mapping[str, int]) -> str:
        """The sentence for a person when it does not hold."""
        seen = evidence.get(self.name, "missing")
        return f"{self.name} is {seen}, expected {_OPERATORS[self.op][0]} {self.value}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A check as its file states it: the bound is a number or the name of an int parameter."""

    name: str
    op: str
    bound: int | str

    def check(self, parameters: Mapping[str, Parameter]) -> Check:
        value = parameters[self.bound] if isinstance(self.bound, str) else self.bound
        return Check(self.name, self.op, int(value))


@dataclass(frozen=True, slots=True)
class Needs:
    """Without these the scenario is SKIP: kernel config symbols, capabilities of the node."""

    kernel: tuple[str, ...] = ()
    node: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario with the parameters it will run with. `limit` is seconds of guest time, `tools`
    are programs of the host that the guest gets for it."""

    name: str
    title: str
    needs: Needs
    parameters: Mapping[str, Parameter]
    run: str
    limit: int
    clocks: tuple[Clock, ...]
    smp: int
    evidence: tuple[Claim, ...]
    expect: Mapping[FeatureState, tuple[Claim, ...]]
    tools: tuple[str, ...] = ()

    def checks(self, state: FeatureState) -> tuple[Check, ...]:
        """What the evidence of a run must show where the feature is in `state`."""
        claims = self.evidence + self.expect[state]
        return tuple(claim.check(self.parameters) for claim in claims)

    def with_parameters(self, overrides: Mapping[str, Parameter]) -> "Scenario":
        """The same scenario with other values; unknown names and types raise ScenarioError."""
        place = f"scenario {self.name}"
        for name, value in overrides.items():
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "it has none"
                raise ScenarioError(place, f"no parameter {name!r}", f"known: {known}")
            wanted = type(self.parameters[name])
            if type(value) is not wanted:
                given = f"{value!r} ({type(value).__name__})"
                raise ScenarioError(place, f"{name} is {given}", f"its type is {wanted.__name__}")
            _check_value(place, name, value)
        merged = MappingProxyType({**self.parameters, **overrides})
        return replace(self, parameters=merged)


def get(name: str) -> Scenario:
    """The scenario of that name; ScenarioError lists the known ones."""
    known = load_all()
    if name not in known:
        raise ScenarioError(f"scenario {name!r}", "no such scenario", f"known: {', '.join(known)}")
    return known[name]


def load_all(folder: Path = FOLDER) -> Mapping[str, Scenario]:
    """Every scenario of the folder by name, in the order of names; ScenarioError if one is bad."""
    paths = sorted(folder.glob("*.yml"))
    return MappingProxyType({path.stem: load(path) for path in paths})


def load(path: Path) -> Scenario:
    """Read and validate one file; ScenarioError names the file and the key."""
    try:
        data = datafile.read(path)
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(str(path), f"cannot be read: {error}") from error
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        place = f"{path}: {key}" if key else str(path)
        raise ScenarioError(place, first["msg"], "docs/scenarios.md lists the keys") from error
    if file.name != path.stem:
        raise ScenarioError(str(path), f"its name is {file.name!r}", "name the file after it")
    return _scenario(path, file)


def schema() -> dict[str, Any]:
    """The JSON Schema of a scenario's file."""
    return _File.model_json_schema()


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=MAX_NAME)]
_Run = Annotated[
    str, StringConstraints(pattern=r"^([a-z][a-z0-9_]*|sh:[a-z][a-z0-9-]*)$", max_length=MAX_NAME)
]
_Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]+$")]
_Value = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/,+-]*$", max_length=MAX_TEXT)]
_Claims = dict[_Name, dict[Literal["eq", "ne", "ge", "gt", "le", "lt"], int | _Name]]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Needs(_Record):
    kernel: list[_Symbol] = []
    node: list[_Name] = []


class _Expect(_Record):
    # All three are asked for: a state nobody thought of would pass without evidence.
    absent: _Claims
    unsupported: _Claims
    present: _Claims


class _File(_Record):
    """The shape of a scenario's file."""

    name: _Name
    title: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\n]+$")]
    needs: _Needs = _Needs()
    parameters: Annotated[
        dict[_Name, bool | int | _Value], Field(default={}, max_length=MAX_PARAMETERS)
    ]
    run: _Run
    limit: Annotated[int, Field(gt=0, le=3600)]
    clocks: Annotated[list[Literal["icount", "wall"]], Field(default=["wall"], min_length=1)]
    smp: Annotated[int, Field(default=1, ge=1, le=64)]
    tools: list[Literal["perf"]] = []
    evidence: Annotated[_Claims, Field(min_length=1)]
    expect: _Expect


def _scenario(path: Path, file: _File) -> Scenario:
    for name, value in file.parameters.items():
        _check_value(f"{path}: parameters.{name}", name, value)
    return Scenario(
        name=file.name,
        title=file.title,
        needs=Needs(tuple(file.needs.kernel), tuple(file.needs.node)),
        parameters=MappingProxyType(dict(file.parameters)),
        run=file.run,
        limit=file.limit,
        clocks=tuple(Clock(clock) for clock in file.clocks),
        smp=file.smp,
        tools=tuple(file.tools),
        evidence=_claims(path, "evidence", file.evidence, file),
        expect=MappingProxyType(
            {
                state: _claims(path, f"expect.{state}", getattr(file.expect, state), file)
                for state in FeatureState
            }
        ),
    )


def _claims(path: Path, key: str, stated: _Claims, file: _File) -> tuple[Claim, ...]:
    """The claims of one block, with each bound that names a parameter looked up."""
    claims = tuple(
        Claim(name, op, bound) for name, bounds in stated.items() for op, bound in bounds.items()
    )
    for claim in claims:
        if isinstance(claim.bound, str) and type(file.parameters.get(claim.bound)) is not int:
            raise ScenarioError(
                f"{path}: {key}.{claim.name}",
                f"{claim.bound!r} is not an int parameter of this scenario",
                "give a number or such a name",
            )
    return claims


def _check_value(place: str, name: str, value: Parameter) -> None:
    """Refuse what the guest's job reader could not hold or would misread."""
    if name in GIVEN_BY_INIT:
        raise ScenarioError(place, f"{name!r} is given to every scenario", "choose another name")
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not re.fullmatch(r"[A-Za-z0-9_.:/,+-]*", value):
            raise ScenarioError(
                place, f"{name} is {value[:80]!r}", f"use up to {MAX_TEXT} of A-Za-z0-9_.:/,+-"
            )
    elif value not in INT64:
        raise ScenarioError(place, f"{name} is {value}", "a number must fit in 64 bits")
