# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding the compiler."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from workers import toolchain
from workers.errors import UserError


def version() -> str:
    words = ["gcc", "-dumpversion"]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def test_auto_is_the_hosts_compiler() -> None:
    found = toolchain.find("auto")
    assert found.name == f"gcc-{version().partition('.')[0]}"
    assert found.compiler == "gcc"
    assert re.fullmatch(r"[0-9a-f]{64}", found.identity)
    assert toolchain.find("auto") == found


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH, with a gcc-99 in it."""
    write(tmp_path / "gcc-99", "99.1.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def write(path: Path, version: str) -> None:
    path.write_text(f"""#!/bin/sh
case $1 in
-dumpversion) echo {version.partition(".")[0]} ;;
--version) echo '{path.name} (Debian {version}) {version}' ;;
esac
""")
    path.chmod(0o755)


def test_a_version_is_found_by_debians_name(programs: Path) -> None:
    found = toolchain.find("gcc-99")
    assert (found.name, found.compiler) == ("gcc-99", "gcc-99")
    assert found.identity != toolchain.find("auto").identity


@pytest.mark.parametrize("program", ["gcc-99", "ld"])
def test_another_compiler_or_linker_is_another_identity(program: str, programs: Path) -> None:
    before = toolchain.find("gcc-99").identity
    write(programs / program, "99.2.0")
    assert toolchain.find("gcc-99").identity != before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gcc-98", "toolchain gcc-98: gcc-98 is not installed; install Debian's package gcc-98"),
        ("vax-linux-gnu-gcc", "install Debian's package gcc-vax-linux-gnu"),
        ("clang", "unknown toolchain 'clang'; known: auto, gcc-N as Debian packages it"),
        ("gcc-12; touch x", "unknown toolchain"),
        ("/tmp/gcc", "unknown toolchain"),
        ("", "unknown toolchain ''"),
    ],
)
def test_what_is_not_there_is_a_user_error(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        toolchain.find(name)


def test_a_cross_compiler_brings_its_own_programs(programs: Path) -> None:
    write(programs / "vax-linux-gnu-gcc-9", "9.1.0")
    write(programs / "vax-linux-gnu-ld", "2.40")
    found = toolchain.find("vax-linux-gnu-gcc-9")
    assert (found.name, found.cross) == ("vax-linux-gnu-gcc-9", "vax-linux-gnu-")
    assert found.settings == (
        "CROSS_COMPILE=vax-linux-gnu-",
        "CC=vax-linux-gnu-gcc-9",
        "HOSTCC=gcc",
    )
    write(programs / "vax-linux-gnu-ld", "2.41")
    assert toolchain.find("vax-linux-gnu-gcc-9").identity != found.identity
    assert toolchain.find("auto").settings == ("CC=gcc", "HOSTCC=gcc")


@pytest.mark.parametrize(
    ("compiler", "package"),
    [
        ("gcc-12", "gcc-12"),
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("x86_64-linux-gnu-gcc-12", "gcc-12-x86-64-linux-gnu"),
    ],
)
def test_debians_package_of_a_compiler(compiler: str, package: str) -> None:
    assert toolchain.package(compiler) == package
