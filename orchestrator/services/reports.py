"""Figures by queue, agent, DID, country, hour, day: read from the sums, or from the facts where two filters meet."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import String, TextClause, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

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


async def zone_of(session: AsyncSession, filters: Mapping[str, str]) -> str:
    """The time zone of the queue's hours, or of the DID; UTC where there is neither."""
    if "queue_id" in filters:
        queue = await session.get(QueueRow, filters["queue_id"])
        hours = None if queue is None else queue.config.get("hours")
        return str(hours["time_zone"]) if hours else "UTC"
    if "did" in filters:
        did = await session.get(DidRow, filters["did"])
        return "UTC" if did is None else did.time_zone
    return "UTC"


async def read(session: AsyncSession, asked: Asked) -> dict[Key, Measured]:
    """Key -> sums; keys for which there is nothing are not there."""
    grouped = OF_DIMENSION.get(asked.by)
    statement, given = _statement(asked, grouped)
    found: dict[Key, Measured] = {}
    for row in await session.execute(statement, given):
        key, values = _key(asked.by, row), row[-len(COLUMNS) :]
        found[key] = Measured([int(value or 0) for value in values])
    if has_agents(asked):
        await _under_way(session, asked, found)
    return found


def _key(by: By, row: Sequence[Any]) -> Key:
    if by is By.HOUR:
        hour, offset = row[0], row[1]
        return hour * HOUR_S - offset, offset
    return None if by is By.NOTHING else row[0]


# --- statements -----------------------------------------------------------------------------------------------------

_KEYS = {By.DAY: "({0}) / 86400", By.HOUR: "({0}) / 3600, {1}", By.WEEKDAY_HOUR: "({0}) / 3600 % 168"}
"""Of local time and its offset, in whole numbers."""


_LIMITS = {"queues": "queue_id", "pops": "pop_id"}


def _statement(asked: Asked, grouped: str | None) -> tuple[TextClause, dict[str, Any]]:
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
) -> TextClause:
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
) -> TextClause:
    where = ["start_at >= :start", "start_at < :end", *(f"{name} = :f_{name}" for name in filters)]
    if grouped is not None:
        where.append(f"{grouped} IS NOT NULL")
    where += [f"{_LIMITS[name]} IN :{name}" for name in limited]
    sums = [*(f"CAST(SUM({name}) AS BIGINT)" for name in MEASURES), *("0" for _ in AGENT_MEASURES)]
    statement = _grouped(_keys(by, grouped or "", changes), sums, "report_facts", " WHERE " + " AND ".join(where))
    return _limited(statement, limited)


def _limited(statement: str, limited: tuple[str, ...]) -> TextClause:
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


async def _under_way(session: AsyncSession, asked: Asked, found: dict[Key, Measured]) -> None:
    """Add the time of agents since their last change, which is in no sum yet."""
    now = time.time()
    start_ms, end_ms = asked.start * 1000, min(asked.end * 1000, round(now * 1000))
    if end_ms <= start_ms:
        return
    columns = [NOW.c[name] for name in ("agent_id", "queue_id", "since", "status", "state")]
    chosen = select(*columns).where(NOW.c.since < end_ms / 1000)
    for name, value in asked.filters.items():
        chosen = chosen.where(NOW.c[name] == value)
    if "queue_id" in involved(asked):
        chosen = chosen.where(NOW.c.state.in_(WITH_CALL), NOW.c.queue_id.is_not(None))
    if asked.limits.queues is not None:
        chosen = chosen.where(NOW.c.queue_id.in_(asked.limits.queues))
    parts: dict[Key, list[int]] = {}
    for agent_id, queue_id, since, status, state in await session.execute(chosen):
        measures = time_measures(status, state)
        if not measures or now - since > LONGEST_INTERVAL_S:
            continue
        began_ms = max(round(since * 1000), start_ms)
        whole = {By.NOTHING: 0, By.AGENT: agent_id, By.QUEUE: queue_id}
        cut = [(whole[asked.by], end_ms - began_ms)] if asked.by in whole else by_quarter(began_ms, end_ms)
        for place, ms in cut:
            values = parts.setdefault(place, [0] * len(COLUMNS))
            for name in measures:
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
