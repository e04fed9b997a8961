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
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
from picows import WSCloseCode, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from pbx.adapters.asterisk import models
from pbx.adapters.asterisk.connection import LONGEST_FRAME, Connection
from pbx.domain.errors import EngineError, EngineGone, EngineRefused, EngineUnknown, LegGone
from pbx.ports.media_engine import EngineMeter

log = logging.getLogger(__name__)

LONGEST_EVENT = 1 << 20
"""Bytes. A longer event is dropped with a warning; nothing the adapter reads comes near it."""
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

_transport_log = logging.getLogger(__name__ + ".transport")
_transport_log.setLevel(logging.WARNING)  # below that it shows handshakes, credentials included


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
        self.meter = EngineMeter()
        self._link: Connection | None = None
        self._ready = False
        self._held: list[models.Message] = []
        self._seen: set[int] = set()
        self._seen_order: deque[int] = deque()
        self._next_id = 0
        self._open: dict[Connection, asyncio.Task[None]] = {}
        """All connections there are, the one in use and older ones, with what synchronises them."""
        self._expecting: socket.socket | None = None
        """Taken early by ``expect``."""
        self._listening: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def port(self) -> int:
        """The port listened on; chosen by the system when it was asked for 0."""
        return self._port

    def expect(self) -> None:
        """Connections are taken from now on, and answered after ``start``: the server, which dials every quarter of a
        second, need not dial again when there is much to do before. Raises OSError when the address cannot be had."""
        if self._expecting is None:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._expecting = socket.create_server((self._host, self._port), family=family, backlog=16)

    async def start(self) -> None:
        """Listens. Raises OSError when the address cannot be had."""
        self.expect()
        taken, self._expecting = self._expecting, None
        self._listening = await ws_create_server(
            self._accept,
            sock=taken,
            logger_name=_transport_log,
            use_aiofastnet=False,  # uvloop writes what one turn of it brings together
            enable_auto_ping=True,
            auto_ping_idle_timeout=self._heartbeat_s,
            auto_ping_reply_timeout=self._heartbeat_s / 2,
            max_frame_size=LONGEST_FRAME,
        )
        self._port = self._listening.sockets[0].getsockname()[1]
        self._sweep()

    async def stop(self) -> None:
        if self._expecting is not None:
            self._expecting.close()
            self._expecting = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._stop_listening()
        links = tuple(self._open)
        for link in links:
            link.close(WSCloseCode.GOING_AWAY)
        for link in links:
            await link.closed()

    def cut(self) -> None:
        """Stops listening and aborts the connection without a closing frame."""
        self._stop_listening()
        for link in self._open:
            link.abort()
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
        """Writes a request. The future gets the response, whatever its status, or EngineUnknown.
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
        link.pending[request.request_id] = future, time.perf_counter()
        link.deadlines.append((loop.time() + self._timeout_s, request.request_id))
        link.send(_encode(request))
        return future

    async def request(self, method: str, uri: str, query: Query = (), body: object = None) -> str:
        """The body of the response. Raises LegGone, EngineRefused, EngineGone, EngineUnknown."""
        response = await self.send(method, uri, query, body)
        error = error_of(response)
        if error is not None:
            raise error
        return response.message_body or ""

    def send_unattended(self, method: str, uri: str, query: Query = (), done: Callable[[], None] | None = None) -> None:
        """Sends a request whose outcome nobody waits for: a refusal is logged, a missing leg is usual. ``done`` is
        called when it was carried out."""
        try:
            self.send(method, uri, query).add_done_callback(
                _log_refusal if done is None else lambda future: _log_refusal(future, done)
            )
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
            overdue = link.pending.pop(link.deadlines.popleft()[1], None)
            if overdue is None:
                continue
            self.meter.unanswered += 1
            if not overdue[0].done():
                overdue[0].set_exception(EngineUnknown(f"no answer within {self._timeout_s} s"))

    # --- the connection -----------------------------------------------------------------------------------------------

    def _authorised(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            presented = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            presented = b""
        return hmac.compare_digest(presented, self._credentials) and scheme.lower() == "basic"

    def _accept(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener | None:
        if request.path.partition(b"?")[0] != b"/ari":
            return None
        if not self._authorised(request.headers.get("Authorization", "")):
            log.error(
                "a media server presented a wrong ARI user or password: ari_user and ari_password of this POP's "
                "controller differ from websocket_client.conf"
            )
            return _refused(401, {"WWW-Authenticate": 'Basic realm="callplane"'})
        if "ari" not in map(str.strip, request.headers.get("Sec-WebSocket-Protocol", "").split(",")):
            log.error("a websocket client did not ask for the subprotocol ari")
            return _refused(400)
        response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": "ari"})
        return WSUpgradeResponseWithListener(response, Connection(self._begun, self._receive, self._over))

    def _begun(self, link: Connection) -> None:
        self._link, self._ready = link, False
        self._open[link] = asyncio.get_running_loop().create_task(self._synchronise(link), name="ari-synchronise")

    def _over(self, link: Connection, reason: str) -> None:
        self._open.pop(link).cancel()
        if self._link is link:
            self._link, self._ready = None, False
            self._on_down(reason)
        self.meter.unanswered += link.fail(
            lambda: EngineUnknown("the connection to the media server dropped before the answer")
        )

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
            link.close(WSCloseCode.TRY_AGAIN_LATER)
            return
        if self._link is not link:
            return
        held, self._held = self._held, []
        self._ready = True
        for event in held:
            self._on_event(event)

    def _receive(self, link: Connection, text: bytes) -> None:
        if not link.greeted.done():
            link.greeted.set_result(None)
        try:
            message = _message.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # Both an event the adapter does not read and one that lacks what the definition promises come here.
            if len(text) > LONGEST_EVENT:
                log.warning("dropped an event of %d bytes", len(text))
            else:
                _log_unreadable(text, error)
            return
        if type(message) is models.RESTResponse:
            waiting = link.pending.pop(message.request_id, None)
            if waiting is not None:
                self.meter.requests.observe(time.perf_counter() - waiting[1])
                if not waiting[0].done():
                    waiting[0].set_result(message)
            return
        if len(text) > LONGEST_EVENT:
            log.warning("dropped an event of %d bytes", len(text))
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


def _refused(status: int, headers: dict[str, str] | None = None) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, None, headers), None)


def _log_unreadable(text: bytes, error: Exception) -> None:
    try:
        name = _name.decode(text).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = "?"
    known = name in models.EVENT_TYPES
    if known or name == "?":
        # msgspec's texts name the field and the type, never the value.
        log.warning("dropped an event that cannot be read (%s): %s", name[:64] if known else "no type", error)
    else:
        log.debug("an event of a type that is not read: %s", name[:64])


def _log_refusal(future: asyncio.Future[models.RESTResponse], done: Callable[[], None] | None = None) -> None:
    if future.cancelled():
        return
    failure = future.exception()
    error = failure if failure is not None else error_of(future.result())
    if error is None and done is not None:
        done()
    if error is not None and not isinstance(error, LegGone):
        log.warning("a request nobody waits for failed: %s", error)
