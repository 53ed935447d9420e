/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places for probes that can be optimized, side by side in functions: a thousand in farm_sites.ko,
 * ten thousand in farm_more_sites.ko, which are loaded when they are needed. They are there for their number: nothing but their addresses is
 * of use, and the whole of a function can be called.
 */
#ifndef FARM_SITES_H
#define FARM_SITES_H

#define SITES			1000
#define SITES_EACH		2	/* places in a function; the kernel decodes all of it */
#define SITES_STRIDE		32	/* from one function to the next */

#define MORE_SITES		10000
#define MORE_SITES_EACH		8	/* more of them, for every function has a symbol */
#define MORE_SITES_STRIDE	64

#ifdef CONFIG_X86_64
#define SITE_SIZE		7
#else
#define SITE_SIZE		5
#endif

#ifndef __ASSEMBLY__

extern unsigned char farm_sites[];
extern unsigned char farm_more_sites[];

#endif
#endif
