# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables. Times are seconds since the epoch by the database's clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA = "0004"
"""The newest revision of migrations/versions, which makes these tables."""


class Base(DeclarativeBase):
    """Common base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 (SQLAlchemy's)


class RunRow(Base):
    """One submission. ``request`` is what was asked for, as the planner reads it.

    ``alive_until``: as long as somebody works on the run, this is put off again and again.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    version: Mapped[int | None]
    request: Mapped[dict[str, Any]]
    state: Mapped[str]
    base: Mapped[str | None]
    verdict: Mapped[str | None]
    reason: Mapped[str | None]
    created: Mapped[float]
    finished: Mapped[float | None]
    alive_until: Mapped[float | None]
    points: Mapped[list[PointRow]] = relationship(order_by="PointRow.index")
    builds: Mapped[list[BuildRow]] = relationship(order_by="BuildRow.id")


class PointRow(Base):
    """One place in a run's series. ``remarks`` are Remarks, None when it was not checked."""

    __tablename__ = "points"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str]
    author: Mapped[str]
    commit: Mapped[str | None]
    tree: Mapped[str | None]
    chain: Mapped[str | None]
    reason: Mapped[str | None]
    parent: Mapped[int | None]
    remarks: Mapped[list[Any] | None]


class BuildRow(Base):
    """One point in one cell. ``result`` is a BuildResult, None while it is not done."""

    __tablename__ = "builds"
    __table_args__ = (UniqueConstraint("run_id", "point", "arch", "config", "toolchain"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    point: Mapped[int]
    arch: Mapped[str]
    config: Mapped[str]
    toolchain: Mapped[str]
    result: Mapped[dict[str, Any] | None]
    log: Mapped[str]
    tests: Mapped[list[TestRow]] = relationship(order_by="TestRow.position")


class TestRow(Base):
    """One scenario on one build, made when the build is done."""

    __test__ = False
    __tablename__ = "tests"
    __table_args__ = (Index("tests_by_reuse", "reuse"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    build_id: Mapped[int] = mapped_column(ForeignKey("builds.id"))
    position: Mapped[int]
    scenario: Mapped[str]
    node: Mapped[str]
    clock: Mapped[str]
    seed: Mapped[int]
    skip: Mapped[str | None]
    state: Mapped[str]
    reuse: Mapped[str]
    inherited_from: Mapped[str | None] = mapped_column(ForeignKey("tests.id"))
    observations: Mapped[list[ObservationRow]] = relationship(order_by="ObservationRow.id")


class ObservationRow(Base):
    """One scenario in one boot. ``seen`` is an Observation."""

    __tablename__ = "observations"

    id: Mapped[int] = mapped_column(primary_key=True)
    test_id: Mapped[str] = mapped_column(ForeignKey("tests.id"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    seen: Mapped[dict[str, Any]]


class JobRow(Base):
    """One unit of work of a run, and who holds it.

    ``state`` is ready, waiting (for the job before it in its lane), running, done, failed or
    cancelled. ``fence`` grows with each claim: who writes with an older one is refused. ``slot``
    names the resource that a running job takes up.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_state", "state", "run_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    state: Mapped[str]
    slot: Mapped[str]
    priority: Mapped[int]
    spec: Mapped[dict[str, Any]]
    lane: Mapped[str | None]
    holder: Mapped[str | None]
    fence: Mapped[int]
    lease_until: Mapped[float | None]
    tries: Mapped[int]


class AttemptRow(Base):
    """One try at a job; all are kept. ``steps`` are Steps, where its stage came to an end."""

    __tablename__ = "attempts"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]
    started: Mapped[float]
    ended: Mapped[float | None]
    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    steps: Mapped[list[Any] | None]


class SlotRow(Base):
    """How many jobs may take up a resource at once, over all runs that share the database."""

    __tablename__ = "slots"

    name: Mapped[str] = mapped_column(primary_key=True)
    capacity: Mapped[int]
