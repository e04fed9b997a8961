"""ARI over one websocket that the media server dials: events in, REST requests out, both on the same connection.

The server keeps the connection up by itself (``connection_type = persistent``) and queues events while there is none.
What it queued comes first on the next connection; that one may begin before the old one is drained, so every frame is
compared with the last ones. Until the link is synchronised, events are held back: filter, snapshot, then events.

Sources: https://docs.asterisk.org/Configuration/Interfaces/Asterisk-REST-Interface-ARI/ARI-Outbound-Websockets/ and
.../ARI-REST-over-WebSocket/, and what the real server did (README.md).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from pbx.adapters.asterisk import models
from pbx.adapters.asterisk.connection import Connection
from pbx.domain.errors import EngineError, EngineGone, EngineRefused, EngineUnknown, LegGone

log = logging.getLogger(__name__)

LONGEST_EVENT = 1 << 20
"""Characters. A longer event is dropped with a warning; nothing the adapter reads comes near it."""
LONGEST_FRAME = 1 << 26
"""Bytes. The snapshot of some thousand channels is one frame; a longer frame ends the connection."""
REMEMBERED = 8192
"""Frames remembered to recognise one that comes again after a reconnect."""
GREETING_S = 1.0
"""The server's first event (ApplicationRegistered) follows its handshake at once; after this it is not waited for."""
NOT_BOOTED = 503
"""What a server answers that dials before it has loaded all its modules; it is asked again after ``BOOT_PAUSE_S``."""
BOOT_PAUSE_S = 0.1
HELD_BACK = 200_000
"""Events held back while the link is not synchronised; more than this means the snapshot never came."""

_encode = msgspec.json.Encoder().encode
_message: msgspec.json.Decoder[models.Message] = msgspec.json.Decoder(models.Message)

Query = tuple[tuple[str, str], ...]


class _Name(msgspec.Struct):
    type: str = "?"


_name = msgspec.json.Decoder(_Name)


class _Pair(msgspec.Struct, gc=False):
    name: str
    value: str


class _Request(msgspec.Struct, gc=False, tag="RESTRequest", omit_defaults=True):
    request_id: str
    method: str
    uri: str
    query_strings: list[_Pair] = []
    content_type: str = ""
    message_body: str = ""


def error_of(response: models.RESTResponse) -> EngineError | None:
    """The error that a response stands for. 404: not there. 409: there, but no longer handed to the controller."""
    status = response.status_code
    if status < 400:
        return None
    if status in (404, 409):
        return LegGone(f"the media server has no such leg, bridge or play ({status} {response.reason_phrase})")
    return EngineRefused(f"the media server refused: {status} {response.reason_phrase}")


