"""/api/v1/consent-policies: what queues ask before a call may be recorded, besides the law."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.adapters.db.models import ConsentPolicyRow
from orchestrator.api.access import COMPLIANCE, STAFF
from orchestrator.api.filters import Words, named
from orchestrator.api.named_schemas import ConsentPolicy, consent_policy_of
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.named import ConsentPolicyChange, ConsentPolicySpec
from orchestrator.services import consent_policies
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class ConsentPolicyQuery(PageQuery):
    name: Words | None = None


async def find(services: Services, query: ConsentPolicyQuery) -> PageOf[ConsentPolicy]:
    """List consent policies."""
    statement = named(select(ConsentPolicyRow), query.name, ConsentPolicyRow.config["name"].as_string())
    async with services.database.read() as session:
        found = await page(session, statement, ConsentPolicyRow.consent_policy_id, query.page())
        return page_of(found, consent_policy_of)


async def get(services: Services, consent_policy_id: str) -> ConsentPolicy:
    """One consent policy."""
    async with services.database.read() as session:
        return consent_policy_of(await consent_policies.get(session, consent_policy_id))


async def create(services: Services, body: ConsentPolicySpec) -> ConsentPolicy:
    """Create a consent policy that queues name. It makes the law's rules stricter, never weaker."""
    async with services.units.begin() as unit:
        return consent_policy_of(await consent_policies.create(unit, body))


async def change(services: Services, consent_policy_id: str, body: ConsentPolicyChange) -> ConsentPolicy:
    """Change a consent policy; the queues that name it are changed with it, at their POPs too. Recordings under way
    go on; from a call's next conversation or transfer on, the new rule holds."""
    async with services.units.begin() as unit:
        return consent_policy_of(await consent_policies.change(unit, consent_policy_id, body))


async def delete(services: Services, consent_policy_id: str) -> None:
    """Delete a consent policy that no queue names."""
    async with services.units.begin() as unit:
        await consent_policies.delete(unit, consent_policy_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/consent-policies", "/api/v1/consent-policies/{consent_policy_id}"
    registry.route("GET", every, tag="consent policies", roles=STAFF)(find)
    registry.route("POST", every, tag="consent policies", status=201, problems=(409,), roles=COMPLIANCE, whole=True)(
        create
    )
    registry.route("GET", one, tag="consent policies", roles=STAFF)(get)
    registry.route("PUT", one, tag="consent policies", roles=COMPLIANCE, whole=True)(change)
    registry.route("DELETE", one, tag="consent policies", status=204, problems=(409,), roles=COMPLIANCE, whole=True)(
        delete
    )
