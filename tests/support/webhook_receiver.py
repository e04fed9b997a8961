"""A customer's server that webhooks are delivered to. It verifies as a receiver would, with nothing of the centre's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def sent_at(self) -> int:
        return int(self.headers["webhook-timestamp"])

    @property
    def message(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return str(self.message["type"])

    def signed_with(self, secret: str) -> bool:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = b".".join((self.message_id.encode(), self.headers["webhook-timestamp"].encode(), self.body))
        wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        given = [one.split(",", 1) for one in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and hmac.compare_digest(said, wanted) for version, said in given)


@dataclass
class Receiver:
    """``answer`` says what a request is answered: a status, or a response; None: nothing, ever."""

    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int | web.Response | None] = lambda _received: 204
    port: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    def kinds(self, path: str = "/hook") -> list[str]:
        return [one.kind for one in self.at(path)]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        names = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, names, await request.read())
        self.received.append(received)
        said = self.answer(received)
        if said is None:
            await self._stopping.wait()
            raise web.HTTPServiceUnavailable
        return web.Response(status=said) if isinstance(said, int) else said

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Receiver]:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._take)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self._stopping.set()
            await runner.cleanup()
