"""/api/v1/reports: figures by queue, agent, DID, country, hour, day; the heat map of a week."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import select

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import AgentRow, PopRow, QueueRow
from orchestrator.api.access import STAFF
from orchestrator.api.registry import Registry
from orchestrator.api.report_schemas import (
    FiguresQuery,
    Filters,
    HeatMap,
    Interval,
    Intervals,
    IntervalsQuery,
    MonthQuery,
    PeriodQuery,
    Report,
    heat_map_of,
    month_of,
    report_of,
)
from orchestrator.domain.grants import current
from orchestrator.domain.problems import NotFound
from orchestrator.services import agent_times, month_report, reports
from orchestrator.services import month_page as pages
from orchestrator.services.context import Services
from orchestrator.services.reports import Asked, By, Limits
from orchestrator.services.scope import get, nothing_outside


async def _zone(database: Database, query: Filters) -> ZoneInfo:
    return ZoneInfo(query.time_zone or await reports.zone_of(database, query.filters()))


async def _recent_zone(services: Services, query: Filters) -> ZoneInfo:
    """The same, looked up once in a second."""

    async def look_up() -> ZoneInfo:
        return await _zone(services.database, query)

    return await services.recent.get(("zone", query.time_zone, query.queue_id, query.did), look_up)


async def _limits(services: Services) -> Limits:
    """What the caller may see: the queues of the grants' units, at the POPs of the regions that all of them have."""
    caller = current()
    if caller.whole:
        return Limits()
    units = [grant.units for grant in caller.grants]
    regions = [grant.regions for grant in caller.grants if grant.regions is not None]
    queues = pops = None
    async with services.database.read() as session:
        if all(one is not None for one in units):
            named = sorted({unit for one in units for unit in one or ()})
            queues = frozenset(await session.scalars(select(QueueRow.queue_id).where(QueueRow.unit_id.in_(named))))
        if regions:
            common = sorted(frozenset.intersection(*map(frozenset, regions)))
            pops = frozenset(await session.scalars(select(PopRow.pop_id).where(PopRow.region.in_(common))))
    return Limits(queues, pops)


async def figures(services: Services, query: FiguresQuery) -> Report:
    """Service level, ASA, AHT, FCR, CSAT, abandons, occupancy of a period, in whole and by what ``by`` says. At most a
    second old."""
    limits = await _limits(services)
    key = ("figures", query.model_dump_json(), limits)
    return await services.recent.get(key, lambda: _figures(services, query, limits))


async def _figures(services: Services, query: FiguresQuery, limits: Limits) -> Report:
    zone = await _recent_zone(services, query)
    asked = query.asked(zone, datetime.now(UTC), limits)
    return report_of(asked, *await reports.read_with_total(services.database, asked))


async def heat_map(services: Services, query: PeriodQuery) -> HeatMap:
    """The same figures by weekday and hour, in the time zone of the queue. At most a second old."""
    limits = await _limits(services)
    key = ("heat map", query.model_dump_json(), limits)
    return await services.recent.get(key, lambda: _heat_map(services, query, limits))


async def _heat_map(services: Services, query: PeriodQuery, limits: Limits) -> HeatMap:
    zone = await _recent_zone(services, query)
    start, end = query.period(zone, datetime.now(UTC))
    asked = Asked(start, end, zone, By.WEEKDAY_HOUR, query.filters(), limits)
    return heat_map_of(asked, await reports.read(services.database, asked))


async def intervals(services: Services, query: IntervalsQuery) -> Intervals:
    """What an agent did: one interval for each status and state, oldest first, with the one that goes on."""
    start, end = query.period(datetime.now(UTC))
    async with services.database.read() as session:
        if not nothing_outside() and await get(session, AgentRow, query.agent_id) is None:
            raise NotFound("agent", query.agent_id)
        found = await agent_times.intervals(session, query.agent_id, start, end)
    items = [Interval.model_validate(row) for row in found[: agent_times.MOST_INTERVALS]]
    return Intervals(agent_id=query.agent_id, items=items, truncated=len(found) > len(items))


async def month_page(services: Services, month: str, query: MonthQuery) -> web.Response:
    """The report of a month (``2026-10``), with charts: one HTML file that needs no other."""
    found = await _month(services, month, query)
    text = pages.page(found, datetime.now(UTC).astimezone(ZoneInfo(found.zone)))
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return web.Response(text=text, content_type="text/html", headers=headers)


async def month_table(services: Services, month: str, query: MonthQuery) -> web.Response:
    """The figures of the report of a month as CSV."""
    text = pages.table_of(await _month(services, month, query))
    headers = {"Content-Disposition": f'attachment; filename="callplane-{month}.csv"'}
    return web.Response(text=text, content_type="text/csv", headers=headers)


async def _month(services: Services, month: str, query: MonthQuery) -> month_report.Month:
    first, limits = month_of(month), await _limits(services)
    zone = await _zone(services.database, query)
    return await month_report.read(services.database, first, zone, query.filters(), limits)


def routes(registry: Registry) -> None:
    path, month = "/api/v1/reports", "/api/v1/reports/months/{month}"
    registry.route("GET", path + "/figures", tag="reports", roles=STAFF)(figures)
    registry.route("GET", path + "/heat-map", tag="reports", roles=STAFF)(heat_map)
    registry.route("GET", path + "/agent-states", tag="reports", problems=(404,), roles=STAFF)(intervals)
    registry.route("GET", month, tag="reports", media_type="text/html", roles=STAFF)(month_page)
    registry.route("GET", month + "/csv", tag="reports", media_type="text/csv", roles=STAFF)(month_table)
