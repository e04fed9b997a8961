"""Messages as the centre has them: listed, heard, deleted, and made anew from events without forgetting either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import CentreSettings
from pbx.domain import events as ev
from pbx.domain.e164 import E164, WITHHELD
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, FlowId, LegId, RecordingId, derive
from pbx.wire.messages import CommandReply, EraseRecording, ReadRecording
from tests.integration.centre.support import Api, pop, until

START = 1_790_000_000.0


def a_message(name: str, at: float, mailbox: str = "sales") -> tuple[CallId, RecordingId, list[ev.Event]]:
    """A call that leaves a message; its last event is CallEnded."""
    call, leg = CallId(derive(at, "call", name)), LegId(f"leg-{name}")
    recording = RecordingId(derive(at, "voicemail", name))
    granted = ev.VoicemailGranted(
        at=at + 5,
        mailbox=mailbox,
        recording_id=recording,
        regime="opt_in",
        jurisdictions=("DE", "unknown"),
        prompt_ids=("voicemail-greeting",),
        prompt_sha256s=("ab" * 32,),
        language="de",
        played_ms=3100,
        digit=None,
    )
    did = E164("+49305550100")
    return (
        call,
        recording,
        [
            ev.LegOffered(at=at, leg_id=leg, did=did, cli=WITHHELD, caller_country=None, trunk="t1"),
            ev.FlowStarted(at=at, flow_id=FlowId("main"), version=1, language="de"),
            ev.LegAnswered(at=at + 1, leg_id=leg),
            granted,
            ev.RecordingStarted(at=at + 5, recording_id=recording, leg_id=leg),
            ev.RecordingEnded(
                at=at + 12, recording_id=recording, region="eu", duration_ms=7000, size_bytes=224_044, sha256="cd" * 32
            ),
            ev.VoicemailLeft(at=at + 12, mailbox=mailbox, recording_id=recording, ended_by="terminator"),
            ev.CallEnded(
                at=at + 13,
                ended_at=at + 13,
                reason=ev.EndReason.FLOW_ENDED,
                cause=HangupCause.NORMAL_CLEARING,
            ),
        ],
    )


async def _ids(api: Api, query: str = "") -> list[str]:
    return [item["voicemail_id"] for item in (await api.get(f"/voicemails{query}")).body["items"]]


async def test_messages_are_listed_heard_and_deleted(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    first, one, events = a_message("one", START)
    second, two, more = a_message("two", START + 100)
    third, three, others = a_message("three", START + 200, mailbox="billing")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(first, events[:-1])
        await site.journal.append(second, more[:-1])
        await site.journal.append(third, others)
        site.link.events_waiting()
        await until(lambda: _listed(api, 3))
        assert await _ids(api) == [three, two, one]
        assert await _ids(api, "?mailbox=sales") == [two, one]
        page = (await api.get("/voicemails?limit=2")).body
        assert [item["voicemail_id"] for item in page["items"]] == [three, two]
        assert await _ids(api, f"?limit=2&cursor={page['next_cursor']}") == [one]
        found = (await api.get(f"/voicemails/{one}")).body
        assert (found["call_id"], found["mailbox"], found["cli"]) == (first, "sales", "withheld")
        assert (found["duration_ms"], found["ended_by"], found["heard_at"]) == (7000, "terminator", None)
        assert (await api.get(f"/recordings/{one}")).body["kind"] == "voicemail"
        [evidence] = (await api.get(f"/calls/{first}")).body["voicemails"]
        assert (evidence["prompt_ids"], evidence["played_ms"]) == (["voicemail-greeting"], 3100)

        assert (await api.post(f"/voicemails/{one}/heard")).status == 204
        heard = (await api.get(f"/voicemails/{one}")).body["heard_at"]
        assert (await api.post(f"/voicemails/{one}/heard")).status == 204
        assert (await api.get(f"/voicemails/{one}")).body["heard_at"] == heard is not None
        assert (await _ids(api, "?state=heard"), await _ids(api, "?state=new")) == ([one], [three, two])

        def answer(request: Any) -> CommandReply:
            assert isinstance(request.command, ReadRecording)
            return CommandReply(blob=b"RIFF", total_size=4)

        site.handler.answer = answer
        assert (await api.get(f"/voicemails/{one}/content")).body == b"RIFF"

        site.handler.answer = lambda _request: CommandReply(error_id="not_erased", detail="the disk refused")
        refused = await api.delete(f"/voicemails/{two}")
        assert (refused.status, refused.error_id) == (409, "not_erased")
        assert await _ids(api, "?mailbox=sales") == [two, one]
        site.handler.answer = lambda _request: CommandReply()
        assert (await api.delete(f"/voicemails/{two}")).status == 204
        assert site.handler.commands[-1].command == EraseRecording(recording_id=two, call_id=second)
        for gone in (await api.delete(f"/voicemails/{two}"), await api.post(f"/voicemails/{two}/heard")):
            assert (gone.status, gone.error_id) == (404, "unknown_voicemail")
        assert (await api.get(f"/voicemails/{two}/content")).error_id == "unknown_voicemail"

        # New events make the rows anew: what was heard stays heard, and what was deleted stays away.
        await site.journal.append(first, events[-1:])
        await site.journal.append(second, more[-1:])
        site.link.events_waiting()
        await until(lambda: _ended(api, first))
        await until(lambda: _ended(api, second))
        assert (await _ids(api), await _ids(api, "?state=heard")) == ([three, one], [one])
        await site.journal.append(second, [ev.RecordingErased(at=START + 300, recording_id=two)])
        site.link.events_waiting()
        await until(lambda: _discarded(api, two))
        assert await _ids(api) == [three, one]
        site.handler.answer = lambda _request: CommandReply(error_id="unknown-recording")
        assert (await api.delete(f"/voicemails/{three}")).status == 204  # its POP had it no longer
        assert await _ids(api) == [one]
    away = await api.delete(f"/voicemails/{one}")
    assert (away.status, await _ids(api)) == (503, [one])


@pytest.mark.parametrize("query", ["state=old", "mailbox=" + "m" * 64, "cursor=%00", "who=me"])
async def test_bad_questions_are_refused(api: Api, query: str) -> None:
    assert (await api.get(f"/voicemails?{query}")).status == 422


async def _listed(api: Api, count: int) -> bool:
    return len(await _ids(api)) == count


async def _ended(api: Api, call: str) -> bool:
    return (await api.get(f"/calls/{call}")).body["ended_at"] is not None


async def _discarded(api: Api, recording: str) -> bool:
    return bool((await api.get(f"/recordings/{recording}")).body["discarded"])
