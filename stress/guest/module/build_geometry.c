// SPDX-License-Identifier: GPL-2.0-or-later
/* One unit of compilation, see Kbuild: probes on neighbouring bytes. */

#include "counted.c"
#include "optimizer.c"
#include "geometry.c"
#include "pairs.c"
#include "scene.c"
#include "forced.c"
