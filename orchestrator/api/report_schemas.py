"""What reports are asked for, and what they answer."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache, partial
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import orjson
from pydantic import AwareDatetime, Field

from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from orchestrator.domain.local_time import HOUR_S, local_day, midnight, weekday_of_hour
from orchestrator.domain.problems import one
from orchestrator.domain.report_facts import DAY_S, QUARTER_S
from orchestrator.domain.resources import Strict, TimeZone
from orchestrator.services import reports
from orchestrator.services.reports import Asked, By, Key, Limits, Measured

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MAX_DAYS = 400
MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
MAX_DAYS_OF_HOURS = 62
MAX_VALUES = 1000


class Filters(Strict):
    queue_id: str | None = Field(default=None, max_length=63)
    agent_id: str | None = Field(default=None, max_length=26)
    did: str | None = Field(default=None, max_length=16)
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """Of the number that was dialled; ISO 3166-1 alpha-2."""
    time_zone: TimeZone | None = None
    """Of hours and days; without it the one of the queue's hours or of the DID, else UTC."""

    def filters(self) -> dict[str, str]:
        values = {name: getattr(self, name) for name in reports.DIMENSIONS}
        return {name: value for name, value in values.items() if value is not None}


class PeriodQuery(Filters):
    since: AwareDatetime | date | None = Field(default=None)
    """Without it, the beginning of today. A date begins at midnight of the time zone; times are taken to the quarter
    of an hour that they are in."""
    until: AwareDatetime | date | None = Field(default=None)
    """Excluded; a date is meant in whole. Without it, now."""

    def period(self, zone: ZoneInfo, now: datetime) -> tuple[int, int]:
        today = now.astimezone(zone).date()
        start = _instant(self.since if self.since is not None else today, zone, "since")
        last = self.until + timedelta(days=1) if type(self.until) is date else self.until
        end = _instant(last if last is not None else now, zone, "until")
        start, end = start // QUARTER_S * QUARTER_S, -(-end // QUARTER_S) * QUARTER_S
        if end <= start:
            raise one("until", "is not after since")
        if end - start > MAX_DAYS * DAY_S + HOUR_S:
            raise one("until", f"is more than {MAX_DAYS} days after since")
        return start, end


def _instant(value: datetime | date, zone: ZoneInfo, name: str) -> int:
    if isinstance(value, datetime):
        if not EARLIEST <= value <= LATEST:
            raise one(name, "is not between the years 2000 and 2100")
        return int(value.timestamp())
    if not EARLIEST.date() <= value <= LATEST.date():
        raise one(name, "is not between the years 2000 and 2100")
    return midnight(zone, value)


class FiguresQuery(PeriodQuery):
    by: Literal["nothing", "queue", "agent", "did", "country", "hour", "day"] = "nothing"

    def asked(self, zone: ZoneInfo, now: datetime, limits: Limits) -> Asked:
        start, end = self.period(zone, now)
        by = By(self.by)
        if by is By.HOUR and end - start > MAX_DAYS_OF_HOURS * DAY_S + HOUR_S:
            raise one("until", f"is more than {MAX_DAYS_OF_HOURS} days after since, which is too long for hours")
        return Asked(start, end, zone, by, self.filters(), limits)


class MonthQuery(Filters):
    pass


def month_of(text: str) -> date:
    """The first day of a month; ``text`` is from the path."""
    if not MONTH.fullmatch(text):
        raise one("month", "is not a month from 2000-01 to 2099-12")
    return date(int(text[:4]), int(text[5:]), 1)


class IntervalsQuery(Strict):
    agent_id: str = Field(max_length=26)
    since: AwareDatetime | date | None = None
    """As for figures."""
    until: AwareDatetime | date | None = None
    time_zone: TimeZone = "UTC"

    def period(self, now: datetime) -> tuple[int, int]:
        asked = PeriodQuery(since=self.since, until=self.until)
        return asked.period(ZoneInfo(self.time_zone), now)


class Interval(Answer):
    """An agent's time between two changes. Its ends may lie outside of the period asked for."""

    began_at: At
    ended_at: At | None
    """null: it goes on."""
    status: str
    """``LOGGED_OUT``, ``AVAILABLE``, ``NOT_READY``."""
    reason: str | None
    state: str
    """``IDLE``, ``RESERVED``, ``RINGING``, ``ON_CALL``, ``WRAP_UP``, ``ENGAGED``."""
    call_id: str | None
    """Of a conversation and of the wrap-up after it."""
    queue_id: str | None


class Intervals(Answer):
    agent_id: str
    items: list[Interval]
    truncated: bool
    """There are more: ask again from the end of the last one."""


Share = Annotated[float | None, Field(ge=0, le=1)]


