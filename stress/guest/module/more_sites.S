/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sites.h"

#define SITE_BLOCK	farm_more_sites
#define SITE_FUNCTIONS	(MORE_SITES / SITES_EACH)
#include "sites_block.inc"
