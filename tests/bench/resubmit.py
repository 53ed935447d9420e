# SPDX-License-Identifier: GPL-2.0-or-later
"""What a resubmission costs, as a ratio to the first submission on an empty cache.

A developer's day: the series as it is, the same again, and the same with one patch changed. The
change is code in the file that most patches touch, so every point from that patch on is another
kernel. Each round changes it differently.

    .venv/bin/python tests/bench/resubmit.py [--rounds N] [--folder FOLDER] [--home HOME]

``--home`` is an empty FARM_HOME that is left there, for other benches.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from submit_against_loop import DEMO, submit

CHANGED = 5
"""The patch that is changed: the middle of nine."""

RECIPE = """\
name: changed-{round}
title: a counter that nobody reads
source: own
edits:
  - file: arch/x86/kernel/kprobes/core.c
    find: |
      int arch_prepare_kprobe(struct kprobe *p)
      {{
    replace: |
      int changed_{round};

      int arch_prepare_kprobe(struct kprobe *p)
      {{
      \tchanged_{round}++;
"""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--folder", type=Path)
    words.add_argument("--home", type=Path)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="farm-bench-") as folder:
        home = asked.home or Path(folder) / "home"
        if (home / "cache").exists():
            words.error(f"{home} is not empty: the first submission would not be one")
        first, _ = submit(home, DEMO)
        print(f"first submission, empty cache: {first:.0f} s", flush=True)
        same, changed = list[float](), list[float]()
        for number in range(asked.rounds):
            same.append(submit(home, DEMO)[0] / first)
            recipe = Path(folder) / f"changed-{number}.yml"
            recipe.write_text(RECIPE.format(round=number))
            changed.append(submit(home, DEMO, "--plant", f"{recipe}@{CHANGED}")[0] / first)
            print(f"unchanged {same[-1]:.4f}, one patch changed {changed[-1]:.3f}", flush=True)
        for name, ratios in (("unchanged", same), ("one patch changed", changed)):
            spread = f"{min(ratios):.4f} to {max(ratios):.4f}"
            print(f"{name}: median ratio {statistics.median(ratios):.4f}, spread {spread}")


if __name__ == "__main__":
    main()
