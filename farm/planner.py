# SPDX-License-Identifier: GPL-2.0-or-later
"""From a manifest, a profile and flags to what will be done.

The manifest says what is allowed, the profile caps it, flags narrow it further; nothing widens
silently, and what is left out is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from farm.flavours import Flavour
from farm.profiles import Lab, NodeData, Profile
from farm.records import Cell
from kernel_series import sources
from kernel_series.manifest import ARCHES, Exclude, Feature, Manifest
from kernel_series.series import read_series
from stress.scenario import Clock, FeatureState, Scenario
from workers import kconfig, toolchain
from workers.errors import UserError
from workers.kconfig import Config, Symbol
from workers.payload import SHELL_ARCH
from workers.prepare import Plant, run_tool
from workers.process import PACKAGES


@dataclass(frozen=True)
class Flags:
    """What the command line asked for; empty means: all that is allowed."""

    arches: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    plants: tuple[Plant, ...] = ()
    reuse: bool = True
    sandbox: bool = True


@dataclass(frozen=True)
class Request:
    """A submission with everything decided: what is kept in the database and resumed from."""

    manifest: Path
    tree: Path | None
    profile: str
    lab: str
    cells: tuple[Cell, ...]
    nodes: tuple[str, ...]
    scenarios: tuple[str, ...]
    features: tuple[Feature, ...]
    not_tested: tuple[tuple[str, str], ...]
    reuse: bool
    sandbox: bool
    plants: tuple[Plant, ...] = ()
    canaries: tuple[Canary, ...] = ()

    def scenarios_of(self, point: int) -> tuple[str, ...]:
        """Return the scenarios that a point is tested with: a canary's, or all of the run's."""
        if not self.canaries or point == 0:
            return self.scenarios
        wanted = self.canaries[point - 1].caught_by
        return tuple(name for name in self.scenarios if not wanted or name in wanted)


@dataclass(frozen=True)
class Canary:
    """A recipe that a self test plants: a fault to be caught, or the cure of a known issue.

    ``caught_by`` are the scenarios that are meant to catch it (empty: all), ``needs`` capabilities
    of the node without which it can't be seen.
    """

    path: Path
    name: str
    title: str
    caught_by: tuple[str, ...]
    needs: tuple[str, ...]
    cures: str | None


@dataclass(frozen=True)
class Data:
    """The data files that planning looks at."""

    kernel_configs: Path
    profile_name: str
    profile: Profile
    lab_name: str
    lab: Lab
    scenarios: Mapping[str, Scenario]
    flavours: Mapping[str, Flavour] = field(default_factory=dict)


def plan(manifest: Manifest, tree: Path | None, flags: Flags, data: Data) -> Request:
    """Return what a submission comes to; UserError names what is unknown and what is known."""
    not_tested = list[tuple[str, str]]()
    cells = _cells(manifest, flags, data, not_tested)
    there = [node.name for node in data.lab.nodes]
    nodes = _chosen(flags.nodes, there, "node", f"in lab {data.lab_name}")
    not_tested += _not_asked_for(nodes, there, "node")
    scenarios = _scenarios(manifest, flags, data, not_tested)
    return Request(
        manifest=manifest.path.resolve(),
        tree=None if tree is None else tree.resolve(),
        profile=data.profile_name,
        lab=data.lab_name,
        cells=cells,
        nodes=nodes,
        scenarios=scenarios,
        features=shifted(manifest.features, flags.plants),
        plants=flags.plants,
        not_tested=tuple(not_tested),
        reuse=flags.reuse,
        sandbox=flags.sandbox,
    )


def _cells(
    manifest: Manifest, flags: Flags, data: Data, not_tested: list[tuple[str, str]]
) -> tuple[Cell, ...]:
    """Return the cells that are booted, then those that are only built."""
    matrix = manifest.matrix
    _check_names(manifest, data)
    others = [one.arch for one in data.flavours.values() if one.arch is not None]
    known = (*matrix.arch, *others)
    asked = _chosen(flags.arches, known, "arch")
    not_tested += _not_asked_for(asked, known, "arch")
    known = (*matrix.config, *data.flavours)
    configs = _chosen(flags.configs, known, "config")
    not_tested += _not_asked_for(configs, known, "config")
    arches = _arches([one for one in asked if one in matrix.arch], flags, data, not_tested)
    booted = [one for one in configs if one in matrix.config]
    if not flags.configs:
        booted = list(_capped(booted, data.profile.configs, "config", data, not_tested))
    cells = [
        Cell(arch, config, compiler)
        for arch in arches
        for config in booted
        for compiler in matrix.toolchain
    ]
    cells += [
        Cell(arch, name, data.flavours[name].toolchain, boots=False)
        for name in configs
        if name in data.flavours
        for arch in data.flavours[name].built_for(arches, asked)
    ]
    for exclude in matrix.exclude:
        if any(_excludes(exclude, cell) for cell in cells):
            not_tested.append((_excluded(exclude), "excluded by the series"))
    kept = [cell for cell in cells if not any(_excludes(one, cell) for one in matrix.exclude)]
    kept = [cell for cell in kept if _has_compiler(cell, flags, not_tested)]
    if not kept:
        raise UserError(f"{manifest.path}: no kernel is left to build", "ask for less narrowing")
    return tuple(kept)


def _check_names(manifest: Manifest, data: Data) -> None:
    """Refuse configs and toolchains of a manifest that this farm does not have."""
    known = kconfig.names(data.kernel_configs, ARCHES)
    for number, name in enumerate(manifest.matrix.config):
        if name not in known:
            place = manifest.where(f"matrix.config[{number}]")
            raise UserError(f"{place}: unknown config {name!r}", f"known: {', '.join(known)}")
    for number, name in enumerate(manifest.matrix.toolchain):
        try:
            if toolchain.find(name).cross:
                raise UserError(f"toolchain {name} builds for another machine")
        except UserError as error:
            place = manifest.where(f"matrix.toolchain[{number}]")
            raise UserError(f"{place}: {error.message}", error.hint) from error


def _arches(
    asked: Sequence[str], flags: Flags, data: Data, not_tested: list[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the architectures of a run: those that can be built and booted here."""
    found = list[str]()
    for arch in asked:
        if (trouble := _unbuildable(arch, data)) is None:
            found.append(arch)
        elif arch in flags.arches:
            raise UserError(f"arch {arch}: {trouble}")
        else:
            not_tested.append((f"arch {arch}", trouble))
    if flags.arches:
        return tuple(found)
    return _capped(found, data.profile.arches, "arch", data, not_tested)