class Kpis(Answer):
    """The usual figures; what they mean is written in ``pbx/domain/service_level.py`` and
    ``orchestrator/domain/report_facts.py``. Shares are from 0 to 1, and null where there is nothing to take them of."""

    offered: int
    """Calls that waited in a queue, each once, whose wait is over."""
    answered: int
    abandoned: int
    """Short ones included."""
    short_abandons: int
    refused: int
    service_level: Share
    """Answered within 20 s, of those offered but for short abandons."""
    asa_s: float | None
    abandon_share: Share
    handled: int
    """Agents' parts of conversations that are over; a call that was handed on has several."""
    transferred: int
    aht_s: float | None
    talk_s: float
    wrap_up_s: float
    first_contacts: int
    fcr: Share
    """Of the first contacts; one counts as resolved until the same number calls again within 7 days."""
    csat_answers: int
    csat: Share
    """4 or 5 of 5."""
    ready_s: float | None
    """Of agents; of a queue what led to its conversations. Null, like the other three, where figures are by DID or
    country, or where two filters meet."""
    busy_s: float | None
    not_ready_s: float | None
    occupancy: Share


class Figures(Kpis):
    key: str
    """Of the queue, agent, DID, country; the hour as it begins, with its offset; the day; ``all``."""
    since: datetime
    until: datetime


class Made(Answer):
    """Of values that are right as they are made: validating and walking through thousands of them a second would only
    cost, so that its parts may be dicts, and orjson writes them."""

    def model_dump_json(self, **_options: Any) -> str:
        return orjson.dumps(self.__dict__, option=orjson.OPT_UTC_Z).decode()


class Report(Made):
    since: datetime
    until: datetime
    """Excluded."""
    time_zone: str
    by: str
    total: Kpis
    items: list[Figures]
    truncated: bool
    """There were more than a thousand values; the rest is left out."""


class Cell(Kpis):
    weekday: int = Field(ge=0, le=6)
    """0 is Monday."""
    hour: int = Field(ge=0, le=23)


class HeatMap(Made):
    since: datetime
    until: datetime
    time_zone: str
    cells: list[Cell]
    """168, Monday 0:00 first."""


def _moment(at: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, zone)


def report_of(asked: Asked, found: dict[Key, Measured], total: Measured) -> Report:
    of_agents = reports.has_agents(asked)
    if asked.by in (By.HOUR, By.DAY):
        keys = reports.keys_in(asked)
    else:
        keys = sorted(found, key=lambda key: (-found[key]["offered"], -found[key]["handled"], str(key)))
    items = []
    moment = cache(partial(_moment, zone=asked.zone))  # most parts have the same
    for key in keys[: None if asked.by in (By.HOUR, By.DAY) else MAX_VALUES]:
        name, since, until = _named(asked, key)
        measured = found.get(key)
        if measured is None:
            values = reports.no_kpis(of_agents=of_agents)
        else:
            values = reports.kpis(measured, of_agents=of_agents)
        begins, ends = moment(since), moment(until)
        items.append({"key": name, "since": begins, "until": ends, **values})
    return Report.model_construct(
        since=moment(asked.start),
        until=moment(asked.end),
        time_zone=asked.zone.key,
        by=asked.by.value,
        total=reports.kpis(total, of_agents=reports.has_agents(replace(asked, by=By.NOTHING))),
        items=items,
        truncated=len(items) < len(keys),
    )


def _named(asked: Asked, key: Key) -> tuple[str, int, int]:
    match asked.by:
        case By.HOUR:
            since, offset = max(key[0], asked.start), key[1]
            until = min(key[0] + HOUR_S, asked.end)
            begins = datetime.fromtimestamp(key[0], timezone(timedelta(seconds=offset)))
            return begins.isoformat(), since, until
        case By.DAY:
            return local_day(key).isoformat(), *reports.day_bounds(asked, key)
        case By.NOTHING:
            return "all", asked.start, asked.end
        case _:
            return str(key), asked.start, asked.end


def heat_map_of(asked: Asked, found: dict[Key, Measured]) -> HeatMap:
    places = {weekday_of_hour(number): measured for number, measured in found.items()}
    cells, of_agents = [], reports.has_agents(asked)
    for weekday in range(7):
        for hour in range(24):
            measured = places.get((weekday, hour))
            values = (
                reports.no_kpis(of_agents=of_agents)
                if measured is None
                else reports.kpis(measured, of_agents=of_agents)
            )
            cells.append({"weekday": weekday, "hour": hour, **values})
    return HeatMap.model_construct(
        since=_moment(asked.start, asked.zone),
        until=_moment(asked.end, asked.zone),
        time_zone=asked.zone.key,
        cells=cells,
    )
