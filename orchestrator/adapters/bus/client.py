"""The centre's connection to the bus. One session per connection: when it breaks, a new one is made from nothing,
so that no state of an old connection can survive into the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.adapters.bus.accounts import CENTRE_INBOX
from orchestrator.domain.problems import PopTimeout, PopUnreachable
from pbx.wire import subjects
from pbx.wire.base import Wire
from pbx.wire.config_bucket import OPERATION_HEADER, REVISION_HEADER
from pbx.wire.messages import (
    CommandReply,
    CommandRequest,
    ErasedRecordings,
    ErasedRequest,
    Heartbeat,
    PromptChunk,
    PromptRequest,
)

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

log = logging.getLogger(__name__)

BATCH = 20
"""Messages fetched, stored and acknowledged together."""
ERRORS = (NatsError, OSError, TimeoutError)


class BusDown(Exception):
    """No connection, or it broke before the acknowledgement. Try again later."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A POP's configuration as it lies on the bus."""

    revision: int
    """The newest that was written."""
    keys: frozenset[str]
    """Deleted ones among them."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of the event stream, not yet acknowledged."""

    subject: str
    data: bytes
    sequence: int
    message: Msg | None = None

    async def ack(self) -> None:
        """Raises BusDown when the connection is gone; the message comes again then."""
        if self.message is None:
            return
        try:
            await self.message.ack()
        except ERRORS as error:
            raise BusDown from error


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    user: str | None = None
    password: str | None = None
    replicas: int = 1
    """On how many nodes of a cluster each stream is kept."""


