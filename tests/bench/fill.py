"""A database with many calls in it: records and what reports read, made by the centre's own functions."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from orchestrator.adapters.db.engine import Database
from orchestrator.domain.report_facts import facts_of
from orchestrator.services import report_sums
from orchestrator.services.agent_times import STATES
from orchestrator.services.rebuild import add_agents_time
from orchestrator.services.records import call_row
from tests.bench.traffic import AGENTS, Traffic

DAYS = 90
PAGE = 20_000
BY_HOUR = (1, 1, 1, 1, 1, 2, 6, 20, 45, 70, 80, 75, 60, 62, 70, 68, 60, 45, 30, 20, 12, 8, 4, 2)
BY_WEEKDAY = (100, 92, 88, 86, 84, 30, 18)
WRAP_UP_MS = 10_000

Rows = list[dict[str, Any]]


def moments(chance: random.Random, count: int, end: float) -> list[float]:
    """Times of ``count`` calls of the last ``DAYS`` days: more by day than by night, and on Mondays than on Sundays."""
    days = [end - 86400 * (DAYS - n) for n in range(DAYS)]
    weights = [BY_WEEKDAY[time.gmtime(day).tm_wday] for day in days]
    chosen = chance.choices(days, weights, k=count)
    hours = chance.choices(range(24), BY_HOUR, k=count)
    return sorted(
        day // 86400 * 86400 + 3600 * (hour + chance.random()) for day, hour in zip(chosen, hours, strict=True)
    )


def pages(count: int, end: float, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows of calls and of facts."""
    traffic = Traffic(seed)
    calls, facts = Rows(), Rows()
    for at in moments(traffic.chance, count, end):
        cdr = traffic.record(at)
        calls.append(call_row("pop-1", cdr))
        rows = facts_of("pop-1", cdr, {str(cdr.agent_id): WRAP_UP_MS} if cdr.talks else {})
        for row in rows:
            row["first_contacts"] = row["answered"]
            row["resolved"] = int(row["answered"] and traffic.chance.random() < 0.78)
        facts += rows
        if len(calls) >= PAGE:
            yield calls, facts
            calls, facts = Rows(), Rows()
    yield calls, facts


def intervals(end: float, seed: int) -> Iterator[Rows]:
    """Agents' time: half of them work each day, by turns idle, ringing, talking and wrapping up."""
    chance = random.Random(seed)
    cycle = (("IDLE", 600), ("RINGING", 20), ("ON_CALL", 1600), ("WRAP_UP", 100))  # several calls taken together
    for day in range(DAYS):
        found = Rows()
        for agent in chance.sample(range(AGENTS), AGENTS // 2):
            at = end // 86400 * 86400 - 86400 * (DAYS - day) + 3600 * chance.uniform(6, 9)
            until, place = at + 8 * 3600, 0
            while at < until:
                state, mean_s = cycle[place % 4]
                length_s = chance.expovariate(1 / mean_s) if mean_s > 10 else mean_s
                found.append({
                    "agent_id": f"agent-{agent:03}", "journal_id": "J", "seq": day * 100_000 + place, "pop_id": "pop-1",
                    "began_at": at, "ended_at": at + length_s, "status": "AVAILABLE", "reason": None, "state": state,
                    "call_id": None, "queue_id": None,
                })  # fmt: skip
                at, place = at + length_s, place + 1
        yield found


async def fill(database: Database, count: int, end: float | None = None, seed: int = 1) -> list[str]:
    """``count`` calls up to ``end`` (now); ids of some of them. The schema is there, the tables are empty."""
    end = time.time() if end is None else end
    some: list[str] = []
    store = await _store(database)
    for calls, facts in pages(count, end, seed):
        some += [row["call_id"] for row in calls[:: max(1, count // 5000)]]
        await store("calls", calls)
        await store("report_facts", facts)
    for rows in intervals(end, seed):
        await store(STATES.name, rows)
    await store("", [])
    async with database.write(projections=True) as session:
        await report_sums.from_facts(session)
        await add_agents_time(session)
    return some


async def _store(database: Database) -> Any:
    if database.is_sqlite:
        connection = sqlite3.connect(Path(database.engine.url.database or ""), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")

        async def insert(table: str, rows: Sequence[dict[str, Any]]) -> None:
            if not table:
                connection.execute("COMMIT")
                connection.close()
            elif rows:
                names = ", ".join(f":{name}" for name in rows[0])
                connection.executemany(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({names})", rows)  # noqa: S608

        return insert
    postgres = await asyncpg.connect(database.url.replace("+asyncpg", ""))

    async def copy(table: str, rows: Sequence[dict[str, Any]]) -> None:
        if not table:
            await postgres.close()
        elif rows:
            records = [tuple(row.values()) for row in rows]
            await postgres.copy_records_to_table(table, records=records, columns=list(rows[0]))

    return copy
