"""What happened, as far as a webhook is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.domain.webhook_kinds import Kind
from pbx.domain.event_base import Event
from pbx.domain.ids import derive

_LAST = float((1 << 48) // 1000 - 1)
"""Seconds that a ULID can tell."""


@dataclass(frozen=True, slots=True)
class Happened:
    kind: Kind
    message_id: str
    """Made from the event's identity: the same whenever it is told."""
    pop_id: str
    subject: str
    """Id of the call, callback or agent."""
    event: Event
    row: Any
    """What it is about, as the database has it now; None for agents, of which the event says all."""


def message_id(at: float, pop_id: str, journal_id: str, seq: int) -> str:
    return derive(min(max(at, 0.0), _LAST), "webhook", pop_id, journal_id, seq)
