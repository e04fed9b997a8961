"""/api/v1/roles: what each role is and may do, as the routes themselves say it."""

from __future__ import annotations

from orchestrator.api.access import STAFF
from orchestrator.api.access_schemas import RoleAnswer, RoleRoute
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery
from orchestrator.domain.grants import Role
from orchestrator.domain.problems import NotFound
from orchestrator.services.context import Services
from orchestrator.services.paging import cursor


def routes(registry: Registry) -> None:
    def answer(role: Role) -> RoleAnswer:
        may = [
            RoleRoute(
                method=route.method,
                path=route.path,
                summary=route.summary,
                everything=route.needs.whole,
                purpose=route.needs.purpose,
            )
            for route in registry.routes
            if role in route.needs.roles
        ]
        limits = ["agent_id"] if role is Role.AGENT else ["units", "regions"]
        return RoleAnswer(role=role, purpose=role.purpose, limited_by=limits, routes=may)

    async def find(services: Services, query: PageQuery) -> PageOf[RoleAnswer]:
        """List roles, each with the routes it may use."""
        after = query.page().after or ""
        left = sorted(role for role in Role if role > after)
        shown = left[: query.limit]
        more = cursor(shown[-1]) if len(left) > len(shown) else None
        return PageOf[RoleAnswer](items=[answer(role) for role in shown], next_cursor=more)

    async def get(services: Services, role: str) -> RoleAnswer:
        """One role, with the routes it may use."""
        if role not in Role.__members__.values():
            raise NotFound("role", role)
        return answer(Role(role))

    registry.route("GET", "/api/v1/roles", tag="roles", roles=STAFF)(find)
    registry.route("GET", "/api/v1/roles/{role}", tag="roles", roles=STAFF)(get)
