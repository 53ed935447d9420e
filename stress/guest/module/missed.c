// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hits that the kernel cannot deliver, and says so: within a handler, and of a return probe that
 * has no instance left. Hits and misses together are the calls.
 */
#include <linux/kprobes.h>
#include <linux/string.h>

#include "lifecycle.h"
#include "optimizer.h"
#include "report.h"

#define OUTER 0		/* rows */
#define INNER 1

static struct counted outer, inner;
static unsigned long wrong;

static int call_inner(struct kprobe *p, struct pt_regs *regs)
{
	wrong += !row_works(INNER);
	atomic_inc(&outer.hits);
	return 0;
}

/* A probe within the handler of another one: neither handled nor forgotten. */
static void nested_case(const char *name, bool outer_jump, bool inner_jump, unsigned int calls)
{
	struct verdict verdict = { .failed = false };
	struct probe_text text[2];
	unsigned int call;
	int error;

	report_case(name);
	if ((outer_jump || inner_jump) && !PROBE_CAN_OPTIMIZE) {
		report_skip("this kernel has no OPTPROBES");
		return;
	}
	wrong = 0;
	expect(&verdict, probe_text_save(&text[OUTER], row_start(OUTER)) &&
	       probe_text_save(&text[INNER], row_start(INNER)), "the text cannot be read");
	/* With a post_handler a probe is never a jump. */
	counted_set(&outer, row_at(OUTER, 0), !outer_jump);
	outer.kprobe.pre_handler = call_inner;
	counted_set(&inner, row_at(INNER, 0), !inner_jump);
	error = register_kprobe(&outer.kprobe);
	expect(&verdict, !error, "register_kprobe: error %d", error);
	error = register_kprobe(&inner.kprobe);
	expect(&verdict, !error, "register_kprobe: error %d", error);
	expect(&verdict, !outer_jump || optimizer_made_jump(&outer), "no outer jump");
	expect(&verdict, !inner_jump || optimizer_made_jump(&inner), "no inner jump");

	for (call = 0; call < calls; call++)
		wrong += !row_works(OUTER);
	expect(&verdict, atomic_read(&outer.hits) == calls, "%d of %u outer hits",
	       atomic_read(&outer.hits), calls);
	expect(&verdict, !atomic_read(&inner.hits), "%d hits within a handler",
	       atomic_read(&inner.hits));
	expect(&verdict, inner.kprobe.nmissed == calls, "%lu counted as missed, not %u",
	       inner.kprobe.nmissed, calls);
	for (call = 0; call < calls; call++)
		wrong += !row_works(INNER);
	expect(&verdict, counted_calls(&inner) == 2UL * calls, "%lu of %u hits and misses",
	       counted_calls(&inner), 2 * calls);
	expect(&verdict, !wrong, "%lu wrong results", wrong);

	unregister_kprobe(&inner.kprobe);
	unregister_kprobe(&outer.kprobe);
	expect(&verdict, probe_text_restored(&text[OUTER]) && probe_text_restored(&text[INNER]),
	       "the text is not the original one after 3 s");
	report_verdict(&verdict);
}

#ifdef CONFIG_KRETPROBES

#define DEPTH		6	/* calls within each other */
#define INSTANCES	2	/* so many of them can return through the probe */

static int nest_plain(int depth);
static int nest_traced(int depth);

/* Through a variable, or the compiler makes a loop of it. */
static int (*nest)(int depth);

/* Without the function tracer's call at its entry, so that the probe stands on an instruction. */
static noinline notrace int nest_plain(int depth)
{
	return depth ? 1 + READ_ONCE(nest)(depth - 1) : 1;
}

static noinline int nest_traced(int depth)
{
	return depth ? 1 + READ_ONCE(nest)(depth - 1) : 1;
}

static atomic_t returns;

static int count_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	atomic_inc(&returns);
	return 0;
}

static void return_case(const char *name, int (*function)(int depth), unsigned int rounds)
{
	static struct kretprobe probe;
	struct verdict verdict = { .failed = false };
	unsigned long returned, calls = (unsigned long)rounds * DEPTH;
	struct probe_text text;
	unsigned int round;
	int error;

	report_case(name);
	memset(&probe, 0, sizeof(probe));
	probe.kp.addr = (kprobe_opcode_t *)function;
	probe.handler = count_return;
	probe.maxactive = INSTANCES;
	atomic_set(&returns, 0);
	expect(&verdict, probe_text_save(&text, function), "the text cannot be read");
	error = register_kretprobe(&probe);
	if (error) {
		report_result(false, "register_kretprobe: error %d", error);
		return;
	}
	nest = function;
	for (round = 0; round < rounds; round++)
		expect(&verdict, function(DEPTH - 1) == DEPTH, "a wrong result");
	returned = atomic_read(&returns);
	expect(&verdict, returned + probe.nmissed + probe.kp.nmissed == calls,
	       "%lu returns and %lu misses of %lu calls", returned,
	       (unsigned long)probe.nmissed + probe.kp.nmissed, calls);
	expect(&verdict, returned == (unsigned long)rounds * INSTANCES,
	       "%lu returns with %d instances in %u rounds", returned, INSTANCES, rounds);
	unregister_kretprobe(&probe);
	expect(&verdict, function(DEPTH - 1) == DEPTH, "a wrong result without the probe");
	expect(&verdict, atomic_read(&returns) == returned, "returns after unregister_kretprobe");
	expect(&verdict, probe_text_restored(&text), "the text is not the original one after 3 s");
	report_verdict(&verdict);
}

static void return_cases(unsigned int rounds)
{
	return_case("kretprobe-missed", nest_plain, rounds);
	return_case("kretprobe-missed-traced", nest_traced, rounds);
}

#else

static void return_cases(unsigned int rounds)
{
	report_case("kretprobe-missed");
	report_skip("this kernel has no KRETPROBES");
}

#endif

void missed_cases(unsigned int calls)
{
	nested_case("missed-breakpoint", false, false, calls);
	nested_case("missed-breakpoint-in-jump", true, false, calls);
	nested_case("missed-jump-in-breakpoint", false, true, calls);
	nested_case("missed-jump", true, true, calls);
	return_cases(calls);
}
