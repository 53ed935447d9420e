// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * safety: probes on every byte of functions that were written for it, and on single instructions.
 * What must hold on every kernel are the cases: a probe is refused where it has to be, no jump is
 * where none may be, each call does with the probe what it does without, and the handler sees
 * the registers of the caller. Which probes became jumps is evidence besides.
 *
 * All probes stand at the same time: see safety_asm.h.
 *
 * longest: the same on the longest instructions. A kernel that gets this wrong dies
 * of it, so it is a scenario of its own.
 */
#include <linux/errno.h>
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "probe.h"
#include "report.h"
#include "safety.h"
#include "scenarios.h"

#ifdef CONFIG_HAVE_STATIC_CALL_INLINE
#include <linux/static_call.h>

void farm_safety_nothing(void);
DEFINE_STATIC_CALL_NULL(farm_safety_call, farm_safety_nothing);
#endif

#ifdef CONFIG_JUMP_LABEL
struct static_key farm_safety_key = STATIC_KEY_INIT_FALSE;
#endif

#define TEXT 96

/* The functions of safety_rules.S do little with their registers. */
#define RULE_INPUTS 4

/* One probe on one byte of one function. */
struct trial {
	const struct safety_function *function;
	unsigned int offset;
	char letter;
	bool cold;			/* the instruction is never executed */
	unsigned int inputs;
	struct call_outcome *before;	/* what each input gives without the probe */
	struct probe_text saved;
	struct kprobe probe;
	struct kprobe neighbour;
	bool registered;
	bool neighboured;
	int error;
	unsigned int hits;
	char seen[TEXT];		/* by the handler, and wrong */
};

struct totals {
	unsigned int probes;
	unsigned int jumps;
	unsigned int missing_jumps;
	unsigned int unsafe_jumps;
	unsigned int hits;
};

static int count_hit(struct kprobe *p, struct pt_regs *regs)
{
	struct trial *trial = container_of(p, struct trial, probe);

	trial->hits++;
	if (!trial->offset && !trial->seen[0])
		call_differs_in_handler(regs, p->addr, trial->seen, TEXT);
	return 0;
}

static int do_nothing(struct kprobe *p, struct pt_regs *regs)
{
	return 0;
}

static void do_nothing_after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static bool takes_probe(char letter)
{
	return letter && strchr("JBEjbe", letter);
}

/* Find the byte that this copy of a function is for, in *offset; returns whether there is one. */
static bool find_byte(const struct safety_function *function, unsigned int *offset)
{
	unsigned int copy = function->copy;

	for (*offset = 0; function->letters[*offset]; ++*offset)
		if (takes_probe(function->letters[*offset]) && !copy--)
			return true;
	return false;
}

static int trial_init(struct trial *trial, const struct safety_function *function,
		      unsigned int inputs)
{
	unsigned int i;
	char letter;

	trial->function = function;
	if (!find_byte(function, &trial->offset))
		return -EINVAL;
	letter = function->letters[trial->offset];
	trial->cold = letter >= 'a';
	trial->letter = trial->cold ? letter - 'a' + 'A' : letter;
	trial->probe.addr = (kprobe_opcode_t *)function->start + trial->offset;
	trial->probe.pre_handler = count_hit;
	if (function->kind == SAFETY_STEPPED)
		trial->probe.post_handler = do_nothing_after;
	trial->neighbour.addr = (kprobe_opcode_t *)function->start + function->neighbour;
	trial->neighbour.pre_handler = do_nothing;

	trial->inputs = inputs;
	trial->before = vmalloc(inputs * sizeof(*trial->before));
	if (!trial->before)
		return -ENOMEM;
	if (!probe_text_save(&trial->saved, function->start))
		return -EFAULT;
	for (i = 0; i < inputs; i++)
		call_with_input(function->start, i, &trial->before[i]);
	return 0;
}

static void trial_register(struct trial *trial)
{
	if (trial->function->neighbour) {
		trial->error = register_kprobe(&trial->neighbour);
		if (trial->error)
			return;
		trial->neighboured = true;
	}
	trial->error = register_kprobe(&trial->probe);
	trial->registered = !trial->error;
}

static bool wants_jump(const struct trial *trial)
{
	return trial->registered && trial->letter == 'J';
}

/* Say what is wrong with the probe as it stands; returns whether something is. */
static bool stands_wrong(const struct trial *trial, char *text)
{
	enum probe_state state = probe_state(trial->probe.addr);

	if (trial->letter == 'E' && trial->error)
		return false;
	if (trial->error)
		snprintf(text, TEXT, "register_kprobe: error %d", trial->error);
	else if (state == PROBE_NONE)
		snprintf(text, TEXT, "there is neither a breakpoint nor a jump");
	else if (state == PROBE_JUMP && trial->letter == 'B')
		snprintf(text, TEXT, "there is a jump, and it is not safe");
	else if (state == PROBE_BREAKPOINT && trial->letter == 'J' && PROBE_CAN_OPTIMIZE)
		snprintf(text, TEXT, "there is no jump after 3 s");
	else
		return false;
	return true;
}

