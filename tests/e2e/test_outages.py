"""The centre's programs are killed in turn under real calls: none fails, and afterwards nothing is missing or doubled.

sipp callers hear greeting, menu and notice, press their digits, talk to sipp agents and are recorded, or are not, or
hang up on the way, four new ones a second. Meanwhile orchestrator, PostgreSQL and nats-server are killed by SIGKILL,
one after the other, round after round; each stays away until several calls have ended without it. Then the centre's
tables are compared with the POP's journal, row by row, by code of this test's own (``by_hand``).

``CALLPLANE_OUTAGE_S`` is for how long callers come.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from dialplans import prompts
from dialplans.schema import Engine
from pbx.domain.hangup_cause import HangupCause
from tests.e2e import by_hand
from tests.lab.api import ApiProblem
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import Lab
from tests.lab.postgres import PostgresServer
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, Stack, recordings_on_disk
from tests.lab.warden import child_of

SECONDS = {"asterisk": 60.0, "freeswitch": 24.0}
AGENTS = 24
WITHOUT = 4
"""Calls that end while a part is away, before it comes back."""
QUEUE = {"skills": {"support": 1}, "ring_timeout_s": 5, "wrap_up_s": 1, "announce_every_s": 10}
NORMAL = {"cause": int(HangupCause.NORMAL_CLEARING)}


@dataclass(frozen=True, slots=True)
class Group:
    """Callers who do the same. ``consent`` None: they hang up while the notice is being read."""

    prefix: str
    rate: float
    consent: str | None

    def start(self, stack: Stack, seconds: float) -> tuple[Sipp, int]:
        made = prompts.load_manifest(prompts.default_dir()).prompts["de"]
        notice_ms = made["consent-ask"].duration_ms + made["consent-keys-opt-in"].duration_ms
        digits, hold_ms = [(800, "1"), (900, "1")], None if self.consent is not None else 2500
        if self.consent is not None:
            digits.append((notice_ms, self.consent))
        count = round(seconds * self.rate)
        calls = [(f"{self.prefix}{number:06}", DID) for number in range(count)]
        callers = Sipp.callers(
            stack.carrier, stack.pop.address, calls, rate=self.rate, digits=digits, hold_ms=hold_ms, at_once=400
        )
        return callers, count


RECORDED, REFUSING, LEAVING = Group("+491701", 2, "1"), Group("+491702", 1, "2"), Group("+491703", 1, None)
GROUPS = (RECORDED, REFUSING, LEAVING)


@dataclass
class Outages:
    """Kills each part in its turn and has it back."""

    stack: Stack
    postgres: PostgresServer
    kills: Counter[str] = field(default_factory=Counter)

    async def run(self, seconds: float) -> None:
        """Round by round, until the time is over and each has had its turn. In every second round the next is killed as
        soon as the one before is started, in the middle of taking up its work."""
        end = time.monotonic() + seconds
        for settled in (True, False) * 1000:
            for kill in (self._orchestrator, self._database, self._bus):
                if time.monotonic() > end and len(self.kills) == 3:
                    return
                await kill()
                self.kills[kill.__name__] += 1
                if settled:
                    await self._taken_in()

    async def _orchestrator(self) -> None:
        self.stack.orchestrator.kill()
        await self._calls_end()
        self.stack.restart_centre()
        await self.stack.api.wait_up(30)

    async def _database(self) -> None:
        self.postgres.kill()
        await self._calls_end()
        await asyncio.to_thread(self.postgres.start)

    async def _bus(self) -> None:
        """The orchestrator starts it again."""
        killed = self._bus_pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: self._bus_pid() not in (None, killed), 30, "another nats-server")
        await self._calls_end()

    def _bus_pid(self) -> int | None:
        return child_of(self.stack.orchestrator.pid)

    async def _calls_end(self) -> None:
        before = _ended(self.stack)
        await asyncio.to_thread(
            wait_until, lambda: _ended(self.stack) >= before + WITHOUT, 30, "calls to end", self.stack.logs
        )

    async def _taken_in(self) -> None:
        """The centre has what the POP wrote after it came back."""
        last = by_hand.rows(_journal(self.stack))[-1][0]
        await _until(lambda: _has(self.postgres, last), 30, f"event {last} at the centre")


@dataclass
class Changes:
    """Somebody renames the queue all the time. ``taken`` is the last name that the API took, ``tried`` the last sent;
    ``unheard`` counts those without an answer."""

    stack: Stack
    taken: int = 0
    tried: int = 0
    unheard: int = 0

    async def run(self) -> None:
        while True:
            self.tried += 1
            body = {**QUEUE, "name": f"Support {self.tried}"}
            try:
                await self.stack.api.ask("PUT", "queues/support", body)
                self.taken = self.tried
            except ApiProblem as problem:
                if problem.status != 503:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                self.unheard += 1
            await asyncio.sleep(0.25)  # a pace; nothing waits for it


@pytest.mark.timeout(300)
async def test_no_call_fails_and_each_has_one_record(lab: Lab, engine: Engine) -> None:
    seconds = float(os.environ.get("CALLPLANE_OUTAGE_S", SECONDS[engine]))
    async with AsyncExitStack() as parts:
        stack = await parts.enter_async_context(Stack.start(lab, queue=QUEUE, engine=engine, postgres=True))
        assert stack.postgres is not None
        await parts.enter_async_context(stack.sipp_agents(AGENTS, sound_ms=1900))
        changes = Changes(stack)
        changing = asyncio.create_task(changes.run())
        parts.callback(changing.cancel)
        callers = [group.start(stack, seconds) for group in GROUPS]
        outages = Outages(stack, stack.postgres)
        await outages.run(seconds)
        for running, count in callers:
            (await asyncio.to_thread(running.finish, 90)).require_success(count)
        changing.cancel()
        with suppress(asyncio.CancelledError):
            await changing
        assert len(outages.kills) == 3, outages.kills
        print(f"{sum(count for _, count in callers)} calls, killed: {dict(outages.kills)}")

        stack.server.wait_idle()
        assert stack.server.leftovers() == ""
        await asyncio.to_thread(wait_until, lambda: _all_idle(stack), 20, "all agents to be free", stack.logs)
        await _compared(
            stack, stack.postgres, {group: count for group, (_, count) in zip(GROUPS, callers, strict=True)}
        )
        await _configured(stack, changes)
        assert "ALARM" not in stack.controller.log_text()
        assert "Traceback" not in stack.controller.log_text()


async def _compared(stack: Stack, postgres: PostgresServer, groups: dict[Group, int]) -> None:
    journal, tables = await _quiet(stack, postgres)
    assert tables["rejected_batches"] == tables["config_outbox"] == []
    # Events: each once, to the byte.
    kept = sorted((row["seq"], row["call_id"], row["kind"], row["at"], row["data"]) for row in tables["events"])
    assert set(kept) ^ set(journal) == set()
    assert kept == journal
    # Calls: each one row, that of the journal; and the callers know as many.
    events = by_hand.events(journal)
    wanted = by_hand.records(events)
    found = {row["call_id"]: json.loads(row["cdr"]) for row in tables["calls"]}
    assert len(tables["calls"]) == len(found) == len(wanted) == sum(groups.values())
    assert {call: {name: found[call][name] for name in record} for call, record in wanted.items()} == wanted
    for row in tables["calls"]:
        columns = ("did", "queue_id", "agent_id", "offered_at", "ended_at")
        assert {name: row[name] for name in columns} == {name: wanted[row["call_id"]][name] for name in columns}
    for group, count in groups.items():
        assert Counter(map(_course, _of(group, wanted))) == {_COURSES[group]: count}
    await _recorded(stack, tables["recordings"], wanted, groups[RECORDED])
    # Agents: what each did, when, and what each does now.
    spans = {tuple(row[name] for name in _SPAN) for row in tables["agent_states"]}
    assert len(spans) == len(tables["agent_states"])
    assert spans == by_hand.intervals(events)
    now = {row["agent_id"]: (row["status"], row["state"], row["since"]) for row in tables["agents_now"]}
    assert now == by_hand.states(events)
    # Reports are of the same calls.
    figures = (await stack.api.get("reports/figures"))["total"]
    talked = groups[RECORDED] + groups[REFUSING]
    assert (figures["offered"], figures["answered"], figures["handled"]) == (talked, talked, talked)


async def _quiet(stack: Stack, postgres: PostgresServer) -> tuple[list[Any], dict[str, list[asyncpg.Record]]]:
    """Journal and tables at one moment: nothing was written while they were read."""
    while True:
        journal = by_hand.rows(_journal(stack))
        last = journal[-1][0]
        await _until(partial(_has, postgres, last), 60, "the last event at the centre")
        await stack.synced()
        connection = await postgres.connect()
        try:
            tables = {name: await connection.fetch(f"SELECT * FROM {name}") for name in _TABLES}  # noqa: S608  # ours
        finally:
            await connection.close()
        if by_hand.rows(_journal(stack)) == journal:
            return journal, tables


_TABLES = ("events", "calls", "recordings", "agent_states", "agents_now", "config_outbox", "rejected_batches")
_SPAN = ("agent_id", "status", "state", "began_at", "ended_at")
_COURSES = {
    RECORDED: ("agent_hung_up", 1, True, (True,), 1),
    REFUSING: ("agent_hung_up", 1, True, (False,), 0),
    LEAVING: ("caller_hung_up", 0, False, (False,), 0),
}


def _course(record: dict[str, Any]) -> tuple[Any, ...]:
    """How it ended, whether it came to a talk, whether the last agent who was rung answered, consent, recordings."""
    assert record["cause"] == NORMAL["cause"]
    return (
        record["end_reason"],
        int(record["talk_started_at"] is not None),
        [offer["outcome"] for offer in record["offers"]][-1:] == ["answered"],
        tuple(consent["granted"] for consent in record["consents"]),
        len(record["recordings"]),
    )


def _of(group: Group, records: dict[str, Any]) -> list[Any]:
    return [record for record in records.values() if record["cli"].startswith(group.prefix)]


async def _recorded(stack: Stack, rows: list[asyncpg.Record], wanted: dict[str, Any], count: int) -> None:
    """The table of recordings is the records', and each, sealed at the POP, is the one that was measured."""
    of_records = {one["recording_id"]: (call, one) for call, record in wanted.items() for one in record["recordings"]}
    assert len(rows) == len(of_records) == count
    for row in rows:
        call, recording = of_records[row["recording_id"]]
        assert row["call_id"] == call
        columns = recording.keys() - {"pauses"}  # told by the call's record only
        assert {name: row[name] for name in columns} == {name: recording[name] for name in columns}
        content = await stack.api.download(f"recordings/{row['recording_id']}/content")
        assert sha256(content).hexdigest() == row["sha256"]
    assert len(recordings_on_disk(stack.pop)) == len(rows)


