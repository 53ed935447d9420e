/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes that count, and the verdict on a case that looks at many things.
 */
#ifndef FARM_COUNTED_H
#define FARM_COUNTED_H

#include <linux/kprobes.h>

#include "compat.h"

struct counted {
	struct kprobe kprobe;
	atomic_t hits;		/* calls of the pre_handler */
	atomic_t posts;		/* calls of the post_handler */
};

/* Make it a probe for the address, not registered; `post`: with a post_handler too. */
void counted_set(struct counted *counted, const void *address, bool post);

/* The same, and register it: returns register_kprobe()'s error. */
int counted_register(struct counted *counted, const void *address);
int counted_register_post(struct counted *counted, const void *address);

/* Hits, and those that the kernel says it missed: together as many as the calls. */
static inline unsigned long counted_calls(const struct counted *counted)
{
	return atomic_read(&counted->hits) + counted->kprobe.nmissed;
}

/* The first thing that was not as it should be. */
struct verdict {
	bool failed;
	char reason[100];
};

/* Note the reason if it is the first that is not ok. Returns `ok`. */
__printf(3, 4) bool expect(struct verdict *verdict, bool ok, const char *format, ...);

/* End the case that is open: with the reason, if there is one. */
void report_verdict(const struct verdict *verdict);

#endif
