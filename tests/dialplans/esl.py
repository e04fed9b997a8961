"""A controller that only looks on, over FreeSWITCH's event socket: it shows what the dialplan handed over.

Not the product's client: what is tested here must not depend on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from tests.lab.errors import LabError

DEADLINE_S = 10.0
KINDS = ("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_UNPARK", "CHANNEL_BRIDGE", "PLAYBACK_START")
Event = dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """A leg that the dialplan has parked for the controller."""

    leg: str
    call_id: str
    did: str
    cli: str
    trunk: str
    at_us: int
    """Microseconds since the epoch."""


def _event(body: bytes) -> Event:
    # What a far end sent as bytes that are no UTF-8 is in the event as it came.
    event: Event = json.loads(body.decode(errors="replace"))
    return event


def _offer(event: Event) -> Offer:
    did, caller, trunk = (event[f"variable_callplane_{name}"] for name in ("did", "cli", "trunk"))
    return Offer(event["Unique-ID"], event["variable_sip_call_id"], did, caller, trunk, at_us(event))


def at_us(event: Event) -> int:
    return int(event["Event-Date-Timestamp"])


class Controller:
    """Connected to one server; ``Controller.connect`` is the way to get one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._seen: list[Event] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, address: str, port: int, password: str) -> AsyncIterator[Controller]:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            own = cls(reader, writer)
            await own._frame()
            await own._command(f"auth {password}")
            await own._command(f"event json {' '.join(KINDS)}")
            yield own
        finally:
            writer.close()

    async def _frame(self) -> tuple[str, bytes]:
        """Content type and body of what comes next."""
        headers: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_S + 5):
            while line := (await self._reader.readline()).decode().strip():
                name, _, value = line.partition(": ")
                headers[name] = value
            if not headers:
                raise LabError("the event socket was closed")
            body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        return headers["Content-Type"], body or headers.get("Reply-Text", "").encode()

    async def _command(self, text: str) -> str:
        self._writer.write(f"{text}\n\n".encode())
        while True:
            kind, body = await self._frame()
            if kind == "text/event-json":
                self._seen.append(_event(body))
            elif kind in ("api/response", "command/reply"):
                return body.decode()

    async def api(self, command: str) -> str:
        """The answer to an API command. Raises `LabError` when it begins with -ERR."""
        answer = await self._command(f"api {command}")
        if answer.startswith("-ERR"):
            raise LabError(f"{command}: {answer}")
        return answer

    async def lease(self, seconds: int) -> None:
        """Renew the lease, or let it be over (negative)."""
        await self.api(f"global_setvar callplane_lease={int(time.time()) + seconds}")

    async def event(
        self, kind: str, fits: Callable[[Event], bool] = lambda event: True, deadline_s: float = DEADLINE_S
    ) -> Event:
        """The next event of a kind (any, when it is empty) that ``fits``; others are kept for later."""
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    for index, event in enumerate(self._seen):
                        if kind in ("", event["Event-Name"]) and fits(event):
                            return self._seen.pop(index)
                    content, body = await self._frame()
                    if content == "text/event-json":
                        self._seen.append(_event(body))
        except TimeoutError:
            seen = ", ".join(event["Event-Name"] for event in self._seen)
            raise LabError(f"no {kind} that fits within {deadline_s:g} s; seen: {seen}") from None

    async def of_leg(self, kind: str, leg: str, deadline_s: float = DEADLINE_S) -> Event:
        return await self.event(kind, lambda event: event["Unique-ID"] == leg, deadline_s)

    async def offered(self, deadline_s: float = DEADLINE_S) -> Offer:
        return _offer(await self.event("CHANNEL_PARK", lambda event: "variable_callplane_did" in event, deadline_s))

    async def hang_up(self, leg: str, cause: str = "USER_BUSY") -> None:
        await self.api(f"uuid_kill {leg} {cause}")

    async def outcomes(self, calls: int) -> dict[str, tuple[str, str] | int]:
        """What becomes of the next ``calls`` calls of carriers, by SIP Call-ID: DID and CLI as handed over (the leg is
        then refused), or the cause of the refusal."""
        found: dict[str, tuple[str, str] | int] = {}
        ended = 0
        while ended < calls:
            event = await self.event(
                "", lambda event: event["Event-Name"] in ("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE")
            )
            call_id = event["variable_sip_call_id"]
            if event["Event-Name"] == "CHANNEL_PARK":
                offer = _offer(event)
                found[call_id] = (offer.did, offer.cli)
                await self.hang_up(offer.leg)
            else:
                found.setdefault(call_id, int(event["variable_hangup_cause_q850"]))
                ended += 1
        return found
