"""Records, agents' intervals and sums are what the events say, whenever and however often they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Table, delete, func, select, text, update

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from orchestrator.adapters.db.models import Base, CallRow, EventRow, VoicemailRow
from orchestrator.adapters.db.report_models import FACTS, SUMS
from orchestrator.config import CentreSettings
from orchestrator.services.ingest import Ingest
from orchestrator.services.rebuild import rebuild
from pbx.domain.ids import CallId
from pbx.wire.codec import project_call
from pbx.wire.messages import EventEnvelope
from tests.integration.centre.busy_hour import batches, envelopes, play
from tests.integration.centre.test_process import _command, _environment

PROJECTIONS = (
    "calls",
    "recordings",
    "voicemails",
    "callbacks",
    "agents_now",
    "agent_states",
    "report_facts",
    "report_sums",
)
CALLS = 150


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[EventEnvelope], list[EventEnvelope]]:
    """Of two POPs."""
    directory = tmp_path_factory.mktemp("hours")
    one, two = (envelopes(play(directory / name, CALLS, seed)) for name, seed in (("one", 3), ("two", 4)))
    return one, two


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(CentreSettings(state_dir=tmp_path, database_url=SecretStr(database_url)).sqlalchemy_url())
    await upgrade(made.engine)
    yield made
    await made.close()


def ingest_of(database: Database) -> Ingest:
    return Ingest(database, lambda: None)


async def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All projections, each table in the order of its key."""
    found = {}
    async with database.read() as session:
        for name in PROJECTIONS:
            table: Table = Base.metadata.tables[name]
            chosen = select(table).order_by(*table.primary_key)
            found[name] = [dict(row) for row in (await session.execute(chosen)).mappings()]
    return found


async def test_made_again_they_are_identical(
    database: Database, database_url: str, tmp_path: Path, hours: tuple[list[EventEnvelope], list[EventEnvelope]]
) -> None:
    ingest = ingest_of(database)
    for group in batches(hours[0], "de-1", "J1", 5):
        await ingest.store(group)
    made = await rows(database)
    assert len(made["calls"]) == CALLS
    assert all(made[name] for name in ("agent_states", "report_facts", "report_sums")), "the hour was too quiet"
    by_call: dict[str, list[EventEnvelope]] = {}
    for event in hours[0]:
        if event.call_id is not None:
            by_call.setdefault(event.call_id, []).append(event)
    for row in made["calls"]:
        cdr = project_call(CallId(row["call_id"]), by_call[row["call_id"]])
        assert (row["cdr"]["ended_at"], row["cdr"]["talk_s"]) == (cdr.ended_at, cdr.talk_s)
    async with database.write() as session:
        await session.execute(delete(CallRow).where(CallRow.call_id < made["calls"][50]["call_id"]))
        await session.execute(update(FACTS).values(resolved=FACTS.c.resolved + 1, queue_id="wrong", first_contacts=0))
        await session.execute(update(SUMS).values(offered=SUMS.c.offered + 7))
        await session.execute(text("UPDATE agent_states SET state = 'IDLE'"))
        await session.execute(text("DELETE FROM agents_now"))
        await session.execute(text("INSERT INTO calls (call_id, pop_id, cdr) VALUES ('of-no-event', 'de-1', '{}')"))
    assert await rows(database) != made
    environment = _environment(tmp_path / "command", database_url=database_url)
    code, out, err = await _command(environment, "centre", "rebuild")
    assert (code, out) == (0, ""), err
    assert f"{CALLS} calls" in err
    assert await rows(database) == made


async def test_also_while_events_come_in(
    database: Database, hours: tuple[list[EventEnvelope], list[EventEnvelope]]
) -> None:
    ingest = ingest_of(database)
    for group in batches(hours[0], "de-1", "J1", 6):
        await ingest.store(group)
    coming = batches(hours[1], "de-2", "J2", 7)
    stages: list[int] = []

    async def come() -> None:
        for number, group in enumerate(coming):
            await ingest.store(group)
            stages.append(number)

    task = asyncio.create_task(come())
    during = 0
    while not task.done():
        before = len(stages)
        await rebuild(database)
        during += len(stages) - before
    await task
    assert during > 10, "hardly anything came in meanwhile"
    made = await rows(database)
    assert len(made["calls"]) == 2 * CALLS
    await rebuild(database)
    assert await rows(database) == made


async def test_what_people_did_outlasts_it(database: Database) -> None:
    """Who has heard a message is no event of the call; a message without one is gone."""
    async with database.write() as session:
        row = VoicemailRow(voicemail_id="V", call_id="C", pop_id="p", mailbox="m", left_at=1.0, ended_by="hang_up")
        session.add(row)
    await rebuild(database)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(VoicemailRow)) == 0
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 0
