# SPDX-License-Identifier: GPL-2.0-or-later
"""Config fragments, shipped ones and wrong ones, and what a .config made of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workers import kconfig
from workers.errors import UserError
from workers.kconfig import Config, Symbol

SHIPPED = Path(__file__).parent.parent.parent / "configs" / "kernel"
ARCHES = ("x86_64", "i386")

SHIPPED_ARCHES = [arch for arch in ARCHES if (SHIPPED / f"{arch}.config").is_file()]


@pytest.mark.parametrize("arch", SHIPPED_ARCHES)
@pytest.mark.parametrize("name", kconfig.names(SHIPPED, ARCHES))
def test_every_shipped_configuration_loads(name: str, arch: str) -> None:
    config = kconfig.load(SHIPPED, name, arch)
    assert (config.name, config.arch) == (name, arch)
    values = {symbol.name: symbol.value for symbol in config.symbols}
    assert len(values) == len(config.symbols)
    # What every scenario stands on.
    assert values["KPROBES"] == values["MODULES"] == values["SMP"] == "y"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.config")), ids=lambda path: path.name)
def test_every_shipped_line_has_its_why(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"CONFIG_[A-Z0-9_]+=\S+ +# \S.*", line), line
    names = [line.partition("=")[0] for line in lines]
    assert len(set(names)) == len(names)


def test_the_preemption_models_differ() -> None:
    texts = {
        name: kconfig.load(SHIPPED, name, "x86_64").text() for name in ("preempt", "preempt-none")
    }
    assert "CONFIG_PREEMPT=y\n" in texts["preempt"]
    assert "CONFIG_PREEMPT_NONE=y\n" in texts["preempt-none"]
    assert "CONFIG_PREEMPT=y" not in texts["preempt-none"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fragments of the three kinds."""
    fragments = {
        "base": "# comment\n\nCONFIG_KPROBES=y  # tested\nCONFIG_LOG_BUF_SHIFT=14 # room\n"
        "CONFIG_PREEMPT=n # the default\n",
        "x86_64": "CONFIG_PVH=y # if there: fast boot\n",
        "i386": "CONFIG_64BIT=n # not here\n",
        "preempt": "CONFIG_PREEMPT=y # this one\n",
        "plain": "# nothing of its own\n",
    }
    for name, text in fragments.items():
        (tmp_path / f"{name}.config").write_text(text)
    (tmp_path / "README.md").write_text("no fragment\n")
    return tmp_path


def test_general_and_architectures_are_no_configurations(folder: Path) -> None:
    assert kconfig.names(folder, ARCHES) == ("plain", "preempt")


def test_a_later_fragment_wins(folder: Path) -> None:
    config = kconfig.load(folder, "preempt", "x86_64")
    assert config.symbols == (
        Symbol("KPROBES", "y", "tested"),
        Symbol("LOG_BUF_SHIFT", "14", "room"),
        Symbol("PVH", "y", "if there: fast boot"),
        Symbol("PREEMPT", "y", "this one"),
    )
    plain = kconfig.load(folder, "plain", "i386")
    assert plain.text() == (
        "CONFIG_KPROBES=y\nCONFIG_LOG_BUF_SHIFT=14\n"
        "# CONFIG_PREEMPT is not set\n# CONFIG_64BIT is not set\n"
    )


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("CONFIG_X=y # why", True),
        ('CONFIG_LOCALVERSION="-farm"   # why not', True),
        ("CONFIG_X=y", False),
        ("CONFIG_X=y #", False),
        ("CONFIG_X=y # ", False),
        ("CONFIG_X=y # \t", False),
        ("CONFIG_X # why", False),
        ("X=y # why", False),
        ("CONFIG_x=y # why", False),
        (" CONFIG_X=y # why", False),
        ("CONFIG_X= # why", False),
        ("CONFIG_X=y z # why", False),
        ("include other.config # why", False),
    ],
)
def test_a_line_without_a_reason_is_refused_with_its_place(
    line: str, good: bool, folder: Path
) -> None:
    (folder / "plain.config").write_text(f"# comment\n{line}\n")
    if good:
        assert len(kconfig.load(folder, "plain", "x86_64").symbols) == 5
        return
    reason = f"{folder / 'plain.config'}:2: not of the form CONFIG_NAME=value  # why"
    with pytest.raises(UserError, match=f"^{re.escape(reason)}$"):
        kconfig.load(folder, "plain", "x86_64")


