"""Figures by queue, agent, DID, country, hour, day: read from the sums, or from the facts where two filters meet."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, String, TextClause, bindparam, or_, select, text

from orchestrator.adapters.db.direct import Fixed
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import DidRow, QueueRow
from orchestrator.domain.local_time import HOUR_S, Stretch, local_day, midnight, stretches
from orchestrator.domain.report_facts import (
    AGENT_MEASURES,
    DAY_S,
    LONGEST_INTERVAL_S,
    MEASURES,
    by_quarter,
    time_measures,
)
from orchestrator.domain.report_facts import (
    DIMENSIONS as DIMENSIONS,
)
from orchestrator.services.agent_times import NOW, WITH_CALL
from orchestrator.services.report_sums import ALL, COLUMNS
from pbx.domain import service_level
from pbx.domain.service_level import Tally


class By(StrEnum):
    NOTHING = "nothing"
    QUEUE = "queue"
    AGENT = "agent"
    DID = "did"
    COUNTRY = "country"
    HOUR = "hour"
    DAY = "day"
    WEEKDAY_HOUR = "weekday_hour"


OF_DIMENSION = {By.QUEUE: "queue_id", By.AGENT: "agent_id", By.DID: "did", By.COUNTRY: "country"}
Key = Any
"""None, a value of a dimension, (start, offset) of an hour, the number of a local day, or of an hour of the week."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is counted at all, whoever asks for more: only these queues, only calls of these POPs; None: all."""

    queues: frozenset[str] | None = None
    pops: frozenset[str] | None = None

    @property
    def nothing(self) -> bool:
        return self.queues is None and self.pops is None


@dataclass(frozen=True, slots=True)
class Asked:
    """``start`` and ``end``: seconds since the epoch, on a quarter of an hour. ``filters``: dimension -> value."""

    start: int
    end: int
    zone: ZoneInfo
    by: By = By.NOTHING
    filters: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()


@dataclass(slots=True)
class Measured:
    """Sums of the measures, in the order of ``report_sums.COLUMNS``."""

    values: list[int]

    def __getitem__(self, name: str) -> int:
        return self.values[_PLACE[name]]

    def add(self, other: Sequence[int]) -> None:
        self.values = [mine + theirs for mine, theirs in zip(self.values, other, strict=True)]

    def tally(self) -> Tally:
        offered, answered, in_time, abandoned, short, refused, wait_ms = self.values[:7]
        return Tally(offered, answered, in_time, abandoned, short, refused, wait_ms / 1000)


_PLACE = {name: place for place, name in enumerate(COLUMNS)}


def nothing() -> Measured:
    return Measured([0] * len(COLUMNS))


def kpis(measured: Measured, *, of_agents: bool) -> dict[str, Any]:
    """The figures, as ``service_level`` defines them. ``of_agents``: agents' time belongs to what is looked at."""
    figures, found = measured.tally().figures(), dict(zip(COLUMNS, measured.values, strict=True))
    handling_ms = found["talk_ms"] + found["wrap_ms"]
    staffed_ms = found["ready_ms"] + found["busy_ms"]
    return {
        "offered": figures.offered,
        "answered": figures.answered,
        "abandoned": figures.abandoned,
        "short_abandons": figures.short_abandons,
        "refused": figures.refused,
        "service_level": figures.service_level,
        "asa_s": figures.asa_s,
        "abandon_share": figures.abandon_share,
        "handled": found["handled"],
        "transferred": found["transferred"],
        "aht_s": service_level.aht_s(handling_ms / 1000, found["handled"]),
        "talk_s": found["talk_ms"] / 1000,
        "wrap_up_s": found["wrap_ms"] / 1000,
        "first_contacts": found["first_contacts"],
        "fcr": service_level.fcr(found["resolved"], found["first_contacts"]),
        "csat_answers": found["csat_answers"],
        "csat": service_level.csat(found["csat_satisfied"], found["csat_answers"]),
        "ready_s": found["ready_ms"] / 1000 if of_agents else None,
        "busy_s": found["busy_ms"] / 1000 if of_agents else None,
        "not_ready_s": found["not_ready_ms"] / 1000 if of_agents else None,
        "occupancy": service_level.occupancy(found["busy_ms"], staffed_ms) if of_agents else None,
    }


