# SPDX-License-Identifier: GPL-2.0-or-later
"""The manifest: what it takes, and that every error names its place and what would be right."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_series import document
from kernel_series.errors import SeriesError
from kernel_series.manifest import Base, Exclude, Feature, Manifest, Matrix, load

Fill = Callable[..., Path]

FULL = """\
schema: 1
series: {title: "kprobes: jump optimization", version: 8, message-id: <2010.9022@redhat.com>}
base:
  git: https://git.kernel.org/pub/scm/linux/kernel/git/tip/tip.git
  ref: 628ada0cb036
patches:
  git-range: d498f763950^..b26486bf751
features:
  - name: optprobes
    kconfig: OPTPROBES
    introduced-by: 8
    unsupported-with: [PREEMPT]
    force: null
matrix:
  arch: [x86_64, i386]
  config: [preempt-none, preempt]
  toolchain: [auto]
  exclude: [{arch: i386, config: preempt-rt}]
scenarios: [smoke, overhead]
adjust: [fix.yml]
"""

SMALL = """\
schema: 1
series: {title: t}
base: {debian-source: linux-source-6.12}
patches: {mbox: v8.mbox}
"""


@pytest.fixture
def read(fill: Fill) -> Callable[..., Manifest]:
    def read_text(text: str | bytes, *, confined: bool = False) -> Manifest:
        folder = fill({"series.yml": text, "v8.mbox": "", "fix.yml": ""})
        return load(folder / "series.yml", confined=confined)

    return read_text


def message(read: Callable[..., Manifest], text: str | bytes, **options: bool) -> str:
    """The error for a manifest, without the folder in front."""
    with pytest.raises(SeriesError) as caught:
        read(text, **options)
    assert "\n" not in str(caught.value)
    place, _, rest = str(caught.value).partition("series.yml")
    return "series.yml" + rest if place else str(caught.value)


def test_full(read: Callable[..., Manifest]) -> None:
    manifest = read(FULL)
    assert manifest.title == "kprobes: jump optimization"
    assert (manifest.version, manifest.stated_version) == (8, 8)
    assert manifest.message_id == "2010.9022@redhat.com"
    url = "https://git.kernel.org/pub/scm/linux/kernel/git/tip/tip.git"
    assert manifest.base == Base("git", url, ref="628ada0cb036")
    assert (manifest.patches.source, manifest.patches.value) == (
        "git-range",
        "d498f763950^..b26486bf751",
    )
    assert manifest.features == (Feature("optprobes", "OPTPROBES", 8, ("PREEMPT",)),)
    assert manifest.matrix == Matrix(
        ("x86_64", "i386"),
        ("preempt-none", "preempt"),
        ("auto",),
        (Exclude("i386", "preempt-rt"),),
    )
    assert manifest.scenarios == ("smoke", "overhead")
    assert [path.name for path in manifest.adjust] == ["fix.yml"]


def test_defaults(read: Callable[..., Manifest]) -> None:
    manifest = read(SMALL)
    assert (manifest.version, manifest.stated_version) == (1, None)
    assert manifest.base == Base("debian-source", "linux-source-6.12")
    assert manifest.matrix == Matrix(("x86_64",), ("preempt-none",), ("auto",))
    assert (manifest.features, manifest.scenarios, manifest.adjust) == ((), ("smoke",), ())
    assert manifest.patches.path is not None


def test_digits_and_truth_values_stay_text(read: Callable[..., Manifest]) -> None:
    manifest = read(FULL.replace("628ada0cb036", "1234567").replace("optprobes", "on"))
    assert manifest.base.ref == "1234567"
    assert manifest.features[0].name == "on"


def test_where(read: Callable[..., Manifest]) -> None:
    manifest = read(FULL)
    places = {
        "matrix.config[1]": ":16:26",
        "matrix.config": ":16:11",
        "matrix": ":14:1",  # a value that begins on a later line: where its key stands
        "matrix.config[9].x": ":16:11",  # the nearest around it
        "features[0].introduced-by": ":11:20",
        "nowhere": "",
    }
    for key, place in places.items():
        assert manifest.where(key) == f"{manifest.path}{place}"


# What is changed in FULL, and what must be said.
MISTAKES = [
    ("schema: 1\n", "", 'series.yml:1:1: key "schema" is missing; known: schema, series, base, '
     "patches, features, matrix, scenarios, adjust"),
    ("schema: 1", "schema: 2", "series.yml:1:9: schema: 2 is newer than this farm, which knows 1; "
     "update the farm"),
    ("schema: 1", "schema: one", 'series.yml:1:9: schema: found "one", wanted a whole number, '
     "1 or more"),
    ("matrix:", "matrx:", 'series.yml:14:1: matrx: unknown key; did you mean "matrix"? known: '
     "schema, series, base, patches, features, matrix, scenarios, adjust"),
    ("config: [preempt-none", "confg: [preempt-none", "series.yml:16:10: matrix.confg: unknown "
     "key; "
     'did you mean "config"? known: arch, config, toolchain, exclude'),
    ("[x86_64, i386]", "[x86-64]", 'series.yml:15:10: matrix.arch[0]: unknown: "x86-64"; '
     'did you mean "x86_64"? known: x86_64, i386'),
    ("[x86_64, i386]", "x86_64", 'series.yml:15:9: matrix.arch: found "x86_64", wanted a list; '
     "write [a, b] or one `- a` a line"),
    ("[x86_64, i386]", "[]", "series.yml:15:9: matrix.arch: is empty; "
     "name at least one, or leave the key out"),
    ("[x86_64, i386]", "[i386, i386]", 'series.yml:15:16: matrix.arch[1]: "i386" is listed twice'),
    ("preempt-none", "Preempt None", 'series.yml:16:12: matrix.config[0]: found "Preempt None", '
     "wanted a name: small letters, digits, `.`, `_` and `-`"),
    ("[{arch: i386, config: preempt-rt}]", "[{}]", "series.yml:18:13: matrix.exclude[0]: is empty; "
     "name at least one of: arch, config, toolchain"),
    ("  ref: 628ada0cb036\n", "", 'series.yml:3:1: base: key "ref" is missing; known: git, ref'),
    ("ref: 628ada0cb036", "ref: a..b", "series.yml:5:8: base.ref: is a range; name one commit"),
    ("ref: 628ada0cb036", "ref: --upload-pack=x", 'series.yml:5:8: base.ref: found '
     '"--upload-pack=x",'
     " wanted a commit, tag or branch"),
    ("ref: 628ada0cb036", "tarball: x.tar", "series.yml:5:12: base.tarball: git and tarball are "
     "both "
     "given; one of: git, tarball, debian-source"),
    ("https://git.kernel.org/pub/scm/linux/kernel/git/tip/tip.git", "ext::sh -c x",
     'series.yml:4:8: base.git: found "ext::sh -c x"; wanted an https, http, git or ssh URL, '
     "or a path"),
    ("https://git.kernel.org/pub/scm/linux/kernel/git/tip/tip.git", "nowhere",
     'series.yml:4:8: base.git: cannot find "nowhere": No such file or directory'),
    ("  git-range: d498f763950^..b26486bf751\n", "  {}\n", "series.yml:6:1: patches: says nothing; "
     "one of: derive, directory, edits, git-range, mbox"),
    ("git-range: d498", "lore: d498", "series.yml:7:9: patches.lore: is not available yet; "
     "save the thread (`b4 mbox MESSAGE-ID`) and name the file with `mbox:`"),
    ("git-range: d498", "git-rang: d498", 'series.yml:7:13: patches.git-rang: unknown key; '
     'did you mean "git-range"? known: derive, directory, edits, git-range, mbox'),
    ("introduced-by: 8", "introduced-by: -1", 'series.yml:11:20: features[0].introduced-by: '
     'found "-1", '
     "wanted a whole number, 0 or more"),
    ("kconfig: OPTPROBES", "kconfig: CONFIG_OPTPROBES", "series.yml:10:14: features[0].kconfig: "
     'found "CONFIG_OPTPROBES", wanted a Kconfig symbol without CONFIG_'),
    ("    kconfig: OPTPROBES\n", "", 'series.yml:9:5: features[0]: key "kconfig" is missing; '
     'known: '
     "name, kconfig, introduced-by, unsupported-with, force"),
    ("force: null", "force: fix.yml", "series.yml:13:12: features[0].force: is not available yet; "
     "leave it out"),
    ("adjust: [fix.yml]", "adjust: [[fix.yml]]", "series.yml:20:10: adjust[0]: found a list, "
     "wanted "
     "a path, seen from the manifest's folder"),
    ("version: 8,", "version: 8, version: 9,", "series.yml:2:59: series.version: given twice; "
     "first on line 2"),
    ('title: "kprobes: jump optimization"', "title: ''", 'series.yml:2:17: series.title: found "", '
     "wanted one line of text"),
    ('title: "kprobes: jump optimization"', 'title: "a\\nb"', 'series.yml:2:17: series.title: '
     'found "a\\nb", wanted one line of text; no line breaks, no blanks around it'),
    ("<2010.9022@redhat.com>", "nonsense", 'series.yml:2:71: series.message-id: found "nonsense", '
     "wanted a message id"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "wanted"), MISTAKES, ids=[m[2][11:40] for m in MISTAKES])
def test_mistakes(read: Callable[..., Manifest], old: str, new: str, wanted: str) -> None:
    assert old in FULL
    assert message(read, FULL.replace(old, new, 1)) == wanted


NOT_YAML = [
    ("", "series.yml: is empty"),
    ("# nothing\n", "series.yml: is empty"),
    ("- a\n", "series.yml:1:1: found a list, wanted a mapping; see docs/series.md"),
    ("a: b\n c: d\n", "series.yml:2:3: not YAML: mapping values are not allowed here"),
    ("a: [\n", "series.yml:2:1: not YAML: expected the node content, but found '<stream end>'"),
    ("a: 1\n---\nb: 2\n", "series.yml:2:1: not YAML: but found another document"),
    ("a: &x [1]\nb: *x\n", "series.yml:1:4: anchors and aliases (& and *) are not taken; write "
     "it out"),
    ("a: !!python/object/apply:os.system [id]\n", "series.yml:1:4: tag "
     '"tag:yaml.org,2002:python/object/apply:os.system" is not taken; leave it out'),
    ("a: " + "[" * 40 + "]" * 40 + "\n", "series.yml:1:15: is nested deeper than 12 levels"),
    ("{[a]: b}\n", "series.yml:1:2: found a list for a key, wanted a word"),
    ("~: b\n", "series.yml:1:1: found nothing for a key, wanted a word"),
    (b"\x7fELF\x02\x01\x00\x00", "series.yml:1: holds a control character that YAML forbids"),
    (b"a: \xff\xfe\n", "series.yml: is not UTF-8 text (byte 3)"),
    ('a: "\\UFFFFFFFF"\n', "series.yml: not YAML: an escape names no character"),
    ('a: "\\ud800"\n', "series.yml:1: an escape names half a character"),
    (b"x" * (document.LARGEST + 1), 'series.yml" is larger than 256 KiB'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), NOT_YAML, ids=[n[1][11:40] for n in NOT_YAML])
def test_not_yaml(read: Callable[..., Manifest], text: str | bytes, wanted: str) -> None:
    assert message(read, text).endswith(wanted)


def test_alias_bomb_is_refused_before_it_grows(read: Callable[..., Manifest]) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "anchors and aliases" in message(read, bomb)


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    for path, wanted in [
        (tmp_path / "none.yml", "No such file or directory"),
        (tmp_path, "is a folder; name a file"),
    ]:
        with pytest.raises(SeriesError, match=wanted):
            load(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SeriesError, match="is not a regular file"):
        load(tmp_path / "pipe")


class TestConfined:
    """A series that came over a network."""

    def test_paths_below_are_taken(self, read: Callable[..., Manifest]) -> None:
        assert read(SMALL, confined=True).patches.path is not None

    @pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link", "folder/../../secret"])
    def test_paths_outside_are_refused(self, fill: Fill, path: str) -> None:
        top = fill(
            {"secret": "", "up/folder/x": "", "up/series.yml": SMALL.replace("v8.mbox", path)}
        )
        (top / "up/link").symlink_to("../secret")
        assert (
            load(top / "up/series.yml").patches.path is not None
        )  # on a person's own command line
        with pytest.raises(SeriesError, match=r"series.yml:4:17: patches.mbox: .* lies outside"):
            load(top / "up/series.yml", confined=True)

    def test_nobody_learns_what_is_outside(self, read: Callable[..., Manifest]) -> None:
        assert "lies outside" in message(read, SMALL.replace("v8.mbox", "/no/such"), confined=True)

    @pytest.mark.parametrize(
        ("git", "wanted"),
        [
            (".", "an uploaded series may not bring a repository"),
            ("git@host:linux.git", "an uploaded series may not use ssh"),
            ("ssh://host/linux.git", "an uploaded series may not use ssh"),
        ],
    )
    def test_repositories(self, read: Callable[..., Manifest], git: str, wanted: str) -> None:
        text = SMALL.replace("{debian-source: linux-source-6.12}", f"{{git: '{git}', ref: v6.12}}")
        assert read(text).base.kind == "git"
        assert wanted in message(read, text, confined=True)


KEYS = st.sampled_from(
    ["schema", "series", "title", "version", "base", "git", "ref", "tarball", "debian-source",
     "patches", "mbox", "derive", "directory", "git-range", "lore", "features", "name", "kconfig",
     "introduced-by", "matrix", "arch", "config", "exclude", "adjust"]
)  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(["1", "2", "x86_64", "OPTPROBES", "null", "", "v8.mbox", "a..b", "..", "~"]),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def as_yaml(value: object) -> str:
    """Flow style, with quotes only sometimes needed: whatever comes out is worth a try."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return str(value)


class TestHostile:
    """Never anything but a Manifest or a SeriesError of one line."""

    def outcome(self, path: Path, text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            refusal = ""
            assert isinstance(load(path, confined=True), Manifest)
        except SeriesError as error:
            refusal = str(error)
        assert refusal.isprintable()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(text=st.text())
    def test_any_text(self, tmp_path: Path, text: str) -> None:
        self.outcome(tmp_path / "series.yml", text)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(value=st.dictionaries(KEYS, VALUES, max_size=6))
    def test_our_keys_any_values(self, tmp_path: Path, value: dict[str, object]) -> None:
        self.outcome(tmp_path / "series.yml", "schema: 1\n" + textwrap.dedent(as_yaml(value)))

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        at=st.integers(0, len(FULL)),
        length=st.integers(0, 30),
        new=st.one_of(SCALARS, st.text(max_size=3)),
    )
    def test_a_good_one_damaged(self, tmp_path: Path, at: int, length: int, new: str) -> None:
        self.outcome(tmp_path / "series.yml", FULL[:at] + new + FULL[at + length :])
