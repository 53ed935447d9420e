// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * farm_sites: ten thousand more places for probes. A module by itself, because the kernel goes
 * through all symbols of a module to find one, several times for each probe that is registered.
 */
#include <linux/module.h>

#include "sites.h"

EXPORT_SYMBOL_GPL(farm_more_sites);

static int __init farm_sites_init(void)
{
	return 0;
}

static void __exit farm_sites_exit(void)
{
}

module_init(farm_sites_init);
module_exit(farm_sites_exit);

MODULE_DESCRIPTION("places for kprobes");
MODULE_LICENSE("GPL");
