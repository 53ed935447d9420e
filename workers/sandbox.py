# SPDX-License-Identifier: GPL-2.0-or-later
"""Where builds and QEMU run: bubblewrap with fixed inner paths.

One tool gives containment (no network, no home, no secrets), clean kills (a PID namespace that ends
with its first process, which ends with the farm) and reproducibility (/src and /out are the same
on every machine). A kernel series is hostile input: its Makefiles are programs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Folders that are links into /usr on a merged-usr system and folders of their own elsewhere."""

ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
"""What compilers and the loader read; nothing else of /etc is shown."""

FROZEN = ("/", "/dev", "/proc")
"""Read-only once all mounts are made.

Files like /proc/sys/kernel/core_pattern belong to root: where the farm runs as root, a program
without any capability may write them, and by this one have the host run what it likes. bwrap 0.8
covers a few of them, and not /proc/sys.
"""

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LC_ALL": "C",
    "TZ": "UTC",
    "HOME": "/nonexistent",
    "TMPDIR": "/tmp",  # noqa: S108 (the sandbox's own)
}


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host that is seen inside under a fixed path."""

    outside: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class Sandbox:
    """How programs are contained.

    ``enabled`` is False only by ``--no-sandbox``, which results show.
    """

    enabled: bool = True

    def wrap(
        self,
        argv: Sequence[str],
        mounts: Sequence[Mount],
        *,
        folder: str,
        environment: Mapping[str, str] | None = None,
        devices: Sequence[str] = (),
    ) -> list[str]:
        """Return the command line that runs ``argv`` with only the system and ``mounts`` in sight.

        ``folder`` is the inner working folder, ``devices`` are nodes of /dev that are passed on.
        """
        environment = {**ENVIRONMENT, **(environment or {})}
        if not self.enabled:
            return _in_the_open(argv, mounts, folder, environment)
        words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
        words += ["--hostname", "farm", "--cap-drop", "ALL"]
        for name, value in environment.items():
            words += ["--setenv", name, value]
        words += ["--ro-bind", "/usr", "/usr"]
        for name in SYSTEM:
            path = Path(name)
            if path.is_symlink():
                words += ["--symlink", str(path.readlink()), name]
            elif path.is_dir():
                words += ["--ro-bind", name, name]
        for name in ETC:
            words += ["--ro-bind-try", name, name]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        for device in devices:
            words += ["--dev-bind", device, device]
        for mount in mounts:
            words += ["--bind" if mount.writable else "--ro-bind", str(mount.outside), mount.inside]
        for name in FROZEN:
            words += ["--remount-ro", name]
        return [*words, "--chdir", folder, "--", *argv]


def _in_the_open(
    argv: Sequence[str], mounts: Sequence[Mount], folder: str, environment: Mapping[str, str]
) -> list[str]:
    """Return the same command without a sandbox: inner paths become the outer ones."""
    outside = {mount.inside: str(mount.outside) for mount in mounts}
    longest_first = sorted(outside, key=len, reverse=True)
    inner = re.compile(rf"(^|[=,:])({'|'.join(map(re.escape, longest_first))})(?=[/,]|$)")

    def outer(word: str) -> str:
        return inner.sub(lambda match: match[1] + outside[match[2]], word) if outside else word

    settings = [f"{name}={outer(value)}" for name, value in environment.items()]
    return ["env", "--ignore-environment", f"--chdir={outer(folder)}", *settings, *map(outer, argv)]
