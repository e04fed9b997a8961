"""/api/v1/waiting-calls: who waits now, as the POPs themselves say."""

from __future__ import annotations

from urllib.parse import quote

from pydantic import Field

from orchestrator.api.access import EVERYBODY
from orchestrator.api.named_schemas import WaitingCall, WaitingCalls
from orchestrator.api.registry import Registry
from orchestrator.domain.strict import Strict
from orchestrator.services import waiting
from orchestrator.services.context import Services


class WaitingQuery(Strict):
    pop_id: str | None = Field(default=None, max_length=31)
    queue_id: str | None = Field(default=None, max_length=63)
    limit: int = Field(default=100, ge=1, le=1000)


async def find(services: Services, query: WaitingQuery) -> WaitingCalls:
    """Calls that wait in queues now, the longest wait first, asked of the POPs. Not paged: it is another list at each
    moment.
    """
    found = await waiting.find(services, query.pop_id, query.queue_id, query.limit)
    items = [
        WaitingCall(
            call_id=call.call_id,
            pop_id=pop_id,
            queue_id=call.queue_id,
            position=call.position,
            waited_s=call.waited_s,
            effective_priority=call.effective_priority,
            offer_id=call.offer_id,
            next_step_s=call.next_step_s,
            explanation=f"/api/v1/calls/{quote(call.call_id, safe='')}/wait",
        )
        for pop_id, call in found.calls
    ]
    return WaitingCalls(items=items, not_heard=found.not_heard, truncated=found.truncated)


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/waiting-calls", tag="calls", problems=(404,), roles=EVERYBODY)(find)
