# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON Schemas of data files, made from the models that read these files.

They ship in docs/schemas for editors; ``make schemas`` writes them anew. Those of what the farm
prints, of manifests and of edit recipes are written by hand: no model of ours reads these.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farm import issues
from farm.flavours import Flavour
from farm.profiles import Lab, Profile
from stress import scenario

HEAD = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$comment": "SPDX-License-Identifier: GPL-2.0-or-later; made by `make schemas`",
}


def generated() -> Mapping[str, str]:
    """Return the files that are made, by their names."""
    schemas = {
        "build-only.json": ("A flavour that is only built", Flavour.model_json_schema()),
        "issue.json": ("A known issue", issues.schema()),
        "lab.json": ("A lab: a file of nodes", Lab.model_json_schema()),
        "profile.json": ("A profile", Profile.model_json_schema()),
        "scenario.json": ("A scenario", scenario.schema()),
    }
    return {name: _text(title, schema) for name, (title, schema) in schemas.items()}


def _text(title: str, schema: Mapping[str, Any]) -> str:
    return json.dumps({**HEAD, **schema, "title": title}, indent=2) + "\n"


def main(folder: Path) -> None:
    """Write the schemas into a folder."""
    for name, text in generated().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
