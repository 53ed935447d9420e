# SPDX-License-Identifier: GPL-2.0-or-later
"""From a manifest to patches."""

from pathlib import Path

from kernel_series import sources
from kernel_series.content import Content
from kernel_series.errors import SeriesError
from kernel_series.manifest import Manifest
from kernel_series.run import Run
from kernel_series.tree import Tree


def read_series(
    manifest: Manifest,
    run: Run,
    *,
    tree: Tree | None = None,
    repository: Path | None = None,
    confined: bool = False,
) -> Content:
    """The patches that a manifest names, in order. Raises SeriesError.

    `tree` is the untouched base tree (needed to derive), `repository` a git repository that holds
    the series (needed by git-range; a repository that the manifest names by path is the default).
    """
    source = manifest.patches.source
    place = f"{manifest.where(f'patches.{source}')}: patches.{source}"
    request = sources.Request(
        value=manifest.patches.value,
        place=place,
        run=run,
        path=manifest.patches.path,
        version=manifest.stated_version,
        tree=tree,
        repository=repository or (manifest.base.path if manifest.base.kind == "git" else None),
        confined=confined,
    )
    content = sources.read(source, request)
    for index, feature in enumerate(manifest.features):
        if feature.introduced_by > len(content.patches):
            key = f"features[{index}].introduced-by"
            raise SeriesError(
                manifest.where(key),
                f"{key}: there is no patch {feature.introduced_by}",
                f"the series has {len(content.patches)} patches",
            )
    return content
