"""A person with data everywhere, and another one with as much: at a centre, and at a POP that is a whole controller."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import Base, DeliveryRow, RejectedBatchRow
from orchestrator.bootstrap import Centre
from orchestrator.services.webhook_queue import delivery
from pbx.adapters.link.nats import NatsLink
from pbx.adapters.vault.blobs import name_of
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallbackId, CallId, LegId, QueueId, RecordingId, derive
from pbx.domain.pseudonyms import Pseudonyms
from pbx.recording.wav import wav_header
from tests.integration.centre.support import QUEUE, Api, did, until
from tests.support.world import SHORT_FLOW, World

PERSON, OTHER = "+4917012345678", "+4917012345679"
DID = E164("+49305550100")
SAID = bytes(range(256)) * 400
WAV = wav_header(len(SAID)) + SAID
POP = "de-1"


class Site:
    """The POP. ``own``, ``others``: calls; a third one was led out to the person."""

    def __init__(self, directory: Path, key: str, port: int) -> None:
        directory.mkdir()
        self.directory, self._key, self._port = directory, key, port
        self.world = World(directory, SHORT_FLOW, clock=time.time)
        self.own, self.others, self.led = (CallId(derive(self.at, "call", n)) for n in ("own", "others", "led"))
        self.recording, self.other_recording, self.voicemail = (
            RecordingId(derive(self.at, "recording", n)) for n in ("own", "others", "voicemail")
        )
        self.link: NatsLink | None = None
        self.pseudonyms: Pseudonyms | None = None

    @property
    def at(self) -> float:
        return 1_790_000_000.0

    async def connect(self) -> None:
        url = f"nats://127.0.0.1:{self._port}"
        self.link = NatsLink(url, POP, self._key, self.world.journal, pseudonyms=self.pseudonyms)
        self.world.journal.on_written(self.link.events_waiting)
        await self.link.start(self.world.pop)
        await until(lambda: QueueId("sales") in self.world.config.queues)

    async def disconnect(self) -> None:
        assert self.link is not None
        await self.link.stop()

    def file(self, recording: RecordingId) -> Path:
        return self.directory / "vault" / "eu" / name_of(recording)

    def opens(self, recording: RecordingId) -> bool:
        try:
            return self.world.vault.read(recording, 0, 1 << 30)[0] == WAV
        except KeyError:
            return False

    async def happen(self) -> None:
        await self.call(self.own, PERSON, self.recording, voicemail=self.voicemail)
        await self.call(self.others, OTHER, self.other_recording)
        await self.call(self.led, OTHER, None, led_to=PERSON)

    async def call(
        self,
        call: CallId,
        cli: str,
        recording: RecordingId | None,
        *,
        voicemail: RecordingId | None = None,
        led_to: str | None = None,
        over: bool = True,
    ) -> None:
        at, leg = self.at, LegId(f"leg-{call}")
        events: list[ev.Event] = [
            ev.LegOffered(at=at, leg_id=leg, did=DID, cli=cli_of(cli), caller_country="DE", trunk="t1"),
            ev.LegAnswered(at=at + 1, leg_id=leg),
            ev.DigitPressed(at=at + 2, leg_id=leg, digit="7"),
            ev.LookupEnded(at=at + 3, lookup_id="l", error="", status=200, values={"customer": f"of {cli}"}),
            ev.ConsentGranted(
                at=at + 4, regime="opt_in", jurisdictions=("DE",), prompt_id="consent", prompt_sha256="ab" * 32,
                language="de", played_ms=3100, digit="1",
            ),
            ev.QueueJoined(at=at + 5, queue_id=QueueId("sales"), position=1),
            ev.TalkStarted(at=at + 9, agent_id=AgentId("ada"), queue_id=QueueId("sales")),
        ]  # fmt: skip
        if led_to is not None:
            events.append(ev.ForwardStarted(at=at + 9, leg_id=leg, number=E164(led_to), kind="mobile", why="flow"))
        for one, kind in ((recording, "conversation"), (voicemail, "voicemail")):
            if one is not None:
                events += self._recorded(one, leg, kind)
        if over:
            why, cause = ev.EndReason.CALLER_HUNG_UP, HangupCause.NORMAL_CLEARING
            events.append(ev.CallEnded(at=at + 41, ended_at=at + 40, reason=why, cause=cause))
        await self.world.journal.append(call, events)

    def _recorded(self, recording: RecordingId, leg: LegId, kind: str) -> list[ev.Event]:
        raw = self.directory / f"{recording}.raw"
        raw.write_bytes(SAID)
        stored = self.world.vault.store(recording, "eu", raw)
        ended = ev.RecordingEnded(
            at=self.at + 40, recording_id=recording, region="eu", duration_ms=stored.duration_ms,
            size_bytes=stored.size_bytes, sha256=stored.sha256,
        )  # fmt: skip
        started = ev.RecordingStarted(at=self.at + 10, recording_id=recording, leg_id=leg)
        if kind == "conversation":
            return [started, ended]
        granted = ev.VoicemailGranted(
            at=self.at + 10, mailbox="sales", recording_id=recording, regime="opt_in", jurisdictions=("DE",),
            prompt_ids=("hello",), prompt_sha256s=("ab" * 32,), language="de", played_ms=3100, digit=None,
        )  # fmt: skip
        left = ev.VoicemailLeft(at=self.at + 40, mailbox="sales", recording_id=recording, ended_by="hang_up")
        return [granted, started, ended, left]

    def promise(self, number: str) -> str:
        """A callback, as a caller asks for it."""
        answer = self.world.pop.callbacks.ask(
            None,
            cmd.RequestCallback(
                queue_id=QueueId("sales"), number=number, did=DID, country="DE", trunk="t1", language="de",
                entered_at=time.time(), priority=0, needs=(), by="api", not_before=time.time() + 3600,
            ),
        )  # fmt: skip
        assert isinstance(answer, ev.CallbackPromised)
        return answer.callback_id

    async def old_promise(self, number: str, call: CallId | None = None) -> str:
        """A callback of that time, which was cancelled."""
        callback = CallbackId(derive(self.at, "callback", number))
        asked = ev.CallbackRequested(
            at=self.at, callback_id=callback, queue_id=QueueId("sales"), number=E164(number), did=DID, trunk="t1",
            language="de", entered_at=self.at, priority=0, needs=(), by="flow", call_id=call,
        )  # fmt: skip
        over = ev.CallbackCancelled(at=self.at + 60, callback_id=callback, by="api")
        await self.world.journal.append(None, [asked, over])
        return callback

    def journal_holds(self, text: str) -> bool:
        files = self.directory.glob("journal.sqlite*")
        return any(text.encode() in file.read_bytes() for file in files)


async def configured(api: Api) -> str:
    """The POP's key."""
    key = await api.new_pop(POP)
    await api.made("/queues", QUEUE)
    nodes = {"wait": {"type": "queue", "queue": "sales", "on_refused": "bye"}, "bye": {"type": "hang_up"}}
    await api.made("/flows", {"flow_id": "main", "graph": {"start": "wait", "languages": ["de"], "nodes": nodes}})
    await api.made("/dids", did(pop_id=POP))
    return key


