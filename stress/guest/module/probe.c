// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/delay.h>
#include <linux/string.h>

#include "probe.h"

#define WAIT_MS		3000	/* many times what the optimizer needs on a loaded host */
#define STEP_MS		10
#define SETTLE_MS	300

enum probe_state probe_state(const void *address)
{
	unsigned char byte;

	if (copy_from_kernel_nofault(&byte, address, 1))
		return PROBE_NONE;
	switch (byte) {
	case 0xcc:
		return PROBE_BREAKPOINT;
	case 0xe9:
		return PROBE_JUMP;
	default:
		return PROBE_NONE;
	}
}

bool probe_wait(const void *address, enum probe_state wanted)
{
	unsigned int waited;

	for (waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (probe_state(address) == wanted)
			return true;
		msleep(STEP_MS);
	}
	return probe_state(address) == wanted;
}

void probe_settle(void)
{
	msleep(SETTLE_MS);
}

bool probe_text_save(struct probe_text *text, const void *address)
{
	text->address = address;
	return !copy_from_kernel_nofault(text->bytes, address, PROBE_TEXT);
}

static bool same(const struct probe_text *text)
{
	unsigned char now[PROBE_TEXT];

	return !copy_from_kernel_nofault(now, text->address, PROBE_TEXT) &&
	       !memcmp(now, text->bytes, PROBE_TEXT);
}

bool probe_text_restored(const struct probe_text *text)
{
	unsigned int waited;

	for (waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (same(text))
			return true;
		msleep(STEP_MS);
	}
	return same(text);
}