class Bus:
    """``run`` keeps it connected. The rest raises BusDown when there is no connection."""

    def __init__(
        self,
        address: Address,
        on_heartbeat: Callable[[Heartbeat], None],
        prompt: Callable[[PromptRequest], Awaitable[PromptChunk]],
        erased: Callable[[str, ErasedRequest], Awaitable[ErasedRecordings]] | None = None,
        traces: Traces | None = None,
    ) -> None:
        """``prompt`` answers POPs that ask for one, ``erased`` those that ask what was erased there."""
        self._address, self._traces = address, traces
        self._on_heartbeat, self._prompt, self._erased = on_heartbeat, prompt, erased
        self._answering: set[asyncio.Task[None]] = set()
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._consumer: JetStreamContext.PullSubscription | None = None
        self._connected = asyncio.Event()
        self._closed = asyncio.Event()
        self._clock_ahead_s: dict[str, float] = {}
        self.session = 0
        """Counts connections: what was true of the last one has to be looked at again."""

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        await self._connected.wait()

    async def run(self) -> None:
        """Connect, and again whenever the connection ends, until cancelled."""
        pause_s, told = 0.05, False
        while True:
            try:
                await self._connect()
                pause_s, told = 0.05, False
                await self._closed.wait()
                log.warning("connection to the bus lost")
            except ERRORS as error:
                if not told:
                    log.error("cannot reach the bus (%s); trying on", type(error).__name__)
                told = True
            finally:
                await self._drop()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)

    async def _connect(self) -> None:
        self._closed = closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        async def on_error(error: Exception) -> None:
            log.debug("bus: %s", error)

        self._client = await nats.connect(
            self._address.url.split(","),
            user=self._address.user,
            password=self._address.password,
            name="callplane-centre",
            inbox_prefix=CENTRE_INBOX,
            allow_reconnect=False,
            connect_timeout=3,
            ping_interval=5,
            max_outstanding_pings=2,
            closed_cb=on_closed,
            disconnected_cb=on_closed,
            error_cb=on_error,
        )
        self._js = self._client.jetstream(timeout=5)
        await self._ensure_stream(self._js)
        await self._ensure_router_lease(self._js)
        self._consumer = await self._js.pull_subscribe_bind(consumer="ingest", stream=subjects.EVENT_STREAM)
        await self._client.subscribe("callplane.*.heartbeat", cb=self._heartbeat)
        await self._client.subscribe("callplane.*.prompts", queue="centre", cb=self._prompt_asked)
        await self._client.subscribe("callplane.*.erased", queue="centre", cb=self._erased_asked)
        await self._client.flush(3)
        self.session += 1
        self._connected.set()
        log.info("connected to the bus")

    async def _drop(self) -> None:
        self._connected.clear()
        client, self._client, self._js, self._consumer = self._client, None, None, None
        if client is not None:
            await client.close()

    async def _ensure_stream(self, js: JetStreamContext) -> None:
        """A work queue: an event stays until it is in the database, however long that is away."""
        stream = StreamConfig(
            name=subjects.EVENT_STREAM,
            subjects=[subjects.EVENT_SUBJECTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            duplicate_window=120.0,
            num_replicas=self._address.replicas,
        )
        try:
            await js.stream_info(subjects.EVENT_STREAM)
        except NotFoundError:
            await js.add_stream(stream)
        # Made anew, so that what a connection before this one left unacknowledged comes first and at once: on a work
        # queue all that is left is delivered in its order. A consumer that is kept would go on with newer events, and
        # come back to those after ack_wait; agents' times are folded in the order of the journal.
        with suppress(NotFoundError):
            await js.delete_consumer(subjects.EVENT_STREAM, "ingest")
        consumer = ConsumerConfig(
            durable_name="ingest", ack_policy=AckPolicy.EXPLICIT, ack_wait=30.0, max_ack_pending=BATCH
        )
        await js.add_consumer(subjects.EVENT_STREAM, consumer)

    async def _ensure_router_lease(self, js: JetStreamContext) -> None:
        """One key, gone ``LEASE_S`` after its last renewal. On disk, so that its revisions never fall: they tell a
        former router from the present one."""
        lease = StreamConfig(
            name=f"KV_{subjects.ROUTER_BUCKET}",
            subjects=[f"$KV.{subjects.ROUTER_BUCKET}.>"],
            max_msgs_per_subject=1,
            max_age=subjects.LEASE_S,
            storage=StorageType.FILE,
            allow_direct=True,
            deny_delete=True,
        )
        try:
            await js.stream_info(f"KV_{subjects.ROUTER_BUCKET}")
        except NotFoundError:
            await js.add_stream(lease)

    async def _heartbeat(self, message: Msg) -> None:
        try:
            heartbeat = msgspec.json.decode(message.data, type=Heartbeat)
        except msgspec.MsgspecError as error:
            log.error("unreadable heartbeat on %s: %s", message.subject, error)
            return
        if subjects.heartbeat(heartbeat.pop_id) != message.subject:
            log.error("a heartbeat on %s names another POP", message.subject)
            return
        if heartbeat.clock_at is not None:
            self._clock_ahead_s[heartbeat.pop_id] = heartbeat.clock_at - time.time()
        self._on_heartbeat(heartbeat)

    async def _prompt_asked(self, message: Msg) -> None:
        self._answer(self._give_prompt, message)

    async def _give_prompt(self, data: bytes, _pop_id: str) -> PromptChunk:
        return await self._prompt(msgspec.json.decode(data, type=PromptRequest))

    async def _erased_asked(self, message: Msg) -> None:
        if self._erased is not None:
            self._answer(self._tell_erased, message)

    async def _tell_erased(self, data: bytes, pop_id: str) -> ErasedRecordings:
        if self._erased is None:
            raise BusDown
        return await self._erased(pop_id, msgspec.json.decode(data, type=ErasedRequest))

    def _answer(self, give: Callable[[bytes, str], Awaitable[Wire]], message: Msg) -> None:
        task = asyncio.create_task(self._give(give, message))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _give(self, give: Callable[[bytes, str], Awaitable[Wire]], message: Msg) -> None:
        """A POP that gets no answer asks again. Whose the subject is, only that POP may write to."""
        try:
            answer = await give(message.data, message.subject.split(".")[1])
            await message.respond(msgspec.json.encode(answer))
        except msgspec.MsgspecError as error:
            log.error("unreadable request on %s: %s", message.subject, error)
        except (*ERRORS, SQLAlchemyError) as error:
            log.warning("a request on %s was not answered: %s", message.subject, type(error).__name__)

    # --- configuration ---------------------------------------------------------------------------------------------

    def _up(self) -> tuple[Client, JetStreamContext]:
        if self._client is None or self._js is None or not self.connected:
            raise BusDown
        return self._client, self._js

    async def ensure_bucket(self, pop_id: str) -> bool:
        """True when the bucket was not there and has been made: it is empty then."""
        _, js = self._up()
        bucket = subjects.config_bucket(pop_id)
        try:
            try:
                await js.stream_info(f"KV_{bucket}")
                return False
            except NotFoundError:
                await js.add_stream(
                    name=f"KV_{bucket}",
                    subjects=[f"$KV.{bucket}.>"],
                    max_msgs_per_subject=1,
                    storage=StorageType.FILE,
                    allow_direct=True,
                    allow_rollup_hdrs=True,
                    deny_delete=True,
                    num_replicas=self._address.replicas,
                )
                return True
        except ERRORS as error:
            raise BusDown from error

    async def bucket(self, pop_id: str) -> Bucket:
        """What is in a bucket that is there."""
        _, js = self._up()
        stream, prefix = f"KV_{subjects.config_bucket(pop_id)}", f"$KV.{subjects.config_bucket(pop_id)}."
        try:
            state = (await js.stream_info(stream, subjects_filter=">")).state
            if not state.messages:
                return Bucket(0, frozenset())
            last = await js.get_msg(stream, seq=state.last_seq)
        except ERRORS as error:
            raise BusDown from error
        keys = frozenset(subject.removeprefix(prefix) for subject in state.subjects or ())
        return Bucket(int((last.headers or {}).get(REVISION_HEADER, 0)), keys)

    async def put(self, pop_id: str, key: str, revision: int, payload: bytes | None) -> None:
        """Set (or, with None, delete) a key; returns when it is stored."""
        _, js = self._up()
        headers = {REVISION_HEADER: str(revision)}
        if payload is None:
            headers[OPERATION_HEADER] = "DEL"
        try:
            await js.publish(f"$KV.{subjects.config_bucket(pop_id)}.{key}", payload or b"", headers=headers)
        except ERRORS as error:
            raise BusDown from error

    async def drop_bucket(self, pop_id: str) -> None:
        _, js = self._up()
        try:
            await js.delete_stream(f"KV_{subjects.config_bucket(pop_id)}")
        except NotFoundError:
            log.info("the bucket of POP %s was gone already", pop_id, extra={"pop_id": pop_id})
        except ERRORS as error:
            raise BusDown from error

    # --- events ------------------------------------------------------------------------------------------------------

    async def next_batches(self, wait_s: float = 5.0) -> list[Delivered]:
        """The oldest messages of the event stream; empty when none came in ``wait_s``."""
        self._up()
        consumer = self._consumer
        if consumer is None:
            raise BusDown
        try:
            messages = await consumer.fetch(BATCH, timeout=wait_s)
        except TimeoutError:
            return []
        except ERRORS as error:
            raise BusDown from error
        return [Delivered(m.subject, m.data, m.metadata.sequence.stream, m) for m in messages]

    async def batches_waiting(self) -> int:
        """Messages of the event stream that have not been acknowledged."""
        _, js = self._up()
        try:
            found = await js.consumer_info(subjects.EVENT_STREAM, "ingest")
        except ERRORS as error:
            raise BusDown from error
        return (found.num_pending or 0) + (found.num_ack_pending or 0)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def request(self, pop_id: str, request: CommandRequest, timeout_s: float) -> CommandReply:
        """``deadline_at`` of ``request`` is by this host's clock. The POP judges it by its own, which may be set wrong,
        and is told it by that, as its last heartbeat shows it. Raises PopUnreachable (nobody took it) or PopTimeout
        (nobody knows)."""
        deadline_at = request.deadline_at + self._clock_ahead_s.get(pop_id, 0.0)
        request = msgspec.structs.replace(request, deadline_at=deadline_at)
        above = None if self._traces is None else self._traces.here()
        if self._traces is None or above is None:
            return await self._request(pop_id, request, timeout_s)
        with self._traces.span(f"command {type(request.command).__name__}", "client", above) as span:
            span.attributes["pop.id"] = pop_id
            traced = msgspec.structs.replace(request, traceparent=span.place.traceparent)
            return await self._request(pop_id, traced, timeout_s)

    async def _request(self, pop_id: str, request: CommandRequest, timeout_s: float) -> CommandReply:
        try:
            client, _ = self._up()
            message = await client.request(subjects.commands(pop_id), msgspec.json.encode(request), timeout=timeout_s)
        except (BusDown, NoRespondersError):
            raise PopUnreachable(f"POP {pop_id} is not connected") from None
        except TimeoutError:
            raise PopTimeout(f"POP {pop_id} did not answer within {timeout_s:g} s") from None
        except (NatsError, OSError) as error:
            raise PopTimeout(f"the connection broke before POP {pop_id} answered ({type(error).__name__})") from None
        try:
            return msgspec.json.decode(message.data, type=CommandReply)
        except msgspec.MsgspecError:
            raise PopTimeout(f"POP {pop_id} sent an answer that cannot be read") from None
