# SPDX-License-Identifier: GPL-2.0-or-later
"""Something small that is done again and again while other work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(step: Callable[[], None], seconds: float, name: str) -> Iterator[None]:
    """Call ``step`` every so many seconds while the block runs, in a thread called ``name``."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds):
            step()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
