// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * smoke: the life of one probe, every step of it counted. The first thing to run on a kernel.
 */
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/string.h>

#include "probe.h"
#include "report.h"
#include "scenarios.h"

static struct kprobe probe;
static unsigned long hits;

static int count_hit(struct kprobe *p, struct pt_regs *regs)
{
	hits++;
	return 0;
}

/* Calls the target; returns how often it gave the wrong result, and leaves the count in hits. */
static int call_target(int calls)
{
	int wrong = 0;

	hits = 0;
	while (calls--)
		wrong += farm_target_optimizable() != 1;
	return wrong;
}

/* Every call is counted and every result is right, whatever the probe consists of. */
static void judge_calls(int wrong, int calls)
{
	if (wrong)
		report_result(false, "%d of %d calls returned a wrong value", wrong, calls);
	else
		report_result(hits == calls, "%lu of %d hits counted, %lu missed", hits, calls,
			      probe.nmissed);
}

/*
 * Whether the probe becomes a jump. Where the kernel was built for it that is a case; whether it
 * was to be built for it at this point of the series, only the host knows, from the evidence.
 */
static bool optimized_case(void)
{
	bool optimized;

	report_case("optimized");
	if (PROBE_CAN_OPTIMIZE) {
		optimized = probe_wait(probe.addr, PROBE_JUMP);
		report_result(optimized, "no jump at the address after 3 s");
	} else {
		probe_settle();
		optimized = probe_state(probe.addr) == PROBE_JUMP;
		report_skip("this kernel has no OPTPROBES");
	}
	report_evidence("optprobes", PROBE_CAN_OPTIMIZE);
	report_evidence("optimized", optimized);
	return optimized;
}

static void hits_optimized_case(bool optimized, int calls)
{
	int wrong;

	report_case("hits-optimized");
	if (!optimized) {
		report_skip("the probe is not optimized");
		return;
	}
	wrong = call_target(calls);
	if (probe_state(probe.addr) != PROBE_JUMP)
		report_result(false, "the jump went away under the calls");
	else
		judge_calls(wrong, calls);
}

static void disable_case(const struct probe_text *text, int calls)
{
	int error;

	report_case("disable");
	error = disable_kprobe(&probe);
	if (error) {
		report_result(false, "disable_kprobe: error %d", error);
		return;
	}
	if (!probe_text_restored(text)) {
		report_result(false, "the text is not the original one after 3 s");
		return;
	}
	call_target(calls);
	report_evidence("disabled-hits", hits);
	report_result(!hits, "%lu hits of a disabled probe", hits);
}

static void enable_case(int calls)
{
	int error;

	report_case("enable");
	error = enable_kprobe(&probe);
	if (error)
		report_result(false, "enable_kprobe: error %d", error);
	else
		judge_calls(call_target(calls), calls);
}

int run_smoke(const struct arguments *arguments)
{
	struct probe_text text;
	bool restored;
	int calls;
	int error;

	error = argument_int(arguments, "hits", 1, 100000, &calls);
	if (error)
		return error;
	memset(&probe, 0, sizeof(probe));
	probe.addr = (kprobe_opcode_t *)farm_target_optimizable;
	probe.pre_handler = count_hit;
	if (!probe_text_save(&text, probe.addr)) {
		report_error("the target cannot be read");
		return -EFAULT;
	}

	report_case("register");
	error = register_kprobe(&probe);
	if (!report_result(!error, "register_kprobe: error %d", error))
		return 0;

	report_case("hits");
	judge_calls(call_target(calls), calls);
	report_evidence("hits", hits);
	hits_optimized_case(optimized_case(), calls);
	disable_case(&text, calls);
	enable_case(calls);

	report_case("unregister");
	unregister_kprobe(&probe);
	call_target(calls);
	report_result(!hits, "%lu hits after unregister_kprobe", hits);

	report_case("text-restored");
	restored = probe_text_restored(&text);
	report_evidence("text-restored", restored);
	report_result(restored, "the text is not the original one after 3 s");
	return 0;
}
