"""What the present caller sees: conditions on queries, by the grants that count in the route.

Lists (``paging.page``) are limited by themselves; what a request names is looked up with ``get``. Both see everything
when the centre itself asks, or a grant without limits counts. What rules between nouns need to know (is the extension
free? who uses this queue?) is asked of the session directly, over everybody's rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, inspect, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from orchestrator.adapters.db.access_models import CallUnitRow, UnitRow
from orchestrator.adapters.db.models import (
    AgentRow,
    CallbackRow,
    CallRow,
    ConsentPolicyRow,
    DeliveryRow,
    DidRow,
    ErasureRow,
    EventRow,
    FlowDraftRow,
    FlowRow,
    FlowVersionRow,
    HoldRow,
    MinorMarkRow,
    PopRow,
    PromptVersionRow,
    QueueRow,
    RecordingRow,
    RegionRow,
    ScheduleRow,
    SkillRow,
    TrunkRow,
    VoicemailRow,
    WebhookRow,
)
from orchestrator.domain.grants import Grant, current

Row = TypeVar("Row")
Condition = ColumnElement[bool]
_Column = InstrumentedAttribute[str] | InstrumentedAttribute[str | None]


def _units(column: _Column, grant: Grant) -> Condition:
    return true() if grant.units is None else column.in_(sorted(grant.units))


def _regions(pop_id: _Column, grant: Grant) -> Condition:
    if grant.regions is None:
        return true()
    return pop_id.in_(select(PopRow.pop_id).where(PopRow.region.in_(sorted(grant.regions))))


def _of_call(call_id: _Column, grant: Grant) -> Condition:
    if grant.units is None:
        return true()
    return call_id.in_(select(CallUnitRow.call_id).where(CallUnitRow.unit_id.in_(sorted(grant.units))))


def _placed(row: Any) -> Callable[[Grant], Condition]:
    """Of nouns with a unit and a POP."""
    return lambda grant: and_(_units(row.unit_id, grant), _regions(row.pop_id, grant))


def _spoken(row: Any) -> Callable[[Grant], Condition]:
    """Of what a call left behind."""
    return lambda grant: and_(_of_call(row.call_id, grant), _regions(row.pop_id, grant))


def _flow(row: Any) -> Callable[[Grant], Condition]:
    return lambda grant: row.flow_id.in_(select(FlowRow.flow_id).where(_units(FlowRow.unit_id, grant)))


def _callback(grant: Grant) -> Condition:
    if grant.units is None:
        return _regions(CallbackRow.pop_id, grant)
    queues = select(QueueRow.queue_id)
    units = or_(
        CallbackRow.queue_id.in_(queues.where(_units(QueueRow.unit_id, grant))),
        and_(
            CallbackRow.queue_id.not_in(queues.where(QueueRow.unit_id.is_not(None))),
            CallbackRow.did.in_(select(DidRow.number).where(_units(DidRow.unit_id, grant))),
        ),
    )
    return and_(units, _regions(CallbackRow.pop_id, grant))


def _webhook(grant: Grant) -> Condition:
    """What is sent is of every region."""
    return _units(WebhookRow.unit_id, grant) if grant.regions is None else false()


def _shared(_grant: Grant) -> Condition:
    """Of nouns that units and regions have in common: whoever configures may name them."""
    return true()


_WITHIN: dict[type[Any], Callable[[Grant], Condition]] = {
    UnitRow: lambda grant: _units(UnitRow.unit_id, grant),
    PopRow: lambda grant: true() if grant.regions is None else PopRow.region.in_(sorted(grant.regions)),
    QueueRow: lambda grant: _units(QueueRow.unit_id, grant),
    FlowRow: lambda grant: _units(FlowRow.unit_id, grant),
    FlowVersionRow: _flow(FlowVersionRow),
    FlowDraftRow: lambda grant: _units(FlowDraftRow.unit_id, grant),
    DidRow: _placed(DidRow),
    AgentRow: _placed(AgentRow),
    CallRow: _spoken(CallRow),
    RecordingRow: _spoken(RecordingRow),
    VoicemailRow: _spoken(VoicemailRow),
    EventRow: _spoken(EventRow),
    CallbackRow: _callback,
    TrunkRow: lambda grant: _regions(TrunkRow.pop_id, grant),
    RegionRow: _shared,
    SkillRow: _shared,
    ScheduleRow: _shared,
    ConsentPolicyRow: _shared,
    PromptVersionRow: _shared,
    WebhookRow: _webhook,
    HoldRow: _spoken(HoldRow),
    MinorMarkRow: _spoken(MinorMarkRow),
    ErasureRow: lambda _grant: ErasureRow.caller_id == (current().user_id or current().caller_id),
    DeliveryRow: lambda grant: DeliveryRow.webhook_id.in_(select(WebhookRow.webhook_id).where(_webhook(grant))),
}
_OWN: dict[type[Any], Callable[[str], Condition]] = {
    AgentRow: lambda agent_id: AgentRow.agent_id == agent_id,
    CallRow: lambda agent_id: CallRow.agent_id == agent_id,
}
"""What an agent sees."""


def _same_unit(column: _Column, agent_id: str) -> Condition:
    own = select(AgentRow.unit_id).where(AgentRow.agent_id == agent_id).scalar_subquery()
    return column.is_not_distinct_from(own)


_NEAR: dict[type[Any], Callable[[str], Condition]] = {
    AgentRow: lambda agent_id: _same_unit(AgentRow.unit_id, agent_id),
    QueueRow: lambda agent_id: _same_unit(QueueRow.unit_id, agent_id),
    DidRow: lambda agent_id: _same_unit(DidRow.unit_id, agent_id),
    PopRow: lambda agent_id: (
        PopRow.pop_id == select(AgentRow.pop_id).where(AgentRow.agent_id == agent_id).scalar_subquery()
    ),
}
"""What an agent may name without seeing it: those of the own unit."""


def within(entity: type[Any], *, named: bool = False) -> Condition | None:
    """The condition of the rows that the caller sees; None: all. ``named``: or may name, to hand a call to."""
    caller = current()
    if caller.whole:
        return None
    rule = _WITHIN.get(entity)
    if rule is None:
        raise LookupError(f"{entity.__name__} has no rule of scope")  # fails closed: nobody with limits sees it
    parts: list[Condition] = []
    for grant in caller.grants:
        if grant.agent_id is None:
            parts.append(rule(grant))
        elif (own := (_NEAR if named else _OWN).get(entity)) is not None:
            parts.append(own(grant.agent_id))
    return or_(false(), *parts)


def limited(statement: Select[Any]) -> Select[Any]:
    """``statement`` over the rows that the caller sees of its first entity."""
    entity = statement.column_descriptions[0]["entity"]
    condition = within(entity)
    return statement if condition is None else statement.where(condition)


async def get(
    session: AsyncSession, entity: type[Row], key: Any, *, named: bool = False, to_change: bool = False
) -> Row | None:
    """The row under its primary key, or None where there is none that the caller sees."""
    row = await session.get(entity, key, with_for_update=to_change or None)
    return row if row is not None and await sees(session, entity, key, named=named) else None


async def sees(session: AsyncSession, entity: type[Any], key: Any, *, named: bool = False) -> bool:
    condition = within(entity, named=named)
    if condition is None:
        return True
    columns = inspect(entity).primary_key
    keys = key if isinstance(key, tuple) else (key,)
    same = and_(*(column == value for column, value in zip(columns, keys, strict=True)))
    found = await session.execute(select(columns[0]).select_from(entity).where(same, condition))
    return found.first() is not None


def nothing_outside() -> bool:
    """Whether the caller sees everything there is."""
    return current().whole
