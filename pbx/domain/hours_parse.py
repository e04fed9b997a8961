"""Opening hours and shifts as people write them, to ``OpeningHours``; what is refused is named by its place."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pbx.domain.errors import BadValue
from pbx.domain.opening_hours import DAY_MINUTES, WEEKDAYS, Interval, OpeningHours

_INTERVAL = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLACE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


def opening_hours(
    time_zone: str,
    weekly: Mapping[str, Any],
    special: Mapping[str, Any],
    holidays: Iterable[str] = (),
    field: str = "hours",
) -> OpeningHours:
    """Weekday and date to intervals such as ``09:00-17:30``. Raises BadValue."""
    for day in weekly:
        if day not in WEEKDAYS:
            raise BadValue(f"{field}.weekly.{day}", f"must be one of {', '.join(WEEKDAYS)}")
    return OpeningHours(
        zone=_zone(time_zone, f"{field}.time_zone"),
        weekly=tuple(_intervals(weekly.get(day, []), f"{field}.weekly.{day}") for day in WEEKDAYS),
        special={
            _date(day, f"{field}.special.{day}"): _intervals(value, f"{field}.special.{day}")
            for day, value in special.items()
        },
        holidays=frozenset(_date(day, f"{field}.holidays.{at}") for at, day in enumerate(holidays)),
    )


def shifts(
    time_zone: str, weekly: Mapping[str, Any], special: Mapping[str, Any], field: str = "shifts"
) -> OpeningHours:
    """As ``opening_hours``, but nobody is in two shifts at once. Raises BadValue, naming the later of two shifts."""
    found = opening_hours(time_zone, weekly, special, field=field)
    week = [_Day(f"{field}.weekly.{day}", found.weekly[number]) for number, day in enumerate(WEEKDAYS)]
    for number, day in enumerate(week):
        _check_overlap(day, week[(number + 1) % 7])
    for date_, intervals in sorted(found.special.items()):
        before, after = (_day_of(found, date_ + timedelta(days=days), week, field) for days in (-1, 1))
        exception = _Day(f"{field}.special.{date_}", intervals)
        _check_overlap(before, exception)
        _check_overlap(exception, after)
    return found


def place(country: str, field: str) -> str:
    """``country`` if it can name one, or a part of one. Raises BadValue."""
    if not _PLACE.fullmatch(country):
        raise BadValue(field, "must be a country, DE, or a part of one, DE-BY")
    return country


class _Day:
    def __init__(self, field: str, intervals: tuple[Interval, ...]) -> None:
        self.field = field
        self.intervals = intervals

    def shifts(self, offset: int) -> list[tuple[int, int, str]]:
        """Begin and end in minutes, ``offset`` days on, and the place of each."""
        ends = [(i.end if i.end > i.begin else i.end + DAY_MINUTES) for i in self.intervals]
        days = offset * DAY_MINUTES
        return [
            (days + one.begin, days + end, f"{self.field}.{at}")
            for at, (one, end) in enumerate(zip(self.intervals, ends, strict=True))
        ]


def _day_of(hours: OpeningHours, day: date, week: list[_Day], field: str) -> _Day:
    if day in hours.special:
        return _Day(f"{field}.special.{day}", hours.special[day])
    return week[day.weekday()]


def _check_overlap(day: _Day, following: _Day) -> None:
    shifts = sorted([*day.shifts(0), *following.shifts(1)])
    for (_, end, former), (begin, _, later) in itertools.pairwise(shifts):
        if begin < end:
            raise BadValue(later, f"overlaps {former}, which has not ended by then")


def _zone(name: str, field: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; a path that leads elsewhere; a directory
        raise BadValue(field, "is not a time zone, as Europe/Berlin is") from None


def _date(text: str, field: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadValue(field, "is not a date, as 2026-12-24 is")


def _intervals(value: Any, field: str) -> tuple[Interval, ...]:
    if not isinstance(value, list | tuple):
        raise BadValue(field, "must be a list of intervals; an empty one means closed")
    return tuple(_interval(item, f"{field}.{at}") for at, item in enumerate(value))


def _interval(value: Any, field: str) -> Interval:
    found = _INTERVAL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(field, "is not an interval, as 09:00-17:30 is")
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if begin >= 24 * 60 or end > 24 * 60 or max(int(found[2]), int(found[4])) > 59:
        raise BadValue(field, "must be from 00:00 to 24:00")
    if begin == end:
        raise BadValue(field, "must not end when it begins; the whole day is 00:00-24:00")
    return Interval(begin, end)
