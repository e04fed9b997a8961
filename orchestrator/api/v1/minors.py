"""/api/v1/minor-marks: what is of a minor."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select

from orchestrator.adapters.db.models import MinorMarkRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.rights_schemas import MinorMark, minor_mark_of
from orchestrator.api.schemas import PageOf, page_of
from orchestrator.domain.rights import MinorSpec
from orchestrator.services import minors
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class MarkQuery(Period):
    kind: Literal["number", "call", "recording"] | None = None
    call_id: Id | None = None


async def find(services: Services, query: MarkQuery) -> PageOf[MinorMark]:
    """List marks of minors' data, newest first."""
    statement = narrowed(select(MinorMarkRow), query, kind=MinorMarkRow.kind, call_id=MinorMarkRow.call_id)
    statement = within(statement, query, MinorMarkRow.created_at)
    async with services.database.read() as session:
        rows = await page(session, statement, MinorMarkRow.mark_id, query.page(), newest_first=True)
    return page_of(rows, minor_mark_of)


async def get(services: Services, mark_id: str) -> MinorMark:
    """One mark."""
    async with services.database.read() as session:
        return minor_mark_of(await minors.get(session, mark_id))


async def mark(services: Services, body: MinorSpec) -> MinorMark:
    """Say that a number, a call or a recording is of a minor. Recordings are then held under a key of their own at
    their POP, and opened with ``X-Minor-Purpose`` by the roles admin and compliance alone. A mark on a number needs a
    grant for all units and regions, and counts for later calls, too. It is not taken back."""
    async with services.database.write() as session:
        made = minor_mark_of(await minors.mark(session, services.rights, body))
    services.minors.wake()
    return made


def routes(registry: Registry) -> None:
    every, one = "/api/v1/minor-marks", "/api/v1/minor-marks/{mark_id}"
    registry.route("GET", every, tag="rights", roles=COMPLIANCE)(find)
    registry.route("POST", every, tag="rights", status=201, problems=(404,), roles=COMPLIANCE, purpose=True)(mark)
    registry.route("GET", one, tag="rights", roles=COMPLIANCE)(get)
