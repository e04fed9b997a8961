"""Agents call numbers of the carrier's from real phones: consent before anything is captured, tones, emergency calls
over the trunk of the agent's own place, barred numbers; with a controller and without one."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import soundfile

from dialplans.render import ALONE_LOG
from dialplans.schema import Engine, Place, Pop, Trunk
from tests.lab.api import ApiProblem
from tests.lab.audio import PRESENT_DB, Samples, tone_level_db
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.sipp import Sipp
from tests.lab.stack import DID, OVERFLOW, Stack, recordings_on_disk

NUMBER, ANNA_HZ, NUMBER_HZ = "+49305550777", 600, 1000
CALLER = "+491701234567"
FOREIGN_PREMIUM = "+33899123456"
TONE_HZ, RATE = 425, 8000
SITE, SITE_CLI, SITE_PORT = "warsaw", "+48225550100", 5070
POLISH_FIRE_BRIGADE = "998"
FLOW: dict[str, Any] = {
    "start": "consent",
    "languages": ["de"],
    "nodes": {
        "consent": {"type": "consent", "next": "wait"},
        "wait": {"type": "queue", "queue": "support", "on_refused": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
ENV = {
    "CALLPLANE_POP_OUTBOUND_QUEUE": "support",
    "CALLPLANE_POP_OUTSIDE_TRUNK": "carrier",
    "CALLPLANE_POP_CLI_BY_DESTINATION": json.dumps({"+": DID}),
}


def with_warsaw(settings: Pop, carrier: Host) -> Pop:
    """A second trunk, which is that of the agents in Warsaw."""
    trunk = Trunk(name=SITE, addresses=["198.18.255.250"], host=f"{carrier.address}:{SITE_PORT}")
    places = {SITE: Place(trunk=SITE, cli=SITE_CLI)}
    shown = {"cli_by_destination": {"+": DID}, "emergency_sites": places}
    return settings.model_copy(update={"trunks": [*settings.trunks, trunk], **shown})


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=FLOW, more_env=ENV, adapted=with_warsaw) as started:
        yield started
        started.server.wait_idle()


@contextlib.asynccontextmanager
async def number(stack: Stack) -> AsyncIterator[Phone]:
    uri = f"sip:{NUMBER}@{stack.carrier.address}"
    async with Phone.start(stack.carrier, "number", uri=uri, tone_hz=NUMBER_HZ, port=5060) as phone:
        yield phone


def at(stack: Stack, dialled: str) -> str:
    return f"sip:{dialled}@{stack.pop.address}:{stack.settings.sip_port}"


async def test_calls_that_agents_place(stack: Stack) -> None:
    """On one stack, for each costs ten seconds."""
    async with stack.agent("anna", tone_hz=ANNA_HZ, available=False, site=SITE) as anna:
        async with number(stack) as far:
            await is_recorded_only_after_consent(stack, anna, far)
            await by_the_api_and_refused(stack, anna, far)
            await is_busy(stack, anna, far)
        await barred(stack, anna)
        with Sipp.agents(stack.carrier, port=SITE_PORT, talk_ms=None, trace=True) as warsaw:
            await emergency(stack, anna, warsaw, "112", 1)
            await emergency(stack, anna, warsaw, POLISH_FIRE_BRIGADE, 1)
            async with stack.agent("ben", available=False) as ben:
                await is_a_number_like_any_other(stack, ben, warsaw)
            stack.controller.stop()
            await asyncio.to_thread(wait_until, stack.lease_is_over, 15, "the end of the lease")
            await emergency(stack, anna, warsaw, "112", 2)
            await emergency(stack, anna, warsaw, POLISH_FIRE_BRIGADE, 2)
        await without_a_controller(stack, anna)
        await have_their_records_when_there_is_one(stack)


async def answered(far: Phone) -> str:
    rung = await far.wait_for("CALL_INCOMING")
    await far.answer()
    await far.wait_for("CALL_ESTABLISHED")
    return rung.peer


async def is_recorded_only_after_consent(stack: Stack, anna: Phone, far: Phone) -> None:
    await anna.dial(at(stack, "0305550777"))
    await anna.wait_for("CALL_ESTABLISHED")
    placed = await stack.event("CallPlaced")
    call_id = placed["call_id"]
    assert DID in await answered(far)
    asked = await stack.event("NodeEntered", call_id=call_id, node="consent")
    assert recordings_on_disk(stack.pop) == []
    await stack.event("PlayEnded", after=asked["seq"], call_id=call_id, completed=True)
    assert recordings_on_disk(stack.pop) == [], "captured before the answer"
    await far.send_digits("1")
    await stack.event("RecordingStarted", call_id=call_id)
    await anna.hears(NUMBER_HZ, for_s=2)
    await far.hears(ANNA_HZ, for_s=2)
    agent_id = stack.agents["anna"].agent_id
    assert (await stack.event("AgentChanged", agent_id=agent_id, state="ON_CALL"))["state"] == "ON_CALL"
    await anna.hang_up()
    await anna.wait_for("CALL_CLOSED")
    cdr = await stack.record(call_id)
    assert (cdr["direction"], cdr["placed_by"], cdr["cli"], cdr["did"]) == ("outbound", agent_id, NUMBER, DID)
    assert (cdr["end_reason"], [one["granted"] for one in cdr["consents"]]) == ("agent_hung_up", [True])
    [recording] = cdr["recordings"]
    left, right = await samples_of(stack, recording["recording_id"])
    # The number is on the left, as a caller would be; the agent on the right; nothing of the question is in it.
    assert tone_level_db(left, 8000, NUMBER_HZ) >= PRESENT_DB
    assert tone_level_db(right, 8000, ANNA_HZ) >= PRESENT_DB
    granted = next(e for e in stack.journal() if e["kind"] == "ConsentGranted" and e["call_id"] == call_id)
    started = next(e for e in stack.journal() if e["kind"] == "RecordingStarted" and e["call_id"] == call_id)
    assert granted["seq"] < started["seq"]
    talked = next(e for e in stack.journal() if e["kind"] == "CallEnded" and e["call_id"] == call_id)
    missing_s = talked["ended_at"] - started["at"] - recording["duration_ms"] / 1000
    assert missing_s < 0.5, f"{missing_s:.2f} s of the conversation are not in it"
    await stack.event("AgentChanged", agent_id=agent_id, state="IDLE", after=started["seq"])


async def samples_of(stack: Stack, recording_id: str) -> tuple[Samples, Samples]:
    wav = await stack.api.download(f"recordings/{recording_id}/content")
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert rate == RATE
    last = samples[-RATE // 2 :]
    return last[:, 0], last[:, 1]


async def by_the_api_and_refused(stack: Stack, anna: Phone, far: Phone) -> None:
    """The agent's phone rings first; who is called says no, and nothing is captured."""
    agent_id = stack.agents["anna"].agent_id
    with pytest.raises(ApiProblem) as refused:
        await stack.api.post("calls", {"agent_id": agent_id, "number": FOREIGN_PREMIUM})
    assert refused.value.status == 422
    call_id = (await stack.api.post("calls", {"agent_id": agent_id, "number": "030 5550777"}))["call_id"]
    await anna.wait_for("CALL_ESTABLISHED")
    await answered(far)
    asked = await stack.event("NodeEntered", call_id=call_id, node="consent")
    await stack.event("PlayEnded", after=asked["seq"], call_id=call_id, completed=True)
    before = recordings_on_disk(stack.pop)
    await far.send_digits("2")
    await stack.event("TalkStarted", call_id=call_id)
    await anna.hears(NUMBER_HZ)
    assert recordings_on_disk(stack.pop) == before
    await far.hang_up()
    cdr = await stack.record(call_id)
    assert (cdr["end_reason"], cdr["recordings"]) == ("caller_hung_up", [])
    assert [one["granted"] for one in cdr["consents"]] == [False]
    await stack.event("AgentChanged", agent_id=agent_id, state="IDLE", after=asked["seq"])
    await anna.wait_for("CALL_CLOSED")


