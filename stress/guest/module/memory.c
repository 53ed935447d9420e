// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memory: what probes cost in bytes and in time to register and unregister, at 1, 1,000 and
 * 10,000 of them, and whether the kernel gives all of it back.
 *
 * What is counted: the memory that the kernel takes for itself when a probe is registered, and
 * not the struct kprobe, which is the caller's own. Two figures, from two sources:
 *
 *	object-bytes	what belongs to the probe alone: the aggregate (as the allocator rounded it
 *			up) and its slots for copied and detoured instructions. Exact for one probe.
 *	system-bytes	how many pages less are free: also the pages' own bookkeeping and what the
 *			allocators keep in hand. To the page, so it says nothing about one probe.
 *
 * The time to register is the kernel's own, and long. Likely most of it, on 6.12, goes into
 * jump_label_text_reserved(), which looks at every static key; nobody has measured that.
 */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "cycles.h"
#include "optimizer.h"
#include "pages.h"
#include "probe.h"
#include "report.h"
#include "rounds.h"
#include "scenarios.h"
#include "sites.h"
#include "user.h"

#define MAX_ROUNDS	20
#define SAMPLE		64	/* probes from which the sizes of slots are learned */
#define WARM_UP		1	/* rounds in which the allocators still settle */
#define LEAK_BYTES	8	/* a probe; no object is smaller */
#define WAIT_MS		60000	/* for the optimizer, which takes 256 probes each 50 ms */
#define STEP_MS		10
#define QUIET_MS	100

static struct kprobe *probes;		/* the most of them that are asked for */
static struct kprobe **pointers;
static const struct sites_module {
	const char *file;
	const char *name;	/* of the module and of what it exports */
	int sites, each, stride;
} *used;				/* the sites in use */
static unsigned char *block;		/* and where they are */
static unsigned char *original;		/* their text before any probe */
static char problem[96];		/* what went wrong with a crowd */
static unsigned long hits;
static unsigned long insn_slot_size, optinsn_slot_size;

/* Probes side by side, or several at each place. */
struct crowd {
	int probes;
	int each;		/* probes at one place */
};

/* The address of a place, 0 to used->sites - 1. */
static void *site_address(int site)
{
	return block + site / used->each * used->stride + site % used->each * SITE_SIZE;
}

static size_t text_size(void)
{
	return used->sites / used->each * used->stride;
}

static int crowd_sites(const struct crowd *crowd)
{
	return DIV_ROUND_UP(crowd->probes, crowd->each);
}

static int count_hit(struct kprobe *p, struct pt_regs *regs)
{
	hits++;
	return 0;
}

/* As register_kprobes() does, but tells which one was refused. */
static int crowd_register(const struct crowd *crowd)
{
	int error, i;

	memset(probes, 0, crowd->probes * sizeof(*probes));
	for (i = 0; i < crowd->probes; i++) {
		probes[i].addr = site_address(i / crowd->each);
		probes[i].pre_handler = count_hit;
	}
	for (i = 0; i < crowd->probes; i++) {
		error = register_kprobe(&probes[i]);
		if (!error)
			continue;
		snprintf(problem, sizeof(problem), "register_kprobe at %pS, number %d: error %d",
			 site_address(i / crowd->each), i, error);
		if (i)
			unregister_kprobes(pointers, i);
		return error;
	}
	return 0;
}

static int count_jumps(const struct crowd *crowd)
{
	int site, jumps = 0;

	for (site = 0; site < crowd_sites(crowd); site++)
		jumps += probe_state(site_address(site)) == PROBE_JUMP;
	return jumps;
}

/* Wait until every probe that can be a jump is one; returns the number of jumps. */
static int wait_for_jumps(const struct crowd *crowd)
{
	int waited, jumps = 0;

	if (!PROBE_CAN_OPTIMIZE) {
		probe_settle();
		return count_jumps(crowd);
	}
	for (waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		jumps = count_jumps(crowd);
		if (jumps == crowd_sites(crowd))
			break;
		msleep(STEP_MS);
	}
	return jumps;
}

static bool text_is_original(void)
{
	return !memcmp(block, original, text_size());
}

/*
 * Wait until the last traces of unregistered probes are gone: the optimizer writes the text back
 * and frees the probes later, in turns of its own. Returns whether the text is as before.
 */
static bool wait_for_rest(void)
{
	unsigned long before, now = pages_free();
	int waited;

	for (waited = 0; waited < WAIT_MS && !text_is_original(); waited += STEP_MS)
		msleep(STEP_MS);
	do {
		before = now;
		msleep(QUIET_MS);
		now = pages_free();
		waited += QUIET_MS;
	} while (now != before && waited < WAIT_MS);
	return text_is_original();
}

/* Each function that has a probe is called once, so that each probe is hit once. */
static unsigned long hit_all(const struct crowd *crowd)
{
	int site;

	hits = 0;
	for (site = 0; site < crowd_sites(crowd); site += used->each)
		((void (*)(void))site_address(site))();
	return hits;
}

