# SPDX-License-Identifier: GPL-2.0-or-later
"""The bell that wakes idle workers: no ring is missed, nobody waits for ever."""

from __future__ import annotations

import queue
import threading

from farm.dispatch.bell import Bell

FOR_EVER = 600.0


def test_whoever_is_woken_wakes_the_next() -> None:
    bell = Bell()
    heard, woken = bell.rings, queue.SimpleQueue[None]()

    def wait() -> None:
        bell.wait(heard, FOR_EVER)
        woken.put(None)
        bell.ring()

    waiting = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    bell.ring()
    for _ in waiting:
        woken.get(timeout=FOR_EVER / 2)


def test_a_ring_between_looking_and_waiting_is_heard() -> None:
    bell = Bell()
    heard = bell.rings
    bell.ring()
    waiting = threading.Thread(target=bell.wait, args=(heard, FOR_EVER), daemon=True)
    waiting.start()
    waiting.join(FOR_EVER / 2)
    assert not waiting.is_alive()


def test_without_a_ring_waiting_ends_by_itself() -> None:
    bell = Bell()
    bell.wait(bell.rings, 0.01)
    assert bell.rings == 0
