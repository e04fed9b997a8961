"""Tables of webhooks and of what is sent to them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.adapters.db.base import SERIAL, Base


class WebhookRow(Base):
    __tablename__ = "webhooks"

    webhook_id: Mapped[str] = mapped_column(String(26), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]] = mapped_column(JSON)
    """Names of kinds; ``*``: all."""
    description: Mapped[str] = mapped_column(String(1000))
    active: Mapped[bool] = mapped_column()
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed under the centre's key: deliveries are signed with it."""
    former_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Signs beside the other until ``former_until``."""
    former_until: Mapped[float | None] = mapped_column(Double)
    unit_id: Mapped[str | None] = mapped_column(String(31))
    """Whose events it gets; NULL: everybody's."""
    listens: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """Who configured it last sees recordings and voicemails, so that it gets events of them."""
    stopped_at: Mapped[float | None] = mapped_column(Double)
    stopped_why: Mapped[str | None] = mapped_column(String(31))
    """``gone``: the target answered 410, and the centre made it inactive."""
    created_at: Mapped[float] = mapped_column(Double)


class DeliveryRow(Base):
    """One message for one webhook, in the order of ``id``; made in the transaction that makes what it tells."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "message_id"),
        Index(None, "webhook_id", "state", "next_at"),
        Index(None, "webhook_id", "subject", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.webhook_id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(String(26))
    """The same for every webhook that gets the event, and however often it is sent."""
    kind: Mapped[str] = mapped_column(String(63))
    subject: Mapped[str] = mapped_column(String(31))
    """Id of the call, callback or agent; of one subject each message waits for the one before."""
    at: Mapped[float] = mapped_column(Double)
    """When it happened."""
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(15))
    """``waiting``, ``delivered``, ``dead``."""
    made_at: Mapped[float] = mapped_column(Double)
    since: Mapped[float] = mapped_column(Double)
    """When it was first due, or due again because somebody asked: a day later it is given up."""
    next_at: Mapped[float | None] = mapped_column(Double)
    """Not before; NULL when it does not wait."""
    attempts: Mapped[int] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    """Of HTTP, of the last attempt."""
    error: Mapped[str | None] = mapped_column(String(31))
    """Of the last attempt; NULL: it was taken."""
    attempted_at: Mapped[float | None] = mapped_column(Double)
    took_ms: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[float | None] = mapped_column(Double, index=True)
    """When it was delivered or given up."""
