# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was seen to what it means: pure functions, no database, no clock."""
