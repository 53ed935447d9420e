# SPDX-License-Identifier: GPL-2.0-or-later
"""The manifest: a series.yml says what a series is, where it comes from, where to test it.

The keys are in docs/series.md. Reading one checks everything that can be known without a kernel
tree and without the farm's own names: forms, paths and contradictions. Whether a config, a
scenario or a toolchain of that name exists is the planner's to say; `Manifest.where` gives it the
place to report.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernel_series import document, sources
from kernel_series.document import Node
from kernel_series.errors import SeriesError
from kernel_series.files import resolve

SCHEMA = 1
ARCHES = ("x86_64", "i386")
BASES = ("git", "tarball", "debian-source")
# Sources that the contract names and this version has not, with what to do instead.
NOT_YET = {"lore": "save the thread (`b4 mbox MESSAGE-ID`) and name the file with `mbox:`"}

KCONFIG = re.compile(r"(?!CONFIG_)[A-Za-z0-9_]{1,128}")
REVISION = re.compile(r"(?!-)[0-9A-Za-z._/^~@{}+-]{1,200}")
URL = re.compile(r"(https?|git|ssh)://(?!-)[A-Za-z0-9._~:/?#@!$&()*+,;=%-]{1,1000}")
SCP_LIKE = re.compile(r"([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9._-]*:(?!:)[^\s:]+")


@dataclass(frozen=True)
class Base:
    """The tree that the first patch applies to.

    `kind` is one of BASES. `value` is a git URL, or the package name of a debian-source, or the
    text of a path; `path` is set where it is a path (a git repository or a tarball on this
    machine).
    """

    kind: str
    value: str
    ref: str | None = None
    version: str | None = None
    path: Path | None = None


@dataclass(frozen=True)
class Patches:
    """Where the patches come from: a source's name and its value, with the path where it is one."""

    source: str
    value: str
    path: Path | None = None


@dataclass(frozen=True)
class Feature:
    """Something that the series brings; patch number `introduced_by` switches it on.

    0 means that the base has it.
    """

    name: str
    kconfig: str
    introduced_by: int
    unsupported_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exclude:
    """A cell, or a row of cells, that is not wanted. None stands for every value."""

    arch: str | None = None
    config: str | None = None
    toolchain: str | None = None


