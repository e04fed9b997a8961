"""/api/v1/events: everything that happens, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import time

import orjson
from aiohttp import web
from pydantic import Field

from orchestrator.adapters.db.models import EventRow
from orchestrator.api.access import STAFF
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import event_of
from orchestrator.domain.grants import current
from orchestrator.domain.problems import one
from orchestrator.domain.resources import Strict
from orchestrator.services import tokens
from orchestrator.services.context import Services
from orchestrator.services.feed import Selection

KEEP_ALIVE_S = 15.0
CHECK_S = 10.0
"""After that the token is looked up again before more is sent."""
STOPPING: web.AppKey[asyncio.Event] = web.AppKey("stopping", asyncio.Event)
"""Set when the server shuts down, so that open streams end."""


class EventQuery(Strict):
    pop_id: str | None = Field(default=None, max_length=31)
    call_id: str | None = Field(default=None, max_length=26)
    after: int | None = Field(default=None, ge=0, lt=1 << 63)
    """Begin after this event; 0 from the very first. Without it, and without Last-Event-ID, from now on."""


def _frame(row: EventRow) -> bytes:
    data = event_of(row, orjson.loads(row.data)).model_dump_json()
    return f"id: {row.id}\nevent: {row.kind}\ndata: {data}\n\n".encode()


def _after(request: web.Request, query: EventQuery) -> int | None:
    last = request.headers.get("Last-Event-ID")
    if last is None:
        return query.after
    if not last.isascii() or not last.isdigit() or len(last) > 18:
        raise one("Last-Event-ID", "is not an id of this stream")
    return int(last)


async def follow(services: Services, request: web.Request, query: EventQuery) -> web.StreamResponse:
    """Follow events (text/event-stream). A client that comes back with Last-Event-ID misses nothing."""
    after = _after(request, query)
    if after is None:
        after = await services.feed.newest()
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    await response.write(b": connected\n\n")
    stopping = asyncio.create_task(request.app[STOPPING].wait())
    sending = asyncio.create_task(_send(services, response, after, Selection(query.pop_id, query.call_id)))
    try:
        await asyncio.wait({stopping, sending}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    except ConnectionResetError:
        return response  # the reader left; it knows its cursor
    finally:
        for task in (stopping, sending):
            task.cancel()
        await asyncio.gather(stopping, sending, return_exceptions=True)
    return response


async def _send(services: Services, response: web.StreamResponse, after: int, chosen: Selection) -> None:
    caller, checked = current(), time.monotonic()
    async for rows in services.feed.follow(after, chosen, KEEP_ALIVE_S):
        if time.monotonic() - checked >= CHECK_S:
            async with services.database.read() as session:
                known = await tokens.again(session, caller.caller_id, time.time())
            if known is None or known.grants != caller.held:
                return  # revoked, expired, or good for something else by now: whoever may, begins anew
            checked = time.monotonic()
        await response.write(b"".join(map(_frame, rows)) or b": nothing new\n\n")


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/events", tag="events", media_type="text/event-stream", roles=STAFF)(follow)
