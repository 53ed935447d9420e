# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading data files: safe YAML in which no key is given twice."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

try:
    # libyaml's, several times as fast: every command begins with a dozen files.
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]


def read(path: Path) -> Any:
    """What a file holds. Raises OSError, and yaml.YAMLError for what is no such file."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:  # without libyaml, which counts by itself
        raise yaml.YAMLError("nested too deeply") from error


class _Loader(SafeLoader):
    """Refuses a key given twice: plain YAML keeps the last, and checks would vanish in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(
                problem="a key is given twice", problem_mark=node.start_mark
            )
        return mapping
