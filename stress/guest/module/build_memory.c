// SPDX-License-Identifier: GPL-2.0-or-later
/* One unit of compilation, see Kbuild: what probes cost in memory and time to register. */

#include "memory.c"
#include "pages.c"
