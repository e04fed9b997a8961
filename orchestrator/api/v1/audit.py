"""/api/v1/audit: who did what."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import select

from orchestrator.adapters.db.access_models import AuditRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.access_schemas import AuditEntry, audit_entry_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.resources import Moment
from orchestrator.services import audit
from orchestrator.services.context import Services


class AuditQuery(PageQuery):
    caller_id: str | None = Field(default=None, max_length=26)
    action: str | None = Field(default=None, max_length=63)
    outcome: str | None = Field(default=None, max_length=63)
    thing: str | None = Field(default=None, max_length=300)
    """The path below ``/api/v1``, or its beginning."""
    since: Moment | None = None
    until: Moment | None = None


async def find(services: Services, query: AuditQuery) -> PageOf[AuditEntry]:
    """List the audit log, newest first. ``callplane audit verify`` says whether it is whole."""
    statement = select(AuditRow)
    for name in ("caller_id", "action", "outcome"):
        if (value := getattr(query, name)) is not None:
            statement = statement.where(getattr(AuditRow, name) == value)
    if query.thing is not None:
        statement = statement.where(AuditRow.thing.startswith(query.thing, autoescape=True))
    if query.since is not None:
        statement = statement.where(AuditRow.at >= query.since.timestamp())
    if query.until is not None:
        statement = statement.where(AuditRow.at < query.until.timestamp())
    async with services.database.read() as session:
        return page_of(await audit.listed(session, statement, query.page()), audit_entry_of)


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/audit", tag="audit", roles=COMPLIANCE, whole=True)(find)
