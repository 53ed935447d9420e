// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pairs of probes: each distance twice, with the second probe above the first and below it. They
 * go through their lives side by side, each in a row of its own, and so wait for the optimizer
 * together.
 */
#include <linux/kprobes.h>
#include <linux/string.h>

#include "geometry.h"
#include "optimizer.h"
#include "report.h"

#define FARTHEST	16	/* the longest region that a jump replaces has 20 bytes; here it has 5 */

static struct pair {
	struct counted first, second;
	struct probe_text text;
	struct verdict verdict;
	unsigned int row;
	unsigned int first_at, second_at;
} pairs[2 * (FARTHEST + 1)];

#define for_each_pair(pair) for (pair = pairs; pair < pairs + ARRAY_SIZE(pairs); pair++)

/* Whether the one at `other` stands on bytes that the jump at `at` would replace. */
static bool covers(unsigned int at, unsigned int other)
{
	return at < other && other < at + JUMP;
}

static void pairs_lay_out(void)
{
	unsigned int which;

	for (which = 0; which < ARRAY_SIZE(pairs); which++) {
		struct pair *pair = &pairs[which];
		unsigned int distance = which % (FARTHEST + 1);
		bool above = which <= FARTHEST;

		memset(pair, 0, sizeof(*pair));
		pair->row = which;
		pair->first_at = above ? 0 : distance;
		pair->second_at = above ? distance : 0;
		expect(&pair->verdict, probe_text_save(&pair->text, row_start(which)),
		       "its text cannot be read");
	}
}

static void pairs_register_first(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = counted_register(&pair->first, row_at(pair->row, pair->first_at));
		expect(&pair->verdict, !error, "registering the first: error %d", error);
		expect_hits(&pair->verdict, pair->row, "first registered",
			    &pair->first, true, &pair->second, false);
	}
	for_each_pair(pair) {
		expect_jump(&pair->verdict, &pair->first, "the first");
		expect_hits(&pair->verdict, pair->row, "first alone",
			    &pair->first, true, &pair->second, false);
	}
}

/* Who may be a jump now: a probe is held back by one that stands on its bytes. */
static void pairs_look(void)
{
	struct pair *pair;

	for_each_pair(pair) {
		if (covers(pair->second_at, pair->first_at))
			expect(&pair->verdict, !is_jump(&pair->second),
			       "the second is a jump over the first");
		else
			expect_jump(&pair->verdict, &pair->second, "the second");
		if (covers(pair->first_at, pair->second_at))
			expect(&pair->verdict, !is_jump(&pair->first),
			       "the first is a jump over the second");
	}
}

static void pairs_register_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = counted_register(&pair->second, row_at(pair->row, pair->second_at));
		expect(&pair->verdict, !error, "registering the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second registered",
			    &pair->first, true, &pair->second, true);
	}
	pairs_look();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "both settled",
			    &pair->first, true, &pair->second, true);
}

static void pairs_disable_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = disable_kprobe(&pair->second.kprobe);
		expect(&pair->verdict, !error, "disabling the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second disabled",
			    &pair->first, true, &pair->second, false);
	}
	optimizer_ran();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "second disabled and settled",
			    &pair->first, true, &pair->second, false);
}

static void pairs_enable_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = enable_kprobe(&pair->second.kprobe);
		expect(&pair->verdict, !error, "enabling the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second enabled",
			    &pair->first, true, &pair->second, true);
	}
	pairs_look();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "second enabled and settled",
			    &pair->first, true, &pair->second, true);
}

/* The kernel may not have let go of the first when it is wanted again. */
static void pairs_replace_first(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		unregister_kprobe(&pair->first.kprobe);
		expect_hits(&pair->verdict, pair->row, "first unregistered",
			    &pair->first, false, &pair->second, true);
		error = counted_register(&pair->first, row_at(pair->row, pair->first_at));
		expect(&pair->verdict, !error, "registering the first again: error %d", error);
		expect_hits(&pair->verdict, pair->row, "first registered again",
			    &pair->first, true, &pair->second, true);
	}
	optimizer_ran();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "first registered again and settled",
			    &pair->first, true, &pair->second, true);
}

static void pairs_unregister(void)
{
	struct pair *pair;

	for_each_pair(pair) {
		struct kprobe *both[] = { &pair->first.kprobe, &pair->second.kprobe };

		unregister_kprobes(both, ARRAY_SIZE(both));
		expect_hits(&pair->verdict, pair->row, "both unregistered",
			    &pair->first, false, &pair->second, false);
	}
	for_each_pair(pair) {
		expect(&pair->verdict, probe_text_restored(&pair->text),
		       "the text is not the original one after 3 s");
		expect_hits(&pair->verdict, pair->row, "text restored",
			    &pair->first, false, &pair->second, false);
	}
}

/* A crash among the pairs is the first case's; what is wrong with one is its distance's. */
unsigned int pairs_cases(void)
{
	unsigned int distance;
	char name[16];

	report_case("pairs");
	pairs_lay_out();
	pairs_register_first();
	pairs_register_second();
	pairs_disable_second();
	pairs_enable_second();
	pairs_replace_first();
	pairs_unregister();
	report_ok();
	for (distance = 0; distance <= FARTHEST; distance++) {
		const struct verdict *above = &pairs[distance].verdict;
		const struct verdict *below = &pairs[FARTHEST + 1 + distance].verdict;

		snprintf(name, sizeof(name), "plus%u", distance);
		report_case(name);
		if (above->failed)
			report_result(false, "second above: %s", above->reason);
		else
			report_result(!below->failed, "second below: %s", below->reason);
	}
	return ARRAY_SIZE(pairs);
}
