# SPDX-License-Identifier: GPL-2.0-or-later
"""The build stage: one point of a series to a kernel and its payload.

Only what the machine boots is built: QEMU enters a PVH vmlinux by itself, so there is no compressed
image. Products are kept under a key that names all they depend on, the points before included, for
an incremental build sees what they left behind.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter

from stress import guest
from workers import compiled, compiler_warnings, kconfig, payload, process, touched
from workers.cache import Cache, read_made, sweep, take
from workers.compiler_warnings import CompilerWarning
from workers.errors import KernelFailure
from workers.folders import copy
from workers.kconfig import FROM_NOTHING, Symbol
from workers.lane import GIVEN, SRC, Lane, tail
from workers.process import Cancel, Limits
from workers.requests import BuildRequest, BuildResult, Point, Scope
from workers.sandbox import Sandbox
from workers.status import Status
from workers.timing import Stopwatch
from workers.trees import TreeStore

RECIPE = "2"
"""Changes whenever this module would make another kernel of the same input."""

BUILD_LIMITS = Limits(seconds=3600.0)
CONFIG_LIMITS = Limits(seconds=300.0)
KERNEL_LIMIT = 512 << 20
CONFIG_LIMIT = 16 << 20

NEEDED = ("make", "gcc", "ld", "flex", "bison", "bc")
"""Programs that a kernel's Makefile calls. Without one the host is to blame, not the kernel."""

WANTED = "wanted.config"
"""The file with what a lane's .config was made of."""

KEPT_OUT = "out"
"""The output folder in what is kept of a base's build, beside WANTED."""

ERROR_LINE = re.compile(r"(?:error|undefined reference|ERROR)\b(?:[ :`]|$)|\*\*\* ")

RESULT = TypeAdapter(BuildResult)


@dataclass(frozen=True)
class Builder:
    """What all builds on a host share.

    ``ccaches`` has a compiler cache for each point by its chain, which builds of that point alone
    write to, and those of points made from it read: a Makefile can write what it likes, but what a
    kernel is made of then comes from trees that its key names.
    """

    store: TreeStore
    sandbox: Sandbox
    kernels: Cache
    payloads: Cache
    outputs: Cache
    ccaches: Path
    jobs: int

    def sweep(self) -> None:
        """Remove what killed processes left half made in the caches and the tree store."""
        for cache in (self.kernels, self.payloads, self.outputs):
            sweep(cache.root)
        self.store.sweep()


def build(request: BuildRequest, builder: Builder, folder: Path, cancel: Cancel) -> BuildResult:
    """Build one point in the lane at ``folder``; raises InfrastructureError or Cancelled.

    A kernel that does not build, or that lacks a symbol it must have, is a result: FAIL.
    """
    started = time.monotonic()
    # What reuses nothing is not to be taken for what was there before, and gets a key of its own.
    key = kernel_key(request, builder.sandbox) if request.reuse else uuid4().hex
    if (found := _cached(key, builder)) is not None:
        return replace(found, cached=True, seconds=time.monotonic() - started)
    lane = _lane(request, builder, folder)
    request.log.parent.mkdir(parents=True, exist_ok=True)
    request.log.write_bytes(b"")
    try:
        result = _build(request, builder, lane, key, cancel)
    except (KernelFailure, payload.PayloadBroken) as failure:
        status = Status.FAIL if isinstance(failure, KernelFailure) else Status.ERROR
        result = BuildResult(status, str(failure), 0.0, warnings=_warnings(request, lane))
    return replace(result, seconds=time.monotonic() - started, steps=lane.stopwatch.steps)


def kernel_key(request: BuildRequest, sandbox: Sandbox) -> str:
    """Return the full content key of a kernel and its payload.

    It names trees, configuration, compiler, this recipe, and what is ours: when the stress module
    changed, the kernel is built again to go with it.
    """
    config = request.config.digest(request.expected)
    goal = request.goal
    ours = (payload.ours(),) if goal.boots else ()
    return _key(request, sandbox, request.point, config, *ours, *goal.key)


def _key(request: BuildRequest, sandbox: Sandbox, point: Point, *more: str) -> str:
    # What was built in the open may hold the host's paths, or anything else of it.
    recipe = RECIPE if sandbox.enabled else f"{RECIPE} in the open"
    parts = (recipe, _chain(point), request.config.arch, request.toolchain.identity, *more)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _chain(point: Point) -> str:
    if point.chain is None:
        raise AssertionError("only points that apply are built, on such as apply")
    return point.chain


def _cached(key: str, builder: Builder) -> BuildResult | None:
    if (kernel := builder.kernels.find(key)) is None:
        return None
    found = RESULT.validate_json((kernel / "build.json").read_bytes())
    if found.payload is not None and builder.payloads.find(payload.key(key)) is None:
        return None
    return found


