"""The event socket connection against a scripted server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import cast

import pytest

from pbx.adapters.freeswitch import esl, session
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.models import ServerEvent
from pbx.domain.errors import BadValue, EngineError, EngineGone, EngineRefused, EngineUnknown, LegGone

PASSWORD = "for-this-test"


def frame(content_type: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    lines = [f"Content-Type: {content_type}", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\n".join(lines).encode() + b"\n\n" + body


def event(**headers: str) -> bytes:
    return frame("text/event-json", json.dumps({name.replace("_", "-"): v for name, v in headers.items()}).encode())


class Server:
    """What FreeSWITCH does on its end. ``answers`` maps an api command to its text, None for silence."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answers: dict[str, str | None] = {}
        self.writers: list[asyncio.StreamWriter] = []
        self.news = asyncio.Event()
        self.greets = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if self.greets:
            writer.write(frame("auth/request"))
        try:
            while True:
                block = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n")
                self.commands.append(block)
                self.news.set()
                self.answer(writer, block.split("\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, writer: asyncio.StreamWriter, lines: list[str]) -> None:
        word, _, rest = lines[0].partition(" ")
        if word == "api":
            text = self.answers.get(rest, "+OK\n")
            if text is not None:
                writer.write(frame("api/response", text.encode()))
        elif word == "bgapi":
            job = dict(line.split(": ", 1) for line in lines[1:])["Job-UUID"]
            text = self.answers.get(rest, "+OK\n")
            if text is not None:
                body = {"Event-Name": "BACKGROUND_JOB", "Job-UUID": job, "_body": text}
                writer.write(frame("text/event-json", json.dumps(body).encode()))
            writer.write(frame("command/reply", headers={"Reply-Text": f"+OK Job-UUID: {job}", "Job-UUID": job}))
        elif word == "auth":
            good = rest == PASSWORD
            writer.write(frame("command/reply", headers={"Reply-Text": "+OK accepted" if good else "-ERR invalid"}))
            if not good:
                writer.write(frame("text/disconnect-notice", b"bye\n"))
                writer.close()
        else:
            writer.write(frame("command/reply", headers={"Reply-Text": "+OK"}))

    def say(self, data: bytes) -> None:
        self.writers[-1].write(data)


class Controller:
    def __init__(self, port: int, password: str = PASSWORD) -> None:
        self.events: list[ServerEvent] = []
        self.ups = 0
        self.downs: list[str] = []
        self.news = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.link = EslLink(
            host="127.0.0.1",
            port=port,
            password=password,
            events=("DTMF", "BACKGROUND_JOB"),
            filters=(("Event-Name", "DTMF"), ("Event-Name", "BACKGROUND_JOB")),
            on_event=self._event,
            on_connected=self._connected,
            on_down=self._down,
            request_timeout_s=0.4,
        )

    def _event(self, event: ServerEvent) -> None:
        self.events.append(event)
        self.news.set()

    async def _connected(self) -> None:
        await self.link.api("show channels as json")
        if self.hold is not None:
            await self.hold.wait()
        self.ups += 1
        self.news.set()

    def _down(self, reason: str) -> None:
        self.downs.append(reason)
        self.news.set()

    async def until(self, condition: Callable[[], bool], deadline_s: float = 5) -> None:
        async with asyncio.timeout(deadline_s):
            while not condition():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, listening.sockets[0].getsockname()[1]
    listening.close()
    for writer in made.writers:
        writer.close()


@pytest.fixture
async def controller(server: tuple[Server, int]) -> AsyncIterator[Controller]:
    made = Controller(server[1])
    made.link.start()
    await made.until(lambda: made.ups == 1)
    yield made
    await made.link.stop()


async def test_logs_in_subscribes_and_takes_the_snapshot(controller: Controller, server: tuple[Server, int]) -> None:
    assert server[0].commands == [
        f"auth {PASSWORD}",
        "filter Event-Name DTMF",
        "filter Event-Name BACKGROUND_JOB",
        "event json DTMF BACKGROUND_JOB",
        "api show channels as json",
    ]


async def test_events_wait_for_the_snapshot(server: tuple[Server, int]) -> None:
    controller = Controller(server[1])
    controller.hold = asyncio.Event()
    controller.link.start()
    async with asyncio.timeout(5):
        while "api show channels as json" not in server[0].commands:
            server[0].news.clear()
            await server[0].news.wait()
    server[0].say(event(Event_Name="DTMF", DTMF_Digit="1"))
    assert await controller.link.api("status") == "+OK\n"
    assert not controller.events
    controller.hold.set()
    await controller.until(lambda: len(controller.events) == 1)
    await controller.link.stop()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("-ERR No such channel!\n", LegGone),
        ("-ERR Cannot locate session!\n", LegGone),
        ("-ERR NO_ANSWER\n", EngineRefused),
        ("-USAGE: <uuid>\n", EngineRefused),
    ],
)
async def test_refusals(
    controller: Controller, server: tuple[Server, int], text: str, error: type[EngineError]
) -> None:
    server[0].answers["uuid_answer L"] = text
    with pytest.raises(error):
        await controller.link.api("uuid_answer L")


