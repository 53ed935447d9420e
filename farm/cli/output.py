# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``--json`` prints: one document on standard output and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from farm.reports.results import SCHEMA


def write(document: Mapping[str, Any]) -> None:
    """Print a document."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def listing(**content: Any) -> None:
    """Print a document of these keys, with the version of the contracts that it keeps to."""
    write({"schema": SCHEMA, **content})
