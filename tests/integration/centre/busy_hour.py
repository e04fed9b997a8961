"""A busy hour of a POP, played in virtual time, as batches of its link: in order, cut by chance, some of them twice."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import msgspec

from orchestrator.adapters.bus.client import Delivered
from pbx.simulation.virtual_time import VirtualTimeLoop
from pbx.wire import subjects
from pbx.wire.messages import EventBatch, EventEnvelope
from tests.support.busy import busy, world_of


def play(directory: Path, calls: int, seed: int) -> Path:
    """The journal."""

    async def hour() -> None:
        async with world_of(directory) as world:
            await busy(world, calls, seed)

    directory.mkdir()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(hour())
    return directory / "journal.sqlite"


def envelopes(journal: Path) -> list[EventEnvelope]:
    with sqlite3.connect(journal) as db:
        rows = db.execute("SELECT seq, call_id, kind, at, data FROM events ORDER BY seq").fetchall()
    db.close()
    return [EventEnvelope(seq=s, call_id=c, kind=k, at=at, data=msgspec.Raw(data)) for s, c, k, at, data in rows]


def batches(events: list[EventEnvelope], pop_id: str, journal_id: str, seed: int) -> list[list[Delivered]]:
    """What the bus delivers: some messages at a time. What was not acknowledged comes again before newer ones."""
    chance, messages, at = random.Random(seed), list[Delivered](), 0
    while at < len(events):
        until = at + chance.randint(1, 60)
        again = max(0, at - chance.choice((0, 0, 0, 7)))
        batch = EventBatch(pop_id=pop_id, journal_id=journal_id, events=events[again:until])
        messages.append(Delivered(subjects.events(pop_id), msgspec.json.encode(batch), len(messages) + 1))
        at = until
    groups = []
    while messages:
        size = chance.randint(1, 8)
        groups.append(messages[:size])
        if chance.random() < 0.2:
            groups.append(messages[:size])
        messages = messages[size:]
    return groups
