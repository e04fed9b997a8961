"""/api/v1/callbacks: customers who are to be called back at their turn."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import CallbackRow
from orchestrator.api.access import STAFF, SUPERVISORS, TALKERS
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Callback, CallbackScheduled, PageOf, callback_of, page_of
from orchestrator.domain.resources import CallbackSpec, E164Text
from orchestrator.services import callbacks
from orchestrator.services.callbacks import CallbackState
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class CallbackQuery(Period):
    pop_id: Id | None = None
    queue_id: Id | None = None
    did: E164Text | None = None
    state: CallbackState | None = None
    number: E164Text | None = None


async def find(services: Services, query: CallbackQuery) -> PageOf[Callback]:
    """List callbacks, newest first."""
    statement = narrowed(
        select(CallbackRow),
        query,
        pop_id=CallbackRow.pop_id,
        queue_id=CallbackRow.queue_id,
        did=CallbackRow.did,
        state=CallbackRow.state,
        number=CallbackRow.number,
    )
    statement = within(statement, query, CallbackRow.requested_at)
    async with services.database.read() as session:
        found = await page(session, statement, CallbackRow.callback_id, query.page(), newest_first=True)
        return page_of(found, callback_of)


async def get(services: Services, callback_id: str) -> Callback:
    """One callback."""
    async with services.database.read() as session:
        return callback_of(await callbacks.get(session, callback_id))


async def schedule(services: Services, body: CallbackSpec) -> CallbackScheduled:
    """Have a customer called when it is the turn of a call that comes now, or at ``not_before``.

    409 ``bad_number``: not an ordinary number that may be called; ``full``: the queue has promised too many;
    ``no_trunk``: the DID's POP has no trunk for calls of its own.
    """
    reply = await callbacks.schedule(services, body)
    return CallbackScheduled(callback_id=reply.callback_id or "", existing=reply.existing)


async def cancel(services: Services, callback_id: str) -> None:
    """Nobody is called. 409 ``being_called``: too late; 404 ``unknown_callback``: it is over."""
    await callbacks.cancel(services, callback_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/callbacks", "/api/v1/callbacks/{callback_id}"
    registry.route("GET", every, tag="callbacks", roles=STAFF)(find)
    registry.route("POST", every, tag="callbacks", status=201, problems=(404, 409, 504), roles=TALKERS)(schedule)
    registry.route("GET", one, tag="callbacks", roles=STAFF)(get)
    registry.route(
        "DELETE", one, tag="callbacks", status=204, problems=(409, 504), roles=SUPERVISORS, checked="before"
    )(cancel)
