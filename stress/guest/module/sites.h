/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places for probes that can be optimized, side by side in functions: a thousand in farm_sites.ko,
 * ten thousand in farm_more_sites.ko, which are loaded when they are needed. They are there for their number: nothing but their addresses is
 * of use, and the whole of a function can be called.
 */
#ifndef FARM_SITES_H
#define FARM_SITES_H

#define SITES			1000
#define MORE_SITES		10000

#define SITES_EACH		2	/* places in a function */
#define SITE_FUNCTION_SIZE	32	/* from one function to the next */

#ifdef CONFIG_X86_64
#define SITE_SIZE		7
#else
#define SITE_SIZE		5
#endif

#ifndef __ASSEMBLY__

extern unsigned char farm_sites[];
extern unsigned char farm_more_sites[];

#define SITES_BYTES(sites)	((sites) / SITES_EACH * SITE_FUNCTION_SIZE)

/* The address of a place in a block. */
static inline void *site_address(unsigned char *block, int site)
{
	return block + site / SITES_EACH * SITE_FUNCTION_SIZE + site % SITES_EACH * SITE_SIZE;
}

#endif
#endif
