// SPDX-License-Identifier: GPL-2.0-or-later
/* One unit of compilation, see Kbuild: where a jump may stand. */

#include "safety.c"
#include "differential.c"