async def test_refusal_does_not_repeat_numbers(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].answers["x"] = "-ERR cannot dial +4930555\n"
    with pytest.raises(EngineRefused) as refused:
        await controller.link.api("x")
    assert "4930" not in str(refused.value)


async def test_late_reply_is_not_taken_for_the_next(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].answers["slow"] = None
    answered = controller.link.meter.requests.count
    with pytest.raises(EngineUnknown):
        await controller.link.api("slow")
    assert (controller.link.meter.requests.count, controller.link.meter.unanswered) == (answered, 1)
    second = asyncio.ensure_future(controller.link.api("quick"))
    async with asyncio.timeout(5):
        while "api quick" not in server[0].commands:
            server[0].news.clear()
            await server[0].news.wait()
    # What was written for "quick" answers the older command; the real answer follows.
    server[0].say(frame("api/response", b"+OK quick\n"))
    assert await second == "+OK quick\n"
    assert server[0].commands.count("api slow") == 1


async def test_job_whose_result_comes_before_its_reply(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].answers["originate x"] = "+OK L\n"
    assert await (await controller.link.start_job("originate x", 1.0)) == "+OK L\n"
    server[0].answers["originate y"] = None
    job = await controller.link.start_job("originate y", 0.2)
    with pytest.raises(EngineUnknown):
        await job


async def test_nothing_is_sent_twice(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].answers["uuid_kill L"] = None
    pending = controller.link.send("api uuid_kill L")
    async with asyncio.timeout(5):
        while "api uuid_kill L" not in server[0].commands:
            server[0].news.clear()
            await server[0].news.wait()
    server[0].writers[-1].close()
    with pytest.raises(EngineUnknown):
        await pending
    await controller.until(lambda: controller.ups == 2)
    assert len(controller.downs) == 1
    assert controller.link.meter.unanswered == 1
    assert server[0].commands.count("api uuid_kill L") == 1


