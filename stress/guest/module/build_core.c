// SPDX-License-Identifier: GPL-2.0-or-later
/* One unit of compilation, see Kbuild: probes, reports and the two scenarios that every kernel passes first. */

#include "main.c"
#include "report.c"
#include "probe.c"
#include "smoke.c"
#include "overhead.c"
