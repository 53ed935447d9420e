/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sites.h"

#define SITE_BLOCK	farm_sites
#define SITE_FUNCTIONS	(SITES / SITES_EACH)
#define SITE_EACH	SITES_EACH
#define SITE_STRIDE	SITES_STRIDE
#include "sites_block.inc"