async def is_busy(stack: Stack, anna: Phone, far: Phone) -> None:
    await anna.dial(at(stack, NUMBER))
    await anna.wait_for("CALL_ESTABLISHED")
    await far.wait_for("CALL_INCOMING")
    await far.reject()
    await anna.hears(TONE_HZ)
    await anna.wait_for("CALL_CLOSED")
    call_id = (await stack.event("CallPlaced", 3))["call_id"]
    cdr = await stack.record(call_id)
    assert (cdr["end_reason"], cdr["answered_at"], cdr["talks"]) == ("not_reached", None, [])


async def refused_by(anna: Phone, uri: str) -> None:
    await anna.dial(uri)
    closed = await anna.wait_for("CALL_CLOSED")
    assert closed.param.startswith(("403", "603")), closed.param


async def barred(stack: Stack, anna: Phone) -> None:
    await refused_by(anna, at(stack, f"00{FOREIGN_PREMIUM[1:]}"))
    placed = await stack.event("CallPlaced", 4)
    cdr = await stack.record(placed["call_id"])
    assert (cdr["end_reason"], cdr["cli"]) == ("number_refused", FOREIGN_PREMIUM)


async def emergency(stack: Stack, anna: Phone, warsaw: Sipp, called: str, count: int) -> None:
    """Over the trunk of the agent's own place and with its number, also where only that place's country has such a
    number; no call of the controller's, and not recorded."""
    calls, files = len(stack.journal()), recordings_on_disk(stack.pop)
    await anna.dial(at(stack, called))
    await anna.wait_for("CALL_ESTABLISHED")
    invites = [text for text in warsaw.messages().split(f"INVITE sip:{called}@")[1:] if "Contact" in text]
    assert len(invites) >= count
    assert SITE_CLI in invites[-1].split("Call-ID")[0]
    assert recordings_on_disk(stack.pop) == files
    await anna.hang_up()
    await anna.wait_for("CALL_CLOSED")
    placed = [event for event in stack.journal()[calls:] if event["kind"] == "CallPlaced"]
    assert placed == []


