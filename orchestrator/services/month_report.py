"""All figures of one month, as the report of a month shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import AgentRow, QueueRow
from orchestrator.domain.local_time import local_day, midnight, weekday_of_hour
from orchestrator.services import reports
from orchestrator.services.reports import OF_DIMENSION, Asked, By, Limits

Kpis = dict[str, Any]
"""As ``reports.kpis`` makes them."""
MOST_ROWS = 200
"""Of each table."""


@dataclass(slots=True)
class Line:
    key: str
    name: str
    kpis: Kpis


@dataclass(slots=True)
class Month:
    first: date
    zone: str
    about: str
    """What it is about: a queue's name, or all."""
    total: Kpis
    before: Kpis
    """Of the month before."""
    days: list[tuple[date, Kpis]]
    hours: dict[tuple[int, int], Kpis]
    """(weekday, hour) -> figures; 0 is Monday."""
    tables: dict[By, list[Line]] = field(default_factory=dict)
    left_out: dict[By, int] = field(default_factory=dict)
    """How many lines of a table there are besides."""


def next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def month_before(first: date) -> date:
    return date(first.year - (first.month == 1), (first.month - 2) % 12 + 1, 1)


async def read(database: Database, first: date, zone: ZoneInfo, filters: Mapping[str, str], limits: Limits) -> Month:
    """``first``: the first day of the month in ``zone``."""
    start, end = midnight(zone, first), midnight(zone, next_month(first))
    asked = Asked(start, end, zone, By.DAY, filters, limits)
    days = await reports.read(database, asked)
    of_agents = reports.has_agents(asked)

    def figures(measured: reports.Measured | None) -> Kpis:
        return reports.kpis(measured or reports.nothing(), of_agents=of_agents)

    hours = await reports.read(database, Asked(start, end, zone, By.WEEKDAY_HOUR, filters, limits))
    previous = Asked(midnight(zone, month_before(first)), start, zone, By.NOTHING, filters, limits)
    names = await _names(database)
    known = {key: name for key, name in names.items() if limits.nothing or key[1] in (limits.queues or ())}
    month = Month(
        first=first,
        zone=zone.key,
        about=", ".join(known.get((name, value), value) for name, value in filters.items()) or "All queues",
        total=figures(reports.together(days.values())),
        before=figures((await reports.read(database, previous)).get(None)),
        days=[(local_day(number), figures(days.get(number))) for number in reports.keys_in(asked)],
        hours={weekday_of_hour(number): figures(measured) for number, measured in hours.items()},
    )
    for by in (By.QUEUE, By.COUNTRY, By.DID, By.AGENT):
        dimension = OF_DIMENSION[by]
        if dimension not in filters:
            await _table(database, month, Asked(start, end, zone, by, filters, limits), names)
    return month


async def _table(database: Database, month: Month, asked: Asked, names: Mapping[tuple[str, str], str]) -> None:
    found = await reports.read(database, asked)
    dimension = OF_DIMENSION[asked.by]
    of_agents = reports.has_agents(asked)
    lines = [
        Line(key, names.get((dimension, key), key), reports.kpis(measured, of_agents=of_agents))
        for key, measured in found.items()
    ]
    lines.sort(key=lambda line: (-line.kpis["offered"], -line.kpis["handled"], line.name))
    month.tables[asked.by], month.left_out[asked.by] = lines[:MOST_ROWS], max(0, len(lines) - MOST_ROWS)


async def _names(database: Database) -> dict[tuple[str, str], str]:
    """(dimension, value) -> the name that people know."""
    queues = await database.rows(select(QueueRow.queue_id, QueueRow.config))
    found = {("queue_id", queue_id): str(config.get("name", queue_id)) for queue_id, config in queues}
    for agent_id, name in await database.rows(select(AgentRow.agent_id, AgentRow.name)):
        found["agent_id", agent_id] = name
    return found
