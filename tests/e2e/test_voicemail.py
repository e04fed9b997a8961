"""Messages and surveys with real phones: what is on the recording, and what is not on the disk."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import soundfile

from dialplans.schema import Engine
from tests.lab.api import ApiProblem
from tests.lab.audio import contains_tone
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.stack import Stack, recordings_on_disk

CALLER_HZ = 1000
SILENCE_S = 3.0
QUIET = 0.01
BYTES_S = 8000 * 4
END = {"type": "hang_up"}

MESSAGE: dict[str, Any] = {
    "start": "message",
    "languages": ["de"],
    "nodes": {
        "message": {
            "type": "voicemail",
            "mailbox": "support",
            "silence_s": SILENCE_S,
            "next": "end",
            "on_failure": "sorry",
        },
        "sorry": {"type": "hang_up", "prompts": ["voicemail-failed"]},
        "end": END,
    },
}
SURVEY: dict[str, Any] = {
    "start": "consent",
    "languages": ["de"],
    "nodes": {
        "consent": {"type": "consent", "next": "wait"},
        "wait": {
            "type": "queue",
            "queue": "support",
            "on_refused": "end",
            "welcome": False,
            "announce_position": False,
            "after": "rating",
        },
        "rating": {
            "type": "survey",
            "questions": [
                {"id": "solved", "prompts": ["survey-solved"], "digits": "12"},
                {"id": "csat", "prompts": ["survey-rating"], "digits": "12345"},
            ],
            "thanks": [],
            "next": "end",
        },
        "end": END,
    },
}


@asynccontextmanager
async def started(lab: Lab, engine: Engine, flow: dict[str, Any]) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=flow) as stack:
        yield stack
        stack.server.wait_idle()


def captured_s(stack: Stack) -> float:
    """Of the only recording there is."""
    return sum(path.stat().st_size for path in recordings_on_disk(stack.pop)) / BYTES_S


async def test_messages(lab: Lab, engine: Engine) -> None:
    """One caller hangs up during the greeting; another leaves a message, which is heard and deleted; a third one
    speaks, and says nothing any more."""
    async with started(lab, engine, MESSAGE) as stack:
        async with stack.caller("hasty", cli="+491700000001") as hasty:
            await hasty.wait_for("CALL_ESTABLISHED")
            await stack.at_node(hasty, "message")
            await hasty.hang_up()
            cdr = await stack.record(await stack.call_id(hasty))
        assert (cdr["voicemails"], cdr["recordings"], recordings_on_disk(stack.pop)) == ([], [], [])
        assert await stack.api.items("voicemails") == []

        async with stack.caller(tone_hz=CALLER_HZ) as caller:
            await caller.wait_for("CALL_ESTABLISHED")
            await stack.at_node(caller, "message")
            await caller.send_digits("1")
            call_id = await stack.call_id(caller)
            granted = await stack.event("VoicemailGranted", call_id=call_id)
            begun = await stack.event("RecordingStarted", call_id=call_id)
            await asyncio.to_thread(wait_until, lambda: captured_s(stack) > 3, 10, "3 s of the message")
            await caller.send_digits("#")
            left = await stack.event("VoicemailLeft", call_id=call_id, after=begun["seq"])
            cdr = await stack.record(call_id)
        assert (left["ended_by"], cdr["nodes"], cdr["end_reason"]) == ("terminator", ["message", "end"], "flow_ended")
        assert 0 <= granted["played_ms"] < 3000
        assert len(granted["prompt_sha256s"][0]) == 64

        [message] = await stack.api.items("voicemails?mailbox=support&state=new")
        assert (message["call_id"], message["cli"], message["heard_at"]) == (call_id, "+491701234567", None)
        assert 2500 < message["duration_ms"] < 8000
        path = f"voicemails/{message['voicemail_id']}"
        samples, rate = soundfile.read(io.BytesIO(await stack.api.download(f"{path}/content")))
        said, heard = samples[:, 0], samples[:, 1]
        assert contains_tone(said, rate, CALLER_HZ)
        assert abs(heard).max() < QUIET
        await stack.api.post(f"{path}/heard", {})
        assert await stack.api.items("voicemails?state=new") == []
        assert (await stack.api.get(path))["heard_at"] is not None
        await stack.api.ask("DELETE", path)
        with pytest.raises(ApiProblem, match="unknown_voicemail"):
            await stack.api.get(path)
        assert recordings_on_disk(stack.pop) == []
        await falls_silent(stack)


async def falls_silent(stack: Stack) -> None:
    """The message ends by silence, and the samples say how much of it there was."""
    async with stack.caller("pensive", cli="+491700000003", tone_hz=CALLER_HZ) as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "message")
        await caller.send_digits("1")
        call_id = await stack.call_id(caller)
        await stack.event("RecordingStarted", call_id=call_id)
        await asyncio.to_thread(wait_until, lambda: captured_s(stack) > SILENCE_S + 1, 12, "speech longer than silence")
        assert not [event for event in stack.journal() if event["kind"] == "RecordingSilent"]
        await caller.mute()
        left = await stack.event("VoicemailLeft", call_id=call_id)
        await caller.wait_for("CALL_CLOSED")
        cdr = await stack.record(call_id)
    assert (left["ended_by"], cdr["voicemails"][0]["ended_by"]) == ("silence", "silence")
    [message] = await stack.api.items("voicemails")
    content = await stack.api.download(f"voicemails/{message['voicemail_id']}/content")
    samples, rate = soundfile.read(io.BytesIO(content))
    loud = np.flatnonzero(abs(samples[:, 0]) > QUIET)
    assert contains_tone(samples[: loud[-1], 0], rate, CALLER_HZ)
    # What was captured and not yet written when it was looked at is silence, too.
    assert SILENCE_S - 0.1 < (len(samples) - loud[-1]) / rate < SILENCE_S + 3


async def test_survey(lab: Lab, engine: Engine) -> None:
    """The agent hangs up first; what the caller answers then is in the call's record, and not in its recording."""
    async with started(lab, engine, SURVEY) as stack, stack.agent("anna") as anna, stack.caller() as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        call_id = await stack.call_id(caller)
        await stack.event("RecordingStarted", call_id=call_id)
        await anna.hang_up()
        asked = await stack.at_node(caller, "rating")
        recorded = await stack.event("RecordingEnded", call_id=call_id)
        assert recorded["seq"] < asked
        await caller.send_digits("1")
        await stack.event("SurveyAnswered", call_id=call_id, question="solved")
        await caller.send_digits("5")
        cdr = await stack.record(call_id)
        await caller.wait_for("CALL_CLOSED")
    agent_id = stack.agents["anna"].agent_id
    answers = [(answer["question"], answer["digit"], answer["agent_id"]) for answer in cdr["survey"]]
    assert answers == [("solved", "1", agent_id), ("csat", "5", agent_id)]
    assert (cdr["nodes"], cdr["end_reason"]) == (["consent", "wait", "rating", "end"], "flow_ended")
    assert [talk["ended"] for talk in cdr["talks"]] == ["agent_hung_up"]
