# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the farm keeps what: read once from the environment, then passed along."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.errors import UserError

NAME = "kprobes-farm"

ANOTHER_HOME = "name a folder of yours: export FARM_HOME=FOLDER"
DEFAULT_SIZE = "20G"

UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Settings:
    """Folders and the database.

    ``data`` holds what must last (database, consoles, logs), ``cache`` what can be made again.
    ``limit`` is how many bytes ``farm gc`` leaves of both.
    """

    data: Path
    cache: Path
    configs: Path
    limit: int

    @property
    def database(self) -> str:
        """The database's URL."""
        return f"sqlite:///{self.data / 'farm.db'}"

    @property
    def runs(self) -> Path:
        """Consoles, logs and lanes, a folder for each run."""
        return self.data / "runs"


def load(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment gives.

    ``FARM_HOME`` or the XDG base directories say where things are, ``FARM_SIZE`` (like 20G) how
    much ``farm gc`` leaves of them. UserError when that is no size.
    """
    configs = Path(__file__).parent.parent / "configs"
    limit = size(environment.get("FARM_SIZE") or DEFAULT_SIZE)
    if home := environment.get("FARM_HOME"):
        root = Path(home).expanduser().absolute()
        return Settings(root / "data", root / "cache", configs, limit)
    user = Path(environment.get("HOME") or Path.home())
    data = Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share")
    cache = Path(environment.get("XDG_CACHE_HOME") or user / ".cache")
    return Settings(data / NAME, cache / NAME, configs, limit)


def make_folder(folder: Path) -> None:
    """Make a folder that the farm keeps things in; UserError where it can't be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return
        reason = "it is not writable"
    raise UserError(f"the farm can't keep anything in {folder}: {reason}", ANOTHER_HOME)


def size(text: str) -> int:
    """Return the bytes that a person's size means: 500M, 20G, 1.5T or plain bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:iB|B)?", text.strip())
    if match is None:
        raise UserError(f"{text!r} is no size", "give one like 500M, 20G or 1.5T")
    return int(float(match[1]) * (1 << UNITS[match[2]]))


def shown(size: int) -> str:
    """Return bytes as a person would give them to ``size``."""
    unit = next((one for one in "TGMK" if size >= 1 << UNITS[one]), "")
    return f"{size / (1 << UNITS[unit]):.4g}{unit}"