def _lane(request: BuildRequest, builder: Builder, folder: Path) -> Lane:
    caches = tuple[Path, ...]()
    # The base is begun with its own kept output. In the open a build could write to every cache.
    if request.reuse and request.ancestors and builder.sandbox.enabled and shutil.which("ccache"):
        line = (request.point, *reversed(request.ancestors))
        own, *others = (builder.ccaches / _chain(point) for point in line)
        caches = (own, *filter(Path.is_dir, others))
    return Lane(folder, builder.sandbox, caches, builder.jobs)


def _build(
    request: BuildRequest, builder: Builder, lane: Lane, key: str, cancel: Cancel
) -> BuildResult:
    point = request.point
    if point.commit is None:
        raise AssertionError("only points that apply are built")
    for program in NEEDED:
        process.which(program)
    fresh = lane.commit is None
    outputs_key = _outputs_key(request, builder.sandbox)
    step = lane.stopwatch.step
    with step("lay out"):
        if fresh:
            # All lanes start from the base, whose work tree they share.
            lane.bring_to(request.base.commit or "", builder.store)
        if fresh and request.reuse:
            with builder.outputs.using(outputs_key) as kept:
                if kept is not None:
                    adopt(lane, kept, request.base.commit or "", builder.store)
        lane.bring_to(point.commit, builder.store)
    payload_key, initramfs = payload.key(key), None
    with lane.building():
        with step("configure"):
            symbols = _configure(request, builder, lane, point.commit, cancel)
        with step("make vmlinux"):
            targets = _make_goal(request, builder, lane, point.commit, cancel)
        # Neither keeps all CPUs busy.
        with ThreadPoolExecutor(1) as beside:
            check = beside.submit(_is_compiled, request, builder, lane, cancel)
            if request.goal.boots:
                initramfs = payload.build(
                    payload_key,
                    builder.payloads,
                    lane,
                    request.config.arch,
                    builder.store.subtree(point.commit, guest.NOLIBC),
                    _settings(request),
                    request.log,
                    cancel,
                )
            with step("compiled check"):
                survives, cpu = check.result()
                lane.stopwatch.charge(cpu)
        # What was made and not taken would not be made again, and its warnings not be said.
        with step("collect"), builder.kernels.filling(key) as folder:
            take(lane.out, ".config", folder / "config", CONFIG_LIMIT)
            kernel_sha256 = _take_kernel(request, lane, folder)
            result = BuildResult(
                Status.PASS,
                None,
                0.0,
                compiled=kernel_sha256 != request.parent_kernel if survives is None else survives,
                warnings=_warnings(request, lane),
                kernel=key,
                kernel_sha256=kernel_sha256,
                payload=None if initramfs is None else payload_key,
                payload_sha256=None if initramfs is None else digest(initramfs),
                symbols=symbols,
                config_sha256=digest(folder / "config"),
                toolchain=request.toolchain.name,
                toolchain_sha256=request.toolchain.identity,
                targets=targets,
            )
            (folder / "build.json").write_bytes(RESULT.dump_json(result))
    if point.index == 0 and fresh and request.reuse and builder.outputs.find(outputs_key) is None:
        keeping = builder.outputs.filling(outputs_key)
        # A build can leave what nobody can copy; other lanes then begin without it.
        with step("keep output"), suppress(OSError), keeping as folder:
            (folder / KEPT_OUT).mkdir()
            copy(lane.out, folder / KEPT_OUT)
            shutil.copyfile(lane.given / WANTED, folder / WANTED)
    return result


def adopt(lane: Lane, kept: Path, commit: str, store: TreeStore) -> None:
    """Have a lane begin with what is kept of a base's build: its output, and its configuration."""
    lane.adopt(kept / KEPT_OUT, commit, store)
    shutil.copyfile(kept / WANTED, lane.given / WANTED)


def _is_compiled(
    request: BuildRequest, builder: Builder, lane: Lane, cancel: Cancel
) -> tuple[bool | None, float]:
    """Return whether anything of a patch is in the lane's kernel, and the CPU seconds of asking.

    None where no object can tell. Runs in a thread of its own.
    """
    parent, point = request.parent, request.point
    if parent is None or parent.commit is None or point.commit is None:
        return True, 0.0
    own = replace(lane, stopwatch=Stopwatch())
    with own.stopwatch.step("compiled check"):
        changes = builder.store.differences(parent.commit, point.commit)
        found = compiled.any_line(changes, own, request.log.with_suffix(".i"), cancel)
    (step,) = own.stopwatch.steps
    return found, step.cpu


def _take_kernel(request: BuildRequest, lane: Lane, folder: Path) -> str | None:
    """Keep the kernel in ``folder`` where it is to boot; returns its sha256, None if there is none.

    One that never boots is only compared with others.
    """
    if request.goal.scope is not Scope.KERNEL:
        return None
    kernel, symbols = folder / "vmlinux", folder / "System.map"
    take(lane.out, "vmlinux", kernel, KERNEL_LIMIT)
    take(lane.out, "System.map", symbols, KERNEL_LIMIT)
    found = digest(kernel)
    if not request.goal.boots:
        kernel.unlink()
        symbols.unlink()
    return found


