/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that init says, on its own behalf or for the scenario that runs: each line is one
 * write(), so that on a serial line printk can stand between lines but not (by us) inside one.
 *
 * A scenario, module or script, speaks unstamped lines: KTAP lines go on as they are, counted and
 * summed; `# farm VERB TEXT` gets token, number and checksum; `# farm skip TEXT` and
 * `# farm error TEXT` become the outcome; anything else goes on as a comment. The format is told
 * in stress/protocol.py, which reads it.
 */
#ifndef FARM_RELAY_H
#define FARM_RELAY_H

#include "text.h"

enum { RELAY_LINE = 4096 };

static const char relay_mark[] = "# farm ";

struct relay {
	/* Puts the bytes on the port; a field, because a test has no port. */
	void (*put)(const char *bytes, size_t size);
	const char *token;
	unsigned long seq;

	/* Of the scenario that runs: */
	const char *scenario;
	unsigned long lines;
	unsigned int sum;
	unsigned long cases;
	int failed;		/* a case was not ok */
	char outcome[8];	/* "" until it says skip or error */
	char reason[256];

	/* The line that is still coming in: */
	char line[RELAY_LINE];
	size_t used;
	int overlong;
};

/* zlib's crc32, to be called with 0 first; a table would cost more than the few bytes do. */
static unsigned int crc32(unsigned int crc, const char *bytes, size_t size)
{
	int bit;

	crc = ~crc;
	while (size--) {
		crc ^= (unsigned char)*bytes++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void relay_stamped(struct relay *relay, const char *verb, const char *json)
{
	static char buffer[RELAY_LINE + 256];
	struct text text;
	unsigned int crc;

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, relay_mark);
	text_add(&text, relay->token);
	text_add(&text, " ");
	text_number(&text, relay->seq++);
	text_add(&text, " ");
	text_add(&text, verb);
	text_add(&text, " ");
	text_add(&text, json);
	crc = crc32(0, text.at + strlen(relay_mark), text.used - strlen(relay_mark));
	text_add(&text, " ");
	text_hex32(&text, crc);
	text_add(&text, "\n");
	relay->put(text.at, text.used);
}

static void relay_plain(struct relay *relay, const char *start, const char *line)
{
	static char buffer[RELAY_LINE + 8];
	struct text text;

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, start);
	text_add(&text, line);
	text_add(&text, "\n");
	relay->put(text.at, text.used);
}

static void relay_ktap(struct relay *relay, const char *line)
{
	relay->lines++;
	relay->sum = crc32(relay->sum, line, strlen(line));
	relay->sum = crc32(relay->sum, "\n", 1);
	relay_plain(relay, "", line);
}

static const char *skip_digits(const char *at)
{
	int count = 0;

	while (*at >= '0' && *at <= '9' && count < 9) {
		at++;
		count++;
	}
	return count ? at : NULL;
}

/*
 * The depth of a KTAP line, -1 for any other line; `result` becomes 1 for ok, 0 for not ok, -1
 * for a line that is no result. By the rules of stress/ktap.py, for the sums to agree.
 */
static int ktap_depth(const char *line, int *result)
{
	int depth = 0;
	const char *at;

	*result = -1;
	for (; text_starts(line, "    ") && depth < 7; depth++)
		line += 4;
	if (text_equal(line, "KTAP version 1") || text_starts(line, "# Subtest: "))
		return depth;
	if (text_starts(line, "1..")) {
		at = skip_digits(line + 3);
		return at && !*at ? depth : -1;
	}
	at = text_starts(line, "not ") ? line + 4 : line;
	if (!text_starts(at, "ok "))
		return -1;
	*result = at == line;
	at = skip_digits(at + 3);
	return at && (!*at || *at == ' ') ? depth : -1;
}

static void relay_outcome(struct relay *relay, const char *outcome, const char *reason)
{
	struct text text;

	if (relay->outcome[0])
		return;		/* the first word is nearest to the cause */
	text_init(&text, relay->outcome, sizeof(relay->outcome));
	text_add(&text, outcome);
	text_init(&text, relay->reason, sizeof(relay->reason));
	for (; *reason; reason++)
		text_bytes(&text, *reason >= ' ' && *reason <= '~' ? reason : "?", 1);
}

/* `# farm VERB TEXT`, the line being cut at the blank between the two. */
static void relay_said(struct relay *relay, char *verb)
{
	static const char *const stamped[] = { "begin", "evidence", "measure" };
	char *rest = verb;
	size_t which;

	while (*rest && *rest != ' ')
		rest++;
	if (*rest)
		*rest++ = '\0';
	if (text_equal(verb, "skip") || text_equal(verb, "error")) {
		relay_outcome(relay, verb, rest);
		return;
	}
	for (which = 0; which < sizeof(stamped) / sizeof(stamped[0]); which++) {
		if (text_equal(verb, stamped[which])) {
			relay_stamped(relay, verb, rest);
			return;
		}
	}
	relay_outcome(relay, "error", "the scenario said something that init does not know");
}

