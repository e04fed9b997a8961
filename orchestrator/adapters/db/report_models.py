"""Tables that reports are read from: projections of the events, made again by ``callplane centre rebuild``.

Durations are whole milliseconds: sums of them do not depend on the order in which they were made.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, String, Table, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import Base
from orchestrator.domain.report_facts import AGENT_MEASURES, MEASURES


class AgentNowRow(Base):
    """The last change of each agent: what is going on, and where the next interval begins."""

    __tablename__ = "agents_now"

    agent_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31))
    journal_id: Mapped[str] = mapped_column(String(26))
    seq: Mapped[int] = mapped_column(BigInteger)
    """Of the last event in it: what comes again is passed over."""
    status: Mapped[str | None] = mapped_column(String(15))
    reason: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str | None] = mapped_column(String(15))
    since: Mapped[float | None] = mapped_column(Double)
    call_id: Mapped[str | None] = mapped_column(String(26))
    """Of the last conversation that began; so is ``queue_id``."""
    queue_id: Mapped[str | None] = mapped_column(String(63))
    unclaimed: Mapped[str | None] = mapped_column(Text)
    """Intervals, ready or ringing, that have led to no conversation yet: rows of ``agent_states`` as JSON."""


class AgentStateRow(Base):
    """One interval of an agent's time, over; ``journal_id`` and ``seq`` are those of the change that ended it."""

    __tablename__ = "agent_states"
    __table_args__ = (Index(None, "agent_id", "began_at"), Index(None, "call_id"))

    agent_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    journal_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    pop_id: Mapped[str] = mapped_column(String(31))
    began_at: Mapped[float] = mapped_column(Double)
    ended_at: Mapped[float] = mapped_column(Double)
    status: Mapped[str] = mapped_column(String(15))
    reason: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(15))
    call_id: Mapped[str | None] = mapped_column(String(26))
    """Of a conversation (ON_CALL) or the wrap-up after it."""
    queue_id: Mapped[str | None] = mapped_column(String(63))
    """Of a conversation, the wrap-up after it, and the time ready or ringing that led to it."""


def _measures(names: tuple[str, ...], kind: type[Integer] | type[BigInteger]) -> list[Column[int]]:
    return [Column(name, kind, nullable=False, server_default="0") for name in names]


FACTS = Table(
    "report_facts",
    Base.metadata,
    Column("call_id", String(26), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("pop_id", String(31), nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("entered_at", Double, nullable=False),
    Column("queue_id", String(63)),
    Column("agent_id", String(26)),
    Column("did", String(16)),
    Column("country", String(2)),
    Column("number", String(64)),
    Column("inbound", Boolean, nullable=False),
    *_measures(MEASURES, Integer),
    Index(None, "queue_id", "start_at"),
    Index(None, "agent_id", "start_at"),
    Index(None, "number", "entered_at"),
    Index(None, "start_at"),
)
"""What a call counts for (``orchestrator.domain.report_facts``): row 0, and one for each further part. ``start_at`` is
the quarter of an hour in which it counts; ``number`` the caller's, or its keyed hash, in row 0 only."""

SUMS = Table(
    "report_sums",
    Base.metadata,
    Column("dimension", String(15), primary_key=True),
    Column("value", String(63), primary_key=True),
    Column("span", Integer, primary_key=True),
    Column("start_at", BigInteger, primary_key=True),
    *_measures((*MEASURES, *AGENT_MEASURES), BigInteger),
    Index(None, "dimension", "span", "start_at"),
)
"""Sums of facts, and of agents' time, over a ``span`` of 900 s (a quarter of an hour) or 86400 s (a day of UTC) from
``start_at``, for one value of one dimension; ``all`` has one value, the empty one."""
