// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Storms: as many changes as possible, with and without the time for the optimizer between them.
 */
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "lifecycle.h"
#include "report.h"

#define OPTIMIZER_DELAY 5	/* jiffies, in all kernels from 2.6.34 to 6.12 */

static struct toggler toggler;

/* One by one: on the way out a probe is an unused one that a new one may want back. */
static void register_case(unsigned int steps)
{
	report_case("storm-register");
	toggler_begin(&toggler);
	while (steps--) {
		struct toggled *one = &toggler.toggled[choose(TOGGLED)];
		void *address = one->counted.kprobe.addr;
		unsigned long calls;
		int error;

		unregister_kprobe(&one->counted.kprobe);
		expect(&toggler.verdict, row_works(one - toggler.toggled), "a wrong result");
		calls = counted_calls(&one->counted);
		expect(&toggler.verdict, calls == one->expected,
		       "%lu hits at unregister_kprobe, not %lu", calls, one->expected);
		error = counted_register(&one->counted, address);
		expect(&toggler.verdict, !error, "register_kprobe: error %d", error);
		expect(&toggler.verdict, row_works(one - toggler.toggled), "a wrong result");
		one->expected = 1;
	}
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

static void batch_case(unsigned int rounds)
{
	struct kprobe *probes[TOGGLED];
	unsigned int row;
	int error;

	report_case("storm-batch");
	toggler_begin(&toggler);
	while (rounds--) {
		for (row = 0; row < TOGGLED; row++)
			probes[row] = &toggler.toggled[row].counted.kprobe;
		unregister_kprobes(probes, TOGGLED);
		for (row = 0; row < TOGGLED; row++) {
			struct toggled *one = &toggler.toggled[row];

			expect(&toggler.verdict, row_works(row), "a wrong result");
			expect(&toggler.verdict, counted_calls(&one->counted) == one->expected,
			       "hits after unregister_kprobes");
			counted_set(&one->counted, probes[row]->addr, false);
			one->expected = 0;
		}
		error = register_kprobes(probes, TOGGLED);
		expect(&toggler.verdict, !error, "register_kprobes: error %d", error);
		for (row = 0; row < TOGGLED; row++) {
			expect(&toggler.verdict, row_works(row), "a wrong result");
			toggler.toggled[row].expected++;
		}
	}
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

static void toggle_case(const char *name, unsigned int steps, unsigned int low, unsigned int high)
{
	report_case(name);
	toggler_begin(&toggler);
	while (steps--) {
		toggler_step(&toggler);
		if (high)
			schedule_timeout_uninterruptible(low + choose(high - low + 1));
	}
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

void storm_cases(unsigned int steps)
{
	register_case(steps / 4);	/* each waits for all CPUs */
	batch_case(steps / 40);
	toggle_case("toggle-below-delay", steps * 5, 0, 0);
	toggle_case("toggle-at-delay", steps / 4, OPTIMIZER_DELAY - 2, OPTIMIZER_DELAY + 2);
	toggle_case("toggle-above-delay", steps / 16, OPTIMIZER_DELAY * 3, OPTIMIZER_DELAY * 4);
}
