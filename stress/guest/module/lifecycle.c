// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lifecycle: probes come, go and are switched on and off, by themselves and while others change
 * text, CPUs or the switches for all probes. Bounded by counts, never by time. After each case
 * the text is the original one, bit for bit, and the hits are the calls less those missed.
 */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "lifecycle.h"
#include "optimizer.h"
#include "report.h"
#include "scenarios.h"

static u32 dice;
static unsigned int changes, jumps;

void choose_seed(unsigned int seed)
{
	dice = seed;
}

unsigned int choose(unsigned int below)
{
	/* Numerical Recipes' generator; its high bits are the good ones. */
	dice = dice * 1664525 + 1013904223;
	return (unsigned int)(((u64)dice * below) >> 32);
}

void toggler_begin(struct toggler *toggler)
{
	unsigned int row;
	int error;

	memset(toggler, 0, sizeof(*toggler));
	for (row = 0; row < TOGGLED; row++) {
		struct toggled *one = &toggler->toggled[row];

		expect(&toggler->verdict, probe_text_save(&one->text, row_start(row)),
		       "the text cannot be read");
		error = counted_register(&one->counted, row_at(row, row % (ROW_LENGTH - 4)));
		expect(&toggler->verdict, !error, "register_kprobe: error %d", error);
		one->enabled = !error;
		changes += !error;
	}
}

static void toggled_call(struct toggler *toggler, struct toggled *one)
{
	expect(&toggler->verdict, row_works(one - toggler->toggled), "a wrong result");
	one->expected += one->enabled;
	expect(&toggler->verdict, toggler->guess || counted_calls(&one->counted) == one->expected,
	       "%lu hits counted of %lu", counted_calls(&one->counted), one->expected);
}

void toggler_switch(struct toggler *toggler, unsigned int row)
{
	struct toggled *one = &toggler->toggled[row];
	int error = one->enabled ? disable_kprobe(&one->counted.kprobe) :
				   enable_kprobe(&one->counted.kprobe);

	if (!expect(&toggler->verdict, !error, "%sabling: error %d", one->enabled ? "dis" : "en",
		    error))
		return;
	one->enabled = !one->enabled;
	changes++;
}

void toggler_step(struct toggler *toggler)
{
	unsigned int row = choose(TOGGLED);

	toggler_switch(toggler, row);
	toggled_call(toggler, &toggler->toggled[row]);
}

void toggler_recount(struct toggler *toggler)
{
	struct toggled *one;

	toggler->guess = false;
	for (one = toggler->toggled; one < toggler->toggled + TOGGLED; one++)
		one->expected = counted_calls(&one->counted);
}

void toggler_settle(struct toggler *toggler)
{
	struct toggled *one;

	/*
	 * Off for as long as the optimizer needs, then on: what becomes of a probe that is enabled
	 * again while its jump still stands is a case of the geometry scenario.
	 */
	for (one = toggler->toggled; one < toggler->toggled + TOGGLED; one++) {
		if (one->enabled)
			toggler_switch(toggler, one - toggler->toggled);
		toggled_call(toggler, one);
	}
	expect(&toggler->verdict, optimizer_ran(), "the optimizer did not run");
	for (one = toggler->toggled; one < toggler->toggled + TOGGLED; one++) {
		expect(&toggler->verdict, probe_text_restored(&one->text),
		       "all disabled: the text is not the original one after 3 s");
		toggler_switch(toggler, one - toggler->toggled);
		toggled_call(toggler, one);
	}
	for (one = toggler->toggled; one < toggler->toggled + TOGGLED; one++) {
		if (PROBE_CAN_OPTIMIZE)
			jumps += expect(&toggler->verdict,
					optimizer_made_jump(&one->counted), "no jump");
		toggled_call(toggler, one);
	}
}

void toggler_end(struct toggler *toggler)
{
	struct kprobe *probes[TOGGLED];
	struct toggled *one;
	unsigned int row;

	for (row = 0; row < TOGGLED; row++)
		probes[row] = &toggler->toggled[row].counted.kprobe;
	unregister_kprobes(probes, TOGGLED);
	for (one = toggler->toggled; one < toggler->toggled + TOGGLED; one++) {
		one->enabled = false;
		toggled_call(toggler, one);
		expect(&toggler->verdict, probe_text_restored(&one->text),
		       "the text is not the original one after 3 s");
		toggled_call(toggler, one);
	}
	report_verdict(&toggler->verdict);
}

static int agent_run(void *data)
{
	struct agent *agent = data;
	unsigned int round;

	for (round = 0; round < agent->rounds && !agent->error; round++)
		agent->error = agent->step(round);
	complete(&agent->done);
	/* Whoever stops a thread wants to find it there. */
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

void agent_beside(struct agent *agent, struct toggler *toggler, unsigned int steps)
{
	struct task_struct *thread;

	agent->error = 0;
	init_completion(&agent->done);
	thread = kthread_run(agent_run, agent, "farm_agent");
	if (!expect(&toggler->verdict, !IS_ERR(thread), "no thread: error %ld", PTR_ERR(thread)))
		return;
	while (steps || !completion_done(&agent->done)) {
		toggler_step(toggler);
		steps -= !!steps;
		/* Now and then below the optimizer's delay, now and then above it. */
		if (!choose(8))
			schedule_timeout_uninterruptible(1 + choose(10));
		cond_resched();
	}
	kthread_stop(thread);
	expect(&toggler->verdict, !agent->error, "the agent's step: error %d", agent->error);
}

int run_lifecycle(const struct arguments *arguments)
{
	int seed, steps, calls;
	int error;

	error = argument_int(arguments, "seed", 0, INT_MAX, &seed);
	if (!error)
		error = argument_int(arguments, "steps", 1, 100000, &steps);
	if (!error)
		error = argument_int(arguments, "calls", 1, 100000, &calls);
	if (error)
		return error;
	choose_seed(seed);
	changes = 0;
	jumps = 0;
	storm_cases(steps);
	missed_cases(calls);
	switch_cases(steps);
	agent_cases(steps);
	optimizer_leave();
	report_evidence("changes", changes);
	report_evidence("jumps", jumps);
	return 0;
}
