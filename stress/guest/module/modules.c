// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * modules: probes on text that goes away under them. What stood there is freed without being
 * restored, so nothing may be written to it any more, whatever state its probe is in.
 *
 * reused: the same, but the kernel has not yet let go of one of the probes when its text goes, and
 * the next module's text comes to lie there. Apart, for what that leaves behind is found by
 * whoever comes next.
 */
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "counted.h"
#include "optimizer.h"
#include "passenger.h"
#include "probe.h"
#include "report.h"
#include "scenarios.h"
#include "user.h"

#define PASSENGER "/farm_passenger.ko"

/* What becomes of the probe on each core function, the moment before the module goes. */
enum { LEFT_ALONE, DISABLED, JUST_DISABLED, UNREGISTERED };

static struct trip {
	struct verdict verdict;
	const struct passenger *passenger;	/* while it is there */
	struct counted init, core[PASSENGER_CORES], traced, exit;
	unsigned int jumps;
	bool came, went;
} trip;

/* By symbol, for the kernel to find the way past an ENDBR. */
static void put(struct counted *counted, const char *symbol)
{
	int error;

	counted_set(counted, NULL, false);
	counted->kprobe.symbol_name = symbol;
	error = register_kprobe(&counted->kprobe);
	expect(&trip.verdict, !error, "register_kprobe on %s: error %d", symbol, error);
}

static void expect_count(const struct counted *counted, unsigned long wanted, const char *when)
{
	expect(&trip.verdict, counted_calls(counted) == wanted, "%s: %lu hits, not %lu", when,
	       counted_calls(counted), wanted);
}

/* From the module's init function, the only time when its init text can be probed. */
int farm_passenger_comes(const struct passenger *passenger)
{
	static const char * const cores[] = {
		"farm_passenger_core0", "farm_passenger_core1", "farm_passenger_core2",
		"farm_passenger_core3",
	};
	unsigned int which;

	trip.passenger = passenger;
	trip.came = true;
	put(&trip.init, "farm_passenger_init");
	for (which = 0; which < PASSENGER_CORES; which++) {
		/* Where one was before, the same memory may hold the next. */
		expect(&trip.verdict, passenger->core[which]() == 1, "core: a wrong result");
		put(&trip.core[which], cores[which]);
		expect(&trip.verdict, passenger->core[which]() == 1, "core: a wrong result");
		expect_count(&trip.core[which], 1, "core");
	}
	expect(&trip.verdict, passenger->init() == 1, "init: a wrong result");
	expect_count(&trip.init, 1, "init");
	return 0;
}
EXPORT_SYMBOL_GPL(farm_passenger_comes);

void farm_passenger_goes(const struct passenger *passenger)
{
	expect(&trip.verdict, passenger->exit() == 1, "exit: a wrong result");
	expect_count(&trip.exit, 1, "exit");
	trip.passenger = NULL;
	trip.went = true;
}
EXPORT_SYMBOL_GPL(farm_passenger_goes);

static bool load_case(const char *name)
{
	int error;

	report_case(name);
	memset(&trip, 0, sizeof(trip));
	error = user_load(PASSENGER);
	if (!trip.came)
		return report_result(false, "loading " PASSENGER ": error %d", error);
	expect(&trip.verdict, !error, "loading " PASSENGER ": error %d", error);
	report_verdict(&trip.verdict);
	return true;
}

/* The text of init is freed: its probe is gone, and can only be unregistered. */
static void init_gone_case(const char *name)
{
	struct verdict *verdict = &trip.verdict;

	report_case(name);
	memset(verdict, 0, sizeof(*verdict));
	expect(verdict, trip.init.kprobe.flags & KPROBE_FLAG_GONE, "init: the probe is not gone");
	expect(verdict, enable_kprobe(&trip.init.kprobe) < 0, "init: a gone probe was enabled");
	unregister_kprobe(&trip.init.kprobe);
	report_verdict(verdict);
}

