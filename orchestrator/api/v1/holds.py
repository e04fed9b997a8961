"""/api/v1/holds: legal holds, which win over erasure and retention."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select

from orchestrator.adapters.db.models import HoldRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.rights_schemas import Hold, hold_of
from orchestrator.api.schemas import PageOf, page_of
from orchestrator.domain.rights import HoldLifted, HoldSpec
from orchestrator.services import holds
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class HoldQuery(Period):
    kind: Literal["number", "call", "recording"] | None = None
    call_id: Id | None = None
    lifted: bool | None = None


async def find(services: Services, query: HoldQuery) -> PageOf[Hold]:
    """List legal holds, newest first."""
    statement = narrowed(select(HoldRow), query, kind=HoldRow.kind, call_id=HoldRow.call_id)
    statement = within(statement, query, HoldRow.created_at)
    if query.lifted is not None:
        statement = statement.where(HoldRow.lifted_at.is_not(None) if query.lifted else HoldRow.lifted_at.is_(None))
    async with services.database.read() as session:
        return page_of(await page(session, statement, HoldRow.hold_id, query.page(), newest_first=True), hold_of)


async def get(services: Services, hold_id: str) -> Hold:
    """One legal hold."""
    async with services.database.read() as session:
        return hold_of(await holds.get(session, hold_id))


async def place(services: Services, body: HoldSpec) -> Hold:
    """Keep a number's data, a call or a recording from erasure and retention. A hold on a number needs a grant for all
    units and regions."""
    async with services.database.write() as session:
        return hold_of(await holds.place(session, services.rights, body))


async def lift(services: Services, hold_id: str, body: HoldLifted) -> Hold:
    """End a hold. Erasures that it kept are gone on with by ``/erasures/{erasure_id}/continue``. 409 ``lifted``."""
    async with services.database.write() as session:
        return hold_of(await holds.lift(session, hold_id, body.why))


def routes(registry: Registry) -> None:
    every, one = "/api/v1/holds", "/api/v1/holds/{hold_id}"
    registry.route("GET", every, tag="rights", roles=COMPLIANCE)(find)
    registry.route("POST", every, tag="rights", status=201, problems=(404,), roles=COMPLIANCE, purpose=True)(place)
    registry.route("GET", one, tag="rights", roles=COMPLIANCE)(get)
    registry.route("POST", one + "/lift", tag="rights", problems=(409,), roles=COMPLIANCE, purpose=True)(lift)