async def _configured(stack: Stack, changes: Changes) -> None:
    """The POP runs the newest name that the centre has, and no name that was taken is lost."""
    await stack.synced()
    name = (await stack.api.get("queues/support"))["name"]
    assert changes.taken <= int(name.rpartition(" ")[2]) <= changes.tried
    assert changes.taken > 0
    entry = json.dumps(by_hand.configuration(_journal(stack))["queue.support"])
    assert f'"{name}"' in entry, entry
    print(f"{changes.tried} changes of configuration, {changes.unheard} without an answer")


def _journal(stack: Stack) -> Path:
    return stack.pop.state_dir / "controller" / "journal.sqlite"


def _ended(stack: Stack) -> int:
    with closing(sqlite3.connect(f"file:{_journal(stack)}?mode=ro", uri=True)) as db:
        number: int = db.execute("SELECT count(*) FROM events WHERE kind = 'CallEnded'").fetchone()[0]
    return number


def _all_idle(stack: Stack) -> bool:
    states = by_hand.states(by_hand.events(by_hand.rows(_journal(stack))))
    return all(state == "IDLE" for _, state, _ in states.values())


async def _has(postgres: PostgresServer, seq: int) -> bool:
    try:
        connection = await postgres.connect()
        try:
            return bool(await connection.fetchval("SELECT count(*) FROM events WHERE seq = $1", seq))
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError):
        return False


async def _until(condition: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> None:
    end = time.monotonic() + deadline_s
    while not await condition():
        if time.monotonic() > end:
            raise LabError(f"not within {deadline_s:g} s: {what}")
        await asyncio.sleep(0.05)
