/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions in which a probe fits on every byte, see rows.S. For the assembler too.
 */
#ifndef FARM_ROWS_H
#define FARM_ROWS_H

#define ROWS		48	/* functions; the last one is the optimizer's, see optimizer.h */
#define ROW_SIZE	64	/* bytes from one to the next */
#define ROW_FIRST	24	/* offset of the first of the instructions of one byte */
#define ROW_LENGTH	24	/* how many there are */
#define ROW_RESULT	57	/* what each returns */

#ifndef __ASSEMBLY__

/* For a function that is to stand on the same page. */
#define farm_beside_rows	__attribute__((__section__(".text.farm_rows")))

extern unsigned char farm_rows[ROWS][ROW_SIZE];

/* The function's first byte. */
static inline void *row_start(unsigned int row)
{
	return &farm_rows[row][0];
}

/* Address of an instruction: `offset` from the first one of one byte in that row. */
static inline void *row_at(unsigned int row, unsigned int offset)
{
	return &farm_rows[row][ROW_FIRST + offset];
}

/* Calls the function; whether it did what it is written to do. */
static inline bool row_works(unsigned int row)
{
	int (*function)(void) = row_start(row);

	return function() == ROW_RESULT;
}

#endif

#endif
