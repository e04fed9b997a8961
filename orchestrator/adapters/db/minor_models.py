"""Tables of marks: what is of a minor."""

from __future__ import annotations

from sqlalchemy import Double, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import Base


class MinorMarkRow(Base):
    __tablename__ = "minor_marks"

    mark_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    kind: Mapped[str] = mapped_column(String(15))
    """``number``: all calls with it, also later ones; ``call``, ``recording``."""
    digest: Mapped[str | None] = mapped_column(String(64), index=True)
    number: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed under the centre's key."""
    call_id: Mapped[str | None] = mapped_column(String(26), index=True)
    recording_id: Mapped[str | None] = mapped_column(String(26), index=True)
    pop_id: Mapped[str | None] = mapped_column(String(31))
    why: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Double)
    created_by: Mapped[str] = mapped_column(String(200))


class ProtectedRecordingRow(Base):
    """A recording that its POP holds under the key of minors; or does not, and why."""

    __tablename__ = "protected_recordings"

    recording_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    at: Mapped[float | None] = mapped_column(Double)
    """None: not yet."""
    why: Mapped[str | None] = mapped_column(String(63))
