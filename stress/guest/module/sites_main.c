// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * farm_sites: places for probes, a thousand of them. A module by itself, because the kernel goes through
 * all symbols of a module to find one, several times for each probe that is registered.
 */
#include <linux/module.h>

#include "sites.h"

EXPORT_SYMBOL_GPL(farm_sites);

MODULE_DESCRIPTION("A thousand places for kprobes");
MODULE_LICENSE("GPL");
