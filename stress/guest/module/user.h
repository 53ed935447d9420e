/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only user space can do, done by init: in the guest it is that program, too (see init.c).
 */
#ifndef FARM_USER_H
#define FARM_USER_H

/*
 * Each returns 0 or the error, as a negative number: of the file, of the module, of the start.
 * -EINTR: init was killed while it did it.
 */
int user_write(const char *file, const char *word);
int user_load(const char *file);
int user_unload(const char *module);

#endif
