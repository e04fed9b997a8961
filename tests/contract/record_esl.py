"""Records what FreeSWITCH and the adapter say to each other: ``python -m tests.contract.record_esl`` (as root).

Writes tests/unit/freeswitch/transcripts/NAME.jsonl, one frame or command a line. Kept of an event are the headers that
the adapter reads and a few others; login, lease and pings are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pbx.adapters.freeswitch.framing import FrameParser
from pbx.adapters.freeswitch.lease import LEASE
from pbx.adapters.freeswitch.models import HEADERS
from tests.contract.backend import Controller
from tests.contract.esl_scenarios import SCENARIOS
from tests.contract.far_end import FarEnd
from tests.contract.freeswitch_pop import FreeSwitchPop
from tests.contract.listener import Listener
from tests.lab.lab import Lab

DIRECTORY = Path(__file__).parents[1] / "unit" / "freeswitch" / "transcripts"
KEPT = HEADERS | {"Event-Sequence", "Channel-Name", "Caller-Direction"}
UNSAID = ("auth ", f"api global_setvar {LEASE}", "api strepoch")
Line = tuple[str, object]


def _reduced(headers: dict[str, str], text: str) -> str:
    """Of an event, and of what is said of a channel, only what is kept."""
    if headers.get("content-type") == "text/event-json" or text.startswith('{"Event-Name"'):
        return json.dumps({name: value for name, value in json.loads(text).items() if name in KEPT})
    return text


class Tap:
    """Between the adapter and the server: passes everything on, and writes it down."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._asked: list[bool] = []
        self.lines: list[Line] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._to)
        tasks = (
            asyncio.create_task(self._commands(reader, server_writer)),
            asyncio.create_task(self._frames(server_reader, writer)),
        )
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        writer.close()
        server_writer.close()

    async def _commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                block = await reader.readuntil(b"\n\n")
                text = block.decode().removesuffix("\n\n")
                self._asked.append(not text.startswith(UNSAID))
                if self._asked[-1]:
                    self.lines.append(("controller", text))
                writer.write(block)

    async def _frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = FrameParser()
        while data := await reader.read(65536):
            for frame in parser.feed(data):
                kind = frame.content_type
                if kind == "auth/request" or (kind in ("command/reply", "api/response") and not self._asked.pop(0)):
                    continue
                headers = {name: value for name, value in frame.headers.items() if name != "content-length"}
                self.lines.append(("server", {"headers": headers, "body": _reduced(headers, frame.text)}))
            writer.write(data)


class LabFarEnds:
    def __init__(self, caller: FarEnd, phone: FarEnd) -> None:
        self._caller, self._phone = caller, phone

    async def dial(self) -> None:
        await self._caller.dial()

    async def press(self, digits: str) -> None:
        await self._caller.press(digits)

    async def caller_hangs_up(self) -> None:
        await self._caller.hang_up()

    async def phone_answers(self) -> None:
        await self._phone.rings()
        await self._phone.answer()

    async def phone_refuses(self) -> None:
        await self._phone.rings()
        await self._phone.refuse()

    async def goes_on(self) -> None:
        await asyncio.sleep(0.5)  # a recording takes real time


@contextlib.asynccontextmanager
async def tapped(pop: FreeSwitchPop) -> AsyncIterator[tuple[Tap, int]]:
    tap = Tap(pop.pop.esl_host, pop.pop.esl_port)
    listening = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
    try:
        yield tap, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def record(pop: FreeSwitchPop, name: str) -> Path:
    async with tapped(pop) as (tap, port), pop.caller() as caller:
        engine, listener = pop.engine(esl_host="127.0.0.1", esl_port=port), Listener()
        await engine.start(listener)
        try:
            await listener.until(lambda: bool(listener.ups), "engine_up")
            async with pop.phone(Controller(engine, listener), "anna") as phone:
                await SCENARIOS[name](engine, listener, LabFarEnds(caller, phone), pop.recording_dir)
                # Before the phone goes: its end belongs to no scenario.
                lines = list(tap.lines)
        finally:
            await engine.stop()
    path = DIRECTORY / f"{name}.jsonl"
    text = "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)
    path.write_text(text.replace(str(pop.host.shm), "/lab"))
    return path


async def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    with Lab.start() as lab:
        pop = FreeSwitchPop(lab)
        try:
            for name in sys.argv[1:] or SCENARIOS:
                path = await record(pop, name)
                (pop.recording_dir / "transcript.raw").unlink(missing_ok=True)
                print(f"{path}: {path.stat().st_size} bytes")
        finally:
            pop.server.stop()


if __name__ == "__main__":
    asyncio.run(main())
