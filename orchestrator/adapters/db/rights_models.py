"""Tables of the rights of persons: erasures, legal holds, corrections. Numbers stand in none of them in the clear."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Double, ForeignKey, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import Base


class ErasureRow(Base):
    """A number that is to be erased, or was."""

    __tablename__ = "erasures"

    erasure_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    """Keyed hash of the number in E.164."""
    number: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed under the centre's key; NULL as soon as nothing is left to be done."""
    grants: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """Of who asked: the scope of it."""
    requested_at: Mapped[float] = mapped_column(Double)
    """Later facts are another processing."""
    requested_by: Mapped[str] = mapped_column(String(200))
    caller_id: Mapped[str] = mapped_column(String(26))
    """The user's id, of a program its token's."""
    purpose: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(15), index=True)
    """``running``; ``held``: done, but for what a legal hold keeps; ``done``."""
    holds: Mapped[list[str]] = mapped_column(JSON)
    """Ids of the legal holds on the whole number that kept it."""
    completed_at: Mapped[float | None] = mapped_column(Double)
    issued: Mapped[int] = mapped_column(Integer)
    """How many certificates were."""
    certificate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The newest, with its signature."""


class ErasureStepRow(Base):
    """One thing of an erasure, whose state is kept in the transaction that changes the thing."""

    __tablename__ = "erasure_steps"

    erasure_id: Mapped[str] = mapped_column(ForeignKey("erasures.erasure_id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(15), primary_key=True)
    """``recording``, ``call``, ``callback``, ``pop``, ``deliveries``, ``batches``."""
    thing: Mapped[str] = mapped_column(String(31), primary_key=True)
    """Its id."""
    pop_id: Mapped[str | None] = mapped_column(String(31))
    call_id: Mapped[str | None] = mapped_column(String(26), index=True)
    state: Mapped[str] = mapped_column(String(15))
    """``pending``, ``done``, ``held``; ``lost``: its POP is no more."""
    why: Mapped[str | None] = mapped_column(String(63))
    """What a pending one waits for (``pop_unreachable``, ``live``); the hold of a held one."""
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[float] = mapped_column(Double)


class ErasedNumberRow(Base):
    """How the numbers of erasures may be written: what still comes in of them is erased on its way."""

    __tablename__ = "erased_numbers"

    erasure_id: Mapped[str] = mapped_column(ForeignKey("erasures.erasure_id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    before: Mapped[float] = mapped_column(Double, index=True)


class HoldRow(Base):
    """A legal hold. Nothing it names is erased before it is lifted or over."""

    __tablename__ = "legal_holds"

    hold_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str] = mapped_column(String(15))
    """``number``, ``call``, ``recording``."""
    digest: Mapped[str | None] = mapped_column(String(64), index=True)
    """Keyed hash of the number."""
    number: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed under the centre's key."""
    call_id: Mapped[str | None] = mapped_column(String(26), index=True)
    """Of a recording, that of its call."""
    recording_id: Mapped[str | None] = mapped_column(String(26))
    pop_id: Mapped[str | None] = mapped_column(String(31))
    reason: Mapped[str] = mapped_column(Text)
    authority: Mapped[str] = mapped_column(String(200))
    """Who demands it."""
    until: Mapped[float | None] = mapped_column(Double)
    """None: until it is lifted."""
    created_at: Mapped[float] = mapped_column(Double)
    created_by: Mapped[str] = mapped_column(String(200))
    lifted_at: Mapped[float | None] = mapped_column(Double)
    lifted_by: Mapped[str | None] = mapped_column(String(200))
    lifted_why: Mapped[str | None] = mapped_column(Text)


class CorrectionRow(Base):
    """What is right of a call, where its events say something wrong or nothing (GDPR Art. 16). It outlasts a new
    projection, like all that people did."""

    __tablename__ = "corrections"

    call_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    number: Mapped[str | None] = mapped_column(String(16), index=True)
    """Whom the call was with, instead of what the carrier said."""
    name: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str | None] = mapped_column(Text)
    corrected_at: Mapped[float] = mapped_column(Double)
    corrected_by: Mapped[str] = mapped_column(String(200))
