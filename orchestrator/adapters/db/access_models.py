"""Tables of who may do what, and of who did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Double, Index, Integer, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.models import Base


class UnitRow(Base):
    """A business unit; queues, agents, DIDs and flows belong to one, or to none."""

    __tablename__ = "units"

    unit_id: Mapped[str] = mapped_column(String(31), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float] = mapped_column(Double)


class UserRow(Base):
    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    login: Mapped[str] = mapped_column(String(200), unique=True)
    """What is typed; of who comes from a provider, ``oidc:`` and a hash of issuer and subject."""
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(Text)
    """Argon2id, in its own notation; NULL: this user comes from a provider."""
    grants: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    disabled: Mapped[bool] = mapped_column(Boolean, server_default=false())
    created_at: Mapped[float] = mapped_column(Double)


class CallUnitRow(Base):
    """Which unit a call belongs to: that of the queue it is or was last in, else that of its DID. Kept from when it
    got there: no projection, and a queue that moves to another unit later does not take its past along."""

    __tablename__ = "call_units"
    __table_args__ = (Index(None, "unit_id", "call_id"),)

    call_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    unit_id: Mapped[str | None] = mapped_column(String(31))
    origin: Mapped[str] = mapped_column(String(81))
    """Queue and DID that it has the unit from, with a stroke between."""


class AuditRow(Base):
    """One link of the chain; ``services/audit_chain.py`` says what ``hash`` is of. Nothing in it is ever changed."""

    __tablename__ = "audit_log"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(Double)
    caller_id: Mapped[str] = mapped_column(String(26), index=True)
    caller: Mapped[str] = mapped_column(String(200))
    source: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(63), index=True)
    thing: Mapped[str] = mapped_column(String(300))
    purpose: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(63))
    changes: Mapped[list[str]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """The end of the chain. Who adds a link locks it, so that the chain has one end."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
