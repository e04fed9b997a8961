"""What the centre's tests share: an API client that reads like the scenario, waiting, sample configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import func, select

from orchestrator.adapters.db.models import OutboxRow
from orchestrator.bootstrap import Centre
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.link.nats import NatsLink
from pbx.domain.flow import POSITION_PROMPTS, position_prompt
from pbx.wire.messages import CommandReply, CommandRequest, ConfigEntry, Heartbeat

_POSITIONS = frozenset(position_prompt(n) for n in range(1, POSITION_PROMPTS + 2))
PROMPTS = {
    "de": _POSITIONS | {"hello", "queue-welcome", "bye"},
    "en": _POSITIONS | {"hello", "queue-welcome"},
}


async def until(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], within_s: float = 15.0) -> Any:
    """The first true value of ``condition``; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.02)


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def error_id(self) -> str:
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        return str(self.body["error_id"])

    @property
    def fields(self) -> dict[str, str]:
        return {e["field"]: e["reason"] for e in self.body["errors"]}


class Api:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        async with self.session.request(method, "/api/v1" + path, json=body, **options) as response:
            kind = response.headers.get("Content-Type", "")
            return Answer(
                response.status, await response.json() if "json" in kind else await response.read(), response.headers
            )

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.ask("POST", path, {} if body is None else body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.ask("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.ask("DELETE", path, **options)

    async def made(self, path: str, body: Any) -> Any:
        answer = await self.post(path, body)
        assert answer.status == 201, answer.body
        return answer.body

    async def new_pop(self, pop_id: str = "de-fra-1") -> str:
        """Makes a POP; its key."""
        made = await self.made("/pops", {"pop_id": pop_id, "name": "Frankfurt", "country": "DE"})
        return str(made["key"])

    async def new_site(self, pop_id: str = "de-fra-1") -> str:
        """A POP with queue, flow, DID; its key."""
        key = await self.new_pop(pop_id)
        await self.made("/queues", QUEUE)
        await self.made("/flows", {"flow_id": "main", "graph": graph()})
        await self.made("/dids", did(pop_id=pop_id))
        return key


async def outbox_is_empty(centre: Centre) -> bool:
    """Everything that was configured is on the bus."""
    assert centre.database is not None
    async with centre.database.read() as session:
        return await session.scalar(select(func.count()).select_from(OutboxRow)) == 0


QUEUE: dict[str, Any] = {"queue_id": "sales", "name": "Sales", "skills": {"lang:de": 3}}


def graph(**change: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "start": "hello",
        "languages": ["de", "en"],
        "nodes": {
            "hello": {"type": "say", "prompts": ["hello"], "next": "wait"},
            "wait": {"type": "queue", "queue": "sales", "on_refused": "bye"},
            "bye": {"type": "hang_up"},
        },
    }
    return {**base, **change}


def did(**change: Any) -> dict[str, Any]:
    base = {
        "number": "+49305550100",
        "pop_id": "de-fra-1",
        "flow_id": "main",
        "country": "DE",
        "language": "de",
        "time_zone": "Europe/Berlin",
        "region": "eu",
    }
    return {**base, **change}


def agent(**change: Any) -> dict[str, Any]:
    return {"name": "Ada", "skills": {"lang:de": 5}, "country": "DE", "pop_id": "de-fra-1", **change}


@dataclass
class Handler:
    """The POP behind a link: remembers what it was told, answers commands by ``answer``."""

    pop_id: str
    changes: list[tuple[str, ConfigEntry | None]] = field(default_factory=list)
    commands: list[CommandRequest] = field(default_factory=list)
    answer: Callable[[CommandRequest], CommandReply] = lambda _request: CommandReply()
    errors: dict[str, str] = field(default_factory=dict)
    live_calls: int = 3
    draining: bool = False
    phones_pending: int = 0

    def config_changed(self, key: str, entry: ConfigEntry | None) -> None:
        self.changes.append((key, entry))
        if key == "pop":
            self.draining = entry is not None

    async def command(self, request: CommandRequest) -> CommandReply:
        self.commands.append(request)
        return self.answer(request)

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            pop_id=self.pop_id,
            at=time.time(),
            revision=0,
            engine_up=True,
            live_calls=self.live_calls,
            unsent_events=0,
            config_errors=self.errors,
            draining=self.draining,
            phones_pending=self.phones_pending,
        )


@dataclass
class TestPop:
    __test__ = False
    journal: SqliteJournal
    handler: Handler
    link: NatsLink


@asynccontextmanager
async def pop(
    path: Path, port: int, key: str, pop_id: str = "de-fra-1", clock: Callable[[], float] = time.time
) -> AsyncIterator[TestPop]:
    """A link on a journal at ``path``, which stays for the next start."""
    journal = SqliteJournal(path)
    handler = Handler(pop_id)
    link = NatsLink(f"nats://127.0.0.1:{port}", pop_id, key, journal, clock)
    await link.start(handler)
    try:
        yield TestPop(journal, handler, link)
    finally:
        await link.stop()
        journal.close()
