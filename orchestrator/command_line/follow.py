"""Live events: as lines, as JSON lines, or on a screen as the table of live calls."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from orchestrator.command_line.client import Client
from orchestrator.command_line.columns import CALL
from orchestrator.command_line.failures import OK, Unreachable
from orchestrator.command_line.noun import Context, Special
from orchestrator.command_line.output import NOTHING, Output, cell

REFRESH_S = 1.0
"""The table asks for live calls that seldom, however much happens."""
RECENT = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
NOT_SAID = frozenset({"at"})


async def events(client: Client, query: dict[str, str], out: Output) -> AsyncGenerator[tuple[dict[str, Any], bytes]]:
    """Each event, and its JSON as it came, for ever: after a break from where it was. What never began raises."""
    last: str | None = None
    began, pause_s = False, FIRST_PAUSE_S
    while True:
        headers = {} if last is None else {"Last-Event-ID": last}
        reason = "the centre has ended the stream"
        try:
            async with client.stream("/events", query=query, headers=headers) as response:
                if began:
                    out.note("connected again")
                async for line in response.content:
                    began, pause_s = True, FIRST_PAUSE_S
                    if line.startswith(b"id: "):
                        last = line[4:].strip().decode()
                    elif line.startswith(b"data: "):
                        data = line[6:].rstrip(b"\n")
                        yield json.loads(data), data
        except Unreachable as failure:
            if not began:
                raise
            reason = failure.reason
        out.note(f"{reason}; again in {pause_s:g} s")
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def line_of(event: dict[str, Any]) -> str:
    said = [f"{name}={cell(value)}" for name, value in event["data"].items() if name not in NOT_SAID]
    time = f"{datetime.fromisoformat(event['at']):%H:%M:%S.%f}"[:-3]
    return "  ".join((time, event["pop_id"], event["call_id"] or NOTHING, event["kind"], " ".join(said)))


def _query(options: argparse.Namespace) -> dict[str, str]:
    wanted = {"pop_id": options.pop_id, "call_id": options.call_id, "after": options.after}
    return {name: value for name, value in wanted.items() if value is not None}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pop", dest="pop_id", metavar="POP")
    parser.add_argument("--call", dest="call_id", metavar="CALL")
    parser.add_argument("--after", metavar="ID", help="begin after this event; 0 from the very first; else from now on")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many events")


async def follow_events(context: Context, options: argparse.Namespace) -> int:
    return await _lines(context, options, calls_only=False)


async def follow_calls(context: Context, options: argparse.Namespace) -> int:
    if context.out.as_json or not context.out.on_screen:
        return await _lines(context, options, calls_only=True)
    return await Screen(context, options).run()


async def _lines(context: Context, options: argparse.Namespace, *, calls_only: bool) -> int:
    seen = 0
    async with aclosing(events(context.client, _query(options), context.out)) as found:
        async for event, data in found:
            if calls_only and event["call_id"] is None:
                continue
            context.out.raw(data if context.out.as_json else line_of(event).encode())
            seen += 1
            if seen == options.count:
                break
    return OK


class Screen:
    """Live calls above, what has just happened below."""

    def __init__(self, context: Context, options: argparse.Namespace) -> None:
        self._context, self._options = context, options
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._calls: list[dict[str, Any]] = []
        self._more = False
        self._changed = asyncio.Event()

    async def run(self) -> int:
        self._changed.set()
        with Live(console=self._context.out.console, auto_refresh=False) as live:
            reading = asyncio.create_task(self._read())
            showing = asyncio.create_task(self._show(live))
            try:
                await asyncio.wait({reading, showing}, return_when=asyncio.FIRST_COMPLETED)
                for task in (showing, reading):
                    if task.done():
                        task.result()
                await self._ask(live)
            finally:
                for task in (reading, showing):
                    task.cancel()
                await asyncio.gather(reading, showing, return_exceptions=True)
        return OK

    async def _read(self) -> None:
        seen = 0
        async with aclosing(events(self._context.client, _query(self._options), self._context.out)) as found:
            async for event, _ in found:
                if event["call_id"] is None:
                    continue
                self._recent.append(line_of(event))
                self._changed.set()
                seen += 1
                if seen == self._options.count:
                    return

    async def _show(self, live: Live) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._ask(live)
            except Unreachable:
                self._changed.set()  # the stream says so, and goes on by itself
            await asyncio.sleep(REFRESH_S)

    async def _ask(self, live: Live) -> None:
        query = {"live": "true", "limit": "1000"}
        if self._options.pop_id is not None:
            query["pop_id"] = self._options.pop_id
        if self._options.call_id is None:
            page = (await self._context.client.ask("GET", "/calls", query=query)).json
            self._calls, self._more = page["items"], page["next_cursor"] is not None
        else:
            self._calls = [(await self._context.client.ask("GET", f"/calls/{self._options.call_id}")).json]
        live.update(self._drawn(), refresh=True)

    def _drawn(self) -> Group:
        room = max(5, self._context.out.console.height - RECENT - 6)
        shown = self._calls[:room]
        count = f"{len(self._calls)}{'+' if self._more else ''} live calls"
        rest = f", {len(self._calls) - room} of them not shown" if len(self._calls) > room else ""
        rows = [[column.of(call) for column in CALL] for call in shown]
        return Group(
            Text(count + rest, "bold"),
            self._context.out.drawn([(column.title, column.right) for column in CALL], rows),
            *(Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in self._recent),
        )


CALLS = Special("follow", "live calls, as they go (also: callplane calls --follow)", "", follow_calls, _options)
EVENTS = Special("follow", "all events, as they come", "", follow_events, _options)
