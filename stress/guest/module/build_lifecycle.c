// SPDX-License-Identifier: GPL-2.0-or-later
/* One unit of compilation, see Kbuild: probes that come and go. */

#include "lifecycle.c"
#include "storms.c"
#include "missed.c"
#include "switches.c"
#include "agents.c"
#include "modules.c"
#include "user.c"
