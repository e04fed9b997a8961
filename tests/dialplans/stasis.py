"""A controller that only looks on: it shows what the dialplan handed over, and starts calls into it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.lab.errors import LabError

USER, PASSWORD = "controller", "controller-password"
DEADLINE_S = 10.0
CAUSE_BUSY = 17
KINDS = frozenset({"StasisStart", "StasisEnd", "ChannelDestroyed"})
"""Events that tests ask for; the others are dropped."""

CONFIG = {
    "ari.conf": f"[general]\nenabled=yes\n[{USER}]\ntype=user\npassword={PASSWORD}\n".encode(),
    "http.conf": b"[general]\nenabled=yes\nbindaddr=0.0.0.0\nbindport=8088\n",
}


@dataclass(frozen=True)
class Offer:
    """A leg in the controller's hands, with the arguments it came with."""

    channel: str
    name: str
    did: str
    cli: str
    trunk: str


class Controller:
    """Connected to one server; ``Controller.connect`` is the way to get one."""

    def __init__(self, session: aiohttp.ClientSession, events: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._events = events
        self._serial = itertools.count()
        self._seen: list[dict[str, Any]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, address: str, *, apps: str = "callplane,probe") -> AsyncIterator[Controller]:
        auth = {"Authorization": aiohttp.encode_basic_auth(USER, PASSWORD)}
        async with (
            aiohttp.ClientSession(f"http://{address}:8088", headers=auth) as session,
            session.ws_connect("/ari/events", params={"app": apps}) as events,
        ):
            yield cls(session, events)

    async def request(self, method: str, path: str, **params: str) -> Any:
        async with self._session.request(method, f"/ari/{path}", params=params) as answer:
            if answer.status >= 300:
                raise LabError(f"{method} {path}: {answer.status} {await answer.text()}")
            return await answer.json() if answer.status == 200 else None

    async def lease(self, seconds: int) -> None:
        """Renew the lease, or let it be over (negative)."""
        value = str(int(time.time()) + seconds)
        await self.request("POST", "asterisk/variable", variable="CALLPLANE_LEASE", value=value)

    async def _receive(self) -> None:
        event = json.loads(await self._events.receive_str())
        if event["type"] in KINDS:
            self._seen.append(event)

    async def event(self, kind: str, deadline_s: float = DEADLINE_S, **wanted: str) -> dict[str, Any]:
        """The next event of a type whose channel has the ``wanted`` values; others are kept for later."""

        def fits(event: dict[str, Any]) -> bool:
            own = event | event.get("channel", {})
            return event["type"] == kind and all(own.get(key) == value for key, value in wanted.items())

        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    for index, event in enumerate(self._seen):
                        if fits(event):
                            return self._seen.pop(index)
                    await self._receive()
        except TimeoutError:
            seen = ", ".join(event["type"] for event in self._seen)
            raise LabError(f"no {kind} with {wanted} within {deadline_s:g} s; seen: {seen}") from None

    async def offered(self, deadline_s: float = DEADLINE_S) -> Offer:
        event = await self.event("StasisStart", deadline_s, application="callplane")
        did, caller, trunk = event["args"]
        return Offer(event["channel"]["id"], event["channel"]["name"], did, caller, trunk)

    async def hang_up(self, channel: str, cause: int = CAUSE_BUSY) -> None:
        await self.request("DELETE", f"channels/{channel}", reason_code=str(cause))

    async def call(self, number: str, context: str, caller: str = "") -> str:
        """A call into ``context`` that needs no phone; the id of our own end."""
        channel = f"probe-{next(self._serial)}"
        await self.request(
            "POST",
            "channels",
            endpoint=f"Local/{number}@{context}",
            app="probe",
            callerId=caller,
            channelId=channel,
            otherChannelId=f"{channel}-far",
        )
        return channel

    async def outcome(self, number: str, caller: str) -> tuple[str, str] | int:
        """What becomes of a call from a carrier: DID and CLI as handed over, or the cause of its refusal."""
        # In brackets: text that is no number would be taken for a name.
        self._seen.clear()  # what is left of earlier calls
        channel = await self.call(number, "from-trunk", f'"x" <{caller}>')
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    for index, event in enumerate(self._seen):
                        own = event.get("channel", {}).get("id")
                        if event["type"] == "StasisStart" and own == f"{channel}-far":
                            del self._seen[index]
                            await self.hang_up(own)
                            return event["args"][0], event["args"][1]
                        if event["type"] == "ChannelDestroyed" and own == channel:
                            del self._seen[index]
                            return int(event["cause"])
                    await self._receive()
        except TimeoutError:
            raise LabError(f"{number!r}: neither handed over nor refused") from None
