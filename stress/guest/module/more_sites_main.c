// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * farm_more_sites: places for probes, ten thousand of them. A module by itself, because the kernel goes through
 * all symbols of a module to find one, several times for each probe that is registered.
 */
#include <linux/module.h>

#include "sites.h"

EXPORT_SYMBOL_GPL(farm_more_sites);

MODULE_DESCRIPTION("Ten thousand places for kprobes");
MODULE_LICENSE("GPL");
