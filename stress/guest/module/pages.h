/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory is in use, to the page.
 */
#ifndef FARM_PAGES_H
#define FARM_PAGES_H

/*
 * Pages that are free, wherever they lie: in the zones, and on the lists that each CPU keeps for
 * itself. /proc/meminfo leaves out the lists and may be behind by some pages for each CPU.
 */
unsigned long pages_free(void);

#endif
