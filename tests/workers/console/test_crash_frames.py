# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding the functions of a trace and choosing those that tell."""

import pytest

from workers.console.crash.frames import NO_SYMBOL, function, meaningful, pid, trace
from workers.console.crash.titles import stable


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("vfs_read+0x5/0x30", "vfs_read"),
        ("step_null.isra.0+0x5/0x10", "step_null"),
        ("can_optimize.constprop.0.isra.3+0x5/0x10", "can_optimize"),
        ("print_bad_pte.cold+0x5/0x10", "print_bad_pte"),
        ("kick_kprobe_optimizer.part.0.cold+0x5/0x10", "kick_kprobe_optimizer"),
        ("opt_pre_handler.llvm.123456789", "opt_pre_handler"),
        ("T.1082+0x34/0x60", "T"),
    ],
)
def test_a_function_has_its_name_in_the_source(symbol: str, name: str) -> None:
    assert function(symbol) == name


@pytest.mark.parametrize(
    ("line", "functions"),
    [
        # 6.12
        (" vfs_read+0x5/0x30", ["vfs_read"]),
        (" step_null+0x5/0x10 [crashme]", ["step_null"]),
        (" step_null+0x5/0x10 [crashme 0123456789abcdef]", ["step_null"]),
        (" <IRQ> vfs_read+0x5/0x30", ["vfs_read"]),
        ("RIP: 0010:opt_pre_handler+0x3a/0x60", ["opt_pre_handler"]),
        ("RIP: 0010:0xffffffffa000c034", [NO_SYMBOL]),
        ("RIP: 0010:0x0", [NO_SYMBOL]),
        ("RIP: 0033:0x47fbe9", []),
        ("RIP: 0033:vfs_read+0x5/0x30", []),
        ("EIP: copy_kprobe.isra.0+0x5/0x20", ["copy_kprobe"]),
        # 2.6.33
        ("IP: [<ffffffffa0002005>] step_null+0x5/0x10 [ktest]", ["step_null"]),
        ("RIP: 0010:[<ffffffff810f2a1c>]  [<ffffffff810f2a1c>] vfs_read+0x5/0x30", ["vfs_read"]),
        ("IP: [<(null)>] (null)", [NO_SYMBOL]),
        ("RIP: 0010:[<0000000000000000>]  [<          (null)>]           (null)", [NO_SYMBOL]),
        ("EIP: 0060:[<c13c2a10>] EFLAGS: 00010046 CPU: 0", []),
        ("EIP is at kprobe_handler+0x40/0x2b0", ["kprobe_handler"]),
        ("RIP arch_init_kprobes+0x12/0x40", ["arch_init_kprobes"]),
        (" [<ffffffff810f2a1c>] vfs_read+0x5/0x30", ["vfs_read"]),
        (" [<ffffffff810f2a1c>] ? vfs_read+0x5/0x30 [ext4]", ["vfs_read"]),
        (" <EOI>  [<ffffffff810f2a1c>] vfs_read+0x5/0x30", ["vfs_read"]),
        # neither
        ("RAX: ffff888000810050 RBX: ffff888000810050", []),
        ("hardirqs last  enabled at (5431): [<ffffffff81a0012a>] f+0x1a/0x20", []),
        ("see vfs_read+0x5/0x30 for more", []),
        (" vfs_read+0x5", []),
    ],
)
def test_reads_a_line_of_a_trace(line: str, functions: list[str]) -> None:
    assert list(trace([line]).functions) == functions


def test_guesses_of_the_unwinder_count_only_without_better() -> None:
    mixed = trace(["Call Trace:", " ? guess+0x1/0x2", " sure+0x1/0x2", " ? other+0x1/0x2"])
    assert (mixed.functions, mixed.sure) == (("sure",), True)
    guessed = trace(["Call Trace:", " ? guess+0x1/0x2", " ? other+0x1/0x2"])
    assert (guessed.functions, guessed.sure) == (("guess", "other"), False)


@pytest.mark.parametrize(
    "stop",
    [
        "Call Trace:",
        "---[ end trace 0000000000000000 ]---",
        "RIP: 0033:0x47fbe9",
        "RIP  [<ffffffff810f2a1c>] first+0x5/0x30",
        "Freed by task 72:",
        "NMI backtrace for cpu 1",
        "CPU: 1 UID: 0 PID: 88 Comm: stress",
        "Showing all locks held in the system:",
    ],
)
def test_only_the_first_trace_counts(stop: str) -> None:
    texts = ["RIP: 0010:first+0x1/0x2", "Call Trace:", " second+0x1/0x2", stop, " third+0x1/0x2"]
    assert trace(texts).functions == ("first", "second")