/*
 * The hidden probe to which those at one address are gathered, and which owns the detour; NULL
 * when there is none. It is on the list of the gathered ones, and the only one that is not ours.
 */
static struct kprobe *aggregate(struct kprobe *probe)
{
	struct kprobe *other;

	list_for_each_entry(other, &probe->list, list)
		if (other->pre_handler != count_hit)
			return other;
	return NULL;
}

static const void *insn_slot(struct kprobe *probe)
{
	return probe->ainsn.insn;
}

#ifdef CONFIG_OPTPROBES
static const void *optinsn_slot(struct kprobe *probe)
{
	struct kprobe *gathered = aggregate(probe);

	if (!gathered)
		return NULL;
	return container_of(gathered, struct optimized_kprobe, kp)->optinsn.insn;
}
#else
static const void *optinsn_slot(struct kprobe *probe)
{
	return NULL;
}
#endif

/* The least distance between the slots of the sample: slots lie side by side. 0: there are none. */
static unsigned long slot_size(const void *(*slot)(struct kprobe *probe))
{
	unsigned long least = 0, distance;
	const char *one, *next;
	int i;

	for (i = 0; i + 1 < SAMPLE; i++) {
		one = slot(&probes[i]);
		next = slot(&probes[i + 1]);
		if (!one || !next)
			continue;
		distance = next > one ? next - one : one - next;
		if (!least || distance < least)
			least = distance;
	}
	return least;
}

static u64 object_bytes(const struct crowd *crowd)
{
	struct kprobe *first, *gathered;
	u64 bytes = 0;
	int i;

	for (i = 0; i < crowd->probes; i += crowd->each) {
		first = &probes[i];
		gathered = aggregate(first);
		if (gathered)
			bytes += ksize(gathered);
		if (insn_slot(first))
			bytes += insn_slot_size;
		if (optinsn_slot(first))
			bytes += optinsn_slot_size;
	}
	return bytes;
}

/* What one crowd showed, a number for each round. */
struct rounds {
	u64 object_bytes[MAX_ROUNDS], zero[MAX_ROUNDS];
	u64 used_bytes[MAX_ROUNDS], base_bytes[MAX_ROUNDS];
	u64 register_ns[MAX_ROUNDS], unregister_ns[MAX_ROUNDS];
	unsigned long hits, jumps;	/* see keep() */
};

/* Memory that is not free, as if all that there is were; only differences mean something. */
static u64 used_bytes(void)
{
	return (u64)(totalram_pages() - pages_free()) * PAGE_SIZE;
}

/* One round: all come and all go. Returns whether that went well, else there is a `problem`. */
static bool come_and_go(const struct crowd *crowd, struct rounds *seen, int round)
{
	u64 cycles;
	int error;

	seen->base_bytes[round] = used_bytes();
	cycles = get_cycles();
	error = crowd_register(crowd);
	seen->register_ns[round] = cycles_to_ns(get_cycles() - cycles);
	if (error)
		return false;
	keep(&seen->jumps, wait_for_jumps(crowd), PROBE_CAN_OPTIMIZE ? crowd_sites(crowd) : 0,
	     round);
	keep(&seen->hits, hit_all(crowd), crowd->probes, round);
	seen->used_bytes[round] = used_bytes();
	seen->object_bytes[round] = object_bytes(crowd);
	cycles = get_cycles();
	unregister_kprobes(pointers, crowd->probes);
	seen->unregister_ns[round] = cycles_to_ns(get_cycles() - cycles);
	snprintf(problem, sizeof(problem), "the text is not the original one after 60 s");
	return wait_for_rest();
}

static void report_figures(const char *what, const struct crowd *crowd, int rounds,
			   const struct rounds *seen)
{
	static const struct {
		const char *name;
		bool bytes;
		size_t values, base;
	} figures[] = {
#define FIGURE(name, bytes, values, base) \
	{ name, bytes, offsetof(struct rounds, values), offsetof(struct rounds, base) }
		FIGURE("object-bytes", true, object_bytes, zero),
		FIGURE("system-bytes", true, used_bytes, base_bytes),
		FIGURE("register", false, register_ns, zero),
		FIGURE("unregister", false, unregister_ns, zero),
	};
	char name[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(figures); i++) {
		snprintf(name, sizeof(name), "%s.%s-%d", what, figures[i].name, crowd->probes);
		(figures[i].bytes ? report_measure_bytes : report_measure)
			(name, crowd->probes, rounds,
			 (const u64 *)((const char *)seen + figures[i].values),
			 (const u64 *)((const char *)seen + figures[i].base));
	}
}

/* Returns whether all rounds came to their end. */
static bool crowd_case(const char *what, const struct crowd *crowd, int rounds,
		       struct rounds *seen)
{
	char name[32];
	bool well = true;
	int round;

	snprintf(name, sizeof(name), "%s-%d", what, crowd->probes);
	report_case(name);
	memset(seen, 0, sizeof(*seen));
	for (round = 0; round < rounds && well; round++)
		well = come_and_go(crowd, seen, round);
	report_evidence("probes", crowd->probes);
	report_evidence("optimized", seen->jumps);
	report_evidence("hits", seen->hits);
	if (!well)
		return report_result(false, "%s", problem);
	report_figures(what, crowd, rounds, seen);
	report_result(seen->hits == crowd->probes, "%lu of %d hits counted", seen->hits,
		      crowd->probes);
	return true;
}

