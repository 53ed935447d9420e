# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a kernel built on top of its parent's objects the one that a clean build makes?

Takes the points of the newest run, builds some of them once more, each from nothing, and compares
kernel and payload bit for bit with what the run made.

    .venv/bin/farm submit kernel_series/jump-optimization
    .venv/bin/python tests/bench/incremental_against_clean.py [POINT]...
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from farm import settings
from farm.app import App
from farm.planner import expected_symbols
from kernel_series import manifest
from workers import kconfig, toolchain
from workers.build import Builder, build
from workers.cache import Cache
from workers.lane import host_jobs
from workers.process import Cancel
from workers.requests import BuildRequest
from workers.sandbox import Sandbox
from workers.trees import TreeStore

SERIES = Path(__file__).parent.parent.parent / "kernel_series" / "jump-optimization"


def main() -> None:
    places = settings.load(os.environ)
    farm = App(places)
    run = farm.judged("latest").run
    wanted = [int(word) for word in sys.argv[1:]] or [run.points[-1].index]
    features = manifest.load(SERIES / "series.yml").features
    different = 0
    for made in (one for one in run.builds if one.point in wanted and one.result is not None):
        config = kconfig.load(places.configs / "kernel", made.cell.config, made.cell.arch)
        with tempfile.TemporaryDirectory(dir=places.cache, prefix="clean-") as folder:
            caches = [Cache(Path(folder) / name) for name in ("kernels", "payloads", "outputs")]
            store = TreeStore(places.cache / "trees.git")
            builder = Builder(store, Sandbox(), *caches, Path(folder) / "ccache", host_jobs())
            request = BuildRequest(
                point=run.points[made.point],
                ancestors=run.points[: min(made.point, 1)],
                config=config,
                toolchain=toolchain.find(made.cell.toolchain),
                expected=expected_symbols(features, made.point, config),
                parent_warnings=(),
                parent_kernel=None,
                log=Path(folder) / "log",
                reuse=False,
            )
            clean = build(request, builder, Path(folder) / "lane", Cancel())
        same = made.result is not None and (
            (clean.kernel_sha256, clean.payload_sha256)
            == (made.result.kernel_sha256, made.result.payload_sha256)
        )
        different += not same
        verdict = "identical" if same else "DIFFERENT"
        print(f"point {made.point} {made.cell.name}: {verdict} ({clean.seconds:.0f} s)", flush=True)
    farm.close()
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