@dataclass(frozen=True)
class Matrix:
    """The cells that are allowed; a profile and flags narrow them."""

    arch: tuple[str, ...] = ("x86_64",)
    config: tuple[str, ...] = ("preempt-none",)
    toolchain: tuple[str, ...] = ("auto",)
    exclude: tuple[Exclude, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A series.yml that was read and found in order.

    `stated_version` is None where the file says none: then the patches' own one is taken.
    """

    path: Path
    title: str
    stated_version: int | None
    message_id: str | None
    base: Base
    patches: Patches
    features: tuple[Feature, ...] = ()
    matrix: Matrix = Matrix()
    scenarios: tuple[str, ...] = ("smoke",)
    adjust: tuple[Path, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def version(self) -> int:
        """The version to show; a series that says none is its first."""
        return self.stated_version or 1

    def where(self, key: str) -> str:
        """`file:line:column` of a key like `matrix.config[1]`, or of the nearest one around it."""
        while key and key not in self.places:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.places[key] if key else str(self.path)


def load(path: Path, *, confined: bool = False) -> Manifest:
    """Read a manifest. Raises SeriesError, of one line, with file, line and column.

    `confined` is for a series that came over a network: it may name no path outside its own
    folder, no git repository by path (its configuration could run programs here) and no ssh (it is
    not its key).
    """
    root = document.load(path)
    if not isinstance(root.value, Mapping):
        raise SeriesError(
            root.place, f"found {root.found()}, wanted a mapping", "see docs/series.md"
        )
    _check_schema(root)
    keys = root.mapping(
        ("schema", "series", "base", "patches"), ("features", "matrix", "scenarios", "adjust")
    )
    series = keys["series"].mapping(("title",), ("version", "message-id"))
    paths = _Paths(path.parent, confined)
    return Manifest(
        path=path,
        title=series["title"].line_of_text(),
        stated_version=series["version"].number(1) if "version" in series else None,
        message_id=_message_id(series["message-id"]) if "message-id" in series else None,
        base=_base(keys["base"], paths),
        patches=_patches(keys["patches"], paths),
        features=_features(keys["features"]) if "features" in keys else (),
        matrix=_matrix(keys["matrix"]) if "matrix" in keys else Matrix(),
        scenarios=_some_names(keys["scenarios"]) if "scenarios" in keys else ("smoke",),
        adjust=tuple(map(paths.find, keys["adjust"].items())) if "adjust" in keys else (),
        places=dict(_places(root)),
    )


@dataclass(frozen=True)
class _Paths:
    folder: Path
    confined: bool

    def find(self, node: Node) -> Path:
        text = node.line_of_text("a path, seen from the manifest's folder")
        try:
            return resolve(self.folder, text, node.place, confined=self.confined)
        except SeriesError as error:
            raise node.error(error.message, error.hint) from error


def _check_schema(root: Node) -> None:
    """First of all, so that a newer manifest is not called wrong for keys that we do not know."""
    if isinstance(root.value, Mapping) and "schema" in root.value:
        schema = root.value["schema"].number(1)
        if schema > SCHEMA:
            raise root.value["schema"].error(
                f"{schema} is newer than this farm, which knows {SCHEMA}", "update the farm"
            )


def _base(node: Node, paths: _Paths) -> Base:
    kind, value = node.one_of(BASES, ("ref", "version"))
    if kind == "git":
        keys = node.mapping(("git", "ref"), ())
        ref = keys["ref"].matching(REVISION, "a commit, tag or branch")
        if ".." in ref:
            raise keys["ref"].error("is a range", "name one commit")
        url, path = _git(value, paths)
        return Base(kind, url, ref=ref, path=path)
    if kind == "tarball":
        node.mapping(("tarball",), ())
        if "://" in value.text():
            raise value.error("is not fetched from the network", "download it and name the file")
        return Base(kind, value.text(), path=paths.find(value))
    keys = node.mapping(("debian-source",), ("version",))
    package = value.matching(
        r"linux-source-\d{1,3}(\.\d{1,3}){0,2}", "a package like linux-source-6.12"
    )
    version = None
    if "version" in keys:
        version = keys["version"].matching(r"\d[0-9A-Za-z.+~:-]{0,100}", "a Debian version")
    return Base(kind, package, version=version)


def _git(node: Node, paths: _Paths) -> tuple[str, Path | None]:
    """A git repository: (URL, None) or (text, path)."""
    text = node.line_of_text("a git URL or path")
    ssh = text.startswith("ssh://") or ("://" not in text and SCP_LIKE.fullmatch(text) is not None)
    if "::" in text or ("://" in text and not URL.fullmatch(text)) or text.startswith("-"):
        raise node.error(
            f"found {node.found()}", "wanted an https, http, git or ssh URL, or a path"
        )
    if paths.confined and ssh:
        raise node.error("an uploaded series may not use ssh", "name an https URL")
    if ssh or "://" in text:
        return text, None
    if paths.confined:
        raise node.error("an uploaded series may not bring a repository", "name an https URL")
    return text, paths.find(node)


def _patches(node: Node, paths: _Paths) -> Patches:
    if isinstance(node.value, Mapping):
        for key, hint in NOT_YET.items():
            if key in node.value:
                raise node.value[key].error("is not available yet", hint)
    source, value = node.one_of(sources.known())
    if sources.names_a_path(source):
        return Patches(source, value.text(), paths.find(value))
    return Patches(source, value.line_of_text())


def _features(node: Node) -> tuple[Feature, ...]:
    nodes = node.items()
    features = [_feature(item) for item in nodes]
    document.distinct(nodes, [feature.name for feature in features])
    return tuple(features)


def _feature(node: Node) -> Feature:
    keys = node.mapping(("name", "kconfig", "introduced-by"), ("unsupported-with", "force"))
    kconfig = "a Kconfig symbol without CONFIG_"
    against = keys["unsupported-with"].items() if "unsupported-with" in keys else ()
    if "force" in keys and keys["force"].value is not None:
        raise keys["force"].error("is not available yet", "leave it out")
    return Feature(
        name=keys["name"].name(),
        kconfig=keys["kconfig"].matching(KCONFIG, kconfig),
        introduced_by=keys["introduced-by"].number(0),
        unsupported_with=document.distinct(
            against, [n.matching(KCONFIG, kconfig) for n in against]
        ),
    )


def _matrix(node: Node) -> Matrix:
    keys = node.mapping((), ("arch", "config", "toolchain", "exclude"))
    default = Matrix()
    arches = default.arch
    if "arch" in keys:
        items = _not_empty(keys["arch"])
        arches = document.distinct(items, [item.choice(ARCHES) for item in items])
    return Matrix(
        arch=arches,
        config=_some_names(keys["config"]) if "config" in keys else default.config,
        toolchain=_some_names(keys["toolchain"]) if "toolchain" in keys else default.toolchain,
        exclude=tuple(map(_exclude, keys["exclude"].items())) if "exclude" in keys else (),
    )


def _exclude(node: Node) -> Exclude:
    keys = node.mapping((), ("arch", "config", "toolchain"))
    if not keys:
        raise node.error("is empty", "name at least one of: arch, config, toolchain")
    return Exclude(
        arch=keys["arch"].choice(ARCHES) if "arch" in keys else None,
        config=keys["config"].name() if "config" in keys else None,
        toolchain=keys["toolchain"].name() if "toolchain" in keys else None,
    )


def _some_names(node: Node) -> tuple[str, ...]:
    items = _not_empty(node)
    return document.distinct(items, [item.name() for item in items])


def _not_empty(node: Node) -> tuple[Node, ...]:
    if not node.items():
        raise node.error("is empty", "name at least one, or leave the key out")
    return node.items()


def _message_id(node: Node) -> str:
    return node.matching(r"<?[^\s<>@]{1,200}@[^\s<>@]{1,200}>?", "a message id").strip("<>")


def _places(node: Node) -> list[tuple[str, str]]:
    value = node.value
    inner = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    )
    return [(node.key, node.place), *(place for child in inner for place in _places(child))]
