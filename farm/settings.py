# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the farm keeps what: read once from the environment, then passed along."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.errors import UserError

NAME = "kprobes-farm"

ANOTHER_HOME = "name a folder of yours: export FARM_HOME=FOLDER"


@dataclass(frozen=True)
class Settings:
    """Folders and the database.

    ``data`` holds what must last (database, consoles, logs), ``cache`` what can be made again.
    """

    data: Path
    cache: Path
    configs: Path

    @property
    def database(self) -> str:
        """The database's URL."""
        return f"sqlite:///{self.data / 'farm.db'}"

    @property
    def runs(self) -> Path:
        """Consoles, logs and lanes, a folder for each run."""
        return self.data / "runs"


def load(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment gives: ``FARM_HOME`` or the XDG base directories."""
    configs = Path(__file__).parent.parent / "configs"
    if home := environment.get("FARM_HOME"):
        root = Path(home).expanduser().absolute()
        return Settings(root / "data", root / "cache", configs)
    user = Path(environment.get("HOME") or Path.home())
    data = Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share")
    cache = Path(environment.get("XDG_CACHE_HOME") or user / ".cache")
    return Settings(data / NAME, cache / NAME, configs)


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
