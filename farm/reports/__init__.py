# SPDX-License-Identifier: GPL-2.0-or-later
"""What was found, told to people and to programs."""
