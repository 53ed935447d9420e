// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The switches for all probes: the sysctl that forbids jumps, the file in debugfs that takes every
 * probe out of the text. Alone, and against probes that are switched one by one.
 */
#include <linux/kprobes.h>
#include <linux/string.h>

#include "lifecycle.h"
#include "report.h"
#include "user.h"

#define OPTIMIZATION "/proc/sys/debug/kprobes-optimization"
#define ENABLED "/sys/kernel/debug/kprobes/enabled"

static struct toggler toggler;

static void write_switch(struct verdict *verdict, const char *file, const char *word)
{
	int error = user_write(file, word);

	expect(verdict, !error, "writing %s to %s: error %d", word, file, error);
}

static bool can_forbid_jumps(void)
{
	if (!PROBE_CAN_OPTIMIZE)
		report_skip("this kernel has no OPTPROBES");
	else if (!IS_ENABLED(CONFIG_SYSCTL))
		report_skip("this kernel has no SYSCTL");
	return PROBE_CAN_OPTIMIZE && IS_ENABLED(CONFIG_SYSCTL);
}

static bool can_disarm(void)
{
	if (!IS_ENABLED(CONFIG_DEBUG_FS))
		report_skip("this kernel has no DEBUG_FS");
	return IS_ENABLED(CONFIG_DEBUG_FS);
}

static void expect_all(enum probe_state wanted, const char *when)
{
	unsigned int row;

	for (row = 0; row < TOGGLED; row++)
		expect(&toggler.verdict,
		       probe_wait(toggler.toggled[row].counted.kprobe.addr, wanted),
		       "%s: probe %u is not as it should be", when, row);
}

static void forbid_jumps_case(unsigned int steps)
{
	unsigned int row;

	report_case("sysctl-off");
	if (!can_forbid_jumps())
		return;
	toggler_begin(&toggler);
	expect_all(PROBE_JUMP, "before");
	write_switch(&toggler.verdict, OPTIMIZATION, "0");
	expect_all(PROBE_BREAKPOINT, "forbidden");
	while (steps--)
		toggler_step(&toggler);
	probe_settle();
	for (row = 0; row < TOGGLED; row++)
		expect(&toggler.verdict,
		       probe_state(toggler.toggled[row].counted.kprobe.addr) != PROBE_JUMP,
		       "a jump while none is allowed");
	write_switch(&toggler.verdict, OPTIMIZATION, "1");
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

static int flip_optimization(unsigned int round)
{
	return user_write(OPTIMIZATION, round % 2 ? "1" : "0");
}

static void race_jumps_case(unsigned int steps)
{
	static struct agent agent = { .step = flip_optimization };

	report_case("sysctl-race");
	if (!can_forbid_jumps())
		return;
	agent.rounds = 2 * (steps / 40 + 1);	/* even: allowed in the end */
	toggler_begin(&toggler);
	agent_beside(&agent, &toggler, steps);
	write_switch(&toggler.verdict, OPTIMIZATION, "1");
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

static void disarm_case(void)
{
	static struct counted late;
	struct probe_text text;
	unsigned int row;
	int error;

	report_case("disarm-all");
	if (!can_disarm())
		return;
	toggler_begin(&toggler);
	toggler_settle(&toggler);
	expect(&toggler.verdict, probe_text_save(&text, row_start(TOGGLED)),
	       "the text cannot be read");
	write_switch(&toggler.verdict, ENABLED, "0");
	for (row = 0; row < TOGGLED; row++) {
		struct toggled *one = &toggler.toggled[row];

		expect(&toggler.verdict, probe_text_restored(&one->text),
		       "disarmed: the text is not the original one");
		expect(&toggler.verdict, row_works(row), "disarmed: a wrong result");
		expect(&toggler.verdict, counted_calls(&one->counted) == one->expected,
		       "disarmed: a hit");
	}
	error = counted_register(&late, row_at(TOGGLED, 0));
	expect(&toggler.verdict, !error, "disarmed: register_kprobe: error %d", error);
	expect(&toggler.verdict, probe_text_restored(&text), "disarmed: a new probe is armed");
	write_switch(&toggler.verdict, ENABLED, "1");
	expect(&toggler.verdict, row_works(TOGGLED) && counted_calls(&late) == 1,
	       "armed: the new probe counts %lu hits, not 1", counted_calls(&late));
	unregister_kprobe(&late.kprobe);
	expect(&toggler.verdict, probe_text_restored(&text), "the text is not the original one");
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

/* The function tracer's own probes are registered where it calls: an entry that it knows. */
static noinline int traced_entry(int number)
{
	barrier();
	return number + 1;
}

/* Disarmed once, with all others; not a second time. */
static void unregister_disarmed_case(void)
{
	static struct counted probe;
	struct verdict verdict = { .failed = false };
	struct probe_text text;
	int error;

	report_case("disarm-unregister");
	if (!can_disarm())
		return;
	expect(&verdict, probe_text_save(&text, traced_entry), "the text cannot be read");
	write_switch(&verdict, ENABLED, "0");
	error = counted_register(&probe, traced_entry);
	expect(&verdict, !error, "register_kprobe: error %d", error);
	expect(&verdict, traced_entry(1) == 2, "a wrong result");
	unregister_kprobe(&probe.kprobe);
	write_switch(&verdict, ENABLED, "1");
	expect(&verdict, traced_entry(2) == 3, "a wrong result");
	expect(&verdict, !counted_calls(&probe), "%lu hits while disarmed", counted_calls(&probe));
	expect(&verdict, probe_text_restored(&text), "the text is not the original one");
	report_verdict(&verdict);
}

static int flip_enabled(unsigned int round)
{
	return user_write(ENABLED, round % 2 ? "1" : "0");
}

/*
 * Which call finds its probe armed is anybody's guess here, and so is whether a probe that was
 * enabled while all were disarmed comes back with them: only the end is exact.
 */
static void race_enabled_case(unsigned int steps)
{
	static struct agent agent = { .step = flip_enabled };
	unsigned int row;

	report_case("disarm-race");
	if (!can_disarm())
		return;
	agent.rounds = 2 * (steps / 40 + 1);
	toggler_begin(&toggler);
	toggler.guess = true;
	agent_beside(&agent, &toggler, steps);
	write_switch(&toggler.verdict, ENABLED, "1");
	for (row = 0; row < 2 * TOGGLED; row++)
		toggler_switch(&toggler, row % TOGGLED);
	toggler_recount(&toggler);
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

void switch_cases(unsigned int steps)
{
	forbid_jumps_case(steps / 4);
	race_jumps_case(steps);
	disarm_case();
	unregister_disarmed_case();
	race_enabled_case(steps);
}