@asynccontextmanager
async def site_of(api: Api, directory: Path, port: int, *, known: bool = True) -> AsyncIterator[Site]:
    """``known``: the centre has heard of all that happened."""
    key = await configured(api)
    site = Site(directory, key, port)
    await site.world.pop.start(None)
    if known:
        await site.connect()
    try:
        await site.happen()
        if known:
            await until(lambda: _all_known(api, site))
        yield site
    finally:
        if site.link is not None:
            await site.link.stop()
        await site.world.pop.stop()


async def _all_known(api: Api, site: Site) -> bool:
    answers = [await api.get(f"/calls/{call}") for call in (site.own, site.others, site.led)]
    return all(answer.status == 200 for answer in answers)


async def everything(database: Database) -> dict[str, str]:
    """Each table as text."""
    metadata: MetaData = Base.metadata
    async with database.read() as session:
        return {
            table.name: "\n".join(str(tuple(row)) for row in (await session.execute(table.select())).all())
            for table in metadata.sorted_tables
        }


async def messages(api: Api, centre: Centre, site: Site) -> str:
    """To a webhook: one that waits, one that was sent, a dead one of somebody else; and a batch nobody could read."""
    hook = {"url": "https://crm.example.org", "events": ["*"], "active": False}
    webhook_id = str((await api.made("/webhooks", hook))["webhook_id"])
    assert centre.database is not None
    async with centre.database.write() as session:
        for state, number, call in (
            ("waiting", PERSON, site.own), ("delivered", PERSON, site.own), ("dead", OTHER, site.others),
        ):  # fmt: skip
            body = f'{{"data": {{"cli": "{number}"}}}}'
            message = derive(site.at, "message", state)
            values: dict[str, Any] = delivery(webhook_id, message, "CallEnded", call, site.at, body, time.time())
            session.add(DeliveryRow(**{**values, "state": state, "next_at": None, "ended_at": time.time()}))
        payload = f'{{"cli":"{PERSON}","more":"{OTHER}"'.encode()
        session.add(RejectedBatchRow(subject="s", reason="not JSON", payload=payload, received_at=site.at))
    return webhook_id


async def ended(api: Api, erasure_id: str, *states: str) -> dict[str, Any]:
    """The erasure once it is in one of these states."""

    async def over() -> Any:
        found = (await api.get(f"/erasures/{erasure_id}")).body
        return found if found["state"] in states else None

    made: dict[str, Any] = await until(over, 30)
    return made