def _outputs_key(request: BuildRequest, sandbox: Sandbox) -> str:
    """Return the key of the base's output folder; only point 0 writes it, from an empty folder."""
    return _key(request, sandbox, request.base, request.config.digest(), *request.goal.key)


def _warnings(request: BuildRequest, lane: Lane) -> tuple[CompilerWarning, ...]:
    """Return all warnings of a point: a build that failed says nothing of what it did not reach."""
    said = tail(request.log).replace(f"{lane.inner_src}/", f"{SRC}/")
    return compiler_warnings.accumulate(request.parent_warnings, *compiler_warnings.read(said))


def _configure(
    request: BuildRequest, builder: Builder, lane: Lane, commit: str, cancel: Cancel
) -> tuple[str, ...]:
    """Write .config and compare it with what was asked for; returns the symbols that are y.

    Where neither the wish nor any Kconfig file changed, the .config of the point before stands. One
    that begins with the tree's own defaults is made each time: they can stand in any file.
    """
    wanted = request.config.text(request.expected)
    fragment = lane.given / WANTED
    start = request.config.start
    if start != FROM_NOTHING or not _still_configured(builder, lane, commit, fragment, wanted):
        lane.was_configured(None)
        fragment.write_text(wanted)
        given = [f"KCONFIG_ALLCONFIG={GIVEN}/{fragment.name}"] if start == FROM_NOTHING else []
        words = ["-s", *given, start]
        status = lane.make([*words, *_settings(request)], request.log, cancel, CONFIG_LIMITS)
        if status != 0:
            raise KernelFailure(f"configuring failed: {_first_error(request.log)}")
        lane.was_configured(commit)
    dotconfig = read_made(lane.out, ".config", CONFIG_LIMIT)
    found = kconfig.parse(dotconfig.decode(errors="replace"))
    missing = [
        symbol
        for symbol in kconfig.unmet((*request.config.symbols, *request.expected), found)
        if not (symbol.optional and not _known(symbol, request, builder))
    ]
    if missing:
        names = ", ".join(f"{symbol.name}={symbol.value}" for symbol in missing)
        kind = "evidence: " if set(missing) & set(request.expected) else ""
        raise KernelFailure(f"{kind}not in .config as asked: {names}")
    return tuple(sorted(name for name, value in found.items() if value == "y"))


def _still_configured(
    builder: Builder, lane: Lane, commit: str, fragment: Path, wanted: str
) -> bool:
    """Return whether the lane's .config is what this point's Kconfig and wishes would give."""
    if lane.configured is None or not fragment.exists() or fragment.read_text() != wanted:
        return False
    changes = builder.store.differences(lane.configured, commit)
    return not any("Kconfig" in change.path or "scripts/" in change.path for change in changes)


def _known(symbol: Symbol, request: BuildRequest, builder: Builder) -> bool:
    """Return whether any Kconfig file of the point defines a symbol."""
    pattern = rf"^(menu)?config {symbol.name}$"
    words = ["grep", "-q", "-E", "-e", pattern, request.point.commit or "", "--", "*Kconfig*"]
    return builder.store.git(words).status == 0


def _settings(request: BuildRequest) -> list[str]:
    """Return the words that every make of a lane has in common."""
    return [f"ARCH={request.config.arch}", *request.toolchain.settings, *request.goal.words]


def _make_goal(
    request: BuildRequest, builder: Builder, lane: Lane, commit: str, cancel: Cancel
) -> tuple[str, ...]:
    """Build what the request is for; returns the targets that were made."""
    goal = request.goal
    if goal.scope is Scope.KERNEL:
        targets = ["vmlinux", "modules_prepare"] if goal.boots else ["vmlinux"]
        _make(targets, request, lane, cancel)
        return tuple(targets)
    sources = builder.store.existing(commit, goal.touched)
    wanted = touched.targets(sources, goal.scope, request.config.arch)
    words = ["-k", *wanted, *_settings(request)]
    if wanted and lane.make(words, request.log, cancel, BUILD_LIMITS) == 0:
        return wanted
    # What this configuration leaves out has no rule; all else has to build.
    left_out = touched.without_rule(tail(request.log))
    made = tuple(target for target in wanted if target not in left_out)
    _make([*made] or ["prepare"], request, lane, cancel)
    return made or ("prepare",)


def _make(targets: list[str], request: BuildRequest, lane: Lane, cancel: Cancel) -> None:
    if lane.make([*targets, *_settings(request)], request.log, cancel, BUILD_LIMITS) == 0:
        return
    raise KernelFailure(f"does not build: {_first_error(request.log)}")


def _first_error(log: Path) -> str:
    lines = tail(log).splitlines()
    found = next((line for line in lines if ERROR_LINE.search(line)), None)
    return (found or (lines[-1] if lines else "make said nothing")).strip()[:300]


def digest(path: Path) -> str:
    """Return a file's sha256 as hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
