# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the kernel's crash reports on a console and gives each a stable title."""

from workers.console.crash.lines import LIMIT
from workers.console.crash.reader import read
from workers.console.crash.report import EXCERPT_LIMIT, CrashKind, CrashReport

__all__ = ["EXCERPT_LIMIT", "LIMIT", "CrashKind", "CrashReport", "read"]
