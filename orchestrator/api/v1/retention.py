"""/api/v1/retention-policies, /retention: for how long what is kept, what goes, what went."""

from __future__ import annotations

import time

from sqlalchemy import select

from orchestrator.adapters.db.models import RetentionPolicyRow, RetentionRunRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.retention_schemas import (
    RetentionPlan,
    RetentionPolicy,
    RetentionRun,
    policy_of,
    run_of,
)
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.problems import Exists, NotFound
from orchestrator.domain.retention import Kind, PolicyChange, PolicySpec
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class PolicyQuery(PageQuery):
    kind: Kind | None = None
    country: Id | None = None
    queue_id: Id | None = None


async def find(services: Services, query: PolicyQuery) -> PageOf[RetentionPolicy]:
    """List the policies of retention. Where none matches, the default of its kind counts, and always the laws of both
    sides' countries as far as they say something."""
    columns = {name: getattr(RetentionPolicyRow, name) for name in ("kind", "country", "queue_id")}
    statement = narrowed(select(RetentionPolicyRow), query, **columns)
    async with services.database.read() as session:
        return page_of(await page(session, statement, RetentionPolicyRow.policy_id, query.page()), policy_of)


async def get(services: Services, policy_id: str) -> RetentionPolicy:
    """One policy."""
    async with services.database.read() as session:
        row = await session.get(RetentionPolicyRow, policy_id)
    if row is None:
        raise NotFound("retention_policy", policy_id)
    return policy_of(row)


async def create(services: Services, body: PolicySpec) -> RetentionPolicy:
    """For how long things of a kind are kept; of several that match, the shortest counts."""
    async with services.database.write() as session:
        if await session.get(RetentionPolicyRow, body.policy_id) is not None:
            raise Exists("retention_policy", "policy_id")
        row = RetentionPolicyRow(**body.model_dump(), created_at=time.time())
        session.add(row)
        await session.flush()
        return policy_of(row)


async def change(services: Services, policy_id: str, body: PolicyChange) -> RetentionPolicy:
    """Change a policy; it counts from the next run on."""
    async with services.database.write() as session:
        row = await session.get(RetentionPolicyRow, policy_id, with_for_update=True)
        if row is None:
            raise NotFound("retention_policy", policy_id)
        for name, value in body.model_dump().items():
            setattr(row, name, value)
        return policy_of(row)


async def delete(services: Services, policy_id: str) -> None:
    """Delete a policy. Others, or the default, count from the next run on."""
    async with services.database.write() as session:
        row = await session.get(RetentionPolicyRow, policy_id, with_for_update=True)
        if row is None:
            raise NotFound("retention_policy", policy_id)
        await session.delete(row)


async def plan(services: Services) -> RetentionPlan:
    """What a run would do now, and nothing is done: what goes, which rule decided, what is held, what is alarming."""
    return RetentionPlan.model_validate(await services.retention.plan())


async def run(services: Services) -> RetentionRun:
    """Run now, and erase what is due, whatever the daily run does."""
    return run_of(await services.retention.once(erase=True))


class RunQuery(Period):
    erased: bool | None = None


async def runs(services: Services, query: RunQuery) -> PageOf[RetentionRun]:
    """The reports of the runs, newest first: one a day, and those that were asked for."""
    statement = within(select(RetentionRunRow), query, RetentionRunRow.began_at)
    if query.erased is not None:
        statement = statement.where(RetentionRunRow.erased.is_(query.erased))
    async with services.database.read() as session:
        found = await page(session, statement, RetentionRunRow.run_id, query.page(), newest_first=True)
    return page_of(found, run_of)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/retention-policies", "/api/v1/retention-policies/{policy_id}"
    registry.route("GET", every, tag="retention", roles=COMPLIANCE, whole=True)(find)
    registry.route("POST", every, tag="retention", status=201, problems=(409,), roles=COMPLIANCE, whole=True)(create)
    registry.route("GET", one, tag="retention", roles=COMPLIANCE, whole=True)(get)
    registry.route("PUT", one, tag="retention", roles=COMPLIANCE, whole=True)(change)
    registry.route("DELETE", one, tag="retention", status=204, roles=COMPLIANCE, whole=True)(delete)
    registry.route("GET", "/api/v1/retention-plan", tag="retention", roles=COMPLIANCE, whole=True)(plan)
    registry.route("GET", "/api/v1/retention-runs", tag="retention", roles=COMPLIANCE, whole=True)(runs)
    registry.route("POST", "/api/v1/retention-runs", tag="retention", roles=COMPLIANCE, whole=True, purpose=True)(run)
