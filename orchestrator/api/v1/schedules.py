"""/api/v1/hours, /api/v1/shifts and /api/v1/holidays: schedules that queues and agents refer to by name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from orchestrator.adapters.db.models import ScheduleRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.filters import Words, named
from orchestrator.api.named_schemas import Holidays, Hours, ShiftPlan, schedule_fields
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery, page_of
from orchestrator.domain.named import (
    HolidaysChange,
    HolidaysSpec,
    HoursChange,
    HoursSpec,
    ShiftsChange,
    ShiftsSpec,
)
from orchestrator.services import schedules
from orchestrator.services.context import Services
from orchestrator.services.paging import Page, page
from orchestrator.services.schedules import Kind


class ScheduleQuery(PageQuery):
    name: Words | None = None


async def _find(services: Services, kind: Kind, query: ScheduleQuery) -> Page[Any]:
    every = select(ScheduleRow).where(ScheduleRow.kind == kind)
    statement = named(every, query.name, ScheduleRow.config["name"].as_string())
    async with services.database.read() as session:
        return await page(session, statement, ScheduleRow.schedule_id, query.page())


def _hours(row: ScheduleRow) -> Hours:
    return Hours.model_validate(schedule_fields(row))


def _shifts(row: ScheduleRow) -> ShiftPlan:
    return ShiftPlan.model_validate(schedule_fields(row))


def _holidays(row: ScheduleRow) -> Holidays:
    return Holidays.model_validate(schedule_fields(row))


async def find_hours(services: Services, query: ScheduleQuery) -> PageOf[Hours]:
    """List opening hours."""
    return page_of(await _find(services, "hours", query), _hours)


async def get_hours(services: Services, hours_id: str) -> Hours:
    """One plan of opening hours."""
    async with services.database.read() as session:
        return _hours(await schedules.get(session, "hours", hours_id))


async def create_hours(services: Services, body: HoursSpec) -> Hours:
    """Create opening hours to be referred to by name."""
    async with services.units.begin() as unit:
        return _hours(await schedules.create(unit, "hours", body))


async def change_hours(services: Services, hours_id: str, body: HoursChange) -> Hours:
    """Change opening hours; the queues are changed with them, at their POPs too."""
    async with services.units.begin() as unit:
        return _hours(await schedules.change(unit, "hours", hours_id, body))


async def delete_hours(services: Services, hours_id: str) -> None:
    """Delete opening hours that nothing refers to."""
    async with services.units.begin() as unit:
        await schedules.delete(unit, "hours", hours_id)


async def find_shifts(services: Services, query: ScheduleQuery) -> PageOf[ShiftPlan]:
    """List shifts."""
    return page_of(await _find(services, "shifts", query), _shifts)


async def get_shifts(services: Services, shifts_id: str) -> ShiftPlan:
    """One plan of shifts."""
    async with services.database.read() as session:
        return _shifts(await schedules.get(session, "shifts", shifts_id))


async def create_shifts(services: Services, body: ShiftsSpec) -> ShiftPlan:
    """Create shifts to be referred to by name."""
    async with services.units.begin() as unit:
        return _shifts(await schedules.create(unit, "shifts", body))


async def change_shifts(services: Services, shifts_id: str, body: ShiftsChange) -> ShiftPlan:
    """Change shifts; the agents are changed with them, at their POPs too."""
    async with services.units.begin() as unit:
        return _shifts(await schedules.change(unit, "shifts", shifts_id, body))


async def delete_shifts(services: Services, shifts_id: str) -> None:
    """Delete shifts that nothing refers to."""
    async with services.units.begin() as unit:
        await schedules.delete(unit, "shifts", shifts_id)


async def find_holidays(services: Services, query: ScheduleQuery) -> PageOf[Holidays]:
    """List holidays."""
    return page_of(await _find(services, "holidays", query), _holidays)


async def get_holidays(services: Services, holidays_id: str) -> Holidays:
    """One plan of holidays."""
    async with services.database.read() as session:
        return _holidays(await schedules.get(session, "holidays", holidays_id))


async def create_holidays(services: Services, body: HolidaysSpec) -> Holidays:
    """Create holidays to be referred to by name."""
    async with services.units.begin() as unit:
        return _holidays(await schedules.create(unit, "holidays", body))


async def change_holidays(services: Services, holidays_id: str, body: HolidaysChange) -> Holidays:
    """Change holidays; the queues whose hours name them are changed with them, at their POPs too."""
    async with services.units.begin() as unit:
        return _holidays(await schedules.change(unit, "holidays", holidays_id, body))


async def delete_holidays(services: Services, holidays_id: str) -> None:
    """Delete holidays that nothing refers to."""
    async with services.units.begin() as unit:
        await schedules.delete(unit, "holidays", holidays_id)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/hours", "/api/v1/hours/{hours_id}"
    registry.route("GET", every, tag="schedules", roles=STAFF)(find_hours)
    registry.route("POST", every, tag="schedules", status=201, problems=(409,), roles=ENGINEERS, whole=True)(
        create_hours
    )
    registry.route("GET", one, tag="schedules", roles=STAFF)(get_hours)
    registry.route("PUT", one, tag="schedules", roles=ENGINEERS, whole=True)(change_hours)
    registry.route("DELETE", one, tag="schedules", status=204, problems=(409,), roles=ENGINEERS, whole=True)(
        delete_hours
    )
    every, one = "/api/v1/shifts", "/api/v1/shifts/{shifts_id}"
    registry.route("GET", every, tag="schedules", roles=STAFF)(find_shifts)
    registry.route("POST", every, tag="schedules", status=201, problems=(409,), roles=ENGINEERS, whole=True)(
        create_shifts
    )
    registry.route("GET", one, tag="schedules", roles=STAFF)(get_shifts)
    registry.route("PUT", one, tag="schedules", roles=ENGINEERS, whole=True)(change_shifts)
    registry.route("DELETE", one, tag="schedules", status=204, problems=(409,), roles=ENGINEERS, whole=True)(
        delete_shifts
    )
    every, one = "/api/v1/holidays", "/api/v1/holidays/{holidays_id}"
    registry.route("GET", every, tag="schedules", roles=STAFF)(find_holidays)
    registry.route("POST", every, tag="schedules", status=201, problems=(409,), roles=ENGINEERS, whole=True)(
        create_holidays
    )
    registry.route("GET", one, tag="schedules", roles=STAFF)(get_holidays)
    registry.route("PUT", one, tag="schedules", roles=ENGINEERS, whole=True)(change_holidays)
    registry.route("DELETE", one, tag="schedules", status=204, problems=(409,), roles=ENGINEERS, whole=True)(
        delete_holidays
    )
