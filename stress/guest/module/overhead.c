// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * overhead: what a hit costs, one row for each kind of probe. The same calls are timed without
 * and with the probe, in rounds; the host takes medians and the difference.
 */
#include <linux/errno.h>
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "cycles.h"
#include "probe.h"
#include "report.h"
#include "scenarios.h"

#define MAX_ROUNDS 50

static unsigned long hits;

static int count_kprobe(struct kprobe *p, struct pt_regs *regs)
{
	hits++;
	return 0;
}

static int count_kretprobe(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	hits++;
	return 0;
}

/* Alone it forbids the booster and the optimization. */
static void do_nothing(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

/* Direct calls: an indirect one would bring the mitigations' thunks into every figure. */
#define DEFINE_CALLER(name)			\
static void call_##name(int calls)		\
{						\
	while (calls--)				\
		farm_target_##name();		\
}

DEFINE_CALLER(optimizable)
DEFINE_CALLER(boostable)
DEFINE_CALLER(plain)

/* A jprobe's handler has the target's own form and ends in its own way. */
static long count_jprobe(void)
{
	hits++;
	jprobe_return();
	return 0;
}

enum kind { KPROBE, KRETPROBE, JPROBE };

static const struct row {
	const char *name;
	void (*call)(int calls);
	long (*target)(void);
	enum kind kind;
	bool post_handler;
	bool optimized;
} rows[] = {
	{ "kprobe", call_plain, farm_target_plain },
	{ "kprobe-boosted", call_boostable, farm_target_boostable },
	{ "kprobe-optimized", call_optimizable, farm_target_optimizable, .optimized = true },
	{ "kprobe-post-handler", call_optimizable, farm_target_optimizable,
	  .post_handler = true },
	{ "kretprobe", call_plain, farm_target_plain, KRETPROBE },
	{ "kretprobe-boosted", call_boostable, farm_target_boostable, KRETPROBE },
	{ "kretprobe-optimized", call_optimizable, farm_target_optimizable, KRETPROBE,
	  .optimized = true },
	{ "jprobe", call_plain, farm_target_plain, JPROBE },
	{ "jprobe-boosted", call_boostable, farm_target_boostable, JPROBE },
};

static struct kprobe kprobe;
static struct kretprobe kretprobe;
static struct jprobe jprobe;

static int row_register(const struct row *row)
{
	/* The kernel keeps state in both, so each row starts from zero. */
	memset(&kprobe, 0, sizeof(kprobe));
	memset(&kretprobe, 0, sizeof(kretprobe));
	memset(&jprobe, 0, sizeof(jprobe));
	switch (row->kind) {
	case KRETPROBE:
		kretprobe.kp.addr = (kprobe_opcode_t *)row->target;
		kretprobe.handler = count_kretprobe;
		kretprobe.maxactive = 16;
		return register_kretprobe(&kretprobe);
	case JPROBE:
		jprobe.kp.addr = (kprobe_opcode_t *)row->target;
		jprobe.entry = (void *)count_jprobe;
		return register_jprobe(&jprobe);
	default:
		kprobe.addr = (kprobe_opcode_t *)row->target;
		kprobe.pre_handler = count_kprobe;
		if (row->post_handler)
			kprobe.post_handler = do_nothing;
		return register_kprobe(&kprobe);
	}
}

static void row_unregister(const struct row *row)
{
	switch (row->kind) {
	case KRETPROBE:
		unregister_kretprobe(&kretprobe);
		break;
	case JPROBE:
		unregister_jprobe(&jprobe);
		break;
	default:
		unregister_kprobe(&kprobe);
	}
}

/* No timer tick falls into a round: interrupts wait until it is over. */
static u64 time_round(const struct row *row, int calls)
{
	unsigned long flags;
	u64 cycles;

	local_irq_save(flags);
	cycles = get_cycles();
	row->call(calls);
	cycles = get_cycles() - cycles;
	local_irq_restore(flags);
	return cycles_to_ns(cycles);
}

static void time_rounds(const struct row *row, int calls, int rounds, u64 *ns)
{
	int i;

	row->call(2);		/* the first calls meet cold caches */
	hits = 0;
	for (i = 0; i < rounds; i++) {
		ns[i] = time_round(row, calls);
		cond_resched();
	}
}

struct totals {
	int measured;
	int jprobes;
	int optimized;
	int short_rows;
};

/* Time a registered row; returns NULL, or why its figure would not be what its name says. */
static const char *measure(const struct row *row, int calls, int rounds, u64 *ns)
{
	enum probe_state wanted = row->optimized ? PROBE_JUMP : PROBE_BREAKPOINT;

	if (row->optimized && !PROBE_CAN_OPTIMIZE)
		return "this kernel has no OPTPROBES";
	if (!probe_wait(row->target, wanted))
		return row->optimized ? "the probe is not optimized" :
					"the probe is no breakpoint";
	time_rounds(row, calls, rounds, ns);
	if (probe_state(row->target) != wanted)
		return "the probe changed while it was measured";
	return NULL;
}

static void run_row(const struct row *row, int calls, int rounds, struct totals *totals)
{
	static u64 ns[MAX_ROUNDS], base_ns[MAX_ROUNDS];
	unsigned long expected = (unsigned long)calls * rounds;
	struct probe_text text;
	const char *problem;
	int error;

	report_case(row->name);
	if (!probe_text_save(&text, row->target)) {
		report_result(false, "the target cannot be read");
		return;
	}
	time_rounds(row, calls, rounds, base_ns);
	error = row_register(row);
	if (row->kind == JPROBE && error == -ENOSYS) {
		report_skip("this kernel has no jprobes: they went with 4.15");
		return;
	}
	if (error) {
		report_result(false, "registering: error %d", error);
		return;
	}
	problem = measure(row, calls, rounds, ns);
	row_unregister(row);
	/* A jump stays for a while, and the next row wants its target clean. */
	if (!probe_text_restored(&text)) {
		report_result(false, "the text is not the original one after 3 s");
		return;
	}
	if (problem) {
		report_skip("%s", problem);
		return;
	}
	if (row->kind == JPROBE)
		totals->jprobes++;
	else
		totals->measured++;
	totals->optimized += row->optimized;
	totals->short_rows += hits != expected;
	report_measure(row->name, calls, rounds, ns, base_ns);
	report_result(hits == expected, "%lu of %lu hits counted", hits, expected);
}

int run_overhead(const struct arguments *arguments)
{
	struct totals totals = { 0 };
	int calls, rounds;
	int error;
	size_t i;

	error = argument_int(arguments, "calls", 1, 100000, &calls);
	if (!error)
		error = argument_int(arguments, "rounds", 1, MAX_ROUNDS, &rounds);
	if (error)
		return error;
	if (!cycles_known()) {
		report_skip_scenario("this kernel does not know how fast the TSC is");
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_row(&rows[i], calls, rounds, &totals);
	report_evidence("rows", totals.measured);
	report_evidence("jprobe-rows", totals.jprobes);
	report_evidence("optimized-rows", totals.optimized);
	report_evidence("short-rows", totals.short_rows);
	return 0;
}