@lru_cache(maxsize=2)
def no_kpis(*, of_agents: bool) -> dict[str, Any]:
    """The figures of nothing: of most hours of most nights."""
    return kpis(nothing(), of_agents=of_agents)


def has_agents(asked: Asked) -> bool:
    """Agents' time is known in whole, by agent and by queue, one of these at a time."""
    return asked.limits.pops is None and len(found := involved(asked)) <= 1 and found <= {"agent_id", "queue_id"}


def involved(asked: Asked) -> set[str]:
    """The dimensions that the answer depends on."""
    grouped, queues = OF_DIMENSION.get(asked.by), asked.limits.queues is not None
    return {*asked.filters, *((grouped,) if grouped else ()), *(("queue_id",) if queues else ())}


def adds_up(asked: Asked) -> bool:
    """The parts are the whole: hours and days are."""
    return asked.by in (By.HOUR, By.DAY, By.WEEKDAY_HOUR)


def together(parts: Iterable[Measured]) -> Measured:
    whole = nothing()
    for part in parts:
        whole.add(part.values)
    return whole


_QUEUES_CONFIG = Fixed(select(QueueRow.config).where(QueueRow.queue_id == bindparam("value")))
_DIDS_ZONE = Fixed(select(DidRow.time_zone).where(DidRow.number == bindparam("value")))


async def zone_of(database: Database, filters: Mapping[str, str]) -> str:
    """The time zone of the queue's hours, or of the DID; UTC where there is neither."""
    if "queue_id" in filters:
        for (config,) in await database.rows(_QUEUES_CONFIG, {"value": filters["queue_id"]}):
            hours = config.get("hours")
            return str(hours["time_zone"]) if hours else "UTC"
    elif "did" in filters:
        for (zone,) in await database.rows(_DIDS_ZONE, {"value": filters["did"]}):
            return str(zone)
    return "UTC"


async def read(database: Database, asked: Asked) -> dict[Key, Measured]:
    """Key -> sums; keys for which there is nothing are not there."""
    found, _ = await _read(database, asked, whole=False)
    return found


async def read_with_total(database: Database, asked: Asked) -> tuple[dict[Key, Measured], Measured]:
    """The same, and the sums of the whole, which need not be those of the parts: a call may have had two queues."""
    return await _read(database, asked, whole=True)


async def _read(database: Database, asked: Asked, *, whole: bool) -> tuple[dict[Key, Measured], Measured]:
    found = await _sums(database, asked)
    under_way = await _under_way(database, asked)
    whole_asked = replace(asked, by=By.NOTHING)
    total = nothing()
    if whole and not adds_up(asked) and asked.by is not By.NOTHING:
        total = (await _sums(database, whole_asked)).get(None, total)
        queues = ["queue_id" in involved(one) for one in (asked, whole_asked)]
        same = has_agents(asked) and queues[0] == queues[1]
        _add(whole_asked, under_way if same else await _under_way(database, whole_asked), {None: total})
    _add(asked, under_way, found)
    if adds_up(asked) or asked.by is By.NOTHING:
        total = together(found.values())
    return found, total


async def _sums(database: Database, asked: Asked) -> dict[Key, Measured]:
    statement, given = _statement(asked, OF_DIMENSION.get(asked.by))
    return {
        _key(asked.by, row): Measured([int(value or 0) for value in row[-len(COLUMNS) :]])
        for row in await database.rows(statement, given)
    }


def _key(by: By, row: Sequence[Any]) -> Key:
    if by is By.HOUR:
        hour, offset = row[0], row[1]
        return hour * HOUR_S - offset, offset
    return None if by is By.NOTHING else row[0]


# --- statements -----------------------------------------------------------------------------------------------------

_KEYS = {By.DAY: "({0}) / 86400", By.HOUR: "({0}) / 3600, {1}", By.WEEKDAY_HOUR: "({0}) / 3600 % 168"}
"""Of local time and its offset, in whole numbers."""


_LIMITS = {"queues": "queue_id", "pops": "pop_id"}