@pytest.mark.parametrize(("name", "arch"), [("rt", "x86_64"), ("plain", "arm64")])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, arch: str, folder: Path) -> None:
    unknown = name if name == "rt" else arch
    reason = f"there is no config fragment '{unknown}'; known: base, i386, plain, preempt, x86_64"
    with pytest.raises(UserError, match=re.escape(reason)):
        kconfig.load(folder, name, arch)


CONFIG = Config(
    "mini",
    "x86_64",
    (
        Symbol("KPROBES", "y", "tested"),
        Symbol("PREEMPT", "n", "not here"),
        Symbol("LOG_BUF_SHIFT", "14", "room"),
        Symbol("PVH", "y", "if there: fast boot"),
    ),
)


def test_an_extra_symbol_comes_last_and_wins() -> None:
    extra = (Symbol("OPTPROBES", "y", "feature"), Symbol("PREEMPT", "y", "feature"))
    assert CONFIG.text(extra).splitlines() == [
        "CONFIG_KPROBES=y",
        "CONFIG_PREEMPT=y",
        "CONFIG_LOG_BUF_SHIFT=14",
        "CONFIG_PVH=y",
        "CONFIG_OPTPROBES=y",
    ]
    assert CONFIG.digest(extra) != CONFIG.digest()


def test_a_digest_is_of_what_kconfig_reads() -> None:
    reasoned = tuple(Symbol(one.name, one.value, "another reason") for one in CONFIG.symbols)
    assert Config("other", "x86_64", reasoned).digest() == CONFIG.digest()
    less = Config("mini", "x86_64", CONFIG.symbols[:-1])
    assert less.digest() != CONFIG.digest()


def test_a_dotconfig_is_read() -> None:
    text = '#\n# Automatically generated\n#\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x = y"\n'
    assert kconfig.parse(text) == {"A": "y", "C": '"x = y"'}
    assert kconfig.parse("") == {}


@pytest.mark.parametrize(
    ("dotconfig", "names"),
    [
        ({"KPROBES": "y", "LOG_BUF_SHIFT": "14", "PVH": "y"}, []),
        ({"KPROBES": "y", "LOG_BUF_SHIFT": "14", "PREEMPT": "n", "PVH": "y", "MORE": "y"}, []),
        ({"KPROBES": "m", "LOG_BUF_SHIFT": "14", "PVH": "y"}, ["KPROBES"]),
        ({"KPROBES": "y", "LOG_BUF_SHIFT": "17", "PVH": "y"}, ["LOG_BUF_SHIFT"]),
        ({"KPROBES": "y", "LOG_BUF_SHIFT": "14", "PVH": "y", "PREEMPT": "y"}, ["PREEMPT"]),
        ({"KPROBES": "y", "LOG_BUF_SHIFT": "14"}, ["PVH"]),  # optional, and still to be looked at
        ({}, ["KPROBES", "LOG_BUF_SHIFT", "PVH"]),
    ],
)
def test_what_was_asked_for_and_is_not_there(dotconfig: dict[str, str], names: list[str]) -> None:
    found = kconfig.unmet(CONFIG.symbols, dotconfig)
    assert [symbol.name for symbol in found] == names
    assert [symbol.optional for symbol in found] == [name == "PVH" for name in names]


def test_what_is_wished_for_comes_first_and_is_not_compared() -> None:
    config = Config("mini", "x86_64", (Symbol("SMP", "n", "asked"),), CONFIG.symbols)
    assert config.text().splitlines()[-1] == "# CONFIG_SMP is not set"
    assert "CONFIG_KPROBES=y\n" in config.text()
    assert kconfig.unmet(config.symbols, {}) == ()
    assert config.digest() != CONFIG.digest()
    other = Config("mini", "x86_64", (), start="defconfig")
    assert other.digest() != Config("mini", "x86_64", ()).digest()


KCONFIG = """\
config OPTPROBES
\tbool "Kprobes jump optimization support (EXPERIMENTAL)"
\tdefault y

menuconfig MENU
\tprompt "Menu" if EXPERT
\thelp
\t  config HELP
\t  bool "no symbol at all"

config HAVE_OPTPROBES
\tbool

config DERIVED
\tdef_bool y
\tdepends on OPTPROBES

if DERIVED
config LAST
  int 'a number'
endif
"""


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("OPTPROBES", True),
        ("MENU", True),
        ("LAST", True),
        ("HAVE_OPTPROBES", False),
        ("DERIVED", False),
        ("HELP", False),
        ("OPT", False),
        (".*", False),
    ],
)
def test_symbols_that_can_be_set(name: str, there: bool) -> None:
    assert kconfig.prompted(name, KCONFIG) is there
