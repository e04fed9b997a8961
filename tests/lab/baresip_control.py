"""Baresip's control connection: JSON in netstrings over TCP; replies and events share it."""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.errors import LabError, LabTimeoutError

REPLY_S = 5
MAX_MESSAGE = 1_000_000


@dataclass(frozen=True)
class PhoneEvent:
    """Something baresip reported, e.g. `CALL_INCOMING`; `param` depends on the type (peer, reason, digit)."""

    type: str
    call_id: str
    peer: str
    param: str


class Control:
    """An open control connection. `tail` gives the phone's log for error messages."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, tail: Callable[[], str]
    ) -> None:
        self.name = name
        self.events: list[PhoneEvent] = []  # all so far, in order
        self._reader = reader
        self._writer = writer
        self._tail = tail
        self._unseen: list[PhoneEvent] = []
        self._changed = asyncio.Condition()
        self._replies: dict[str, asyncio.Future[dict[str, object]]] = {}
        self._tokens = itertools.count(1)
        self._ended: str | None = None
        self._task = asyncio.create_task(self._read(), name=f"control of {name}")

    async def command(self, name: str, params: str = "") -> str:
        """Run a baresip command and return what it printed. Raises `LabError` when baresip refuses it."""
        if self._ended is not None:
            raise LabError(f"{self.name}: {name}: {self._ended}\n{self._tail()}")
        token = str(next(self._tokens))
        self._replies[token] = asyncio.get_running_loop().create_future()
        message = json.dumps({"command": name, "params": params, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(message), message))
        try:
            await self._writer.drain()
            reply = await asyncio.wait_for(self._replies[token], REPLY_S)
        except TimeoutError as error:
            raise LabTimeoutError(f"{self.name}: no reply to {name} {params}\n{self._tail()}") from error
        except ConnectionError as error:
            raise LabError(f"{self.name}: {name}: {error}\n{self._tail()}") from error
        finally:
            del self._replies[token]
        if not reply.get("ok"):
            raise LabError(f"{self.name}: {name} {params}: {str(reply.get('data')).strip()}\n{self._tail()}")
        return str(reply.get("data", ""))

    async def wait_for(self, *types: str, deadline_s: float = 10) -> PhoneEvent:
        """The next event of one of these types; each event is returned once, events of other types stay.

        Raises `LabTimeoutError` with the events that did come, `LabError` when the phone ended.
        """

        def take() -> PhoneEvent | None:
            for index, event in enumerate(self._unseen):
                if event.type in types:
                    return self._unseen.pop(index)
            return None

        try:
            async with asyncio.timeout(deadline_s), self._changed:
                while (found := take()) is None:
                    if self._ended is not None:
                        raise LabError(f"{self.name}: waiting for {types}: {self._ended}\n{self._tail()}")
                    await self._changed.wait()
                return found
        except TimeoutError as error:
            seen = [event.type for event in self.events]
            raise LabTimeoutError(
                f"{self.name}: no {' or '.join(types)} within {deadline_s:g} s; events: {seen}\n{self._tail()}"
            ) from error

    async def close(self) -> None:
        """Let go of the connection; the phone goes on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    async def _read(self) -> None:
        try:
            while True:
                size = int((await self._reader.readuntil(b":"))[:-1])
                if size > MAX_MESSAGE:
                    raise ValueError(f"a message of {size} bytes")
                body = await self._reader.readexactly(size + 1)
                await self._take_in(json.loads(body[:-1].decode(errors="replace")))
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end("the phone closed its control connection")
        except ValueError as error:
            await self._end(f"the phone sent what is no netstring of JSON: {error}")

    async def _take_in(self, message: dict[str, object]) -> None:
        if message.get("response"):
            waiting = self._replies.get(str(message.get("token")))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return
        fields = (str(message.get(key, "")) for key in ("type", "id", "peeruri", "param"))
        event = PhoneEvent(*fields)
        async with self._changed:
            self.events.append(event)
            self._unseen.append(event)
            self._changed.notify_all()

    async def _end(self, reason: str) -> None:
        async with self._changed:
            self._ended = reason
            self._changed.notify_all()
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_exception(LabError(f"{self.name}: {reason}\n{self._tail()}"))
