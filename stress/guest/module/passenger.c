// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * farm_passenger: a module with text to probe, and no other purpose.
 */
#include <linux/compiler.h>
#include <linux/module.h>

#include "passenger.h"

static noinline int traced(void)
{
	barrier();
	return 1;
}

static struct passenger self = {
	.core = {
		farm_passenger_core0, farm_passenger_core1, farm_passenger_core2,
		farm_passenger_core3,
	},
	.traced = traced,
};

static int __init passenger_init(void)
{
	self.init = farm_passenger_init;
	return farm_passenger_comes(&self);
}

static void __exit passenger_exit(void)
{
	self.exit = farm_passenger_exit;
	farm_passenger_goes(&self);
}

module_init(passenger_init);
module_exit(passenger_exit);

MODULE_DESCRIPTION("text that comes and goes");
MODULE_LICENSE("GPL");
