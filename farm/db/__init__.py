# SPDX-License-Identifier: GPL-2.0-or-later
"""The database: the one place where the truth about runs, jobs and results is kept."""
