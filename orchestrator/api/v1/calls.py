"""/api/v1/calls: the records of calls, and what can be done to a live one."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import CallRow
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Call, PageOf, PageQuery, Wait, call_of, page_of, wait_of
from orchestrator.domain.problems import NotFound
from orchestrator.domain.resources import Strict
from orchestrator.services import commands
from orchestrator.services.context import Services
from orchestrator.services.paging import page
from pbx.wire.messages import ExplainWait, HangUpCall, StopCallRecording


class CallQuery(PageQuery):
    pop_id: str | None = Field(default=None, max_length=31)
    queue_id: str | None = Field(default=None, max_length=63)
    agent_id: str | None = Field(default=None, max_length=26)
    did: str | None = Field(default=None, max_length=16)
    live: bool | None = None
    """true: only calls that have not ended; false: only those that have."""


async def _get(session: AsyncSession, call_id: str) -> CallRow:
    row = await session.get(CallRow, call_id)
    if row is None:
        raise NotFound("call", call_id)
    return row


async def find(services: Services, query: CallQuery) -> PageOf[Call]:
    """List calls, newest first."""
    statement = select(CallRow)
    for name in ("pop_id", "queue_id", "agent_id", "did"):
        if (value := getattr(query, name)) is not None:
            statement = statement.where(getattr(CallRow, name) == value)
    if query.live is not None:
        statement = statement.where(CallRow.ended_at.is_(None) if query.live else CallRow.ended_at.is_not(None))
    async with services.database.read() as session:
        return page_of(await page(session, statement, CallRow.call_id, query.page(), newest_first=True), call_of)


async def get(services: Services, call_id: str) -> Call:
    """One call's record, with offers, consent evidence and recordings."""
    async with services.database.read() as session:
        return call_of(await _get(session, call_id))


class WaitQuery(Strict):
    agent_id: str | None = Field(default=None, max_length=26)
    """Also say why this agent has not been offered the call."""


async def explain_wait(services: Services, call_id: str, query: WaitQuery) -> Wait:
    """Why a waiting call still waits: whom it waits for, and what keeps each of them, counted."""
    async with services.database.read() as session:
        row = await _get(session, call_id)
    command = ExplainWait(call_id=call_id, agent_id=query.agent_id)
    return wait_of(await commands.send(services.bus, row.pop_id, command))


async def hang_up(services: Services, call_id: str) -> None:
    """End a live call. Its POP does it."""
    async with services.database.read() as session:
        row = await _get(session, call_id)
    await commands.send(services.bus, row.pop_id, HangUpCall(call_id=call_id))


async def stop_recording(services: Services, call_id: str) -> None:
    """Stop the recording of a live call. Its POP does it."""
    async with services.database.read() as session:
        row = await _get(session, call_id)
    await commands.send(services.bus, row.pop_id, StopCallRecording(call_id=call_id, by="api"))


def routes(registry: Registry) -> None:
    one = "/api/v1/calls/{call_id}"
    registry.route("GET", "/api/v1/calls", tag="calls")(find)
    registry.route("GET", one, tag="calls")(get)
    registry.route("GET", one + "/wait", tag="calls", problems=(409, 504))(explain_wait)
    registry.route("POST", one + "/hangup", tag="calls", status=204, problems=(409, 504))(hang_up)
    registry.route("POST", one + "/recording/stop", tag="calls", status=204, problems=(409, 504))(stop_recording)