def _has_compiler(cell: Cell, flags: Flags, not_tested: list[tuple[str, str]]) -> bool:
    """Return whether the compiler of a cell is there; UserError where one was asked for by name."""
    try:
        toolchain.find(cell.toolchain)
    except UserError as error:
        if cell.config in flags.configs or cell.arch in flags.arches:
            raise
        not_tested.append((cell.title, str(error)))
        return False
    return True


def _capped(
    names: Sequence[str],
    most: int | None,
    what: str,
    data: Data,
    not_tested: list[tuple[str, str]],
) -> tuple[str, ...]:
    """Return the first names that the profile takes; the others are not tested, by its leave."""
    kept = tuple(names if most is None else names[:most])
    why = f"profile {data.profile_name} takes {most} {what} only"
    not_tested += [(f"{what} {name}", why) for name in names[len(kept) :]]
    return kept


def _unbuildable(arch: str, data: Data) -> str | None:
    if not (data.kernel_configs / f"{arch}.config").is_file():
        return "this farm has no configuration for it"
    if not any(arch in node.arches for node in data.lab.nodes):
        return f"no node of lab {data.lab_name} boots it"
    return None


def _excludes(exclude: Exclude, cell: Cell) -> bool:
    pairs = (
        (exclude.arch, cell.arch),
        (exclude.config, cell.config),
        (exclude.toolchain, cell.toolchain),
    )
    return all(wanted in (None, found) for wanted, found in pairs)


def _excluded(exclude: Exclude) -> str:
    """Return what an entry leaves out, for people: one line, however many cells that are."""
    parts = (("config", exclude.config), ("arch", exclude.arch), ("toolchain", exclude.toolchain))
    return ", ".join(f"{what} {name}" for what, name in parts if name is not None)


def known_scenarios(names: Sequence[str], known: Mapping[str, Scenario]) -> tuple[str, ...]:
    """Return names that all are scenarios; UserError lists the known ones."""
    for name in names:
        if name not in known:
            raise UserError(f"unknown scenario {name!r}", f"known: {', '.join(known)}")
    return tuple(names)


