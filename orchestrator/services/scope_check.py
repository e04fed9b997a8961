"""What the present caller may write, asked of every row before it is written: a service that forgets to ask changes
nothing outside of its caller's scope."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from orchestrator.adapters.db.models import (
    AgentRow,
    DidRow,
    FlowDraftRow,
    FlowRow,
    FlowVersionRow,
    PopRow,
    QueueRow,
    WebhookRow,
)
from orchestrator.domain.grants import Caller, Grant, current
from orchestrator.domain.problems import Forbidden, one

_FREE = frozenset(
    {
        "config_outbox",
        "pop_revisions",
        "voicemails",
        "webhook_deliveries",
        "idempotent_requests",
        "audit_log",
        "audit_head",
        "erasures",
        "erased_numbers",
        "legal_holds",
        "minor_marks",
        "corrections",
    }
)
"""Written on the way, or found by a look-up that asked for the scope."""


def before_flush(session: Session, _context: Any, _instances: Any) -> None:
    caller = current()
    if caller.whole:
        return
    with session.no_autoflush:
        for row in (*session.new, *session.dirty, *session.deleted):
            if session.is_modified(row) or row in session.deleted:
                _check(session, caller, row)


def _values(row: Any, name: str) -> set[Any]:
    """What the column was and what it will be."""
    history = inspect(row).attrs[name].history
    return {*(history.deleted or ()), getattr(row, name)}


def _check(session: Session, caller: Caller, row: Any) -> None:
    match row:
        case PopRow():
            _require(caller, {None}, _values(row, "region"), everything="unit")
        case QueueRow() | FlowRow() | FlowDraftRow() | WebhookRow():
            _require(caller, _values(row, "unit_id"), set(), everything="region")
        case FlowVersionRow():
            unit = session.scalar(select(FlowRow.unit_id).where(FlowRow.flow_id == row.flow_id))
            _require(caller, {unit}, set(), everything="region")
        case DidRow() | AgentRow():
            sites = _values(row, "pop_id")
            regions = set(session.scalars(select(PopRow.region).where(PopRow.pop_id.in_(sites))))
            _require(caller, _values(row, "unit_id"), regions)
        case _ if row.__tablename__ in _FREE:
            return
        case _:  # a noun that nobody gave a rule here belongs to everybody
            raise Forbidden("needs a grant for all units and regions")


def _require(caller: Caller, units: set[Any], regions: set[Any], everything: str | None = None) -> None:
    """One of the grants must cover all of them; where the thing is for every unit or region, that one without limit."""
    suitable: list[Grant] = []
    for grant in caller.grants:
        limit = {"unit": grant.units, "region": grant.regions, None: None}[everything]
        if limit is None:
            suitable.append(grant)
    if not suitable:
        raise Forbidden(f"it is for every {everything}, and needs a grant for all of them")
    within_units = [g for g in suitable if everything == "unit" or all(map(g.covers_unit, units))]
    if not within_units:
        raise one("unit_id", "is none of the units that you may change")
    if not any(all(map(grant.covers_region, regions)) for grant in within_units):
        raise Forbidden("it is in a region that you may not change")
