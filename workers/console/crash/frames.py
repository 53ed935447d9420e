# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the functions in a report's trace and leaves out those that say nothing about the fault."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

FRAMES_LIMIT = 8
"""Functions that a report names at most."""
NO_SYMBOL = "<no symbol>"
"""Code that kallsyms has no name for: a probe's slot or detour buffer, or where a wild jump led."""

_OFFSET = r"\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}"
SYMBOL = rf"(?<![\w.$])[A-Za-z_$][\w.$]{{0,255}}{_OFFSET}"
"""A function as %pS prints it, without the module."""

_ADDRESSES = r"(?:\[<\s*+(?:[0-9a-fA-F]{1,16}|\(null\))>\]\s*+){0,2}"
_TRACE = re.compile(
    rf"(?:kmemleak:)?\s*+(?:<[/\w#]{{1,16}}>\s++)?{_ADDRESSES}(?P<maybe>\? )?\s*+"
    rf"(?P<symbol>{SYMBOL})(?![\w.])"
)
_INSTRUCTION_POINTER = re.compile(
    r"\s*+[RE]?IP(?: is at|:)?\s*+(?!0033|0023|0073|002b)(?P<segment>[0-9a-f]{4}:)?\s*+"
    rf"{_ADDRESSES}(?:(?P<symbol>{SYMBOL})|(?:0x[0-9a-f]{{1,16}}|\(null\))\s*+$)"
)
_OTHER_PLACE = re.compile(r"Preemption disabled at:")
_OTHER_TASK = re.compile(r"(?:rcu: )?RCU grace-period kthread stack dump:")
_CPU_AGAIN = re.compile(r"CPU: \d|NMI backtrace for cpu|Task dump for CPU|Sending NMI from CPU")
_NEXT = re.compile(
    r"\s*(?:Call Trace:|NMI backtrace for cpu|CPU: \d{1,5} |[RE]IP: ?(?:0033|0023|0073|002b):)"
    r"|---\[ end trace|(?:Allocated|Freed) (?:by task|in)\b|Last potentially related|Uninit was "
    r"|(?:allocated|freed) by task|The buggy address|value changed:|Showing all locks held"
    r"|other info that might help"
)
"""What comes behind the first trace: user mode, other traces, the history of locks and memory."""
_PID = re.compile(r"\b(?:PID: |Pid: |pid:)(\d{1,10})\b")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a report's lines say about the place."""

    functions: tuple[str, ...]
    """Every function of the first trace, innermost first, generic ones included."""
    sure: bool
    """The unwinder vouches for them."""


def function(symbol: str) -> str:
    """A symbol's name in the source: no offset, no compiler suffix (`.isra.0`, `.cold`, ...)."""
    name = symbol.partition("+")[0]
    return name.partition(".")[0] or name


def is_trace_entry(text: str) -> bool:
    """Whether a line is an entry of a call trace."""
    return _TRACE.match(text) is not None


def pid(texts: Iterable[str]) -> str | None:
    """The task that a report is about, by the first line that names one."""
    return next((match[1] for text in texts if (match := _PID.search(text))), None)


def trace(texts: Iterable[str]) -> Trace:
    """The first trace in a report's lines.

    Entries marked `?` are left over on the stack; they count only where the unwinder found nothing
    better (a kernel without frame pointers and ORC has no others).
    """
    places: list[str] = []
    sure: list[str] = []
    unsure: list[str] = []
    for text in _of_this_place(texts):
        if match := _INSTRUCTION_POINTER.match(text):
            if not sure:
                places.append(match["symbol"] or NO_SYMBOL)
            elif match["segment"] and match["symbol"]:
                sure.append(match["symbol"])  # of the code that an interrupt came into
            else:
                break  # what 2.6.33 repeats at the end
        elif match := _TRACE.match(text):
            (unsure if match["maybe"] else sure).append(match["symbol"])
        elif (sure or unsure) and _NEXT.match(text):
            break
    symbols = places[:1] + (sure or unsure)
    names = (symbol if symbol == NO_SYMBOL else function(symbol) for symbol in symbols)
    return Trace(tuple(names), bool(sure) or not unsure)


