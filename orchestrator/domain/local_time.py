"""Quarters of an hour in a time zone, across its clock changes, so that a database can group them by local hour or day.

A zone is a list of stretches with one offset each. In a stretch, local time is UTC plus the offset, and every offset in
force is a whole number of quarters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from orchestrator.domain.report_facts import DAY_S, QUARTER_S

HOUR_S = 3600
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Until ``until`` (seconds since the epoch, excluded), local time is ``offset_s`` ahead of UTC."""

    until: int
    offset_s: int


def stretches(zone: ZoneInfo, start: int, end: int) -> list[Stretch]:
    """Of ``zone`` from ``start`` to ``end``, both on a quarter; at least one."""
    found: list[Stretch] = []
    at, offset = start, offset_s(zone, start)
    while at < end:
        following = min(at + DAY_S, end - QUARTER_S)
        if offset_s(zone, following) != offset:
            at = _change(zone, at, following, offset)
            found.append(Stretch(at, offset))
            offset = offset_s(zone, at)
        elif following == end - QUARTER_S:
            break
        else:
            at = following
    return [*found, Stretch(max(end, start), offset)]


def _change(zone: ZoneInfo, low: int, high: int, offset: int) -> int:
    """The first quarter after ``low``, where ``offset`` holds, at which it does not; at ``high`` it does not."""
    while high - low > QUARTER_S:
        middle = (low + high) // 2 // QUARTER_S * QUARTER_S
        low, high = (middle, high) if offset_s(zone, middle) == offset else (low, middle)
    return high


def offset_s(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def midnight(zone: ZoneInfo, day: date) -> int:
    """The first instant of a day, also where clocks jump over 00:00."""
    local = datetime.combine(day, time(), zone)
    back = local.astimezone(UTC).astimezone(zone)
    if back.date() == day and back.time() == time():
        return int(local.timestamp())
    early = int(datetime.combine(day, time(), UTC).timestamp()) - 15 * HOUR_S
    until = early + 30 * HOUR_S
    while until - early > QUARTER_S:
        middle = (early + until) // 2 // QUARTER_S * QUARTER_S
        early, until = (middle, until) if datetime.fromtimestamp(middle, zone).date() < day else (early, middle)
    return until


def local_day(number: int) -> date:
    """Of a count of local days since the epoch."""
    return EPOCH + timedelta(days=number)


def weekday_of_hour(hour_of_week: int) -> tuple[int, int]:
    """(weekday, 0 is Monday; hour) of a count of local hours since the epoch, modulo 168. 1970 began on a Thursday."""
    return (hour_of_week // 24 + 3) % 7, hour_of_week % 24
