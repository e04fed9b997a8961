"""The rows of ``report_facts``: brought up to date call by call, with the sums."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db import bulk
from orchestrator.adapters.db.report_models import FACTS
from orchestrator.domain.report_facts import NEIGHBOURS, Fact, facts_of, mark_first_contacts, with_wraps
from orchestrator.services.agent_times import wraps_of
from orchestrator.services.report_sums import Deltas
from pbx.domain.cdr import Cdr

_SAME = ("number", "entered_at", "answered", "inbound")
"""What first contacts depend on."""
Rows = dict[tuple[str, int], Fact]


async def project(
    session: AsyncSession, pop_of: Mapping[str, str], records: Mapping[str, Cdr], deltas: Deltas, *, anew: bool
) -> None:
    """Make the rows of the calls in ``pop_of``; those without a record have none. ``anew``: look at first contacts also
    where nothing has changed."""
    former = await _of_calls(session, pop_of)
    wraps = await wraps_of(session, records)
    new: Rows = {}
    for call_id, cdr in records.items():
        for row in facts_of(pop_of[call_id], cdr, wraps.get(call_id, {})):
            new[call_id, row["n"]] = row
    await _mark(session, former, new, anew)
    await _store(session, former, new, deltas)


async def wrap_up(session: AsyncSession, calls: Collection[str], deltas: Deltas) -> None:
    """Put the wrap-ups of agents into the rows that are there."""
    former = await _of_calls(session, calls)
    wraps = await wraps_of(session, calls)
    by_call: dict[str, list[Fact]] = {}
    for (call_id, _), row in former.items():
        by_call.setdefault(call_id, []).append(row)
    new = [row for call_id, rows in by_call.items() for row in with_wraps(rows, wraps.get(call_id, {}))]
    await _store(session, former, {(row["call_id"], row["n"]): row for row in new}, deltas)


async def _of_calls(session: AsyncSession, calls: Iterable[str]) -> Rows:
    chosen = select(FACTS).where(FACTS.c.call_id.in_(list(calls))).order_by(FACTS.c.call_id, FACTS.c.n)
    found = await session.execute(chosen)
    return {(row["call_id"], row["n"]): dict(row) for row in found.mappings()}


async def _store(session: AsyncSession, former: Rows, new: Rows, deltas: Deltas) -> None:
    gone = former.keys() - new.keys()
    if gone:
        await session.execute(delete(FACTS).where(tuple_(FACTS.c.call_id, FACTS.c.n).in_(gone)))
    changed = [row for key, row in new.items() if former.get(key) != row]
    await bulk.put(session, FACTS, changed)
    for key in gone:
        deltas.add_fact(former[key], -1)
    for row in changed:
        before = former.get((row["call_id"], row["n"]))
        if before is not None:
            deltas.add_fact(before, -1)
        deltas.add_fact(row, 1)


# --- first contacts -------------------------------------------------------------------------------------------------


async def _mark(session: AsyncSession, former: Rows, new: Rows, anew: bool) -> None:
    """Set the measures of first contacts in ``new``; rows of other calls that change by it are taken into both."""
    ranges: dict[str, tuple[float, float]] = {}
    for key in former.keys() | new.keys():
        before, after = former.get(key), new.get(key)
        if not anew and before and after and all(before[name] == after[name] for name in _SAME):
            after["first_contacts"], after["resolved"] = before["first_contacts"], before["resolved"]
            continue
        for row in (before, after):
            if row is not None and row["number"] is not None:
                low, high = ranges.get(row["number"], (row["entered_at"], row["entered_at"]))
                ranges[row["number"]] = min(low, row["entered_at"]), max(high, row["entered_at"])
    if not ranges:
        return
    touched = {call_id for call_id, _ in (former.keys() | new.keys())}
    histories: dict[str, list[Fact]] = {number: [] for number in ranges}
    for other in await _neighbours(session, ranges):
        if other["call_id"] not in touched:
            histories[other["number"]].append(other)
    for row in new.values():
        if row["number"] in histories:
            histories[row["number"]].append(row)
    for number, history in histories.items():
        _mark_history(history, ranges[number], former, new)


def _mark_history(history: list[Fact], between: tuple[float, float], former: Rows, new: Rows) -> None:
    history.sort(key=lambda row: (row["entered_at"], row["call_id"]))
    others = {row["call_id"]: dict(row) for row in history if (row["call_id"], 0) not in new}
    times = [row["entered_at"] for row in history]
    low, high = bisect_left(times, between[0]), bisect_left(times, between[1])
    while high < len(times) and times[high] == between[1]:
        high += 1
    mark_first_contacts(history, low - NEIGHBOURS, high + NEIGHBOURS)
    for row in history:
        before = others.get(row["call_id"])
        if before is not None and before != row:
            former[row["call_id"], 0], new[row["call_id"], 0] = before, row


_COLUMNS = ", ".join(f"f.{column.name}" for column in FACTS.c)
_SIDES = f"""
SELECT * FROM (SELECT {_COLUMNS} FROM report_facts f WHERE f.number = {{0}} AND f.entered_at < {{1}}
               ORDER BY f.entered_at DESC LIMIT {2 * NEIGHBOURS}) AS b
UNION ALL SELECT {_COLUMNS} FROM report_facts f WHERE f.number = {{0}} AND f.entered_at BETWEEN {{1}} AND {{2}}
UNION ALL SELECT * FROM (SELECT {_COLUMNS} FROM report_facts f WHERE f.number = {{0}} AND f.entered_at > {{2}}
               ORDER BY f.entered_at LIMIT {2 * NEIGHBOURS}) AS a"""  # noqa: S608  # names of columns only
_MANY = """
SELECT x.* FROM unnest(CAST(:number AS TEXT[]), CAST(:low AS FLOAT8[]), CAST(:high AS FLOAT8[])) AS t(number, low, high)
CROSS JOIN LATERAL ({0}) AS x"""
_ONE_NUMBER = text(_SIDES.format(":number", ":low", ":high"))
_MANY_NUMBERS = text(_MANY.format(_SIDES.format("t.number", "t.low", "t.high")))


async def _neighbours(session: AsyncSession, ranges: Mapping[str, tuple[float, float]]) -> list[Fact]:
    """Row 0 of the calls of each number in its range, and of twice ``NEIGHBOURS`` calls before and after."""
    if session.get_bind().dialect.name == "postgresql":
        given: dict[str, Any] = {"number": list(ranges), "low": [], "high": []}
        for low, high in ranges.values():
            given["low"].append(low)
            given["high"].append(high)
        return [dict(row) for row in (await session.execute(_MANY_NUMBERS, given)).mappings()]
    found: list[Fact] = []
    for number, (low, high) in ranges.items():
        rows = await session.execute(_ONE_NUMBER, {"number": number, "low": low, "high": high})
        found += [{**row, "inbound": bool(row["inbound"])} for row in rows.mappings()]
    return found