def _statement(asked: Asked, grouped: str | None) -> tuple[TextClause | Fixed, dict[str, Any]]:
    """From the sums where one dimension is involved, else from the facts."""
    given: dict[str, Any] = {"start": asked.start, "end": asked.end}
    changes: tuple[Stretch, ...] = ()
    if asked.by in _KEYS:
        changes = tuple(stretches(asked.zone, asked.start, asked.end))
    filters, limits = tuple(asked.filters), asked.limits
    dimensions = involved(asked)
    given.update((name, sorted(some)) for name in _LIMITS if (some := getattr(limits, name)) is not None)
    limited = tuple(name for name in _LIMITS if name in given)
    if len(dimensions) > 1 or limits.pops is not None:
        given.update((f"f_{name}", value) for name, value in asked.filters.items())
        return _from_facts(asked.by, grouped, filters, changes, limited), given
    first, last = -(-asked.start // DAY_S) * DAY_S, asked.end // DAY_S * DAY_S
    days = not changes and last > first
    if days:
        given.update(first=first, last=last)
    if filters:
        given["value"] = asked.filters[filters[0]]
    dimension = next(iter(dimensions), ALL)
    return _from_sums(asked.by, dimension, bool(filters), days, changes, limited), given


# Statements are put together once for each shape, from names of ours; what users give is bound.
@lru_cache(maxsize=1000)
def _from_sums(
    by: By, dimension: str, filtered: bool, days: bool, changes: tuple[Stretch, ...], limited: tuple[str, ...]
) -> TextClause | Fixed:
    where = f"dimension = '{dimension}'" + " AND value IN :queues" * bool(limited)
    if filtered or dimension == ALL:
        where += " AND value = " + (":value" if filtered else "''")
    quarters = "span = 900 AND start_at >= {0} AND start_at < {1}"
    if days:  # whole days of UTC, and quarters at both ends
        parts = [quarters.format(":start", ":first"), quarters.format(":last", ":end")]
        parts.append("span = 86400 AND start_at >= :first AND start_at < :last")
    else:
        parts = [quarters.format(":start", ":end")]
    keys = _keys(by, "value", changes)
    # One index scan for each part: the planner takes an OR of them for a reason to read everything.
    inner = " UNION ALL ".join(f"SELECT * FROM report_sums WHERE {where} AND {part}" for part in parts)  # noqa: S608
    sums = [f"CAST(SUM({name}) AS BIGINT)" for name in COLUMNS]
    return _limited(_grouped(keys, sums, f"({inner}) AS s", ""), limited)


@lru_cache(maxsize=1000)
def _from_facts(
    by: By, grouped: str | None, filters: tuple[str, ...], changes: tuple[Stretch, ...], limited: tuple[str, ...]
) -> TextClause | Fixed:
    where = ["start_at >= :start", "start_at < :end", *(f"{name} = :f_{name}" for name in filters)]
    if grouped is not None:
        where.append(f"{grouped} IS NOT NULL")
    where += [f"{_LIMITS[name]} IN :{name}" for name in limited]
    sums = [*(f"CAST(SUM({name}) AS BIGINT)" for name in MEASURES), *("0" for _ in AGENT_MEASURES)]
    statement = _grouped(_keys(by, grouped or "", changes), sums, "report_facts", " WHERE " + " AND ".join(where))
    return _limited(statement, limited)


def _limited(statement: str, limited: tuple[str, ...]) -> TextClause | Fixed:
    if not limited:
        return Fixed(text(statement))
    return text(statement).bindparams(*(bindparam(name, expanding=True, type_=String) for name in limited))


def _grouped(keys: str, sums: Sequence[str], source: str, where: str) -> str:
    columns = ", ".join([keys, *sums] if keys else sums)
    places = ", ".join(str(number + 1) for number in range(keys.count(", ") + 1))
    return f"SELECT {columns} FROM {source}{where}" + (f" GROUP BY {places}" if keys else "")  # noqa: S608


def _keys(by: By, value: str, changes: tuple[Stretch, ...]) -> str:
    if by not in _KEYS:
        return "" if by is By.NOTHING else value
    *earlier, last = changes
    offset = str(last.offset_s)
    if earlier:
        whens = " ".join(f"WHEN start_at < {one.until} THEN {one.offset_s}" for one in earlier)
        offset = f"CASE {whens} ELSE {offset} END"
    return _KEYS[by].format(f"start_at + {offset}", offset)


# --- what is going on -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _UnderWay:
    agent_id: str
    queue_id: str | None
    began_ms: int
    ended_ms: int
    measures: tuple[str, ...]


@lru_cache(maxsize=100)
def _now_statement(filters: tuple[str, ...], of_queues: bool, limited: bool) -> Select[Any] | Fixed:
    columns = [NOW.c[name] for name in ("agent_id", "queue_id", "since", "status", "state")]
    chosen = select(*columns).where(NOW.c.since < bindparam("before"))
    for name in filters:
        chosen = chosen.where(NOW.c[name] == bindparam(f"f_{name}"))
    if of_queues:
        chosen = chosen.where(or_(*(NOW.c.state == state for state in WITH_CALL)), NOW.c.queue_id.is_not(None))
    if limited:
        return chosen.where(NOW.c.queue_id.in_(bindparam("queues", expanding=True, type_=String)))
    return Fixed(chosen)


async def _under_way(database: Database, asked: Asked) -> list[_UnderWay]:
    """The time of agents since their last change, which is in no sum yet."""
    now = time.time()
    start_ms, end_ms = asked.start * 1000, min(asked.end * 1000, round(now * 1000))
    # What began before the period's end counts only if it is not too long, so the end cannot lie further back either.
    if not has_agents(asked) or end_ms <= start_ms or now - end_ms / 1000 > LONGEST_INTERVAL_S:
        return []
    given: dict[str, Any] = {"before": end_ms / 1000, **{f"f_{name}": value for name, value in asked.filters.items()}}
    if asked.limits.queues is not None:
        given["queues"] = sorted(asked.limits.queues)
    statement = _now_statement(tuple(asked.filters), "queue_id" in involved(asked), "queues" in given)
    return [
        _UnderWay(agent_id, queue_id, max(round(since * 1000), start_ms), end_ms, tuple(measures))
        for agent_id, queue_id, since, status, state in await database.rows(statement, given)
        if now - since <= LONGEST_INTERVAL_S and (measures := time_measures(status, state))
    ]


def _add(asked: Asked, under_way: Iterable[_UnderWay], found: dict[Key, Measured]) -> None:
    parts: dict[Key, list[int]] = {}
    for one in under_way:
        whole = {By.NOTHING: 0, By.AGENT: one.agent_id, By.QUEUE: one.queue_id}
        if asked.by in whole:
            cut: Iterable[tuple[Key, int]] = [(whole[asked.by], one.ended_ms - one.began_ms)]
        else:
            cut = by_quarter(one.began_ms, one.ended_ms)
        for place, ms in cut:
            values = parts.setdefault(place, [0] * len(COLUMNS))
            for name in one.measures:
                values[_PLACE[name]] += ms
    for place, values in parts.items():
        key = place if asked.by in (By.AGENT, By.QUEUE) else local_key(asked, place)
        found.setdefault(key, nothing()).add(values)


def local_key(asked: Asked, at: int) -> Key:
    """The key of the quarter that begins ``at``."""
    if asked.by is By.NOTHING:
        return None
    offset = next(one.offset_s for one in stretches(asked.zone, asked.start, asked.end) if at < one.until)
    local = at + offset
    match asked.by:
        case By.DAY:
            return local // DAY_S
        case By.HOUR:
            return local // HOUR_S * HOUR_S - offset, offset
        case _:
            return local // HOUR_S % 168


def keys_in(asked: Asked) -> list[Key]:
    """All hours or days of the period, in order, also those of which there is nothing."""
    if asked.by is By.DAY:
        pieces = _pieces(asked)
        return list(range((asked.start + pieces[0][2]) // DAY_S, (asked.end - 1 + pieces[-1][2]) // DAY_S + 1))
    hours: dict[Key, None] = {}
    for start, end, offset in _pieces(asked):
        for number in range((start + offset) // HOUR_S, (end - 1 + offset) // HOUR_S + 1):
            hours[number * HOUR_S - offset, offset] = None
    return list(hours)


def _pieces(asked: Asked) -> list[tuple[int, int, int]]:
    start, found = asked.start, []
    for one in stretches(asked.zone, asked.start, asked.end):
        if one.until > start:
            found.append((start, one.until, one.offset_s))
        start = one.until
    return found


def day_bounds(asked: Asked, number: int) -> tuple[int, int]:
    """A local day as far as it is in the period."""
    day = local_day(number)
    return max(midnight(asked.zone, day), asked.start), min(midnight(asked.zone, local_day(number + 1)), asked.end)
