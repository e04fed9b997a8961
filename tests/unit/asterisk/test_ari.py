"""The websocket server against a scripted media server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from pbx.adapters.asterisk import models as m
from pbx.adapters.asterisk.ari import LONGEST_EVENT, AriLink
from pbx.domain.errors import EngineGone, EngineRefused, EngineUnknown, LegGone

PASSWORD = "for-this-test"
NOW = "2026-01-31T10:20:30.000+0000"


class Controller:
    def __init__(self) -> None:
        self.events: list[m.Message] = []
        self.connected = 0
        self.downs: list[str] = []
        self.news = asyncio.Event()
        self.link = AriLink(
            host="127.0.0.1",
            port=0,
            user="callplane",
            password=PASSWORD,
            application="callplane",
            on_event=self._event,
            on_connected=self._connected,
            on_down=self._down,
            request_timeout_s=0.4,
        )

    def _event(self, event: m.Message) -> None:
        self.events.append(event)
        self.news.set()

    async def _connected(self) -> None:
        await self.link.request("GET", "channels")
        self.connected += 1
        self.news.set()

    def _down(self, reason: str) -> None:
        self.downs.append(reason)
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()


class Server:
    """What Asterisk does on its end; ``answers`` maps a URI to a status, None for silence."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.requests: list[dict[str, Any]] = []
        self.answers: dict[str, int | None] = {}
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for message in self.ws:
            request = json.loads(message.data)
            self.requests.append(request)
            status = self.answers.get(request["uri"], 200)
            if status is not None:
                await self.say(
                    type="RESTResponse",
                    timestamp=NOW,
                    request_id=request["request_id"],
                    status_code=status,
                    reason_phrase="Why",
                    message_body="[]",
                )

    async def say(self, **message: object) -> None:
        await self.ws.send_str(json.dumps(message))

    async def digit(self, digit: str, ms: int = 0) -> None:
        await self.say(
            type="ChannelDtmfReceived",
            timestamp=f"2026-01-31T10:20:30.{ms:03d}+0000",
            digit=digit,
            channel={"id": "L", "state": "Up", "name": "ignored"},
            unknown_field={"a": 1},
        )


@pytest.fixture
async def controller() -> AsyncIterator[Controller]:
    made = Controller()
    await made.link.start()
    yield made
    await made.link.stop()


@contextlib.asynccontextmanager
async def dialled(controller: Controller, greet: bool = True) -> AsyncIterator[Server]:
    auth = {"Authorization": aiohttp.encode_basic_auth("callplane", PASSWORD)}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{controller.link.port}/ari", protocols=("ari",), headers=auth) as ws,
    ):
        server = Server(ws)
        if greet:
            await server.say(type="ApplicationRegistered")
        yield server
        server.task.cancel()


async def test_filter_then_snapshot_then_events(controller: Controller) -> None:
    async with dialled(controller) as server:
        await server.digit("1")
        await controller.until(lambda: len(controller.events) == 1)
        assert controller.connected == 1
        assert [request["uri"] for request in server.requests] == ["applications/callplane/eventFilter", "channels"]
        allowed = json.loads(server.requests[0]["message_body"])["allowed"]
        assert {"type": "RESTResponse"} in allowed


async def test_a_frame_that_comes_again_on_the_next_connection_is_dropped(controller: Controller) -> None:
    async with dialled(controller) as old:
        await controller.until(lambda: controller.connected == 1)
        await old.digit("1", 1)
        async with dialled(controller) as new:
            await controller.until(lambda: controller.connected == 2)
            await new.digit("3", 3)
            await old.digit("2", 2)
            await new.digit("1", 1)
            await new.digit("2", 2)
            await new.digit("4", 4)
            await controller.until(lambda: any(e.digit == "4" for e in controller.events))  # type: ignore[union-attr]
    digits = [event.digit for event in controller.events if isinstance(event, m.ChannelDtmfReceived)]
    assert sorted(digits) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("status", "error"), [(404, LegGone), (409, LegGone), (400, EngineRefused), (500, EngineRefused)]
)
async def test_refusals(controller: Controller, status: int, error: type[Exception]) -> None:
    async with dialled(controller) as server:
        await controller.until(lambda: controller.connected == 1)
        server.answers["channels/L/answer"] = status
        with pytest.raises(error):
            await controller.link.request("POST", "channels/L/answer")


