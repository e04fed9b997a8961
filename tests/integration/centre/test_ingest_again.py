"""Events that come more than once, from journals of several POPs at once, and a batch that the database never takes."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from orchestrator.adapters.bus.client import Delivered
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import EventRow, RejectedBatchRow
from orchestrator.services import ingest as module
from orchestrator.services import records, rejected
from pbx.domain import events as ev
from pbx.domain.ids import AgentId, QueueId
from pbx.wire import subjects
from pbx.wire.codec import encode_event
from pbx.wire.messages import EventBatch, EventEnvelope
from tests.integration.centre.test_rebuild import database, ingest_of, rows  # noqa: F401 (a fixture)

BO = AgentId("01M8BO0000000000000000000B")
CALL = "01M8CALL00000000000000000C"


def told(pop_id: str, journal_id: str, *events: tuple[int, str | None, ev.Event]) -> Delivered:
    """A message of a POP: sequence number, call, event."""
    found = [
        EventEnvelope(
            seq=seq, call_id=call, kind=type(event).__name__, at=event.at, data=msgspec.Raw(encode_event(event))
        )
        for seq, call, event in events
    ]
    data = msgspec.json.encode(EventBatch(pop_id=pop_id, journal_id=journal_id, events=found))
    return Delivered(subjects.events(pop_id), data, 1)


def state(at: float, name: str) -> ev.AgentChanged:
    return ev.AgentChanged(at=at, agent_id=BO, status="AVAILABLE", reason=None, state=name)


OWNER = told(
    "de-2",
    "J2",
    *((seq, None, state(100.0 + 10 * seq, name)) for seq, name in enumerate(("IDLE", "RINGING", "ON_CALL"), 1)),
)
"""An agent's own POP."""
HOME = told("de-1", "J1", (7, CALL, ev.TalkStarted(at=131.0, agent_id=BO, queue_id=QueueId("support"))))
"""The POP whose caller he talks to."""
LATER = told("de-2", "J2", (4, None, state(160.0, "WRAP_UP")), (5, None, state(170.0, "IDLE")))


async def test_an_agent_in_two_journals_that_come_again(database: Database) -> None:  # noqa: F811
    ingest = ingest_of(database)
    await ingest.store([OWNER, HOME, LATER])
    once = await rows(database)
    assert [row["state"] for row in once["agent_states"]] == ["IDLE", "RINGING", "ON_CALL", "WRAP_UP"]
    # Not acknowledged, because the bus was killed: the same again, in one delivery with itself.
    await ingest.store([OWNER, HOME, OWNER, LATER, OWNER, LATER])
    await ingest.store([OWNER])
    assert await rows(database) == once


async def test_what_comes_twice_at_first(database: Database) -> None:  # noqa: F811
    twice, once = ingest_of(database), [OWNER, HOME, OWNER, LATER, HOME, LATER]
    await twice.store(once)
    found = await rows(database)
    assert [row["state"] for row in found["agent_states"]] == ["IDLE", "RINGING", "ON_CALL", "WRAP_UP"]
    assert {row["call_id"] for row in found["agent_states"] if row["state"] == "ON_CALL"} == {CALL}
    sums = [row for row in found["report_sums"] if row["dimension"] == "agent_id"]
    assert {row["busy_ms"] for row in sums} == {50_000}, "rang 10 s, talked 30, wrapped up 10, in each span"


async def test_a_batch_that_the_database_never_takes_is_set_aside(
    database: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One event of one POP must not keep all others from being stored."""
    project = records.project

    async def picky(session: Any, calls: Any, *more: Any, **named: Any) -> None:
        if any(call_id == CALL for _, call_id in calls):
            raise IntegrityError("INSERT", {}, Exception("a number that is somebody's"))
        await project(session, calls, *more, **named)

    monkeypatch.setattr(records, "project", picky)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    ingest = ingest_of(database)
    with caplog.at_level(logging.ERROR):
        await ingest._store_at_last([OWNER, HOME, LATER])
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 5
        [aside] = (await session.scalars(select(RejectedBatchRow))).all()
    assert aside.payload == HOME.data
    assert aside.subject == HOME.subject
    assert "IntegrityError" in aside.reason
    assert ingest.meter.rejected == 1
    assert ingest.meter.stuck is None
    assert "ALARM" in caplog.text
    assert "somebody" not in caplog.text


async def test_what_was_set_aside_is_stored_later(
    database: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the version that can: its calls have their records, and it is set aside no more."""
    project, broken = records.project, True

    async def picky(session: Any, calls: Any, *more: Any, **named: Any) -> None:
        if broken and any(call_id == CALL for _, call_id in calls):
            raise IntegrityError("INSERT", {}, Exception("a number that is somebody's"))
        await project(session, calls, *more, **named)

    monkeypatch.setattr(records, "project", picky)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    ingest = ingest_of(database)
    unreadable = Delivered(subjects.events("de-3"), b"{", 9)
    await ingest._store_at_last([OWNER, HOME, unreadable])
    aside = await rejected.batches(database, ingest)
    assert [(one.pop_id, one.events, one.calls) for one in aside] == [("de-1", 1, {CALL}), ("de-3", None, frozenset())]
    told: list[str] = []
    done = await rejected.store(database, ingest, told.append)
    assert (done.batches, done.events, done.left) == (0, 0, 2)
    assert all("somebody" not in line for line in told)
    broken = False
    done = await rejected.store(database, ingest, told.append)
    assert (done.batches, done.events, done.left) == (1, 1, 1)
    assert [one.pop_id for one in await rejected.batches(database, ingest)] == ["de-3"], "nothing is thrown away"
    assert [row["call_id"] for row in (await rows(database))["calls"]] == [CALL]
    assert (await rejected.store(database, ingest)).batches == 0


async def test_a_database_that_is_away_is_waited_for(
    database: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, failures = records.project, 12

    async def tired(*given: Any, **named: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError("no connection")
        await project(*given, **named)

    monkeypatch.setattr(records, "project", tired)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    ingest = ingest_of(database)
    await ingest._store_at_last([OWNER, HOME, LATER])
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 6
        assert (await session.scalars(select(RejectedBatchRow))).all() == []
