/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text in a buffer that is never overrun: what does not fit is left out, and `full` says so.
 * Of the C library only memcpy() and strlen() are used, in these headers and in all of them.
 */
#ifndef FARM_TEXT_H
#define FARM_TEXT_H

struct text {
	char *at;
	size_t size;	/* of the buffer, with the final NUL */
	size_t used;
	int full;
};

static void text_init(struct text *text, char *buffer, size_t size)
{
	text->at = buffer;
	text->size = size;
	text->used = 0;
	text->full = 0;
	text->at[0] = '\0';
}

static void text_bytes(struct text *text, const char *bytes, size_t count)
{
	if (count > text->size - 1 - text->used) {
		text->full = 1;
		return;
	}
	memcpy(text->at + text->used, bytes, count);
	text->used += count;
	text->at[text->used] = '\0';
}

static void text_add(struct text *text, const char *string)
{
	text_bytes(text, string, strlen(string));
}

static void text_number(struct text *text, unsigned long value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	text_bytes(text, digits + at, sizeof(digits) - at);
}

static void text_hex32(struct text *text, unsigned int value)
{
	int shift;

	for (shift = 28; shift >= 0; shift -= 4)
		text_bytes(text, &"0123456789abcdef"[value >> shift & 15], 1);
}

/* A JSON string. Bytes beyond printable ASCII become '?': names and reasons need no more. */
static void text_json(struct text *text, const char *string)
{
	text_add(text, "\"");
	for (; *string; string++) {
		char byte = *string;

		if (byte == '"' || byte == '\\')
			text_add(text, "\\");
		if (byte < ' ' || byte > '~')
			byte = '?';
		text_bytes(text, &byte, 1);
	}
	text_add(text, "\"");
}

static int text_starts(const char *string, const char *start)
{
	while (*start)
		if (*string++ != *start++)
			return 0;
	return 1;
}

static int text_equal(const char *one, const char *other)
{
	return strlen(one) == strlen(other) && text_starts(one, other);
}

#endif