async def test_no_answer_and_no_connection(controller: Controller) -> None:
    with pytest.raises(EngineGone):
        await controller.link.request("GET", "channels")
    async with dialled(controller) as server:
        await controller.until(lambda: controller.connected == 1)
        server.answers["channels/L/answer"] = None
        with pytest.raises(EngineUnknown, match="within"):
            await controller.link.request("POST", "channels/L/answer")
        waiting = asyncio.ensure_future(controller.link.request("POST", "channels/L/answer"))
        await asyncio.sleep(0)
    with pytest.raises(EngineUnknown, match="dropped"):
        await waiting
    await controller.until(lambda: bool(controller.downs))
    with pytest.raises(EngineGone):
        controller.link.send("GET", "channels")
    meter = controller.link.meter
    assert (meter.requests.count, meter.unanswered) == (2, 2), "filter and snapshot; the two above"


async def test_what_cannot_be_read_is_survived(controller: Controller, caplog: pytest.LogCaptureFixture) -> None:
    async with dialled(controller) as server:
        await server.ws.send_str("{")
        await server.ws.send_str("[1]")
        await server.ws.send_frame(b'{"type": "ChannelDtmfReceived", "digit": "\xff"}', aiohttp.WSMsgType.TEXT)
        await server.say(type="ChannelDtmfReceived", digit="secret digit 5")
        await server.say(type="ChannelDtmfReceived", timestamp=3, digit="5", channel={"id": "L", "state": "Up"})
        await server.say(type="NobodyKnowsThis", a=1)
        await server.say(type="RESTResponse", timestamp=NOW, request_id="never", status_code=200, reason_phrase="")
        await server.say(
            type="ChannelDtmfReceived",
            timestamp="2026-01-31T10:20:30.000+0000",
            digit="9" * LONGEST_EVENT,
            channel={"id": "L", "state": "Up"},
        )
        await server.digit("7")
        await controller.until(lambda: bool(controller.events))
    assert [event.digit for event in controller.events if isinstance(event, m.ChannelDtmfReceived)] == ["7"]
    assert "secret digit" not in caplog.text


async def test_a_message_in_several_frames_is_one(controller: Controller) -> None:
    whole = json.dumps(
        {
            "type": "ChannelDtmfReceived",
            "timestamp": "2026-01-31T10:20:30.000+0000",
            "digit": "8",
            "channel": {"id": "L", "state": "Up"},
        }
    ).encode()
    headers = {"Authorization": aiohttp.encode_basic_auth("callplane", PASSWORD), "Sec-WebSocket-Protocol": "ari"}

    class Silent(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is not WSMsgType.TEXT:
                return
            request = json.loads(frame.get_payload_as_bytes())
            answer = {"type": "RESTResponse", "request_id": request["request_id"], "status_code": 200, "timestamp": NOW}
            transport.send(WSMsgType.TEXT, json.dumps({**answer, "reason_phrase": "OK"}))

    url = f"ws://127.0.0.1:{controller.link.port}/ari"
    transport, _ = await ws_connect(Silent, url, extra_headers=headers)
    transport.send(WSMsgType.TEXT, b'{"type": "ApplicationRegistered"}')
    transport.send(WSMsgType.TEXT, whole[:10], fin=False)
    transport.send(WSMsgType.CONTINUATION, whole[10:40], fin=False)
    transport.send_ping(b"in between")
    transport.send(WSMsgType.CONTINUATION, whole[40:])
    await controller.until(lambda: bool(controller.events))
    transport.disconnect()
    await controller.until(lambda: bool(controller.downs))
    assert [event.digit for event in controller.events if isinstance(event, m.ChannelDtmfReceived)] == ["8"]


@pytest.mark.parametrize("path", ["/", "/ari/events", "/ari"])
async def test_a_stranger_is_refused(controller: Controller, path: str) -> None:
    auth = {"Authorization": aiohttp.encode_basic_auth("callplane", PASSWORD)}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"http://127.0.0.1:{controller.link.port}{path}", headers=auth)
    assert refused.value.status == (400 if path == "/ari" else 404)
    assert controller.connected == 0


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Basic Y2FsbHBsYW5lOndyb25n", "Bearer x"])
async def test_wrong_credentials(controller: Controller, caplog: pytest.LogCaptureFixture, header: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(
                f"http://127.0.0.1:{controller.link.port}/ari", protocols=("ari",), headers={"Authorization": header}
            )
    assert refused.value.status == 401
    assert "wrong ARI user or password" in caplog.text
    assert controller.connected == 0


async def test_snapshot_that_fails_ends_the_connection(controller: Controller) -> None:
    async with dialled(controller) as server:
        server.answers["channels"] = 500
        await controller.until(lambda: bool(controller.downs))
    assert controller.connected == 0
    async with dialled(controller):
        await controller.until(lambda: controller.connected == 1)
