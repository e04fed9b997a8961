"""All projections again, from the events alone: ``callplane centre rebuild``.

It may run beside a working centre. Agents and sums are each made in one transaction, during which new events wait on
the bus; calls are made anew a few hundred at a time, in between new events go on. Until the sums are done, reports may
be off for calls whose rows were wrong before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import CallbackRow, VoicemailRow
from orchestrator.adapters.db.report_models import FACTS
from orchestrator.services import agent_times, callbacks, records, report_sums
from orchestrator.services.agent_times import NOW, STATES, Fold
from orchestrator.services.records import CALLS, CHUNK, EVENTS, RECORDINGS
from orchestrator.services.report_sums import Deltas

PAGE = 10_000


@dataclass(slots=True)
class Rebuilt:
    calls: int = 0
    agents: int = 0
    intervals: int = 0


async def rebuild(database: Database, told: Callable[[str], None] = lambda line: None) -> Rebuilt:
    """``told`` hears of each stage."""
    done = Rebuilt()
    async with database.write(projections=True) as session:
        await _agents(session, done)
    told(f"{done.agents} agents, {done.intervals} intervals")
    async with database.write(projections=True) as session:
        await session.execute(delete(CallbackRow))
        async for page in _events(session, callbacks.KINDS):
            await callbacks.project(session, page)
    await _calls(database, done)
    told(f"{done.calls} calls")
    async with database.write(projections=True) as session:
        await report_sums.from_facts(session)
        await add_agents_time(session)
    return done


async def _agents(session: AsyncSession, done: Rebuilt) -> None:
    await session.execute(delete(STATES))
    await session.execute(delete(NOW))
    fold, unused = Fold(), Deltas()
    async for page in _events(session, agent_times.KINDS):
        for row in page:
            event = agent_times.read(row)
            if event is not None:
                fold.take(row, event)
        done.intervals += len(fold.ended)
        await agent_times.store(session, fold, unused)
        fold.ended.clear()
        fold.claimed.clear()
        unused.sums.clear()
    done.agents = len(fold.now)


async def _events(session: AsyncSession, kinds: Collection[str]) -> AsyncIterator[list[dict[str, Any]]]:
    """In the order in which they were stored, which is that of each POP's journal."""
    after = 0
    chosen = select(EVENTS).where(EVENTS.c.kind.in_(kinds)).order_by(EVENTS.c.id).limit(PAGE)
    while True:
        found = await session.execute(chosen.where(EVENTS.c.id > after))
        page: list[dict[str, Any]] = [dict(row) for row in found.mappings()]
        if not page:
            return
        after = page[-1]["id"]
        yield page


async def _calls(database: Database, done: Rebuilt) -> None:
    after = ""
    names = select(EVENTS.c.call_id, EVENTS.c.pop_id).distinct().order_by(EVENTS.c.call_id).limit(CHUNK)
    while True:
        async with database.write(projections=True) as session:
            found = [
                (pop_id, call_id) for call_id, pop_id in await session.execute(names.where(EVENTS.c.call_id > after))
            ]
            if not found:
                break
            await records.project(session, found, (), Deltas(), anew=True)
        after, done.calls = found[-1][1], done.calls + len(found)
    async with database.write(projections=True) as session:
        for table in (CALLS, RECORDINGS, FACTS, VoicemailRow.__table__):
            lost = ~exists().where(EVENTS.c.call_id == table.c.call_id)
            await session.execute(delete(table).where(lost))  # type: ignore[arg-type]


async def add_agents_time(session: AsyncSession) -> None:
    key = STATES.c.agent_id, STATES.c.journal_id, STATES.c.seq
    stream = await session.stream(select(STATES).order_by(*key).execution_options(yield_per=PAGE))
    deltas = Deltas()
    async for page in stream.mappings().partitions():
        for interval in page:
            agent_times.count(dict(interval), deltas)
        await deltas.store(session)
