# SPDX-License-Identifier: GPL-2.0-or-later
"""Known faults: data files by which a fault is recognised; it is listed, and does not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from farm.verdicts.judge import Fault, Kind
from stress import datafile
from workers.errors import UserError


@dataclass(frozen=True)
class Issue:
    """A known fault. ``match`` is a pattern for the fault's case, or its title where it has none.

    In a pattern ``*`` stands for anything. A title alone may be that of a new fault elsewhere:
    ``scenarios`` are those in which it is the known one (empty: any). ``fixed_by`` is the commit
    that fixed it upstream.
    """

    id: str
    title: str
    kinds: tuple[Kind, ...]
    match: tuple[str, ...]
    scenarios: tuple[str, ...]
    fixed_by: str | None

    def matches(self, fault: Fault) -> bool:
        """Whether a fault is this one."""
        return (
            fault.kind in self.kinds
            and (not self.scenarios or fault.scenario in self.scenarios)
            and any(fnmatchcase(fault.case or fault.title, pattern) for pattern in self.match)
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    kinds: tuple[Kind, ...] = Field(min_length=1)
    match: tuple[str, ...] = Field(min_length=1)
    scenarios: tuple[str, ...] = ()
    fixed_by: str | None = Field(alias="fixed-by")
    seen_in: str = Field(alias="seen-in")


def load_all(folder: Path) -> tuple[Issue, ...]:
    """Return the known issues of a folder; UserError names the file that is not one."""
    return tuple(_load(path) for path in sorted(folder.glob("*.yml")))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an issue's file."""
    return _File.model_json_schema()


def recognise(fault: Fault, issues: Iterable[Issue]) -> Issue | None:
    """Return the known issue that a fault is, if there is one."""
    return next((issue for issue in issues if issue.matches(fault)), None)


def _load(path: Path) -> Issue:
    try:
        file = _File.model_validate(datafile.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {place}: {first['msg']}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return Issue(path.stem, file.title, file.kinds, file.match, file.scenarios, file.fixed_by)
