"""The adapter against what a real server said: transcripts of ``python -m tests.contract.record_esl``, replayed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.freeswitch.engine import FreeSwitchEngine
from pbx.adapters.freeswitch.lease import LEASE
from pbx.domain.events import PhoneReachable
from tests.contract.backend import account
from tests.contract.esl_scenarios import SCENARIOS
from tests.contract.freeswitch_pop import country_of
from tests.contract.listener import Listener

DIRECTORY = Path(__file__).with_name("transcripts")
PASSWORD = "for-this-test"


class Nobody:
    """Far ends that do nothing: what came of it is in the transcript."""

    async def dial(self) -> None: ...
    async def press(self, digits: str) -> None: ...
    async def caller_hangs_up(self) -> None: ...
    async def phone_answers(self) -> None: ...
    async def phone_refuses(self) -> None: ...
    async def goes_on(self) -> None: ...


class Replay:
    """The server's side of a transcript: says what it said, each time the adapter has sent what it sent."""

    def __init__(self, path: Path, directory: Path) -> None:
        text = path.read_text().replace("/lab", str(directory))
        self._lines: list[tuple[str, Any]] = [tuple(json.loads(line)) for line in text.splitlines()]
        self._jobs: dict[str, str] = {}
        self.surprise: str | None = None

    @property
    def left(self) -> int:
        return len(self._lines)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Type: auth/request\n\n")
        try:
            while True:
                command = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n")
                if command.startswith("auth "):
                    writer.write(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
                elif command.startswith((f"api global_setvar {LEASE}", "api strepoch")):
                    writer.write(b"Content-Type: api/response\nContent-Length: 3\n\n+OK")
                else:
                    self._expect(command)
                    self._speak(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _expect(self, command: str) -> None:
        side, wanted = self._lines.pop(0) if self._lines else ("controller", "nothing more")
        line, _, job = command.partition("\nJob-UUID: ")
        wanted_line, _, wanted_job = str(wanted).partition("\nJob-UUID: ")
        if side != "controller" or line != wanted_line:
            self.surprise = self.surprise or f"sent {line!r}, the transcript has {wanted_line!r}"
        if job:
            self._jobs[wanted_job] = job

    def _speak(self, writer: asyncio.StreamWriter) -> None:
        while self._lines and self._lines[0][0] == "server":
            frame = self._lines.pop(0)[1]
            head, body = "".join(f"{name}: {value}\n" for name, value in frame["headers"].items()), frame["body"]
            for recorded, job in self._jobs.items():
                head, body = head.replace(recorded, job), body.replace(recorded, job)
            content = body.encode()
            length = f"Content-Length: {len(content)}\n" if content else ""
            # In two pieces, cut where it hurts most.
            data = (length + head + "\n").encode() + content
            writer.write(data[: len(data) // 2])
            writer.write(data[len(data) // 2 :])


@pytest.mark.parametrize("name", SCENARIOS)
async def test_replayed(name: str, tmp_path: Path) -> None:
    replay = Replay(DIRECTORY / f"{name}.jsonl", tmp_path)
    listening = await asyncio.start_server(replay.serve, "127.0.0.1", 0)
    directories = {directory: tmp_path / directory for directory in ("prompts", "phones", "recordings")}
    for directory in directories.values():
        directory.mkdir()
    engine, listener = (
        FreeSwitchEngine(
            esl_host="127.0.0.1",
            esl_port=listening.sockets[0].getsockname()[1],
            esl_password=PASSWORD,
            prompt_dir=directories["prompts"],
            phone_dir=directories["phones"],
            country_of=country_of,
        ),
        Listener(),
    )
    await engine.start(listener)
    try:
        await listener.until(lambda: bool(listener.ups), "engine_up")
        assert engine.capabilities.version
        await engine.put_phone(account("anna"))
        await listener.wait_for(PhoneReachable, lambda e: e.reachable)
        await SCENARIOS[name](engine, listener, Nobody(), directories["recordings"])
    finally:
        listening.close()
        await engine.stop()
        assert replay.surprise is None, replay.surprise
    assert replay.left == 0