async def is_a_number_like_any_other(stack: Stack, ben: Phone, warsaw: Sipp) -> None:
    """Where the POP is, what is an emergency number in Warsaw is one of the city's."""
    told = warsaw.messages()
    await ben.dial(at(stack, POLISH_FIRE_BRIGADE))
    placed = await stack.event("CallPlaced", 5)
    await ben.hang_up()
    cdr = await stack.record(placed["call_id"])
    assert cdr["cli"] == f"+4930{POLISH_FIRE_BRIGADE}"
    assert warsaw.messages() == told


async def without_a_controller(stack: Stack, anna: Phone) -> None:
    """The dialplan dials by itself, unrecorded, and bars what is barred."""
    files = recordings_on_disk(stack.pop)
    await refused_by(anna, at(stack, f"00{FOREIGN_PREMIUM[1:]}"))
    async with number(stack) as far:
        await anna.dial(at(stack, NUMBER))
        assert DID in await answered(far)
        await anna.hears(NUMBER_HZ)
        await far.hears(ANNA_HZ)
        assert recordings_on_disk(stack.pop) == files
        await anna.hang_up()
        await far.wait_for("CALL_CLOSED")
    async with stack.caller(cli=CALLER) as caller:
        await caller.wait_for("CALL_ESTABLISHED")  # hears the announcement
        await caller.hang_up()
        await caller.wait_for("CALL_CLOSED")


async def have_their_records_when_there_is_one(stack: Stack) -> None:
    known = stack.journal()[-1]["seq"]
    stack.restart_controller()
    ended = await stack.event("CallEnded", 3, after=known)
    found = stack.journal("kind = 'CallEnded' AND seq > ?", known)
    assert {event["reason"] for event in found} == {"no_controller"}, ended
    records = [await stack.record(event["call_id"]) for event in found]
    by_cli = {record["cli"]: record for record in records}  # two may have ended in the same second
    barred, talked, came = (by_cli[cli] for cli in (FOREIGN_PREMIUM, NUMBER, CALLER))
    anna = (await stack.event("CallPlaced"))["agent_id"]
    assert (barred["placed_by"], barred["cli"], barred["answered_at"]) == (anna, FOREIGN_PREMIUM, None)
    assert [forward["outcome"] for forward in barred["forwards"]] == ["refused"]
    assert (talked["placed_by"], talked["cli"], talked["did"], talked["recordings"]) == (anna, NUMBER, DID, [])
    assert talked["offered_at"] <= talked["answered_at"] < talked["ended_at"]
    assert (came["direction"], came["did"], came["cli"]) == ("inbound", DID, CALLER)
    assert [(one["why"], one["number"], one["answered_at"]) for one in came["forwards"]] == [
        ("fallback", OVERFLOW, None)
    ]
    assert not list((stack.pop.shm / "recordings").glob(f"{ALONE_LOG}*"))
