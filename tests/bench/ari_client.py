"""One client of ``make bench-ari``, on the media server's host as the controller is: sends requests over ARI and prints
how long they took. Run by ``ari.py``."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

import aiohttp
import msgspec
import uvloop

from pbx.adapters.asterisk.ari import AriLink, error_of
from pbx.domain.errors import EngineRefused

Way = Literal["websocket", "http"]
URI, VARIABLE = "asterisk/variable", "CALLPLANE_LEASE"
"""What is asked: a global variable, as small as a request with an argument and an answer can be."""
WARM_UP = 200
CONNECT_S = 10.0


class Order(msgspec.Struct):
    way: Way
    requests: int
    in_flight: int
    ari_port: int
    http_port: int
    user: str
    password: str


class Outcome(msgspec.Struct):
    seconds: float
    client_cpu_s: float


async def over_websocket(order: Order) -> Outcome:
    """The product's own link. Raises EngineError, TimeoutError."""
    connected = asyncio.Event()

    async def up() -> None:
        connected.set()

    link = AriLink(
        host="127.0.0.1",
        port=order.ari_port,
        user=order.user,
        password=order.password,
        application="callplane",
        on_event=lambda message: None,
        on_connected=up,
        on_down=lambda reason: None,
    )
    await link.start()
    query = (("variable", VARIABLE),)

    async def ask() -> None:
        error = error_of(await link.send("GET", URI, query))
        if error is not None:
            raise error

    try:
        async with asyncio.timeout(CONNECT_S):
            await connected.wait()
        return await timed(order, ask)
    finally:
        await link.stop()


async def over_http(order: Order) -> Outcome:
    """As many kept-alive connections as requests in flight. Raises aiohttp.ClientError, EngineRefused."""
    credentials = base64.b64encode(f"{order.user}:{order.password}".encode()).decode()
    url, query = f"http://127.0.0.1:{order.http_port}/ari/{URI}", {"variable": VARIABLE}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=order.in_flight), headers={"Authorization": f"Basic {credentials}"}
    ) as session:

        async def ask() -> None:
            async with session.get(url, params=query) as response:
                await response.read()
                if response.status != 200:
                    raise EngineRefused(f"the media server refused: {response.status}")

        return await timed(order, ask)


async def timed(order: Order, ask: Callable[[], Awaitable[None]]) -> Outcome:
    await _all(ask, WARM_UP, order.in_flight)
    began, cpu = time.perf_counter(), time.process_time()
    await _all(ask, order.requests, order.in_flight)
    return Outcome(time.perf_counter() - began, time.process_time() - cpu)


async def _all(ask: Callable[[], Awaitable[None]], requests: int, in_flight: int) -> None:
    left: Iterator[int] = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            await ask()

    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(worker())


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.argv[1], type=Order)
    outcome = uvloop.run(over_websocket(asked) if asked.way == "websocket" else over_http(asked))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