class AriLink:
    """The websocket server for one media server. ``on_connected`` is awaited after each (re)connect; when it returns,
    held-back events follow through ``on_event`` and then all new ones. No callback may raise."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        user: str,
        password: str,
        application: str,
        on_event: Callable[[models.Message], None],
        on_connected: Callable[[], Awaitable[None]],
        on_down: Callable[[str], None],
        request_timeout_s: float = 5.0,
        heartbeat_s: float = 10.0,
    ) -> None:
        self._host, self._port = host, port
        self._credentials = f"{user}:{password}".encode()
        self._application = application
        self._on_event, self._on_connected, self._on_down = on_event, on_connected, on_down
        self._timeout_s, self._heartbeat_s = request_timeout_s, heartbeat_s
        self._link: Connection | None = None
        self._ready = False
        self._held: list[models.Message] = []
        self._seen: set[int] = set()
        self._seen_order: deque[int] = deque()
        self._next_id = 0
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def port(self) -> int:
        """The port listened on; chosen by the system when it was asked for 0."""
        return self._port

    async def start(self) -> None:
        """Listens. Raises OSError when the address cannot be had."""
        app = web.Application()
        app.router.add_get("/ari", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        server = cast(web.Server, self._runner.server)  # there since the set-up
        self._listening = await asyncio.get_running_loop().create_server(server, self._host, self._port)
        self._port = self._listening.sockets[0].getsockname()[1]
        self._sweep()

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._stop_listening()
        link = self._link
        if link is not None:
            await link.ws.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """Stops listening and aborts the connection without a closing frame."""
        self._stop_listening()
        if self._runner is not None and self._runner.server is not None:
            for handler in self._runner.server.connections:
                if handler.transport is not None:
                    handler.transport.abort()
        self._link = None

    def _stop_listening(self) -> None:
        """Comes before any connection is closed: the server dials again at once when it is cut off, and it gives a
        handshake no time limit. Nobody may be listening then who will not answer."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    # --- requests -----------------------------------------------------------------------------------------------------

    def send(
        self, method: str, uri: str, query: Query = (), body: object = None
    ) -> asyncio.Future[models.RESTResponse]:
        """Queues a request for writing. The future gets the response, whatever its status, or EngineUnknown.
        Raises EngineGone when there is no connection: then nothing was sent."""
        link = self._link
        if link is None:
            raise EngineGone("the media server is not connected")
        self._next_id += 1
        request = _Request(str(self._next_id), method, uri)
        if query:
            request.query_strings = [_Pair(*pair) for pair in query]
        if body is not None:
            request.content_type = "application/json"
            request.message_body = _encode(body).decode()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[models.RESTResponse] = loop.create_future()
        link.pending[request.request_id] = future
        link.deadlines.append((loop.time() + self._timeout_s, request.request_id))
        link.outbox.append(_encode(request))
        link.wake.set()
        return future

    async def request(self, method: str, uri: str, query: Query = (), body: object = None) -> str:
        """The body of the response. Raises LegGone, EngineRefused, EngineGone, EngineUnknown."""
        response = await self.send(method, uri, query, body)
        error = error_of(response)
        if error is not None:
            raise error
        return response.message_body or ""

    def send_unattended(self, method: str, uri: str, query: Query = ()) -> None:
        """Sends a request whose outcome nobody waits for: a refusal is logged, a missing leg is usual."""
        try:
            self.send(method, uri, query).add_done_callback(_log_refusal)
        except EngineGone:
            log.info("not sent, the media server is not connected: %s", method)

    def _sweep(self) -> None:
        """Fails requests whose deadline has passed; one timer for all of them."""
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(min(0.25, self._timeout_s / 4), self._sweep)
        link, now = self._link, loop.time()
        if link is None:
            return
        while link.deadlines and link.deadlines[0][0] <= now:
            future = link.pending.pop(link.deadlines.popleft()[1], None)
            if future is not None and not future.done():
                future.set_exception(EngineUnknown(f"no answer within {self._timeout_s} s"))

    # --- the connection -----------------------------------------------------------------------------------------------

    def _authorised(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            presented = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            presented = b""
        return hmac.compare_digest(presented, self._credentials) and scheme.lower() == "basic"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._authorised(request.headers.get(hdrs.AUTHORIZATION, "")):
            log.error(
                "a media server presented a wrong ARI user or password: ari_user and ari_password of this POP's "
                "controller differ from websocket_client.conf"
            )
            return web.Response(status=401, headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="callplane"'})
        ws = web.WebSocketResponse(
            protocols=("ari",), heartbeat=self._heartbeat_s, compress=False, max_msg_size=LONGEST_FRAME
        )
        await ws.prepare(request)
        if ws.ws_protocol != "ari":
            log.error("a websocket client did not ask for the subprotocol ari")
            await ws.close(code=WSCloseCode.PROTOCOL_ERROR)
            return ws
        transport = request.transport
        await self._run(Connection(ws, transport.get_extra_info("socket") if transport is not None else None))
        return ws

    async def _run(self, link: Connection) -> None:
        self._link, self._ready = link, False
        writer = asyncio.create_task(link.write(), name="ari-write")
        synchroniser = asyncio.create_task(self._synchronise(link), name="ari-synchronise")
        reason = "closed"
        try:
            link.acknowledge()
            async for message in link.ws:
                link.acknowledge()
                if message.type is WSMsgType.TEXT:
                    if not link.greeted.done():
                        link.greeted.set_result(None)
                    self._receive(link, message.data)
            reason = f"closed with code {link.ws.close_code}"
        finally:
            writer.cancel()
            synchroniser.cancel()
            if self._link is link:
                self._link, self._ready = None, False
                self._on_down(reason)
            link.close()
            link.fail(lambda: EngineUnknown("the connection to the media server dropped before the answer"))

    async def _synchronise(self, link: Connection) -> None:
        try:
            # What comes together with the server's own handshake lies in its buffer until more comes: it greets first.
            await asyncio.wait((link.greeted,), timeout=GREETING_S)
            # The filter holds for the responses, too: without their type in it nothing is ever answered again.
            allowed = [{"type": name} for name in (*models.EVENT_TYPES, "RESTResponse")]
            path = f"applications/{self._application}/eventFilter"
            while True:
                answer = await self.send("PUT", path, (), {"allowed": allowed})
                if answer.status_code != NOT_BOOTED:
                    break
                await asyncio.sleep(BOOT_PAUSE_S)
            if (error := error_of(answer)) is not None:
                raise error
            await self._on_connected()
        except EngineError as failure:
            log.error("cannot synchronise with the media server, trying a new connection: %s", failure)
            await link.ws.close(code=WSCloseCode.TRY_AGAIN_LATER)
            return
        if self._link is not link:
            return
        held, self._held = self._held, []
        self._ready = True
        for event in held:
            self._on_event(event)

    def _receive(self, link: Connection, text: str) -> None:
        try:
            message = _message.decode(text)
        except msgspec.DecodeError as error:
            # Both an event the adapter does not read and one that lacks what the definition promises come here.
            if len(text) > LONGEST_EVENT:
                log.warning("dropped an event of %d characters", len(text))
            else:
                _log_unreadable(text, error)
            return
        if type(message) is models.RESTResponse:
            future = link.pending.pop(message.request_id, None)
            if future is not None and not future.done():
                future.set_result(message)
            return
        if len(text) > LONGEST_EVENT:
            log.warning("dropped an event of %d characters", len(text))
            return
        if self._is_double(hash(text)):
            log.info("dropped an event that came before")
            return
        if self._ready:
            self._on_event(message)
        elif len(self._held) < HELD_BACK:
            self._held.append(message)
        else:
            log.error("dropped an event: %d are held back already", HELD_BACK)

    def _is_double(self, digest: int) -> bool:
        if digest in self._seen:
            return True
        self._seen.add(digest)
        self._seen_order.append(digest)
        if len(self._seen_order) > REMEMBERED:
            self._seen.discard(self._seen_order.popleft())
        return False


def _log_unreadable(text: str, error: msgspec.DecodeError) -> None:
    try:
        name = _name.decode(text).type
    except msgspec.DecodeError:
        name = "?"
    known = name in models.EVENT_TYPES
    if known or name == "?":
        # msgspec's texts name the field and the type, never the value.
        log.warning("dropped an event that cannot be read (%s): %s", name[:64] if known else "no type", error)
    else:
        log.debug("an event of a type that is not read: %s", name[:64])


def _log_refusal(future: asyncio.Future[models.RESTResponse]) -> None:
    if future.cancelled():
        return
    failure = future.exception()
    error = failure if failure is not None else error_of(future.result())
    if error is not None and not isinstance(error, LegGone):
        log.warning("a request nobody waits for failed: %s", error)
