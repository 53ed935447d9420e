# SPDX-License-Identifier: GPL-2.0-or-later
"""What a crash looks like on a console: one row for each way the kernel words a report.

The wording is that of Linux 2.6.33 and 6.12, from the source files named above each group. To add
a row see docs/crash-reader.md. Where two rows fit one line the first one wins.
"""

import re

from workers.console.crash.report import CrashKind as Kind
from workers.console.crash.rule import (
    ANYWHERE,
    AT,
    DEAD,
    FILE,
    PREFACES,
    STOPPED,
    STUCK,
    Dying,
    Header,
    Lockdep,
    Panic,
    Place,
    Rule,
    Sanitizer,
    Stall,
    Stuck,
    Text,
    Traced,
)

_re = re.compile


def _any_of(*patterns: str) -> str:
    return "|".join(patterns)


_AFTER_DEATH = _any_of(
    r"Fatal exception(?: in interrupt)?",
    r"Aiee, killing interrupt handler",
    r"Attempted to kill (?:init|the idle task)",
    r"Oopsed too often",
    r"Oops failed to kill thread",
    r"Machine halted",
    r"\S{1,20} stack guard hit",
    r"cannot return from double fault",
    r"can't return from __builtin_unreachable",
    r"Non maskable interrupt",
)
"""Why the kernel panics when a task died that it can't do without."""
_ON_REPORT = _any_of(
    r"\S{1,40}: (?:panic_on_warn set|system warned too often)",
    r"panic_on_taint set",
    r"kasan\.fault=panic\w{0,20}",
    r"kmsan\.panic",
    r"softlockup: hung tasks",
    r"Hard LOCKUP",
    r"hung_task: blocked tasks",
    r"RCU Stall",
    r"NMI: Not continuing",
    r"NMI IOCK error: Not continuing",
    r"[A-Z][\w :]{1,60}[Mm]achine check",
    r"Panicing machine check CPU died",
)
"""Why the kernel panics when it was told to do so after a report."""
_UNWINDER = _any_of(
    r"can't (?:access|dereference) (?:iret )?registers",
    r"kernel stack (?:regs|frame pointer)",
    r"stack recursion on stack type",
    r"stack going in the wrong direction",
    r"unknown (?:SP base reg|BP base reg|\.orc_unwind entry type)",
    r"missing R?[0-9A-Z]{2} value",
    r"bad lookup (?:idx|value)",
    r"(?:Bad or missing|Corrupt) \.orc_unwind table",
)


def _lockdep(name: str, text: str, hint: str = "") -> Rule:
    """print_*_bug() of lockdep: `WARNING: text`; in 2.6.33 `[ INFO: text ]` or `[ BUG: text ]`."""
    pattern = rf"(?:WARNING|INFO|BUG): (?:.{{1,20}}/\d{{1,10}} )?(?P<what>{text})"
    return Lockdep(name, Kind.LOCKDEP, hint or text, _re(pattern), "lockdep: {what}{where}")


