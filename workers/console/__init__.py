# SPDX-License-Identifier: GPL-2.0-or-later
"""The console of a machine under test: what it printed, and what that means."""
