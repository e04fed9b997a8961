"""``callplane`` where a POP is concerned: live calls, agents, sound, drain, what happens now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.command_line.call_actions import AGENT, CALLS
from orchestrator.config import CentreSettings
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.domain.ids import CallId
from pbx.wire.messages import (
    AgentChosen,
    CommandReply,
    CommandRequest,
    ExplainChoice,
    ExplainWait,
    ListWaiting,
    ParkCall,
    PopConfig,
    ReadRecording,
    WaitExplained,
    WaitGroup,
    WaitingCall,
    WaitReason,
)
from tests.integration.centre.support import Api, TestPop, agent, pop, until
from tests.integration.centre.terminal import Terminal
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_reports import a_call as a_reported_call
from tests.integration.centre.test_reports import at, fed

SOUND = bytes(n * 7 % 251 for n in range(700_000))


@dataclass
class Site:
    pop: TestPop
    call: CallId
    recording: str
    agent: str


def answer(request: CommandRequest) -> CommandReply:
    match request.command:
        case ExplainWait(call_id=_):
            reasons = [WaitReason(because="on_call", agents=2)]
            groups = [WaitGroup(requirement={"lang:de": 3}, reasons=reasons)]
            return CommandReply(wait=WaitExplained("sales", 1, 12.5, 12.5, None, None, groups))
        case ExplainChoice():
            chosen = AgentChosen(
                "o1", 1_790_000_000.0, "ada", "sales", "call", "longest_idle", {"lang:de": 3}, [], 1, 2, 3
            )
            return CommandReply(chosen=[chosen])
        case ListWaiting():
            return CommandReply(waiting=[WaitingCall("c1", "sales", 1, 12.5, 12.5)], more=True)
        case ParkCall():
            return CommandReply(slot=703)
        case ReadRecording(offset=offset, length=length):
            return CommandReply(blob=SOUND[offset : offset + length], total_size=len(SOUND))
        case _:
            return CommandReply()


@pytest.fixture
async def site(api: Api, settings: CentreSettings, tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(api, settings, tmp_path) as made:
        yield made


@asynccontextmanager
async def a_site(api: Api, settings: CentreSettings, tmp_path: Path) -> AsyncIterator[Site]:
    """A POP with an agent and a call that talks."""
    key = await api.new_site()
    made = await api.made("/agents", agent())
    call, recording, events = a_call("one")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as there:
        there.handler.answer = answer
        await there.journal.append(call, events[:-2])
        there.link.events_waiting()

        async def known() -> bool:
            return (await api.get(f"/calls/{call}")).status == 200 and (await pop_of(api))["connected"]

        await until(known)
        yield Site(there, call, recording, made["agent_id"])


async def pop_of(api: Api) -> Any:
    return (await api.get("/pops/de-fra-1")).body


async def test_everything_that_is_asked_of_a_call_or_an_agent_reaches_the_pop(site: Site, terminal: Terminal) -> None:
    words = {
        "supervise": (site.agent, "whisper"),
        "retrieve": (site.agent,),
        "transfer": ("--queue", "sales"),
        "consult": ("--agent", site.agent),
        "wait": ("--agent", site.agent),
    }
    for action in CALLS:
        before = len(site.pop.handler.commands)
        said = await terminal.done("calls", action.verb, site.call, *words.get(action.verb, ()))
        assert len(site.pop.handler.commands) == before + 1, action.verb
        if action.verb not in ("wait", "choice", "park"):
            assert said.out == "done\n", action.verb
    assert "on_call" in (await terminal.done("calls", "wait", site.call)).out
    assert "longest_idle" in (await terminal.done("calls", "choice", site.call)).out
    assert (await terminal.done("calls", "park", site.call, "--slot", "703", "--json")).json == {"slot": 703}
    assert site.pop.handler.commands[-1].command == ParkCall(call_id=site.call, slot=703)
    await terminal.done("calls", "transfer", site.call, "--after")
    await terminal.done("calls", "transfer", site.call, "--number", "+49305550777")

    words = {"status": ("NOT_READY", "--reason", "lunch"), "wrap-up-extend": ("30",)}
    for action in AGENT:
        before = len(site.pop.handler.commands)
        await terminal.done("agents", action.verb, site.agent, *words.get(action.verb, ()))
        told = action.verb not in ("password", "states")  # which the centre knows itself
        assert len(site.pop.handler.commands) == before + told, action.verb

    site.pop.handler.answer = lambda _request: CommandReply(error_id="not_in_conversation", detail="nobody talks")
    refused = await terminal("calls", "hold", site.call)
    assert (refused.code, refused.err) == (1, "callplane calls: Conflict: nobody talks\n")
    site.pop.handler.answer = lambda _request: CommandReply(error_id="unknown_call", detail="it has ended")
    assert "'callplane calls' lists" in (await terminal("calls", "hold", site.call)).err
    assert (await terminal("agents", "status", site.agent, "NOT_READY")).code == 1


async def test_who_waits_now_and_who_did_not_answer(site: Site, api: Api, terminal: Terminal) -> None:
    waiting = await terminal.done("waiting", "--queue", "sales")
    assert waiting.rows[0][:3] == ["c1", "de-fra-1", "sales"]
    assert "there are more: --limit" in waiting.err
    await api.new_pop("de-ber-1")
    assert "de-ber-1 did not answer" in (await terminal.done("waiting")).err


async def test_sound_is_fetched_whole_with_a_purpose(site: Site, terminal: Terminal) -> None:
    out = terminal.home / "one.wav"
    said = await terminal.done("recordings", "download", site.recording, "--purpose", "a complaint", "--out", str(out))
    assert (said.out, out.read_bytes(), out.stat().st_mode & 0o777) == (f"{out}\n", SOUND, 0o600)
    assert "a complaint" in (await terminal.done("audit", "--outcome", "read")).out

    def cut(request: CommandRequest) -> CommandReply:
        assert isinstance(request.command, ReadRecording)
        return answer(request) if request.command.offset == 0 else CommandReply(error_id="disk_failed")

    site.pop.handler.answer = cut
    other = terminal.home / "two.wav"
    broken = await terminal("recordings", "download", site.recording, "--purpose", "a complaint", "--out", str(other))
    assert (broken.code, "the connection broke" in broken.err) == (3, True)
    assert sorted(path.name for path in terminal.home.iterdir()) == ["one.wav"], "half a recording is none"


async def test_a_pop_is_drained_when_its_last_call_is_over(site: Site, api: Api, terminal: Terminal) -> None:
    handler = site.pop.handler
    handler.live_calls = 2
    begun = await terminal.done("drain", "de-fra-1", "--no-wait")
    assert begun.out.startswith("de-fra-1 ")
    await until(lambda: handler.draining)
    entry = [entry for key, entry in handler.changes if key == "pop"][-1]
    assert entry is not None
    assert entry.entity == PopConfig(draining=True)
    late = await terminal("drain", "de-fra-1", "--wait", "0.1")
    assert late.code == 1
    assert "de-fra-1 is not empty after 0.1 s and goes on draining" in late.err
    assert "'callplane undrain de-fra-1' ends it" in late.err
    await until(lambda: heard(api, "draining"))
    assert "draining" in (await terminal.done("pops")).out

    waiting = asyncio.create_task(terminal("drain", "de-fra-1", "--json"))
    await asyncio.sleep(0)
    handler.live_calls = 0
    drained = await waiting
    assert (drained.code, drained.json["drain"], drained.json["live_calls"]) == (0, "drained", 0)
    since = drained.json["draining_since"]
    assert (await terminal.done("drain", "de-fra-1", "--json")).json["draining_since"] == since, "again changes nothing"

    assert "takes calls" in (await terminal.done("undrain", "de-fra-1")).out
    await until(lambda: not handler.draining)
    assert (await pop_of(api))["drain"] is None
    assert (await terminal("drain", "nowhere")).code == 1


async def heard(api: Api, state: str) -> bool:
    return bool((await pop_of(api))["drain"] == state)


async def test_a_drain_outlives_a_bus_that_lost_everything(site: Site, api: Api, centre: tuple[Centre, str]) -> None:
    """What a POP gets from nothing says that it drains; who may not change POPs cannot end it."""
    assert (await api.post("/pops/de-fra-1/drain")).body["drain"] == "asked"
    database = centre[0].database
    assert database is not None
    async with database.read() as session:
        unit = UnitOfWork(session, 0.0)
        assert PopConfig(draining=True) in await unit.entities_of("de-fra-1")
        assert PopConfig(draining=True) not in await unit.entities_of("nowhere")
    token = (await api.made("/tokens", {"name": "x", "grants": [{"role": "supervisor"}]}))["token"]
    refused = await api.post("/pops/de-fra-1/undrain", headers={"Authorization": f"Bearer {token}"})
    assert refused.status == 403


async def test_live_calls_are_followed_as_lines_and_as_json(site: Site, api: Api, terminal: Terminal) -> None:
    whole = await terminal.done("calls", "--follow", "--after", "0", "--count", "3")
    kinds = [line.split("  ")[3] for line in whole.out.splitlines()]
    assert kinds == ["LegOffered", "FlowStarted", "LegAnswered"]
    assert site.call in whole.out
    lines = (await terminal.done("calls", "--follow", "--after", "0", "--count", "3", "--json")).out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == kinds
    assert list(json.loads(lines[0])) == ["id", "pop_id", "seq", "call_id", "kind", "at", "data"]
    one = await terminal.done("events", "--call", site.call, "--after", str(json.loads(lines[0])["id"]), "--count", "1")
    assert "FlowStarted" in one.out
    _, _, events = a_call("one")
    count = str(len(events) - 2)
    before = await terminal.done("events", "--after", "0", "--count", count, "--json")
    newest = json.loads(before.out.splitlines()[-1])
    following = asyncio.create_task(
        terminal("calls", "follow", "--after", str(newest["id"]), "--pop", "de-fra-1", "--count", "2", "--json")
    )
    await site.pop.journal.append(site.call, events[-2:])
    site.pop.link.events_waiting()
    said = await following
    assert [json.loads(line)["kind"] for line in said.out.splitlines()] == ["RecordingEnded", "CallEnded"]


async def test_on_a_screen_it_is_a_table_of_live_calls(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "40")
    shown = await terminal.done("calls", "--follow", "--after", "0", "--count", "4")
    assert "1 live calls" in shown.out
    assert "talking" in shown.out
    assert "LegAnswered" in shown.out
    assert "\x1b[" in shown.out


async def test_figures_and_the_heat_map(api: Api, centre: tuple[Centre, str], terminal: Terminal) -> None:
    await api.new_site()
    await fed(centre[0], a_reported_call(at("2026-10-01T08:00+02:00"), 5, ("ben", 60)))
    day = ("--since", "2026-10-01", "--until", "2026-10-01")
    figures = await terminal.done("report", "figures", "--by", "queue", *day, "--time-zone", "Europe/Berlin")
    assert figures.out.splitlines()[2].split()[:5] == ["sales", "1", "1", "100.0", "%"]
    assert (await terminal.done("report", "figures", *day, "--json")).json["total"]["offered"] == 1
    heat = await terminal.done("report", "heat-map", *day, "--time-zone", "Europe/Berlin")
    assert heat.out.splitlines()[10].split() == ["08:00", "0", "0", "0", "1", "0", "0", "0"]
    assert (await terminal("report", "figures", "--since", "yesterday")).code == 1
    assert (await terminal("report", "heat-map", "--figure", "luck")).code == 2
