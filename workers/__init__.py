# SPDX-License-Identifier: GPL-2.0-or-later
"""The hands: turn a request into trees, kernels and test results on this host's machines."""
