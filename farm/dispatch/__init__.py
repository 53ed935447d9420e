# SPDX-License-Identifier: GPL-2.0-or-later
"""Dispatchers: how the jobs of a run come to workers."""
