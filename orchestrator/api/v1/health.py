"""/api/v1/health and /ready: for load balancers and start-up scripts; ask for no token and tell nothing else."""

from __future__ import annotations

from sqlalchemy import text

from orchestrator.api.registry import Registry
from orchestrator.api.schemas import Health, Ready
from orchestrator.domain.problems import FieldError, NotReady
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


async def ready(services: Services) -> Ready:
    """Whether the centre does all of its work; 503, with the parts that do not, when it does not."""
    parts = await services.ready()
    missing = [FieldError(part, reason) for part, reason in parts.items() if reason is not None]
    if missing:
        raise NotReady("; ".join(f"{part.field} {part.reason}" for part in missing), missing)
    return Ready(status="ready", parts=dict.fromkeys(parts, "ok"))


async def short_ready(services: Services) -> Ready:
    """The same, where load balancers look for it."""
    return await ready(services)


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/health", tag="health", public=True)(health)
    registry.route("GET", "/health", tag="health", public=True)(short)
    registry.route("GET", "/api/v1/ready", tag="health", public=True)(ready)
    registry.route("GET", "/ready", tag="health", public=True)(short_ready)