/* Least squares through the values at 0, 1, 2 ...: by how much each is more than the last. */
static s64 slope(const u64 *values, int count)
{
	s64 above = 0, below = 0;
	int i, twice;

	for (i = 0; i < count; i++) {
		twice = 2 * i - (count - 1);	/* the distance from the middle */
		above += twice * (s64)(values[i] - values[0]);
		below += twice * twice;
	}
	return div64_s64(2 * above, below);
}

/* Whether memory grew from round to round, by what was in use before each. */
static void leak_case(const struct crowd *crowd, const struct rounds *seen, int rounds)
{
	s64 growth = slope(seen->base_bytes + WARM_UP, rounds - WARM_UP);

	report_case("leak");
	report_evidence("leaked-bytes", growth);
	report_result(growth < LEAK_BYTES * crowd->probes,
		      "%lld bytes more in use each time %d probes came and went",
		      (long long)growth, crowd->probes);
}

static int learn_slot_sizes(void)
{
	const struct crowd sample = { SAMPLE, 1 };
	int error = crowd_register(&sample);

	if (error) {
		report_error("%s", problem);
		return error;
	}
	insn_slot_size = slot_size(insn_slot);
	optinsn_slot_size = slot_size(optinsn_slot);
	report_evidence("insn-slot-bytes", insn_slot_size);
	report_evidence("optinsn-slot-bytes", optinsn_slot_size);
	unregister_kprobes(pointers, SAMPLE);
	wait_for_rest();
	return 0;
}

static void small_cases(int rounds, int repetitions)
{
	static struct rounds seen;
	struct crowd crowd = { SITES / 4, 2 };

	crowd_case("shared", &crowd, rounds, &seen);
	crowd.each = 1;
	crowd.probes = 1;
	crowd_case("probes", &crowd, repetitions, &seen);
	crowd.probes = SITES;
	if (crowd_case("probes", &crowd, repetitions, &seen))
		leak_case(&crowd, &seen, repetitions);
}

static void big_case(int most, int rounds)
{
	static struct rounds seen;
	const struct crowd crowd = { most, 1 };

	crowd_case("probes", &crowd, rounds, &seen);
}

/* Blocks of sites, each a module of its own. */
static const struct sites_module small = {
	"/farm_sites.ko", "farm_sites", SITES, SITES_EACH, SITES_STRIDE
};
static const struct sites_module big = {
	"/farm_more_sites.ko", "farm_more_sites", MORE_SITES, MORE_SITES_EACH, MORE_SITES_STRIDE
};

/*
 * Load a block and take it in use. Returns 0, or an error that was reported. It may get the memory
 * of a module that was unloaded, whose last probes the optimizer has to let go first.
 */
static int block_take(const struct sites_module *from)
{
	int error;

	optimizer_ran();
	optimizer_leave();
	error = user_load(from->file);
	if (error) {
		report_error("loading %s: error %d", from->file, error);
		return error;
	}
	used = from;
	block = __symbol_get(from->name);
	original = vmalloc(text_size());
	if (block && original) {
		memcpy(original, block, text_size());
		return 0;
	}
	report_error("no %s for %d sites", block ? "memory" : from->name, from->sites);
	return -ENOMEM;
}

static void block_give_back(const struct sites_module *to)
{
	if (block)
		__symbol_put(to->name);
	vfree(original);
	block = NULL;
	original = NULL;
	user_unload(to->name);
}

static int probes_allocate(int most)
{
	int i;

	most = max(most, SAMPLE);
	probes = vmalloc(most * sizeof(*probes));
	pointers = vmalloc(most * sizeof(*pointers));
	if (!probes || !pointers) {
		report_error("no memory for %d probes", most);
		return -ENOMEM;
	}
	for (i = 0; i < most; i++)
		pointers[i] = &probes[i];
	return 0;
}

int run_memory(const struct arguments *arguments)
{
	int most, rounds, repetitions;
	int error;

	error = argument_int(arguments, "probes", SITES, MORE_SITES, &most);
	if (!error)
		error = argument_int(arguments, "rounds", 1, MAX_ROUNDS, &rounds);
	if (!error)
		error = argument_int(arguments, "repetitions", WARM_UP + 2, MAX_ROUNDS,
				     &repetitions);
	if (error)
		return error;
	if (!cycles_known()) {
		report_skip_scenario("this kernel does not know how fast the TSC is");
		return 0;
	}
	error = probes_allocate(most);
	if (!error) {
		error = block_take(&small);
		if (!error)
			error = learn_slot_sizes();
		if (!error)
			small_cases(rounds, repetitions);
		block_give_back(&small);
	}
	if (!error && most > SITES) {
		error = block_take(&big);
		if (!error)
			big_case(most, rounds);
		block_give_back(&big);
	}
	vfree(pointers);
	vfree(probes);
	return error;
}
