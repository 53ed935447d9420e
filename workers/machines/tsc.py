# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast this host's time stamp counter runs, which is the one that an emulated guest reads.

On a busy host a guest often fails to find it out by itself: each time its thread has to wait, the
calibration against an emulated timer is off. No file tells it on every host, so it is measured by
the instruction itself.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import statistics
import time
from collections.abc import Callable

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ = bytes([0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3])

ROUNDS = 5
SECONDS = 0.02


def host_khz() -> int | None:
    """Return the counter's frequency in kHz; None on a host that is not x86-64.

    The median of several rounds: one in which this process had to wait between reading counter and
    clock is far off, and only that one.
    """
    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(READ)
    code = (ctypes.c_char * len(READ)).from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    try:
        return round(statistics.median(_round(read) for _ in range(ROUNDS)))
    finally:
        # The page can only be given back when nothing points into it any more.
        del read, code
        page.close()


def _round(read: Callable[[], int]) -> float:
    started, counted = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), read()
    time.sleep(SECONDS)
    ended, after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), read()
    return float((after - counted) * 1e6 / (ended - started))