def _of_this_place(texts: Iterable[str]) -> Iterator[str]:
    """A report's lines without those that tell of another place."""
    other_task = other_place = False
    for text in texts:
        if other_task:
            other_task = _CPU_AGAIN.match(text) is None
        elif _OTHER_TASK.match(text):
            other_task = True
        elif not other_place:
            yield text
        other_place = _OTHER_PLACE.match(text) is not None


def meaningful(functions: Sequence[str], stuck: bool) -> tuple[str, ...]:
    """The functions that tell one fault from another, at most FRAMES_LIMIT of them.

    `stuck` says that the report is about a CPU or task that makes no progress: then the clockwork
    that noticed it says nothing either.
    """
    telling = [name for name, _ in groupby(functions) if not _is_generic(name, stuck)]
    return tuple([name for name, _ in groupby(telling)][:FRAMES_LIMIT])


def _is_generic(name: str, stuck: bool) -> bool:
    if name in GENERIC or name.startswith(GENERIC_PREFIXES):
        return True
    return stuck and (name in GENERIC_STUCK or name.startswith(GENERIC_STUCK_PREFIXES))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# kprobes' own functions are in none of these tables: a fault in them is what this farm looks for.

GENERIC = _words(
    # dying
    """
    panic vpanic nmi_panic die __die die_addr die_nmi oops_begin oops_end __die_body no_context
    page_fault_oops __bad_area __bad_area_nosemaphore bad_area bad_area_nosemaphore
    bad_area_access_error spurious_kernel_fault do_page_fault __do_page_fault do_user_addr_fault
    do_kern_addr_fault report_bug __report_bug handle_bug fixup_bug check_panic_on_warn
    handle_stack_overflow
    """
    # exception entry and the notifiers behind it
    """
    do_int3 do_debug do_invalid_op do_divide_error do_double_fault do_general_protection do_nmi
    do_trap do_error_trap default_do_nmi nmi end_repeat_nmi int3 debug page_fault invalid_op
    divide_error double_fault general_protection invalid_TSS error_entry error_code error_exit
    early_idt_handler early_fault notify_die notifier_call_chain atomic_notifier_call_chain
    __atomic_notifier_call_chain raw_notifier_call_chain common_interrupt asm_common_interrupt
    do_IRQ ret_from_intr
    """
    # entry into the kernel: the outer end of every trace
    """
    entry_SYSCALL_64_after_hwframe entry_SYSCALL_64_fastpath do_syscall_64 x64_sys_call
    system_call_fastpath system_call sysenter_do_call syscall_call entry_SYSENTER_32
    entry_INT80_32 do_int80_syscall_32 do_fast_syscall_32 kthread ret_from_fork
    ret_from_fork_asm kernel_thread_helper kernel_thread_starter child_rip secondary_startup_64
    secondary_startup_64_no_verify start_secondary x86_64_start_kernel x86_64_start_reservations
    """
    # waiting: what tells is who waits
    """
    __schedule schedule schedule_timeout schedule_timeout_uninterruptible
    schedule_timeout_interruptible schedule_timeout_killable schedule_timeout_idle
    schedule_preempt_disabled schedule_hrtimeout schedule_hrtimeout_range
    schedule_hrtimeout_range_clock io_schedule io_schedule_timeout preempt_schedule
    preempt_schedule_common preempt_schedule_irq preempt_schedule_notrace __cond_resched
    dynamic_cond_resched _cond_resched __schedule_bug __might_sleep __might_resched
    ___might_sleep __might_fault might_fault msleep msleep_interruptible wait_for_completion
    wait_for_completion_timeout wait_for_completion_killable wait_for_completion_interruptible
    __wait_for_common wait_for_common do_wait_for_common __wait_rcu_gp delay_loop delay_tsc
    delay_mwaitx __delay __udelay __const_udelay __ndelay native_pause
    """
    # locks and lockdep
    """
    down_read down_write down_read_trylock down_write_killable down_read_killable up_read
    up_write down down_interruptible down_timeout up __down __up __down_common percpu_down_write
    __percpu_down_read lock_acquire lock_release __lock_acquire __lock_release lock_sock_nested
    spin_dump spin_bug rwlock_bug debug_check_no_locks_freed debug_check_no_locks_held
    check_noncircular check_prev_add check_prevs_add validate_chain mark_lock mark_lock_irq
    mark_held_locks mark_usage valid_state check_usage check_usage_forwards
    check_usage_backwards check_irq_usage check_deadlock register_lock_class lockdep_sys_exit
    print_usage_bug print_deadlock_bug print_circular_bug print_irq_inversion_bug
    print_bad_irq_dependency print_unlock_imbalance_bug print_lock_contention_bug
    print_freed_lock_bug lock_contended print_lock_nested_lock_not_held print_collision
    print_lock_invalid_wait_context lockdep_init_map lockdep_init_map_type
    lockdep_init_map_waits debug_smp_processor_id check_preemption_disabled
    __this_cpu_preempt_check
    """
    # checks and helpers that fail for their callers' sake
    """
    strlen strnlen strcpy strncpy strlcpy strscpy strcmp strncmp strcat strchr memcmp memchr T
    create_object kfree kvfree kstrdup kstrndup kstrdup_const kmemdup kmemdup_noprof kvasprintf
    kasprintf kvmalloc_node kvmalloc_node_noprof vmalloc object_err slab_err check_slab
    check_object check_bytes_and_report print_trailer free_to_partial_list free_debug_processing
    alloc_debug_processing on_freelist set_track set_track_prepare save_stack save_stack_trace
    stack_trace_save end_report start_report print_report print_address_description
    complain_if_not_rw bad_page print_bad_pte dump_page __stack_chk_fail usercopy_abort
    """
)
"""Functions that are in the traces of faults of all sorts, so that they tell nothing."""