static void relay_line(struct relay *relay)
{
	int result;
	int depth;

	if (text_starts(relay->line, relay_mark)) {
		relay_said(relay, relay->line + strlen(relay_mark));
		return;
	}
	depth = ktap_depth(relay->line, &result);
	if (depth >= 0) {
		if (depth == 1 && result >= 0)
			relay->cases++;
		if (result == 0)
			relay->failed = 1;
		relay_ktap(relay, relay->line);
	} else {
		relay_plain(relay, "# ", relay->line);
	}
}

/* A NUL would cut the line short here, a carriage return there: the sums would not agree. */
static int is_control(char byte)
{
	return (unsigned char)byte < ' ' && byte != '\t';
}

/* Bytes of the running scenario, in pieces of any size. */
static void relay_bytes(struct relay *relay, const char *bytes, size_t size)
{
	for (; size; size--, bytes++) {
		if (*bytes != '\n') {
			if (relay->used == sizeof(relay->line) - 1)
				relay->overlong = 1;
			else
				relay->line[relay->used++] = is_control(*bytes) ? '?' : *bytes;
			continue;
		}
		relay->line[relay->used] = '\0';
		if (relay->overlong)
			relay_outcome(relay, "error", "the scenario said a line that is too long");
		else
			relay_line(relay);
		relay->used = 0;
		relay->overlong = 0;
	}
}

static void relay_uptime(struct relay *relay, const char *verb, const char *scenario,
			 unsigned long uptime_ms)
{
	char buffer[128];
	struct text text;

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "{");
	if (scenario) {
		text_add(&text, "\"scenario\": ");
		text_json(&text, scenario);
		text_add(&text, ", ");
	}
	text_add(&text, "\"uptime_ms\": ");
	text_number(&text, uptime_ms);
	text_add(&text, "}");
	relay_stamped(relay, verb, text.at);
}

static void relay_alive(struct relay *relay, unsigned long uptime_ms)
{
	relay_uptime(relay, "alive", NULL, uptime_ms);
}

static void relay_begin(struct relay *relay, const char *scenario, unsigned long uptime_ms)
{
	char buffer[64];
	struct text text;

	relay->scenario = scenario;
	relay->lines = 0;
	relay->sum = 0;
	relay->cases = 0;
	relay->failed = 0;
	relay->outcome[0] = '\0';
	relay->reason[0] = '\0';
	relay->used = 0;
	relay->overlong = 0;
	relay_uptime(relay, "begin", scenario, uptime_ms);
	relay_ktap(relay, "    KTAP version 1");
	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "    # Subtest: ");
	text_add(&text, scenario);
	relay_ktap(relay, text.at);
}

/* The scenario is over: its plan, its own result as number `number` of the boot, its outcome. */
static void relay_end(struct relay *relay, unsigned long number)
{
	char buffer[sizeof(relay->reason) * 2 + 256];
	struct text text;

	if (relay->used)
		relay_bytes(relay, "\n", 1);	/* a script's last line may lack its end */
	if (!relay->outcome[0])
		relay_outcome(relay, "done", "");

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "    1..");
	text_number(&text, relay->cases);
	relay_ktap(relay, text.at);

	text_init(&text, buffer, sizeof(buffer));
	if (relay->failed || text_equal(relay->outcome, "error"))
		text_add(&text, "not ");
	text_add(&text, "ok ");
	text_number(&text, number);
	text_add(&text, " ");
	text_add(&text, relay->scenario);
	if (relay->reason[0]) {
		text_add(&text, text_equal(relay->outcome, "skip") ? " # SKIP " : " # ");
		text_add(&text, relay->reason);
	}
	relay_ktap(relay, text.at);

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "{\"scenario\": ");
	text_json(&text, relay->scenario);
	text_add(&text, ", \"outcome\": ");
	text_json(&text, relay->outcome);
	text_add(&text, ", \"reason\": ");
	if (relay->reason[0])
		text_json(&text, relay->reason);
	else
		text_add(&text, "null");
	text_add(&text, ", \"lines\": ");
	text_number(&text, relay->lines);
	text_add(&text, ", \"sum\": \"");
	text_hex32(&text, relay->sum);
	text_add(&text, "\"}");
	relay_stamped(relay, "end", text.at);
}

/* The boot is over; `reason` says why nothing could run, or is NULL. */
static void relay_boot_end(struct relay *relay, const char *reason)
{
	char buffer[1024];
	struct text text;

	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "{\"boot\": true");
	if (reason) {
		text_add(&text, ", \"reason\": ");
		text_json(&text, reason);
	}
	text_add(&text, "}");
	relay_stamped(relay, "end", text.at);
}

#endif