def _scenarios(
    manifest: Manifest, flags: Flags, data: Data, not_tested: list[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the scenarios to run; UserError for one that this farm does not have."""
    known = ", ".join(data.scenarios)
    known_scenarios(flags.scenarios, data.scenarios)
    for number, name in enumerate(manifest.scenarios):
        if name not in data.scenarios:
            place = manifest.where(f"scenarios[{number}]")
            raise UserError(f"{place}: unknown scenario {name!r}", f"known: {known}")
    chosen = _chosen(flags.scenarios, manifest.scenarios, "scenario")
    left_out = () if flags.scenarios else data.profile.leaves_out
    not_tested += _not_asked_for(chosen, manifest.scenarios, "scenario")
    for name in chosen:
        if name in left_out:
            why = f"profile {data.profile_name} leaves it out; --scenario {name} asks for it"
            not_tested.append((f"scenario {name}", why))
    return tuple(name for name in chosen if name not in left_out)


def _chosen(
    wanted: Sequence[str], allowed: Sequence[str], what: str, where: str = "in this series"
) -> tuple[str, ...]:
    for name in wanted:
        if name not in allowed:
            raise UserError(f"there is no {what} {name!r} {where}", f"known: {', '.join(allowed)}")
    return tuple(dict.fromkeys(wanted or allowed))


def _not_asked_for(
    chosen: Sequence[str], allowed: Sequence[str], what: str
) -> Iterator[tuple[str, str]]:
    """Yield what was allowed and is not tested, for flags narrowed it away."""
    for name in dict.fromkeys(allowed):
        if name not in chosen:
            yield f"{what} {name}", "not asked for"


def shifted(features: Sequence[Feature], plants: Sequence[Plant]) -> tuple[Feature, ...]:
    """Return the features with their points counted in the planted series."""
    return tuple(
        replace(
            feature,
            introduced_by=feature.introduced_by
            + sum(plant.at < feature.introduced_by for plant in plants),
        )
        for feature in features
    )


# What a point may be expected to have.


def expected_symbols(features: Sequence[Feature], point: int, config: Config) -> tuple[Symbol, ...]:
    """Return the symbols that a point's .config must have for the features it brings."""
    return tuple(
        Symbol(feature.kconfig, "y", f"feature {feature.name}")
        for feature in features
        if point >= feature.introduced_by and not _unsupported(feature, config)
    )


def _unsupported(feature: Feature, config: Config) -> bool:
    return any(
        symbol.name in feature.unsupported_with and symbol.value == "y" for symbol in config.symbols
    )


def feature_state(features: Sequence[Feature], point: int, symbols: Sequence[str]) -> FeatureState:
    """Return what may be expected of a kernel with these symbols (the y ones of its .config).

    A manifest without features says nothing, so the kernel's own configuration speaks.
    """
    if not features:
        return FeatureState.PRESENT if "OPTPROBES" in symbols else FeatureState.ABSENT
    if any(point < feature.introduced_by for feature in features):
        return FeatureState.ABSENT
    if any(set(feature.unsupported_with) & set(symbols) for feature in features):
        return FeatureState.UNSUPPORTED
    return FeatureState.PRESENT


def skip_reason(
    scenario: Scenario,
    arch: str,
    clock: Clock,
    node: NodeData,
    symbols: Sequence[str],
    tools: Container[str] = (),
) -> str | None:
    """Return why a scenario does not apply to a kernel on a node; None when it does.

    ``tools`` are the programs that the host has for guests.
    """
    if missing := [name for name in scenario.needs.kernel if name not in symbols]:
        return f"the kernel has no {', '.join(missing)}"
    if missing := [name for name in scenario.needs.node if name not in node.node.capabilities]:
        return f"not observable here: the node has no {', '.join(missing)}"
    if scenario.run.startswith("sh:") and arch != SHELL_ARCH:
        return f"not observable here: the payload of {arch} has no shell"
    if missing := [name for name in scenario.tools if name not in tools]:
        packages = " ".join(PACKAGES[name] for name in missing)
        return f"this host has no {', '.join(missing)}: apt install {packages}"
    cpus = 1 if clock is Clock.ICOUNT else node.cpus
    if scenario.smp > cpus:
        return f"not observable here: it needs {scenario.smp} CPUs, the boot has {cpus}"
    return None


def canary_skip(request: Request, point: int, node: NodeData) -> str | None:
    """Return why a canary can't be seen on a node; None when it can, and for all other points."""
    if not request.canaries or point == 0:
        return None
    missing = set(request.canaries[point - 1].needs) - node.node.capabilities
    return f"not observable here: the node has no {', '.join(sorted(missing))}" if missing else None


def seconds(request: Request, patches: int, profile: Profile) -> float:
    """Return how long a run should take without anything reused, in seconds on two cores."""
    known = profile.estimates
    build = known.base + patches * known.point
    boots = (patches + 1) * len(profile.clocks) * known.boot
    booted = sum(cell.boots for cell in request.cells)
    return known.prepare + len(request.cells) * build + booted * boots


def subjects(manifest: Manifest, tree: Path | None) -> tuple[str, ...]:
    """Return the subjects of a series' patches, read without importing anything.

    Raises SeriesError when the patches can't be read.
    """
    known = sources.subjects(manifest.patches.source, manifest.patches.path)
    if known is not None:
        return known
    content = read_series(manifest, run_tool, repository=tree)
    return tuple(patch.subject for patch in content.patches)


def patches(manifest: Manifest, request: Request) -> int:
    """Return how many points a submission has beside its base: what is planted counts too.

    Raises SeriesError when the patches can't be read.
    """
    if request.canaries:
        return len(request.canaries)
    return len(subjects(manifest, request.tree)) + len(request.plants)
