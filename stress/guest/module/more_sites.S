/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sites.h"

#define SITE_BLOCK	farm_more_sites
#define SITE_FUNCTIONS	(MORE_SITES / MORE_SITES_EACH)
#define SITE_EACH	MORE_SITES_EACH
#define SITE_STRIDE	MORE_SITES_STRIDE
#include "sites_block.inc"
