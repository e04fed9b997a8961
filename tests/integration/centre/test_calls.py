"""From a POP's journal to records, recordings and live streams; and commands back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import nats
import pytest
from sqlalchemy import func, select

from orchestrator.adapters.db.models import EventRow, RejectedBatchRow
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.domain import events as ev
from pbx.domain.e164 import E164, WITHHELD
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, FlowId, LegId, OfferId, PhoneId, QueueId, RecordingId, derive
from pbx.wire import subjects
from pbx.wire.messages import (
    CommandReply,
    CommandRequest,
    EventBatch,
    HangUpCall,
    PopCommand,
    ReadRecording,
    SetAgentStatus,
)
from tests.integration.centre.support import Api, agent, pop, until

START = 1_790_000_000.0


def a_call(name: str, at: float = START) -> tuple[CallId, RecordingId, list[ev.Event]]:
    """A whole call: queue, one agent, consent by digit, recorded."""
    call, offer, recording = (CallId(derive(at, k, name)) for k in ("call", "offer", "recording"))
    leg = LegId(f"leg-{name}")
    agent_id, queue = AgentId(derive(0, "agent")), QueueId("sales")
    return (
        call,
        RecordingId(recording),
        [
            ev.LegOffered(at=at, leg_id=leg, did=E164("+49305550100"), cli=WITHHELD, caller_country=None, trunk="t1"),
            ev.FlowStarted(at=at, flow_id=FlowId("main"), version=1, language="de"),
            ev.LegAnswered(at=at + 1, leg_id=leg),
            ev.NodeEntered(at=at + 1, node="hello"),
            ev.ConsentGranted(
                at=at + 5,
                regime="opt_in",
                jurisdictions=("DE",),
                prompt_id="consent-keys-opt-in",
                prompt_sha256="ab" * 32,
                language="de",
                played_ms=3100,
                digit="1",
            ),
            ev.QueueJoined(at=at + 6, queue_id=queue, position=1),
            ev.OfferMade(
                at=at + 8,
                offer_id=OfferId(offer),
                queue_id=queue,
                agent_id=agent_id,
                phone_id=PhoneId("1001"),
                agent_country="DE",
                epoch=1,
                ring_timeout_s=20,
            ),
            ev.OfferEnded(at=at + 10, offer_id=OfferId(offer), agent_id=agent_id, outcome=ev.OfferOutcome.ANSWERED),
            ev.TalkStarted(at=at + 10, agent_id=agent_id, queue_id=queue),
            ev.RecordingStarted(at=at + 10, recording_id=RecordingId(recording), leg_id=leg),
            ev.RecordingEnded(
                at=at + 40,
                recording_id=RecordingId(recording),
                region="eu",
                duration_ms=30_000,
                size_bytes=1_300_000,
                sha256="cd" * 32,
                discarded=False,
            ),
            ev.CallEnded(
                at=at + 41,
                ended_at=at + 40,
                reason=ev.EndReason.CALLER_HUNG_UP,
                cause=HangupCause.NORMAL_CLEARING,
            ),
        ],
    )


async def _found(api: Api, path: str) -> Any:
    answer = await api.get(path)
    return answer.body if answer.status == 200 else None


async def _ended(api: Api, call: str) -> Any:
    found = await _found(api, f"/calls/{call}")
    return found if found and found["ended_at"] else None


@asynccontextmanager
async def live(api: Api, path: str, **headers: str) -> AsyncIterator[asyncio.Queue[dict[str, Any]]]:
    """The frames of a live stream, as they come."""
    frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with api.session.get("/api/v1" + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        assert (await response.content.readline()).startswith(b":")

        async def read() -> None:
            async for line in response.content:
                if line.startswith(b"data: "):
                    frames.put_nowait(json.loads(line[6:]))

        reader = asyncio.create_task(read())
        try:
            yield frames
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


async def test_a_call_becomes_a_record_with_evidence_and_a_recording(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    call, recording, events = a_call("one")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(call, events[:6])
        site.link.events_waiting()
        early = await until(lambda: _found(api, f"/calls/{call}"))
        assert early["ended_at"] is None
        assert [c["call_id"] for c in (await api.get("/calls?live=true")).body["items"]] == [call]
        await site.journal.append(call, events[6:])
        site.link.events_waiting()
        found = await until(lambda: _ended(api, call))
    assert found["cli"] == "withheld"
    assert found["offered_at"] == "2026-09-21T14:13:20Z"
    assert (found["wait_s"], found["talk_s"], found["abandoned"]) == (4.0, 30.0, False)
    (consent,) = found["consents"]
    assert (consent["granted"], consent["digit"], consent["played_ms"]) == (True, "1", 3100)
    assert found["offers"][0]["outcome"] == "answered"
    meta = (await api.get(f"/recordings/{recording}")).body
    assert (meta["call_id"], meta["region"], meta["size_bytes"]) == (call, "eu", 1_300_000)
    assert len((await api.get(f"/recordings?call_id={call}")).body["items"]) == 1
    assert (await api.get("/calls?live=true")).body["items"] == []
    assert (await api.get("/calls?queue_id=other")).body["items"] == []


async def test_what_is_delivered_twice_is_stored_once(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    call, _, events = a_call("twice")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(call, events)
        copy = site.journal.unsent(500)
        batch = EventBatch(pop_id="de-fra-1", journal_id=site.journal.journal_id, events=copy)
        site.link.events_waiting()
        await until(lambda: _ended(api, call))
    server, database = centre[0].server, centre[0].database
    assert server is not None
    assert database is not None
    user, password = server.credentials()
    client = await nats.connect(server.url, user=user, password=password, inbox_prefix="_INBOX_centre")
    stream = client.jetstream()
    reversed_batch = msgspec.structs.replace(batch, events=list(reversed(copy)))
    for again in (batch, reversed_batch, msgspec.structs.replace(batch, events=copy[3:5])):
        await stream.publish(subjects.events("de-fra-1"), msgspec.json.encode(again))
    # A liar and a broken message are set aside, and what follows them is taken in.
    await stream.publish(subjects.events("de-ber-1"), msgspec.json.encode(batch))
    await stream.publish(subjects.events("de-fra-1"), b"{")
    other, _, more = a_call("after", START + 100)
    lost = EventBatch(pop_id="de-fra-1", journal_id=derive(START, "new disk"), events=_renamed(copy, other, more))
    await stream.publish(subjects.events("de-fra-1"), msgspec.json.encode(lost))
    await until(lambda: _ended(api, other))
    await client.close()
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(EventRow)) == 2 * len(events)
        assert await session.scalar(select(func.count()).select_from(RejectedBatchRow)) == 2
    assert len((await api.get(f"/calls/{call}")).body["offers"]) == 1


def _renamed(copy: list[Any], call: str, events: list[ev.Event]) -> list[Any]:
    return [
        msgspec.structs.replace(envelope, call_id=call, data=msgspec.Raw(msgspec.json.encode(event)))
        for envelope, event in zip(copy, events, strict=True)
    ]


async def test_a_live_stream_resumes_where_it_was_cut(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    call, _, events = a_call("live")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        async with live(api, "/events") as frames:
            await site.journal.append(call, events[:3])
            site.link.events_waiting()
            first = [await asyncio.wait_for(frames.get(), 10) for _ in range(3)]
            assert [f["kind"] for f in first] == ["LegOffered", "FlowStarted", "LegAnswered"]
            assert first[1]["data"]["flow_id"] == "main"
        await site.journal.append(call, events[3:])
        site.link.events_waiting()
        await until(lambda: _ended(api, call))
        async with live(api, "/events", **{"Last-Event-ID": str(first[1]["id"])}) as frames:
            rest = [await asyncio.wait_for(frames.get(), 10) for _ in range(len(events) - 2)]
            assert [f["kind"] for f in rest] == [type(event).__name__ for event in events[2:]]
        async with live(api, f"/events?after=0&call_id={call}") as frames:
            whole = [await asyncio.wait_for(frames.get(), 10) for _ in events]
            assert [f["seq"] for f in whole] == list(range(1, len(events) + 1))
    assert (await api.get("/events", headers={"Last-Event-ID": "x"})).status == 422


async def test_commands_reach_the_pop_and_come_back(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    made = await api.made("/agents", agent())
    status_path = f"/agents/{made['agent_id']}/status"
    away = await api.post(status_path, {"status": "AVAILABLE"})
    assert (away.status, away.error_id) == (503, "pop_unreachable")
    call, _, events = a_call("cmd")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(call, events[:3])
        site.link.events_waiting()
        await until(lambda: _found(api, f"/calls/{call}"))
        assert (await api.post(status_path, {"status": "NOT_READY", "reason": "lunch"})).status == 204
        expected: list[PopCommand] = [
            SetAgentStatus(agent_id=made["agent_id"], status="NOT_READY", reason="lunch"),
            HangUpCall(call_id=call),
        ]
        assert [c.command for c in site.handler.commands] == expected[:1]
        for body in ({"status": "ASLEEP"}, {"status": "NOT_READY"}, {"status": "AVAILABLE", "reason": "x"}):
            assert (await api.post(status_path, body)).status == 422
        assert (await api.post(f"/calls/{call}/hangup")).status == 204
        assert [c.command for c in site.handler.commands] == expected
        assert (await api.post(f"/calls/{call}/recording/stop")).status == 204
        site.handler.answer = lambda _request: CommandReply(error_id="unknown-call", detail="it has ended")
        gone = await api.post(f"/calls/{call}/hangup")
        assert (gone.status, gone.error_id) == (404, "unknown_call")
        site.handler.answer = lambda _request: CommandReply(error_id="not_recorded", detail="nothing runs")
        refused = await api.post(f"/calls/{call}/recording/stop")
        assert (refused.status, refused.error_id) == (409, "not_recorded")
        assert len({c.idempotency_key for c in site.handler.commands}) == len(site.handler.commands)
        seen = await until(lambda: _connected(api))
        assert (seen["engine_up"], seen["live_calls"]) == (True, 3)
        site.handler.errors["flow.main"] = "a prompt is missing"
        await until(lambda: _errors(api))
    assert (await api.post("/calls/01ARZ3NDEKTSV4RRFFQ69G5FAV/hangup")).error_id == "unknown_call"


async def _connected(api: Api) -> Any:
    found = (await api.get("/pops/de-fra-1")).body
    return found if found["connected"] else None


async def _errors(api: Api) -> bool:
    return bool((await api.get("/pops/de-fra-1")).body["config_errors"] == {"flow.main": "a prompt is missing"})


async def test_a_recording_is_streamed_whole_and_by_range(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    content = bytes(n * 7 % 251 for n in range(1_300_000))
    call, recording, events = a_call("audio")

    def answer(request: CommandRequest) -> CommandReply:
        command = request.command
        assert isinstance(command, ReadRecording)
        assert command.length <= 512 * 1024
        blob = content[command.offset : command.offset + command.length]
        return CommandReply(blob=blob, total_size=len(content))

    path = f"/recordings/{recording}/content"
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        site.handler.answer = answer
        await site.journal.append(call, events)
        site.link.events_waiting()
        await until(lambda: _ended(api, call))
        whole = await api.get(path)
        assert (whole.status, whole.headers["Content-Type"]) == (200, "audio/wav")
        assert whole.body == content
        for asked, start, end in [
            ("bytes=0-9", 0, 10),
            ("bytes=700000-", 700_000, len(content)),
            ("bytes=-100", len(content) - 100, len(content)),
            ("bytes=1299990-9999999", 1_299_990, len(content)),
        ]:
            part = await api.get(path, headers={"Range": asked})
            assert part.status == 206, asked
            assert part.body == content[start:end]
            assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(content)}"
        assert (await api.get(path, headers={"Range": "bytes=1300000-"})).status == 416
        assert (await api.get(path, headers={"Range": "bytes=9-3"})).status == 416

        def fail_later(request: CommandRequest) -> CommandReply:
            assert isinstance(request.command, ReadRecording)
            return answer(request) if request.command.offset == 0 else CommandReply(error_id="disk_failed")

        site.handler.answer = fail_later
        with pytest.raises(aiohttp.ClientError):
            await api.get(path)
        site.handler.answer = lambda _request: CommandReply(error_id="unknown_recording", detail="erased")
        assert (await api.get(path)).error_id == "unknown_recording"
    assert (await api.get(path)).error_id == "pop_unreachable"
    assert (await api.get("/recordings/nothing/content")).error_id == "unknown_recording"
