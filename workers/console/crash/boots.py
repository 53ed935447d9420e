# SPDX-License-Identifier: GPL-2.0-or-later
"""Notices that a machine began to boot again, and whether its kernel had been asked to."""

import re
from dataclasses import dataclass

from workers.console.crash.lines import Line

BANNER = re.compile(r"Linux version \d{1,3}\.\d{1,3}\S{0,100} \(")
"""The first line of every kernel (init/version.c); /proc/version holds the same text."""
AFTER_BANNER = re.compile(
    r"Command line: |KERNEL supported cpus:|BIOS-provided physical RAM map|BIOS-e820: |x86/fpu: "
)
"""What setup_arch() of arch/x86 says next, and `cat /proc/version` does not."""
FIRMWARE = re.compile(
    r"SeaBIOS \(version |iPXE \(http|^Booting from (?:ROM|Hard Disk|DVD/CD|Floppy|[0-9a-f]{4}:)"
    r"|^early console in (?:setup code|extract_kernel)|^BdsDxe: |^GNU GRUB  version"
)
"""Text of firmware, boot loaders and the kernel's own decompressor."""
RESTART = re.compile(
    r"^(?:reboot: )?(?:Restarting system|machine restart|Power down|System halted)"
    r"|^(?:kexec(?:_core)?: )?Starting new kernel|^sysrq: Resetting"
)
"""The kernel was asked to end (kernel/reboot.c, kernel/kexec_core.c; kernel/sys.c of 2.6.33)."""
RESTART_REACH = 60
"""Lines that may lie between such a request and the next boot."""
CONFIRM_REACH = 5
"""Lines that may lie between a banner and the next words of a kernel that really boots."""


@dataclass(frozen=True, slots=True)
class NewBoot:
    """The machine boots again."""

    first: Line
    asked: bool
    """The kernel before it had been asked to end."""


class Boots:
    """Follows the boots on one console, line by line."""

    def __init__(self) -> None:
        self.timed = False
        """Whether printk writes the time before the lines of this boot."""
        self._running = False
        self._asked: int | None = None
        self._unsure: Line | None = None

    def kernel_spoke(self) -> None:
        """The last line can only come from a running kernel."""
        self._running = True

    def feed(self, line: Line) -> NewBoot | None:
        """Take the next line; tell whether another boot began, perhaps a few lines before."""
        first = self._first_line(line)
        if line.kernel:
            self._running = True
        if first is not None:
            asked = self._asked is not None and first.number - self._asked <= RESTART_REACH
            self._asked, self.timed = None, line.timed
            return NewBoot(first, asked)
        if self._running and RESTART.search(line.text):
            self._asked = line.number
        self.timed = self.timed or line.timed
        return None

    def _first_line(self, line: Line) -> Line | None:
        first: Line | None = None
        if not line.kernel and FIRMWARE.search(line.text):
            first = line if self._running else None
            self._running, self._unsure = False, None
        if BANNER.search(line.text):
            if not self._running:
                self._running = True
            elif line.timed:
                first = line
            else:
                self._unsure = line
        elif self._unsure is not None:
            if AFTER_BANNER.match(line.text):
                first = self._unsure
            if first or line.number - self._unsure.number > CONFIRM_REACH:
                self._unsure = None
        return first