/* Call the function with every input. Says what is wrong first; returns whether something is. */
static bool runs_wrong(struct trial *trial, unsigned int inputs, char *text)
{
	unsigned int wanted = trial->registered && !trial->cold;
	struct call_outcome after;
	char difference[TEXT];
	unsigned int hits, i;

	for (i = 0; i < inputs; i++) {
		hits = trial->hits;
		trial->seen[0] = '\0';
		call_with_input(trial->function->start, i, &after);
		if (call_differs(&trial->before[i], &after, difference, TEXT))
			break;
		if (trial->seen[0]) {
			snprintf(difference, TEXT, "%s", trial->seen);
			break;
		}
		if (trial->hits - hits != wanted) {
			snprintf(difference, TEXT, "%u hits, wanted %u", trial->hits - hits,
				 wanted);
			break;
		}
	}
	if (i == inputs)
		return false;
	snprintf(text, TEXT, "input %u: %s", i, difference);
	return true;
}

/* Probes where none may be: within instructions, and on some. Says which one was taken. */
static bool takes_wrong(const struct trial *trial, char *text)
{
	const struct safety_function *function = trial->function;
	static struct kprobe probe;
	unsigned int at;

	if (function->copy || function->kind != SAFETY_PLAIN)
		return false;
	for (at = 0; function->letters[at]; at++) {
		if (function->letters[at] != '.' && function->letters[at] != 'R')
			continue;
		memset(&probe, 0, sizeof(probe));
		probe.addr = (kprobe_opcode_t *)function->start + at;
		probe.pre_handler = do_nothing;
		if (register_kprobe(&probe))
			continue;
		unregister_kprobe(&probe);
		snprintf(text, TEXT, "a probe on +%u was not refused", at);
		return true;
	}
	return false;
}

/* Say what is wrong with a trial; returns whether something is. */
static bool trial_fails(struct trial *trial, char *text)
{
	/* Where a jump stands that may not be there, a call would be a crash. */
	return stands_wrong(trial, text) || runs_wrong(trial, trial->inputs, text) ||
	       stands_wrong(trial, text) || takes_wrong(trial, text);
}

static void add(const struct trial *trial, struct totals *totals)
{
	bool jump = trial->registered && probe_state(trial->probe.addr) == PROBE_JUMP;

	totals->probes += trial->registered;
	totals->jumps += jump;
	totals->missing_jumps += wants_jump(trial) && !jump;
	totals->unsafe_jumps += jump && trial->letter == 'B';
}

static const char *case_name(const char *rule)
{
	static char name[64];
	char *dash;

	snprintf(name, sizeof(name), "%s", rule);
	while ((dash = strchr(name, '_')))
		*dash = '-';
	return name;
}

/* One case: all trials of a rule. Returns how many there are. */
static unsigned int rule_case(struct trial *trials, unsigned int left)
{
	static const char * const kinds[] = { "", "stepped ", "boosted ", "optimized " };
	const struct safety_function *function;
	unsigned int wrong = 0;
	char text[TEXT], first[TEXT];
	struct trial *worst = NULL;
	unsigned int i;

	report_case(case_name(trials->function->rule));
	for (i = 0; i < left && !strcmp(trials[i].function->rule, trials->function->rule); i++) {
		if (!trial_fails(&trials[i], text))
			continue;
		if (!wrong++) {
			worst = &trials[i];
			snprintf(first, TEXT, "%s", text);
		}
		cond_resched();
	}
	if (wrong) {
		function = worst->function;
		report_result(false, "%s%s +%u: %s (%u of %u)", kinds[function->kind],
			      function->text, worst->offset, first, wrong, i);
	} else {
		report_ok();
	}
	return i;
}

static void register_case(struct trial *trials, unsigned int count)
{
	unsigned int refused = 0;
	unsigned int i;

	report_case("register");
	for (i = 0; i < count; i++) {
		trial_register(&trials[i]);
		refused += trials[i].error && trials[i].letter != 'E';
		cond_resched();
	}
	report_result(!refused, "%u of %u probes were refused", refused, count);
}

/* Let the optimizer have its turn; it takes all that are waiting at once. */
static void wait_for_jumps(const struct trial *trials, unsigned int count)
{
	unsigned int i;

	for (i = 0; PROBE_CAN_OPTIMIZE && i < count; i++)
		if (wants_jump(&trials[i]) && !probe_wait(trials[i].probe.addr, PROBE_JUMP))
			break;
	/* Those that may not become jumps get the same chance. */
	probe_settle();
}

