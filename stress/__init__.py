# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs inside the kernel under test, and what its output means."""