GENERIC_PREFIXES = (
    "__warn", "warn_slowpath", "dump_stack", "dump_trace", "show_stack", "show_trace",
    "show_regs", "__show_regs", "lockdep_rcu_", "kasan_", "__kasan_", "__asan_", "kcsan_",
    "__kcsan_", "__tsan_", "kmsan_", "__msan_", "kfence_", "__kfence_", "ubsan_", "__ubsan_",
    "refcount_warn_", "kmemleak_", "exc_", "asm_exc_", "sysvec_", "asm_sysvec_", "irqentry_",
    "_raw_spin_", "_raw_read_", "_raw_write_", "__raw_spin_", "__raw_read_", "__raw_write_",
    "_spin_lock", "_spin_unlock", "_read_lock", "_write_lock", "do_raw_spin_", "do_raw_read_",
    "do_raw_write_", "native_queued_", "queued_spin_", "queued_read_", "queued_write_",
    "__pv_queued_", "mutex_lock", "mutex_unlock", "__mutex_", "rt_mutex_", "__rt_mutex_",
    "rwsem_", "__list_add_valid", "__list_del_entry_valid", "kmem_cache_", "kmalloc", "__kmalloc",
    "___slab_", "__slab_", "slab_", "memcpy", "memset", "memmove", "__memcpy", "__memset",
    "__memmove",
)  # fmt: skip

GENERIC_STUCK = _words(
    """
    update_process_times scheduler_tick sched_tick softlockup_tick nmi_watchdog_tick
    update_wall_time apic_timer_interrupt smp_apic_timer_interrupt local_apic_timer_interrupt
    run_local_timers __rcu_pending rcu_pending handle_irq handle_irq_event
    __handle_irq_event_percpu irq_exit __irq_exit_rcu check_cpu_stall print_cpu_stall
    print_other_cpu_stall nmi_cpu_backtrace nmi_cpu_backtrace_handler trigger_all_cpu_backtrace
    trigger_single_cpu_backtrace arch_trigger_all_cpu_backtrace arch_trigger_cpumask_backtrace
    nmi_handle perf_event_nmi_handler
    """
)
"""The clockwork that notices a lack of progress; telling in other kinds of reports."""

GENERIC_STUCK_PREFIXES = (
    "tick_", "hrtimer_", "__hrtimer_", "__run_hrtimer", "watchdog_", "rcu_sched_clock_",
    "rcu_check_", "rcu_dump_", "nmi_trigger_",
)  # fmt: skip
