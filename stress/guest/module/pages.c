// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/vmstat.h>

#include "compat.h"
#include "pages.h"

static unsigned long zone_free(struct zone *zone)
{
	unsigned long pages;
	int cpu;

	if (!zone->present_pages)
		return 0;
	pages = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	for_each_online_cpu(cpu)
		pages += cpu_list_pages(zone, cpu);
	return pages;
}

unsigned long pages_free(void)
{
	unsigned long pages = 0;
	int node, zone;

	for_each_online_node(node)
		for (zone = 0; zone < MAX_NR_ZONES; zone++)
			pages += zone_free(&NODE_DATA(node)->node_zones[zone]);
	return pages;
}