def test_the_interrupted_function_inside_a_trace_counts() -> None:
    texts = [" tick+0x1/0x2", "RIP: 0010:victim+0x1/0x2", "RAX: 0", " caller+0x1/0x2"]
    assert trace(texts).functions == ("tick", "victim", "caller")


def test_the_stall_detectors_own_thread_is_passed_over() -> None:
    texts = [
        "rcu: RCU grace-period kthread stack dump:",
        "Call Trace:",
        " rcu_gp_fqs_loop+0x111/0x3f0",
        "rcu: Stack dump where RCU GP kthread last ran:",
        "CPU: 0 UID: 0 PID: 37 Comm: spinner",
        "RIP: 0010:step_spin+0x34/0x50 [crashme]",
    ]
    assert trace(texts).functions == ("step_spin",)


def test_where_preemption_was_disabled_is_not_the_place() -> None:
    texts = ["Preemption disabled at:", "[<ffffffffa0004010>] before+0x10/0x80", " place+0x1/0x2"]
    assert trace(texts).functions == ("place",)


@pytest.mark.parametrize(
    ("functions", "stuck", "telling"),
    [
        (["dump_stack_lvl", "__schedule_bug", "__schedule", "schedule", "f"], False, ("f",)),
        (
            ["notify_die", "exc_int3", "asm_exc_int3", "kprobe_int3_handler"],
            False,
            ("kprobe_int3_handler",),
        ),
        (
            ["opt_pre_handler", "optimized_callback"],
            False,
            ("opt_pre_handler", "optimized_callback"),
        ),
        (["hrtimer_start", "f"], False, ("hrtimer_start", "f")),
        (["hrtimer_interrupt", "f"], True, ("f",)),
        (["f", "f", "memcpy", "f", "g"], False, ("f", "g")),
        (["kthread", "ret_from_fork"], False, ()),
        ([f"f{number}" for number in range(20)], False, tuple(f"f{number}" for number in range(8))),
        ([], False, ()),
    ],
)
def test_generic_functions_are_left_out(
    functions: list[str], stuck: bool, telling: tuple[str, ...]
) -> None:
    assert meaningful(functions, stuck) == telling


@pytest.mark.parametrize(
    "name",
    [
        "kprobe_int3_handler",
        "kprobe_ftrace_handler",
        "aggr_pre_handler",
        "optimized_callback",
        "opt_pre_handler",
        "arm_kprobe",
        "disarm_kprobe",
        "kprobe_optimizer",
        "text_poke_bp_batch",
        "text_poke_sync",
        "reenter_kprobe",
        "setup_detour_execution",
        "kprobe_exceptions_notify",
        "kretprobe_trampoline_handler",
        "arch_optimize_kprobes",
        "can_optimize",
        "stress_probe",
        "lock_mount",
        "strict_check",
    ],
)
def test_no_function_of_interest_is_generic(name: str) -> None:
    assert meaningful([name], stuck=True) == (name,)


def test_the_task_is_the_first_one_named() -> None:
    assert pid(["CPU: 0 UID: 0 PID: 36 Comm: x", "CPU: 1 UID: 0 PID: 37 Comm: y"]) == "36"
    assert pid(["Pid: 512, comm: insmod Not tainted"]) == "512"
    assert pid(["nobody"]) is None


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Attempted to kill init! exitcode=0x0000000b", "Attempted to kill init! exitcode=N"),
        ("stack is corrupted in: f.cold+0x1/0x2 [mod]", "stack is corrupted in: f"),
        ("unknown-block(0,0)", "unknown-block(N,N)"),
        ("data-race in f.isra.0 / g.part.0 [mod]", "data-race in f / g"),
        ("key ffff888003a41058 has   not been registered!", "key N has not been registered"),
        ("int3 on x86: 0x0d of vmalloc_4k", "int3 on x86: N of vmalloc_4k"),
        ("fs/exec.c is no function", "fs/exec.c is no function"),
    ],
)
def test_a_title_is_freed_of_what_changes(text: str, title: str) -> None:
    assert stable(text) == title