RULES: tuple[Rule, ...] = (
    # --- kernel/panic.c, kernel/exit.c
    Panic(
        "panic-after-death",
        Kind.PANIC,
        "Kernel panic - not syncing: ",
        _re(rf"Kernel panic - not syncing: (?P<what>{_AFTER_DEATH})"),
        "Kernel panic - not syncing: {what}",
        after=DEAD | {Kind.UBSAN, Kind.HARD_LOCKUP},
        near=300,
    ),
    Panic(
        "panic-on-report",
        Kind.PANIC,
        "Kernel panic - not syncing: ",
        _re(rf"Kernel panic - not syncing: (?P<what>{_ON_REPORT})"),
        "Kernel panic - not syncing: {what}",
        after=frozenset(Kind) - {Kind.REBOOT},
        near=1000,  # the traces of all CPUs may lie between
    ),
    Panic(
        "panic",
        Kind.PANIC,
        "Kernel panic - not syncing: ",
        _re(r"Kernel panic - not syncing: (?P<what>.*?)(?: \]---|$)"),
        "Kernel panic - not syncing: {what}",
    ),
    Panic(  # arch/x86/mm/extable.c, arch/x86/kernel/head_64.S
        "early-exception",
        Kind.PANIC,
        "PANIC: early exception ",
        _re(r"PANIC: early exception (?P<code>(?:0x)?[0-9a-f]{2}) (?:IP|rip) "),
        "PANIC: early exception {code}{where}",
        place=Place.OPTIONAL,
    ),
    Panic(  # arch/x86/kernel/head_32.S
        "early-exception-i386",
        Kind.PANIC,
        "BUG: Int ",
        _re(r"BUG: Int (?P<code>\d{1,3}): CR2 "),
        "BUG: Int {code}{where}",
        place=Place.OPTIONAL,
    ),
    # --- arch/x86/mm/fault.c
    Dying(
        "page-fault",
        Kind.OOPS,
        "BUG: ",
        _re(
            r"BUG: (?P<what>kernel NULL pointer dereference|unable to handle (?:page fault|kernel "
            r"(?:NULL pointer dereference|paging request|page fault)))"
        ),
        "BUG: {what}{where}",
        inside=PREFACES | {"page-fault", "oops", "die"},
    ),
    Text(  # printed before the page fault's own first line
        "execute-nx",
        Kind.UNKNOWN,
        "kernel tried to execute NX-protected page",
        _re(r"kernel tried to execute NX-protected page"),
        "kernel tried to execute NX-protected page",
        reach=10,
        fatal=True,
    ),
    # --- arch/x86/kernel/traps.c, doublefault_32.c, cet.c, kernel/cfi.c, lib/ubsan.c
    Dying(
        "double-fault",
        Kind.OOPS,
        "PANIC: double fault, error_code",
        _re(r"PANIC: double fault, error_code"),
        "PANIC: double fault{where}",
    ),
    Text(  # 2.6.33 names no function here
        "double-fault-i386",
        Kind.OOPS,
        "PANIC: double fault, gdt at ",
        _re(r"PANIC: double fault, gdt at "),
        "PANIC: double fault",
        fatal=True,
    ),
    Dying(
        "stack-guard",
        Kind.OOPS,
        " stack guard page was hit at",
        _re(r"BUG: (?P<what>[#\w]{1,20} stack guard page was hit)"),
        "BUG: {what}{where}",
    ),
    Traced(
        "missing-endbr",
        Kind.BUG,
        "Missing ENDBR: ",
        _re(rf"Missing ENDBR: {AT}"),
        "Missing ENDBR{where}",
    ),
    Traced("cfi", Kind.BUG, "CFI failure at ", _re(rf"CFI failure at {AT}"), "CFI failure{where}"),
    Dying(
        "ubsan-trap",
        Kind.UBSAN,
        "UBSAN: ",
        _re(rf"UBSAN: (?P<what>[\w /-]{{1,60}}) at {AT}"),
        "UBSAN: {what}{where}",
    ),
    # --- kernel/kprobes.c, arch/x86/kernel/kprobes/, kernel/test_kprobes.c
    Traced(
        "kprobe-unrecoverable",
        Kind.KPROBES,
        "Unrecoverable kprobe detected",
        _re(r"Unrecoverable kprobe detected"),
        "Unrecoverable kprobe detected{where}",
        names=_re(r"(?:\.addr = |^Name: )(?P<at>[A-Za-z_][\w.]*)"),
        fatal=True,
    ),
    Traced(
        "kretprobe-lost",
        Kind.KPROBES,
        "kretprobe: Return address not found",
        _re(r"kretprobe: Return address not found"),
        "kretprobe: Return address not found",
        place=Place.NONE,
        fatal=True,
    ),
    Text(
        "kprobes-failed",
        Kind.KPROBES,
        "probe",
        _re(
            r"(?:kprobes|kretprobe): (?P<what>Failed to [a-z][a-z ]{1,60}[a-z]|lookup failed"
            r"|Kprobes error: new displacement does not fit"
            r"|Kprobes globally \w{7,8}, but failed to \w{6,7})"
        ),
        "kprobes: {what}",
    ),
    Text(
        "kprobes-smoke-test",
        Kind.KPROBES,
        "BUG: Kprobe smoke test: ",
        _re(r"BUG: Kprobe smoke test: "),
        "BUG: Kprobe smoke test failed",
    ),
    # --- lib/bug.c, arch/x86/kernel/dumpstack.c
    Dying(
        "bug",
        Kind.BUG,
        "ernel BUG at ",
        _re(rf"[Kk]ernel BUG at (?:{AT}|{FILE}!|[0-9a-f]{{8,16}} \[verbose)"),
        "kernel BUG{where}",
        inside=PREFACES | {"kprobe-unrecoverable", "kretprobe-lost", "missing-endbr", "cfi"},
    ),
    Header(  # behind a page fault, or alone where its first line was lost
        "oops",
        Kind.OOPS,
        " [#",
        _re(r"(?:Oops|Bad pagetable): [0-9a-f]{4} \[#\d{1,6}\]"),
        "Oops{where}",
    ),
    Header(
        "die",
        Kind.OOPS,
        " [#",
        _re(
            r"(?:^|Oops: )(?P<what>[A-Za-z#][\w#' -]{0,60})(?:, [^:\[]{1,80})?"
            r": [0-9a-f]{4} \[#\d{1,6}\]"
        ),
        "Oops: {what}{where}",
        weak=True,
    ),
    # --- kernel/panic.c: WARN() and its family
    Traced(
        "warning",
        Kind.WARNING,
        "WARNING: ",
        _re(
            r"WARNING: (?:CPU: \d{1,5} PID: \d{1,10} )?(?:at )?"
            rf"(?:{FILE} )?(?:at )?{AT}"
        ),
        "WARNING{where}",
        inside=PREFACES | {"missing-endbr", "cfi", "lockdep-key"},
    ),
    Traced(  # CONFIG_KALLSYMS=n, or a line that was cut off
        "warning-without-symbol",
        Kind.WARNING,
        "WARNING: ",
        _re(rf"WARNING: CPU: \d{{1,5}} PID: \d{{1,10}} at(?: {FILE})?"),
        "WARNING{where}",
        inside=PREFACES,
    ),
    # --- kernel/watchdog.c; kernel/softlockup.c and arch/x86/kernel/apic/nmi.c of 2.6.33
    Stuck(
        "soft-lockup",
        Kind.SOFT_LOCKUP,
        "BUG: soft lockup - CPU#",
        _re(r"BUG: soft lockup - CPU#\d{1,5} stuck for \d{1,10}s! \[.{0,40}:(?P<pid>\d{1,10})\]"),
        "BUG: soft lockup{where}",
    ),
    Stuck(
        "hard-lockup",
        Kind.HARD_LOCKUP,
        "atchdog detected ",
        _re(r"[Ww]atchdog detected (?:hard )?LOCKUP on (?:cpu ?|CPU)\d"),
        "Watchdog detected hard LOCKUP{where}",
        reach=200,
    ),
    # --- kernel/rcu/tree_stall.h, tree_exp.h, tasks.h; kernel/rcutree.c of 2.6.33
    Stall(
        "rcu-stall-expedited",
        Kind.RCU_STALL,
        "detected expedited stalls on",
        _re(r"INFO: \w{1,40} detected expedited stalls on"),
        "INFO: rcu detected expedited stall{where}",
    ),
    Stall(
        "rcu-tasks-stall",
        Kind.RCU_STALL,
        "detected stalls",
        _re(r"INFO: (?P<flavor>rcu_tasks\w{0,20}) detected stalls"),
        "INFO: {flavor} detected stall{where}",
    ),
    Stall(
        "rcu-stall",
        Kind.RCU_STALL,
        "detected ",
        _re(
            r"INFO: (?:\w{1,40} (?:self-)?detected stalls? on CPU"
            r"|RCU detected CPU (?:\d{1,5} stall|stalls:))"
        ),
        "INFO: rcu detected stall{where}",
    ),
    Text(
        "rcu-stall-suppressed",
        Kind.RCU_STALL,
        "but suppressed full report",
        _re(r"INFO: \w{1,40} detected (?:expedited )?stalls?, but suppressed full report"),
        "INFO: rcu detected stall",
        after=STOPPED,
        near=None,
    ),
    # --- kernel/hung_task.c, kernel/workqueue.c, kernel/smp.c
    Stuck(
        "hung-task",
        Kind.HUNG_TASK,
        " blocked ",
        _re(r"INFO: task .{1,40}:(?P<pid>\d{1,10}) blocked (?:in I/O wait )?for more than \d"),
        "INFO: task hung{where}",
    ),
    Text(
        "workqueue-lockup",
        Kind.WORKQUEUE_LOCKUP,
        "BUG: workqueue lockup",
        _re(r"BUG: workqueue lockup"),
        "BUG: workqueue lockup",
        after=DEAD | STUCK,
        near=None,
    ),
    Stall(
        "csd-lockup",
        Kind.CSD_LOCKUP,
        "non-responsive CSD lock",
        _re(rf"non-responsive CSD lock \(#\d{{1,10}}\) on CPU#.{{1,60}} for CPU#\d{{1,5}} {AT}"),
        "csd: non-responsive CSD lock{where}",
    ),
    # --- kernel/locking/lockdep.c; kernel/lockdep.c of 2.6.33
    _lockdep("lockdep-circular", "possible circular locking dependency detected"),
    _lockdep("lockdep-recursive", "possible recursive locking detected"),
    _lockdep("lockdep-inconsistent", "inconsistent lock state"),
    _lockdep("lockdep-inversion", "possible irq lock inversion dependency detected"),
    _lockdep(
        "lockdep-unsafe",
        r"[A-Z_]{1,20}-safe -> [A-Z_]{1,20}-unsafe lock order detected",
        "-unsafe lock order detected",
    ),
    _lockdep("lockdep-unbalanced", "bad unlock balance detected"),
    _lockdep("lockdep-contention", "bad contention detected"),
    _lockdep("lockdep-freed", "held lock freed"),
    _lockdep("lockdep-nest", "Nested lock was not taken"),
    _lockdep("lockdep-collision", "chain_key collision"),
    _lockdep("lockdep-context", "Invalid wait context"),
    _lockdep("lockdep-rcu", "suspicious RCU usage"),
    _lockdep("lockdep-held", "still has locks held"),
    _lockdep("lockdep-exit", "lock held at task exit time"),
    Rule(
        "lockdep-user",
        Kind.LOCKDEP,
        "lock held when returning to user space",
        _re(r"(?:WARNING|BUG): lock held when returning to user space"),
        "lockdep: lock held when returning to user space{where}",
        names=_re(rf", at: (?:\[<[0-9a-f]{{1,16}}>\] )?{AT}"),
    ),
    Rule(
        "lockdep-key",
        Kind.LOCKDEP,
        ": ",
        _re(
            r"INFO: (?P<what>trying to register non-static key)|BUG: (?P<what2>key \S{1,40} (?:has "
            r"not been registered|not in \.data)|looking up invalid subclass)"
        ),
        "lockdep: {what}{where}",
        place=Place.OPTIONAL,
    ),
    Text(  # the validator switches itself off: from here on nothing is checked
        "lockdep-full",
        Kind.LOCKDEP,
        "BUG: MAX_",
        _re(r"BUG: (?P<what>MAX_[A-Z_]{1,40} too low)"),
        "lockdep: {what}",
    ),
    # --- mm/kasan/, mm/kfence/, mm/kmsan/, kernel/kcsan/, lib/ubsan.c
    Sanitizer(
        "kasan",
        Kind.KASAN,
        "BUG: KASAN: ",
        _re(rf"BUG: KASAN: (?P<what>[a-z -]{{1,60}}?)(?: in {AT}|$)"),
        "BUG: KASAN: {what}{where}",
    ),
    Sanitizer(
        "kfence",
        Kind.KFENCE,
        "BUG: KFENCE: ",
        _re(rf"BUG: KFENCE: (?P<what>[a-z -]{{1,60}}) in {AT}"),
        "BUG: KFENCE: {what}{where}",
    ),
    Sanitizer(
        "kmsan",
        Kind.KMSAN,
        "BUG: KMSAN: ",
        _re(rf"BUG: KMSAN: (?P<what>[a-z -]{{1,60}}) in {AT}"),
        "BUG: KMSAN: {what}{where}",
    ),
    Sanitizer(  # the kernel sorts the two functions, so that its text is a title
        "kcsan",
        Kind.KCSAN,
        "BUG: KCSAN: ",
        _re(r"BUG: KCSAN: (?P<what>.*)"),
        "BUG: KCSAN: {what}",
        place=Place.NONE,
    ),
    Rule(
        "ubsan",
        Kind.UBSAN,
        "UBSAN: ",
        _re(rf"UBSAN: (?P<what>[\w -]{{1,60}}) in {FILE}:\d{{1,6}}"),
        "UBSAN: {what}{where}",
        end=_re(r"---\[ end trace|={50}"),
        reach=150,
        inside=PREFACES,
    ),
    # --- mm/kmemleak.c
    Rule(
        "kmemleak-object",
        Kind.KMEMLEAK,
        "unreferenced object 0x",
        _re(r"unreferenced object 0x[0-9a-f]{8,16} \(size \d{1,10}\)"),
        "kmemleak: unreferenced object{where}",
    ),
    Text(
        "kmemleak",
        Kind.KMEMLEAK,
        "new suspected memory leaks",
        _re(r"kmemleak: \d{1,10} new suspected memory leaks"),
        "kmemleak: new suspected memory leaks",
        after=frozenset({Kind.KMEMLEAK}),
    ),
    # --- kernel/sched/core.c, lib/smp_processor_id.c
    Rule(
        "scheduling-while-atomic",
        Kind.ATOMIC_SLEEP,
        "BUG: scheduling ",
        _re(
            r"BUG: (?P<what>scheduling while atomic|scheduling in a non-blocking section): "
            r".{1,40}/(?P<pid>\d{1,10})/"
        ),
        "BUG: {what}{where}",
        after=DEAD,
    ),
    Rule(
        "sleeping-function",
        Kind.ATOMIC_SLEEP,
        " context at ",
        _re(
            r"BUG: (?P<what>sleeping function called from invalid context|assuming atomic context"
            rf"|assuming non migratable context) at {FILE}"
        ),
        "BUG: {what}{where}",
        after=DEAD,
    ),
    Rule(
        "preemptible",
        Kind.ATOMIC_SLEEP,
        " in preemptible ",
        _re(r"BUG: using (?P<what>\w{1,60}\(\)) in preemptible "),
        "BUG: using {what} in preemptible code{where}",
        names=_re(rf"caller is {AT}"),
    ),
    # --- arch/x86/kernel/nmi.c and cpu/mce/core.c; traps.c and cpu/mcheck/ of 2.6.33
    Text(
        "unknown-nmi",
        Kind.UNKNOWN_NMI,
        "NMI received for unknown reason",
        _re(r"Uhhuh\. NMI received for unknown reason [0-9a-f]{2} on CPU \d"),
        "NMI received for unknown reason",
    ),
    Text(
        "nmi-hardware",
        Kind.UNKNOWN_NMI,
        "NMI: ",
        _re(r"NMI: (?P<what>PCI system error \(SERR\)|IOCK error \(debug interrupt\?\))"),
        "NMI: {what}",
    ),
    Text(
        "machine-check",
        Kind.MACHINE_CHECK,
        "Machine Check",
        _re(
            r"CPU ?#?\d{1,5}: (?:Machine Check(?: Exception)?(?:: +(?:0x)?[0-9a-fA-F]{1,16}|\.)"
            r"|Unexpected int18 \(Machine Check\))"
        ),
        "Machine Check",
    ),
    # --- mm/slub.c, mm/page_alloc.c, mm/memory.c, kernel/fork.c, spinlock_debug.c, workqueue.c
    Rule(
        "slab",
        Kind.SLAB,
        "BUG ",
        _re(r"^BUG (?P<cache>[\w:.-]{1,64})(?: \([^)]{1,60}\))?: (?P<what>[A-Z][\w' ]{1,80})"),
        "BUG {cache}: {what}{where}",
        names=_re(rf"Allocated in {AT}"),
        place=Place.OPTIONAL,
        weak=True,
        reach=200,
    ),
    Rule(
        "bad-page",
        Kind.MEMORY,
        "BUG: Bad page ",
        _re(r"BUG: (?P<what>Bad page (?:state|map|cache)) in process"),
        "BUG: {what}{where}",
    ),
    Text(
        "bad-mm",
        Kind.MEMORY,
        "BUG: ",
        _re(r"BUG: (?P<what>Bad rss-counter state|non-zero \w{1,20} on freeing mm)"),
        "BUG: {what}",
    ),
    Rule(
        "spinlock",
        Kind.BUG,
        "BUG: ",
        _re(
            r"BUG: (?P<what>(?:spinlock|rwlock|read-lock|write-lock) [a-z ]{1,40}) on CPU#\d{1,5}, "
            r".{1,40}/(?P<pid>\d{1,10})"
        ),
        "BUG: {what}{where}",
    ),
    Rule(
        "workqueue-leak",
        Kind.BUG,
        "BUG: workqueue leaked ",
        _re(r"BUG: (?P<what>workqueue leaked [a-zA-Z, ]{1,40}):"),
        "BUG: {what}{where}",
        names=_re(r"(?:workfn=|last function: )(?P<at>[A-Za-z_][\w.]*)"),
    ),
    # --- arch/x86/kernel/unwind_orc.c, unwind_frame.c, dumpstack_64.c
    Text(
        "unwinder",
        Kind.WARNING,
        "WARNING: ",
        _re(rf"WARNING: (?P<what>{_UNWINDER})"),
        "WARNING: {what}",
        inside=ANYWHERE,
        after=frozenset(Kind),
        near=5,
    ),
    # --- anything else that calls itself a BUG
    Rule(
        "bug-other",
        Kind.BUG,
        "BUG: ",
        _re(r"^(?:[\w./-]{1,40}: )?BUG: (?P<what>\S.*)"),
        "BUG: {what}{where}",
        place=Place.OPTIONAL,
        reach=30,
        weak=True,
        inside=PREFACES,
        ignore=_re(r"messages suppressed"),
    ),
    Rule(  # begins reports of BUG, WARN and UBSAN; one of its own only if nothing follows
        "cut-here",
        Kind.UNKNOWN,
        "[ cut here ]",
        _re(r"-{8,}\[ cut here \]-{8,}"),
        "report of unknown kind{where}",
        reach=30,
        inside=ANYWHERE,
    ),
)

REBOOT = Text(  # seen by boots.py
    "reboot",
    Kind.REBOOT,
    "",
    _re(r"(?!)"),
    "unexpected reboot",
    fatal=True,
)

_HINT = _re("|".join(sorted({re.escape(rule.hint) for rule in RULES})))


def find(text: str) -> tuple[Rule, re.Match[str]] | None:
    """The rule that a line (without printk's prefix) begins a report by, if there is one."""
    if _HINT.search(text) is None:
        return None
    for rule in RULES:
        if rule.hint in text and (match := rule.pattern.search(text)) is not None:
            ignored = rule.ignore is not None and rule.ignore.search(text) is not None
            return None if ignored else (rule, match)
    return None
