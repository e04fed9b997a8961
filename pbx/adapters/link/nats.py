"""The link to the centre over NATS. One session per connection: it listens to the configuration, takes a snapshot,
and only then trusts what it hears; when the connection ends, everything is begun anew.

The POP's login allows no JetStream consumer (see ``orchestrator.adapters.bus.accounts``): the bucket is read by
*direct get* in batches (nats-architecture-and-design, ADR-31) and followed as plain messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from pbx.adapters.link.bucket import Change, ConfigMirror, change_of
from pbx.adapters.link.commands import CommandDesk
from pbx.adapters.link.mesh import NatsMesh
from pbx.domain.errors import BadValue
from pbx.domain.pseudonyms import Pseudonyms
from pbx.ports.journal import Journal
from pbx.ports.link import LinkHandler
from pbx.wire import pop_key, subjects
from pbx.wire.messages import (
    ErasedRecordings,
    ErasedRequest,
    EventBatch,
    EventEnvelope,
    PromptChunk,
    PromptRequest,
)

log = logging.getLogger(__name__)

BATCH_EVENTS = 500
BATCH_BYTES = 256 * 1024
COALESCE_S = 0.1
HEARTBEAT_S = 2.0
CANCEL_AGAIN_S = 1.0
SNAPSHOT_PAGE = 500
ANSWER_S = 5.0
STOP_S = 2.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LONGEST_REFUSED_PAUSE_S = 30.0
ERRORS = (NatsError, OSError, TimeoutError)


class SessionOver(Exception):
    """This connection is of no more use; the next one begins from a snapshot."""


class _Client(Client):
    """nats-py signs with NKeys only through a library of its own; the name to sign under has no other way in."""

    def __init__(self, nkey: str) -> None:
        super().__init__()
        self._public_nkey = nkey


class NatsLink:
    """``pbx.ports.link.Link``. ``journal`` is used from the event loop only; ``clock``: seconds since the epoch."""

    def __init__(
        self,
        url: str,
        pop_id: str,
        key: str,
        journal: Journal,
        clock: Callable[[], float] = time.time,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """``pseudonyms``: events leave with them instead of numbers."""
        self._pseudonyms = pseudonyms
        self._url = url
        self._pop_id = pop_id
        self._key = key
        self._journal = journal
        self._clock = clock
        self._handler: LinkHandler | None = None
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._client: Client | None = None
        self._waiting = asyncio.Event()
        self._drained = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._mirror: ConfigMirror | None = None
        self._encoder = msgspec.json.Encoder()
        self.mesh = NatsMesh(pop_id)
        """To the other POPs, over the same connection."""

    @property
    def connected(self) -> bool:
        return self._connected

    def events_waiting(self) -> None:
        self._waiting.set()

    def heartbeat_changed(self) -> None:
        self._beat_now.set()

    async def prompt(self, sha256: str) -> bytes | None:
        client, found = self._client, bytearray()
        if client is None:
            return None
        while True:
            ask = self._encoder.encode(PromptRequest(sha256=sha256, offset=len(found)))
            try:
                answer = await client.request(subjects.prompts(self._pop_id), ask, timeout=ANSWER_S)
                chunk = msgspec.json.decode(answer.data, type=PromptChunk)
            except (*ERRORS, msgspec.MsgspecError) as error:
                log.warning("a prompt could not be fetched (%s); trying on", type(error).__name__)
                return None
            found += chunk.blob
            if len(found) >= chunk.total_size or not chunk.blob:
                return bytes(found) or None

    async def erased(self, after: int) -> ErasedRecordings | None:
        client = self._client
        if client is None:
            return None
        try:
            ask = self._encoder.encode(ErasedRequest(after=after))
            answer = await client.request(subjects.erased(self._pop_id), ask, timeout=ANSWER_S)
            return msgspec.json.decode(answer.data, type=ErasedRecordings)
        except (*ERRORS, msgspec.MsgspecError) as error:
            log.warning("what was erased could not be asked (%s); trying on", type(error).__name__)
            return None

    async def start(self, handler: LinkHandler) -> None:
        self._mirror = ConfigMirror(self._journal, handler)
        self._desk = CommandDesk(handler, self._clock)
        self._handler = handler
        self._task = asyncio.create_task(self._run(), name="link")

    async def stop(self) -> None:
        if self._task is None:
            return
        if self._connected and self._journal.unsent_count():
            self._drained.clear()
            self._waiting.set()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._drained.wait()
            except TimeoutError:
                log.warning("%d events stay in the journal for the next start", self._journal.unsent_count())
        await _end([self._task])
        self._task = None

    # --- connection ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            nkey = pop_key.public_nkey(self._key)
        except BadValue as error:
            log.error("POP %s works without a centre: CALLPLANE_POP_KEY %s", self._pop_id, error.reason)
            return
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            longest_s = LONGEST_PAUSE_S
            try:
                await self._session(nkey)
            except (SessionOver, *ERRORS) as error:
                if self._connected:
                    pause_s, told = FIRST_PAUSE_S, ""
                    log.warning("POP %s lost its connection to the centre; events wait on this disk", self._pop_id)
                elif "authorization violation" in str(error).lower():
                    longest_s = LONGEST_REFUSED_PAUSE_S
                    if told != "refused":
                        log.error(
                            "the centre does not accept POP %s: check CALLPLANE_POP_KEY (and that the POP exists "
                            "there); it works on without the centre and tries again",
                            self._pop_id,
                        )
                    told = "refused"
                elif told != "away":
                    log.warning("POP %s cannot reach the centre (%s); trying on", self._pop_id, type(error).__name__)
                    told = "away"
            self._connected = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)

    async def _session(self, nkey: str) -> None:
        """One connection from its beginning to its end, which is always an exception."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def on_closed() -> None:
            if not over.done():
                over.set_exception(SessionOver("closed"))

        async def on_error(error: Exception) -> None:
            if isinstance(error, SlowConsumerError):
                await on_closed()
            elif "authorization violation" not in str(error).lower():
                log.debug("link: %s", error)

        client = _Client(nkey)
        try:
            await client.connect(
                self._url.split(","),
                name=f"callplane-pop-{self._pop_id}",
                signature_cb=lambda nonce: pop_key.sign(self._key, nonce),
                inbox_prefix=subjects.inbox_prefix(self._pop_id),
                allow_reconnect=False,
                connect_timeout=3,
                ping_interval=5,
                max_outstanding_pings=2,
                disconnected_cb=on_closed,
                closed_cb=on_closed,
                error_cb=on_error,
            )
            await client.subscribe(subjects.commands(self._pop_id), cb=self._on_command)
            changes: asyncio.Queue[Change] = asyncio.Queue()
            await self._listen(client, changes)
            await self.mesh.up(client)
            self._connected, self._client = True, client
            log.info("POP %s is connected to the centre", self._pop_id)
            await self._work(client, changes, over)
        finally:
            self._client = None
            self.mesh.down()
            await client.close()
            if over.done():
                over.exception()  # looked at, so that nobody reports it as lost

    async def _work(self, client: Client, changes: asyncio.Queue[Change], over: asyncio.Future[None]) -> None:
        tasks = [
            asyncio.create_task(self._follow_config(client, changes), name="link config"),
            asyncio.create_task(self._send_events(client), name="link events"),
            asyncio.create_task(self._send_heartbeats(client), name="link heartbeat"),
        ]
        try:
            done, _ = await asyncio.wait([over, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            await _end(tasks)

    # --- configuration ---------------------------------------------------------------------------------------

    async def _listen(self, client: Client, changes: asyncio.Queue[Change]) -> None:
        """Hear changes before the snapshot is taken, so that none falls in between."""
        prefix = f"$KV.{subjects.config_bucket(self._pop_id)}."

        async def heard(message: Msg) -> None:
            changes.put_nowait(change_of(message.subject.removeprefix(prefix), message.headers, message.data))

        await client.subscribe(prefix + ">", cb=heard)

    async def _follow_config(self, client: Client, changes: asyncio.Queue[Change]) -> None:
        mirror = self._mirror
        if mirror is None:
            raise SessionOver("not started")
        while True:
            found = await self._snapshot(client)
            if found is None:  # the centre has not made the bucket yet
                await asyncio.sleep(1.0)
                continue
            mirror.snapshot(found)
            self._beat_now.set()
            while not mirror.live(await changes.get()):
                self._beat_now.set()

    async def _snapshot(self, client: Client) -> list[Change] | None:
        """All that the bucket holds, in pages; None when there is no bucket."""
        bucket = subjects.config_bucket(self._pop_id)
        prefix, api = f"$KV.{bucket}.", f"$JS.API.DIRECT.GET.KV_{bucket}"
        inbox = client.new_inbox()
        replies = await client.subscribe(inbox)
        found: list[Change] = []
        after = 0
        try:
            while True:
                ask = {"seq": after + 1, "next_by_subj": prefix + ">", "batch": SNAPSHOT_PAGE}
                await client.publish(api, json.dumps(ask).encode(), reply=inbox)
                while True:
                    message = await replies.next_msg(ANSWER_S)
                    headers = message.headers or {}
                    status = headers.get("Status")
                    if status == "503":
                        return None
                    if status == "404":
                        return found
                    if status is not None:
                        if status != "204":
                            raise SessionOver(f"the bucket answered {status}")
                        break
                    after = int(headers["Nats-Sequence"])
                    found.append(change_of(headers["Nats-Subject"].removeprefix(prefix), headers, message.data))
                if headers.get("Nats-Num-Pending", "0") == "0":
                    return found
        finally:
            await replies.unsubscribe()

    # --- events ----------------------------------------------------------------------------------------------

    async def _send_events(self, client: Client) -> None:
        """Oldest first, one batch at a time: the journal lets go of a batch when the stream has acknowledged it."""
        while True:
            self._waiting.clear()
            envelopes = self._journal.unsent(BATCH_EVENTS)
            if not envelopes:
                self._drained.set()
                await self._waiting.wait()
                await asyncio.sleep(COALESCE_S)
                continue
            batch = _fitting(envelopes)
            told = batch if self._pseudonyms is None else [_hidden(self._pseudonyms, one) for one in batch]
            payload = self._encoder.encode(
                EventBatch(pop_id=self._pop_id, journal_id=self._journal.origin(batch[0].seq), events=told)
            )
            last = batch[-1].seq
            headers = {"Nats-Msg-Id": f"{self._journal.sending}:{batch[0].seq}-{last}"}
            try:
                answer = await client.request(subjects.events(self._pop_id), payload, timeout=ANSWER_S, headers=headers)
            except ERRORS as error:
                if client.is_closed:
                    raise SessionOver("closed") from error
                log.warning("the bus did not take events (%s); they wait on this disk", type(error).__name__)
                await asyncio.sleep(1.0)
                continue
            if (refusal := _refusal(answer.data)) is not None:
                log.warning("the bus refused events (%s); they wait on this disk", refusal)
                await asyncio.sleep(1.0)
                continue
            self._journal.mark_sent(last)
            if len(batch) == len(envelopes) < BATCH_EVENTS:
                await asyncio.sleep(COALESCE_S)

    async def _send_heartbeats(self, client: Client) -> None:
        subject = subjects.heartbeat(self._pop_id)
        while True:
            handler, mirror = self._handler, self._mirror
            if handler is not None and mirror is not None:
                beat = msgspec.structs.replace(handler.heartbeat(), clock_at=self._clock())
                if mirror.revision is not None:
                    # The handler cannot know the revision of a deletion.
                    beat = msgspec.structs.replace(beat, revision=mirror.revision)
                await client.publish(subject, self._encoder.encode(beat))
            self._beat_now.clear()
            await asyncio.sleep(COALESCE_S)
            with contextlib.suppress(TimeoutError):  # what has changed is told at once
                async with asyncio.timeout(HEARTBEAT_S - COALESCE_S):
                    await self._beat_now.wait()

    # --- commands --------------------------------------------------------------------------------------------

    async def _on_command(self, message: Msg) -> None:
        self._desk.take(message.data, message.respond)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: up to Python 3.11 `wait_for` drops a cancellation that comes with its result."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


def _hidden(pseudonyms: Pseudonyms, envelope: EventEnvelope) -> EventEnvelope:
    data = pseudonyms.told(envelope.kind, bytes(envelope.data))
    return msgspec.structs.replace(envelope, data=msgspec.Raw(data))


def _fitting(envelopes: list[EventEnvelope]) -> list[EventEnvelope]:
    """The longest beginning of ``envelopes`` under the size of one batch, at least one."""
    size = 0
    for count, envelope in enumerate(envelopes):
        size += len(bytes(envelope.data)) + 128
        if size > BATCH_BYTES and count:
            return envelopes[:count]
    return envelopes


def _refusal(answer: bytes) -> str | None:
    """Why the stream did not store the message; None when it did (again or for the first time)."""
    try:
        reply = json.loads(answer)
    except ValueError:
        return "an answer that cannot be read"
    if "error" in reply:
        return str(reply["error"].get("description", "error"))
    return None if reply.get("stream") == subjects.EVENT_STREAM else "no stream took them"
