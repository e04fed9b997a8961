"""/api/v1/health: for load balancers and start-up scripts; asks for no token and tells nothing else."""

from __future__ import annotations

from sqlalchemy import text

from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Health
from orchestrator.services.context import Services


async def health(services: Services) -> Health:
    """Whether the centre works; 503 when its database does not."""
    async with services.database.read() as session:
        await session.execute(text("SELECT 1"))
    bus = services.bus.connected
    return Health(status="ok" if bus else "degraded", bus=bus, database=True)


async def short(services: Services) -> Health:
    """The same, where load balancers look for it."""
    return await health(services)


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/health", tag="health", public=True)(health)
    registry.route("GET", "/health", tag="health", public=True)(short)
