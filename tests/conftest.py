# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of every room share: a kernel tree in miniature."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stress import guest

ROOT = Path(__file__).parent.parent
SHIPPED_CONFIGS = ROOT / "configs" / "kernel"

GIT_SETTINGS = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A Developer",
    "GIT_AUTHOR_EMAIL": "developer@localhost",
    "GIT_COMMITTER_NAME": "A Developer",
    "GIT_COMMITTER_EMAIL": "developer@localhost",
    "GIT_AUTHOR_DATE": "2010-01-22T12:00:00+0000",
    "GIT_COMMITTER_DATE": "2010-01-22T12:00:00+0000",
}

OPTPROBES_KCONFIG = """\
config OPTPROBES
	def_bool y
	depends on KPROBES && !PREEMPT
"""

OPTPROBES_SOURCE = """\
// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/kprobes.h>

int optimize_kprobe(struct kprobe *p)
{
	return p->addr != 0;
}
"""

OPTPROBES_HEADER = """\
#ifdef CONFIG_OPTPROBES
int optimize_kprobe(struct kprobe *p);
#else
static inline int optimize_kprobe(struct kprobe *p) { return 0; }
#endif

#endif
"""


@dataclass(frozen=True)
class MiniKernel:
    """A git repository (branch ``main``) with a kernel that builds in a tenth of a second.

    Its Makefile takes what the build stage asks of a kernel's: ``allnoconfig`` with
    ``KCONFIG_ALLCONFIG``, ``vmlinux``, ``modules_prepare`` and ``M=... modules``, out of tree. It
    knows every symbol of the shipped config fragments, so that whole submissions can be run on it;
    compilers, linker, warnings and errors are real, the vmlinux is not one that boots.

    ``base`` is the first commit; what a test commits on top of it is the series.
    """

    folder: Path
    base: str

    def git(self, *words: str | Path) -> str:
        """Run git in the repository; returns what it says."""
        return _git(self.folder, *words)

    def read(self, path: str) -> str:
        """Return a file of the work tree."""
        return (self.folder / path).read_text()

    def commit(self, subject: str, files: Mapping[str, str | None]) -> str:
        """Commit whole files on top, None for one that goes away; returns the commit's id."""
        for path, text in files.items():
            file = self.folder / path
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message", subject)
        return self.head

    def edit(self, subject: str, path: str, old: str, new: str) -> str:
        """Commit one replacement of text that stands once in a file; returns the commit's id."""
        text = self.read(path)
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        return self.commit(subject, {path: text.replace(old, new)})

    def append(self, subject: str, path: str, text: str) -> str:
        """Commit text added at the end of a file; returns the commit's id."""
        return self.commit(subject, {path: self.read(path) + text})

    @property
    def head(self) -> str:
        """The id of the last commit."""
        return self.git("rev-parse", "HEAD")

    def jump_optimization(self) -> None:
        """Commit a series of three: a clean-up, jump optimization, a document.

        Patch 2 brings ``OPTPROBES``, which is never there with PREEMPT; patch 3 changes no kernel.
        """
        self.edit(
            "kprobes: Name the number of probes",
            "kernel/kprobes.c",
            "if (count > LAST_PROBE)",
            "if (count == LAST_PROBE + 1)",
        )
        header = self.read("include/linux/kprobes.h").removesuffix("#endif\n")
        self.commit(
            "kprobes: Kprobes jump optimization support",
            {
                "kernel/Kconfig": OPTPROBES_KCONFIG,
                "kernel/Makefile": "obj-$(CONFIG_OPTPROBES) += kernel/opt.o\n",
                "kernel/opt.c": OPTPROBES_SOURCE,
                "kernel/kprobes.c": self.read("kernel/kprobes.c").replace(
                    "= p;\n", "= p;\n\toptimize_kprobe(p);\n"
                ),
                "include/linux/kprobes.h": header + OPTPROBES_HEADER,
            },
        )
        self.append(
            "kprobes: Document jump optimization",
            "Documentation/kprobes.txt",
            "\nWhere it can, a probe is a jump.\n",
        )

    def format_patches(self, folder: Path) -> Path:
        """Write the series as ``git format-patch`` does; returns ``folder``."""
        self.git("format-patch", "--quiet", "--no-signature", "-o", folder, f"{self.base}..HEAD")
        return folder

    def tarball(self, path: Path, commit: str = "HEAD") -> Path:
        """Write a tarball with one leading folder, compressed as its ending says."""
        archive = subprocess.run(
            ["git", "archive", "--prefix=mini-1.0/", commit],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        program = {".xz": "xz", ".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}[path.suffix]
        packed = subprocess.run([program, "-c"], input=archive, stdout=subprocess.PIPE, check=True)
        path.write_bytes(packed.stdout)
        return path

    def manifest(
        self,
        path: Path,
        *,
        features: Sequence[Mapping[str, object]] = (),
        config: Sequence[str] = ("preempt-none",),
        scenarios: Sequence[str] = ("smoke",),
        **keys: object,
    ) -> Path:
        """Write a series.yml (and its patches beside it) for what was committed; returns ``path``.

        ``keys`` are further keys of a manifest, or others in the place of ``base`` and ``patches``.
        """
        document: dict[str, object] = {
            "schema": 1,
            "series": {"title": "kprobes: jump optimization in miniature", "version": 1},
            "base": {"git": str(self.folder), "ref": self.base},
            "features": list(features),
            "matrix": {"arch": ["x86_64"], "config": list(config)},
            "scenarios": list(scenarios),
            **keys,
        }
        if "patches" not in document:
            folder = self.format_patches(path.parent / f"{path.stem}.patches")
            document["patches"] = {"directory": folder.name}
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path


def _git(folder: Path, *words: str | Path) -> str:
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**os.environ, **GIT_SETTINGS},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


def _shipped_symbols() -> dict[str, str]:
    lines = (line for path in SHIPPED_CONFIGS.glob("*.config") for line in path.open())
    found = (re.match(r"CONFIG_([A-Z0-9_]+)=(\S+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


@pytest.fixture
def small_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest's init in miniature: the real one takes half the time of a miniature build."""
    sources = {"init.c": b"int main(void)\n{\n\treturn 0;\n}\n"}
    monkeypatch.setattr(guest, "init_sources", lambda: sources)


@pytest.fixture(scope="session")
def make_mini_kernel() -> Callable[[Path], MiniKernel]:
    """Makes a ``MiniKernel`` in a folder that is not there yet, for tests that want several."""
    kconfig = "".join(
        f'config {name}\n\t{"int" if value.isdigit() else "bool"} "{name.lower()}"\n'
        for name, value in sorted(_shipped_symbols().items())
    )

    def make(folder: Path) -> MiniKernel:
        shutil.copytree(Path(__file__).parent / "mini_kernel", folder)
        (folder / "Kconfig").write_text(kconfig)
        _git(folder, "init", "--quiet", "--initial-branch=main")
        _git(folder, "add", "--all", "--force")
        _git(folder, "commit", "--quiet", "--message", "A kernel in miniature")
        return MiniKernel(folder, _git(folder, "rev-parse", "HEAD"))

    return make


@pytest.fixture
def mini_kernel(make_mini_kernel: Callable[[Path], MiniKernel], tmp_path: Path) -> MiniKernel:
    """A kernel tree in miniature of this test's own; see ``MiniKernel``."""
    return make_mini_kernel(tmp_path / "mini-kernel")