/* While the module lives, a probe on it is one like any other. */
static void live_case(const char *name)
{
	struct verdict *verdict = &trip.verdict;
	const struct passenger *passenger = trip.passenger;
	unsigned int which;
	int error;

	report_case(name);
	memset(verdict, 0, sizeof(*verdict));
	for (which = 0; which < PASSENGER_CORES; which++) {
		if (PROBE_CAN_OPTIMIZE &&
		    expect(verdict, optimizer_made_jump(&trip.core[which]), "core: no jump"))
			trip.jumps++;
		expect(verdict, passenger->core[which]() == 1, "core: a wrong result");
		expect_count(&trip.core[which], 2, "core");
	}
	put(&trip.exit, "farm_passenger_exit");
	error = counted_register(&trip.traced, passenger->traced);
	expect(verdict, !error, "register_kprobe on a traced entry: error %d", error);
	expect(verdict, passenger->traced() == 1, "traced: a wrong result");
	expect_count(&trip.traced, 1, "traced");
	report_verdict(verdict);
}

/* At once: while the kernel still has to take away the jump of a probe that is unregistered. */
static void unload_case(const char *name, bool at_once)
{
	struct verdict *verdict = &trip.verdict;
	int error;

	report_case(name);
	memset(verdict, 0, sizeof(*verdict));
	error = disable_kprobe(&trip.core[DISABLED].kprobe);
	expect(verdict, !error, "disable_kprobe: error %d", error);
	if (!at_once)
		unregister_kprobe(&trip.core[UNREGISTERED].kprobe);
	expect(verdict, optimizer_ran(), "the optimizer did not run");
	error = disable_kprobe(&trip.core[JUST_DISABLED].kprobe);
	expect(verdict, !error, "disable_kprobe: error %d", error);
	if (at_once)
		unregister_kprobe(&trip.core[UNREGISTERED].kprobe);
	error = user_unload("farm_passenger");
	expect(verdict, !error, "unloading: error %d", error);
	expect(verdict, trip.went, "the exit function did not run");
	report_verdict(verdict);
}

static void expect_gone(struct counted *counted)
{
	struct verdict *verdict = &trip.verdict;

	expect(verdict, counted->kprobe.flags & KPROBE_FLAG_GONE, "a probe is not gone");
	expect(verdict, enable_kprobe(&counted->kprobe) < 0, "a gone probe was enabled");
	unregister_kprobe(&counted->kprobe);
}

static void gone_case(const char *name)
{
	report_case(name);
	memset(&trip.verdict, 0, sizeof(trip.verdict));
	expect_gone(&trip.core[LEFT_ALONE]);
	expect_gone(&trip.core[DISABLED]);
	expect_gone(&trip.core[JUST_DISABLED]);
	expect_gone(&trip.traced);
	expect_gone(&trip.exit);
	/* The optimizer's turn, for what was on its lists. */
	expect(&trip.verdict, optimizer_ran(), "the optimizer did not run");
	report_verdict(&trip.verdict);
}

static const char *named(const char *what, unsigned int round)
{
	static char name[32];

	snprintf(name, sizeof(name), "%s-%u", what, round + 1);
	return name;
}

struct totals {
	unsigned int trips, jumps;
	unsigned int reused;		/* trips to a place where another one was before */
};

static void make_trips(int rounds, bool at_once, struct totals *totals)
{
	const void *before = NULL;
	int round;

	for (round = 0; round < rounds; round++) {
		if (!load_case(named("load", round)))
			break;
		init_gone_case(named("init-gone", round));
		if (!trip.passenger)
			break;
		totals->reused += trip.core[UNREGISTERED].kprobe.addr == before;
		before = trip.core[UNREGISTERED].kprobe.addr;
		live_case(named("live", round));
		unload_case(named("unload", round), at_once);
		if (!trip.went)
			break;
		gone_case(named("gone", round));
		/* Freed text keeps its addresses until the kernel has enough of them, or is asked. */
		vm_unmap_aliases();
		totals->trips++;
		totals->jumps += trip.jumps;
	}
	optimizer_leave();
}

static int run_trips(const struct arguments *arguments, bool at_once)
{
	struct totals totals = { 0 };
	int rounds;
	int error = argument_int(arguments, "rounds", 1, 1000, &rounds);

	if (error)
		return error;
	make_trips(rounds, at_once, &totals);
	report_evidence("trips", totals.trips);
	report_evidence("reused", totals.reused);
	report_evidence("jumps", totals.jumps);
	return 0;
}

int run_modules(const struct arguments *arguments)
{
	return run_trips(arguments, false);
}

int run_reused(const struct arguments *arguments)
{
	return run_trips(arguments, true);
}
