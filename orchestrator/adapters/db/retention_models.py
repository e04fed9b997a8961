"""Tables of retention: policies, what was cleared, the daily reports."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Double, Integer, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import Base


class RetentionPolicyRow(Base):
    __tablename__ = "retention_policies"

    policy_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    kind: Mapped[str] = mapped_column(String(31))
    country: Mapped[str | None] = mapped_column(String(2))
    queue_id: Mapped[str | None] = mapped_column(String(63))
    keep_days: Mapped[float] = mapped_column(Double)
    why: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=true())
    created_at: Mapped[float] = mapped_column(Double)


class ClearedCallRow(Base):
    """A call whose record (``cdr``) or evidence (``consent_evidence``) has lost what is of a person, its time being
    over."""

    __tablename__ = "cleared_calls"

    call_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str] = mapped_column(String(31), primary_key=True)
    at: Mapped[float] = mapped_column(Double)


class RetentionRunRow(Base):
    __tablename__ = "retention_runs"

    run_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    began_at: Mapped[float] = mapped_column(Double, index=True)
    ended_at: Mapped[float] = mapped_column(Double)
    erased: Mapped[bool] = mapped_column(Boolean)
    """False: it only looked."""
    alarms: Mapped[int] = mapped_column(Integer)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
