# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller: what a person, a script or a web browser talks to."""
