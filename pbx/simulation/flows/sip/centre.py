"""What the centre knows: the flow that is published, and what becomes of the call, from its live events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from pbx.domain.hangup_cause import HangupCause, cause_of
from pbx.simulation.flows.files import Unusable

ASK_S = 15.0


@dataclass(slots=True)
class SeenCall:
    """One call, by the events that have come; ``cli`` and ``did`` are how it is known."""

    did: str
    cli: str
    call_id: str | None = None
    nodes: list[str] = field(default_factory=list)
    queue: str | None = None
    """In which it waits, or out of which it came to an agent."""
    talking: bool = False
    cause: HangupCause | None = None
    """None while it goes on."""
    lost: bool = False
    """The centre tells no more of it."""

    def take(self, kind: str, call_id: str | None, data: dict[str, Any]) -> None:
        if kind == "LegOffered" and self.call_id is None:
            number = (data.get("cli") or {}).get("number")
            if data.get("did") == self.did and number == self.cli:
                self.call_id = call_id
            return
        if call_id is None or call_id != self.call_id:
            return
        match kind:
            case "NodeEntered":
                self.nodes.append(str(data["node"]))
                self.queue = None
            case "QueueJoined" | "QueueOverflowed":
                self.queue = str(data["queue_id"])
            case "QueueRefused" | "WaitEnded":
                self.queue = None
            case "TalkStarted":
                self.queue, self.talking = str(data["queue_id"]), True
            case "CallEnded":
                self.cause = cause_of(int(data["cause"]))
                self.queue = None
            case _:
                return


class Centre:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, token_file: Path) -> AsyncIterator[Centre]:
        headers = {"Authorization": f"Bearer {_token(token_file)}"}
        try:
            async with aiohttp.ClientSession(url.rstrip("/") + "/api/v1/", headers=headers) as session:
                yield cls(session)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unusable("--centre", f"cannot be used: {type(error).__name__}") from error

    async def graph_of_did(self, did: str) -> tuple[str, Any]:
        """The flow that calls to ``did`` start, and its published graph."""
        flow_id = str((await self._get(f"dids/{did}"))["flow_id"])
        return flow_id, await self.graph(flow_id)

    async def graph(self, flow_id: str) -> Any:
        return (await self._get(f"flows/{flow_id}"))["graph"]

    async def _get(self, path: str) -> Any:
        async with self._session.get(path, timeout=aiohttp.ClientTimeout(total=ASK_S)) as response:
            if response.status != 200:
                raise Unusable("--centre", f"answers {response.status} to GET /api/v1/{path.partition('/')[0]}/...")
            return await response.json()

    @contextlib.asynccontextmanager
    async def watching(self, call: SeenCall) -> AsyncIterator[None]:
        """Feeds ``call`` with what happens from now on."""
        timeout = aiohttp.ClientTimeout(total=None, connect=ASK_S)
        async with self._session.get("events", timeout=timeout) as response:
            if response.status != 200:
                raise Unusable("--centre", f"answers {response.status} to GET /api/v1/events")
            await response.content.readline()  # the stream has begun: nothing after this is missed
            reading = asyncio.create_task(_read(response, call))
            try:
                yield
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(str(file), "cannot be read") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Unusable(str(file), "must hold a token of the centre and nothing else")
    return token


async def _read(response: aiohttp.ClientResponse, call: SeenCall) -> None:
    try:
        async for line in response.content:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                call.take(event["kind"], event["call_id"], event["data"])
    finally:
        call.lost = True
