# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series: the manifest, where patches come from, the series that ship."""
