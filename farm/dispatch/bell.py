# SPDX-License-Identifier: GPL-2.0-or-later
"""Wakes idle workers of one process when something happened in it, one after the other.

Mostly there is something to do for one of them: whoever found it rings again for the next.
"""

from __future__ import annotations

import threading


class Bell:
    """Rings for one of those who wait; one who looked before it rang does not wait at all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it rang: to be read before the look that finds nothing to do."""
        return self._rings

    def ring(self) -> None:
        """Wake one up."""
        with self._changed:
            self._rings += 1
            self._changed.notify()

    def wait(self, heard: int, seconds: float) -> None:
        """Wait until it rings once more than ``heard``, and at most ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._rings != heard, seconds)