async def test_server_that_hangs_is_noticed_and_left(
    controller: Controller, server: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PING_S", 0.2)
    monkeypatch.setattr(session, "HUNG_S", 1.0)
    server[0].answers["strepoch"] = None
    await controller.until(lambda: bool(controller.downs))
    assert controller.downs == ["the media server does not answer"]


async def test_server_that_does_not_read(
    controller: Controller, server: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LONGEST_OUTBOX", 10_000)
    cast(asyncio.Transport, server[0].writers[-1].transport).pause_reading()
    pending: list[asyncio.Future[str]] = []

    def send_for_ever() -> None:
        while True:
            pending.append(controller.link.send("api " + "x" * 5000))

    with pytest.raises(EngineGone, match="does not read"):
        send_for_ever()
    results = await asyncio.gather(*pending, return_exceptions=True)
    assert all(isinstance(result, EngineUnknown) for result in results)


async def test_line_end_in_a_value_is_refused(controller: Controller, server: tuple[Server, int]) -> None:
    before = len(server[0].commands)
    for value in ("a\napi shutdown", "a\r\nb", "a\0b"):
        with pytest.raises(BadValue):
            await controller.link.api(value)
        with pytest.raises(BadValue):
            await controller.link.request("sendmsg L", {"execute-app-arg": value})
    assert len(server[0].commands) == before
    with pytest.raises(BadValue, match="esl_password"):
        Controller(1, password="a\nb")


async def test_wrong_password_is_named_and_tried_slowly(
    server: tuple[Server, int], caplog: pytest.LogCaptureFixture
) -> None:
    controller = Controller(server[1], password="a-wrong-one")
    controller.link.start()
    async with asyncio.timeout(5):
        while "esl_password" not in caplog.text:  # noqa: ASYNC110 - a log has nothing to wait for
            await asyncio.sleep(0.01)
    assert "a-wrong-one" not in caplog.text
    loop = asyncio.get_running_loop()
    before, attempts = loop.time(), len(server[0].commands)
    async with asyncio.timeout(60):
        while len(server[0].commands) == attempts:
            server[0].news.clear()
            await server[0].news.wait()
    assert loop.time() - before > 25
    await controller.link.stop()
    assert controller.ups == 0
    assert not controller.downs


async def test_server_that_does_not_greet(server: tuple[Server, int]) -> None:
    server[0].greets = False
    controller = Controller(server[1])
    controller.link.start()
    async with asyncio.timeout(30):
        while len(server[0].writers) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(EngineGone):
        await controller.link.api("status")
    await controller.link.stop()


async def test_slow_reader_drops_and_synchronises_anew(
    controller: Controller, server: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esl, "LONGEST_INBOX", 100)
    monkeypatch.setattr(esl, "AT_ONCE", 1)
    server[0].say(b"".join(event(Event_Name="DTMF", DTMF_Digit="1", Unique_ID=str(n)) for n in range(2000)))
    await controller.until(lambda: controller.ups >= 2, 20)
    assert controller.downs
    server[0].say(event(Event_Name="DTMF", Unique_ID="last"))
    await controller.until(lambda: bool(controller.events) and controller.events[-1].uuid == "last", 20)
    assert len(controller.events) < 2000
    assert server[0].commands.count(f"auth {PASSWORD}") == 1


async def test_big_and_strange_events(controller: Controller, server: tuple[Server, int]) -> None:
    big = {"Event-Name": "DTMF", "variable_big": "x" * (1 << 20), "Unique-ID": "big"}
    server[0].say(frame("text/event-json", json.dumps(big).encode()))
    server[0].say(frame("text/event-json", b'{"Event-Name":"DTMF","Unique-ID":"raw","Caller-Name":"\xe4\xff"}'))
    server[0].say(frame("text/event-json", b'{"Event-Name":"DTMF","Unique-ID":"read\xe4"}'))
    server[0].say(frame("text/event-json", b'{"Event-Name":["a"]}'))
    server[0].say(frame("text/event-json", b"no json"))
    server[0].say(frame("log/data", b"line") + frame("nothing/known", b"?"))
    server[0].say(event(Event_Name="DTMF", Unique_ID="last"))
    await controller.until(lambda: bool(controller.events) and controller.events[-1].uuid == "last")
    assert [event.uuid for event in controller.events] == ["big", "raw", "read\ufffd", "last"]


async def test_broken_stream_ends_the_connection_only(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].say(b"Content-Length: many\n\n")
    await controller.until(lambda: controller.ups == 2)
    assert len(controller.downs) == 1
    await controller.link.api("status")


async def test_goodbye_and_answers_to_nothing(controller: Controller, server: tuple[Server, int]) -> None:
    server[0].say(frame("command/reply", headers={"Reply-Text": "+OK"}))
    server[0].say(frame("text/disconnect-notice", b"Disconnected, goodbye.\n"))
    server[0].writers[-1].close()
    await controller.until(lambda: controller.ups == 2)
    assert controller.downs == ["the media server says goodbye"]