static void unregister_all(struct trial *trials, unsigned int count, struct kprobe **probes)
{
	unsigned int used = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (trials[i].registered)
			probes[used++] = &trials[i].probe;
		if (trials[i].neighboured)
			probes[used++] = &trials[i].neighbour;
		trials[i].registered = false;
	}
	unregister_kprobes(probes, used);
}

/* Nothing is counted any more, though jumps stand for a while yet. */
static void unregister_case(struct trial *trials, unsigned int count, struct kprobe **probes)
{
	unsigned int wrong = 0;
	char text[TEXT], first[TEXT] = "";
	unsigned int i;

	report_case("unregister");
	unregister_all(trials, count, probes);
	for (i = 0; i < count; i++)
		if (runs_wrong(&trials[i], RULE_INPUTS, text) && !wrong++)
			snprintf(first, TEXT, "%s: %s", trials[i].function->rule, text);
	report_result(!wrong, "%u of %u functions, %s", wrong, count, first);
}

static void restored_case(const struct trial *trials, unsigned int count)
{
	const struct trial *wrong = NULL;
	unsigned int i;

	report_case("text-restored");
	for (i = 0; i < count && !wrong; i++)
		if (!probe_text_restored(&trials[i].saved))
			wrong = &trials[i];
	report_evidence("text-restored", !wrong);
	report_result(!wrong, "%s: %s, a probe was on +%u", wrong ? wrong->function->rule : "",
		      wrong ? wrong->function->text : "", wrong ? wrong->offset : 0);
}

/* Rules that not every kernel has something for. */
static void absent_cases(const struct trial *trials, unsigned int count)
{
	static const struct {
		const char *rule;
		const char *reason;
	} optional[] = {
		{ "retpoline", "this kernel has no retpolines" },
		{ "rip_relative", "there are no such operands on this architecture" },
		{ "static_call", "this kernel has no static calls in place" },
		{ "jump_label", "this kernel has no jump labels" },
	};
	unsigned int i, at;

	for (i = 0; i < ARRAY_SIZE(optional); i++) {
		for (at = 0; at < count; at++)
			if (!strcmp(trials[at].function->rule, optional[i].rule))
				break;
		if (at < count)
			continue;
		report_case(case_name(optional[i].rule));
		report_skip("%s", optional[i].reason);
	}
}

static void run_cases(struct trial *trials, unsigned int count, bool rules,
		      struct kprobe **probes)
{
	struct totals totals = { 0 };
	unsigned int i;

	register_case(trials, count);
	wait_for_jumps(trials, count);
	for (i = 0; i < count; i++)
		add(&trials[i], &totals);
	report_evidence("probes", totals.probes);
	report_evidence("jumps", totals.jumps);
	report_evidence("missing-jumps", totals.missing_jumps);
	report_evidence("unsafe-jumps", totals.unsafe_jumps);
	for (i = 0; i < count;)
		i += rule_case(&trials[i], count - i);
	if (rules)
		absent_cases(trials, count);
	for (i = 0, totals.hits = 0; i < count; i++)
		totals.hits += trials[i].hits;
	report_evidence("hits", totals.hits);
	unregister_case(trials, count, probes);
	restored_case(trials, count);
}

static int trials_init(struct trial *trials, const struct safety_function *functions,
		       unsigned int count, unsigned int inputs)
{
	unsigned int i;
	int error = 0;

	for (i = 0; i < count && !error; i++)
		error = trial_init(&trials[i], &functions[i], inputs);
	return error;
}

static void trials_free(struct trial *trials, unsigned int count)
{
	while (trials && count--)
		vfree(trials[count].before);
	vfree(trials);
}

/* Two tables of functions at once; the second may be empty. */
static int run_functions(const struct safety_function *insns, unsigned int insn_count,
			 const struct safety_function *rules, unsigned int rule_count)
{
	unsigned int count = insn_count + rule_count;
	struct trial *trials = vzalloc(count * sizeof(*trials));
	struct kprobe **probes = vzalloc(2 * count * sizeof(*probes));
	int error = -ENOMEM;

	if (trials && probes)
		error = trials_init(trials, insns, insn_count, CALL_INPUTS);
	if (!error)
		error = trials_init(trials + insn_count, rules, rule_count, RULE_INPUTS);
	if (error)
		report_error("%u functions cannot be prepared: error %d", count, error);
	else
		run_cases(trials, count, rule_count, probes);
	trials_free(trials, count);
	vfree(probes);
	return error;
}

int run_safety(const struct arguments *arguments)
{
	return run_functions(farm_safety_insns, farm_safety_insns_end - farm_safety_insns,
			     farm_safety_rules, farm_safety_rules_end - farm_safety_rules);
}

int run_longest(const struct arguments *arguments)
{
	return run_functions(farm_safety_longest,
			     farm_safety_longest_end - farm_safety_longest, NULL, 0);
}
