"""What is asked of a conversation over REST reaches its POP, and the POP's answer comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import CentreSettings
from pbx.domain import events as ev
from pbx.domain.ids import AgentId, CallId, QueueId, derive
from pbx.wire.messages import (
    CommandReply,
    ConsultAgent,
    EndSupervision,
    HoldCall,
    MuteAgent,
    ParkCall,
    PauseRecording,
    PopCommand,
    ResumeCall,
    RetrieveCall,
    StepConsultation,
    StopCallRecording,
    SuperviseCall,
    TakeOverCall,
    TransferCall,
)
from tests.integration.centre.support import QUEUE, Api, TestPop, agent, pop, until
from tests.integration.centre.test_calls import START, a_call


@asynccontextmanager
async def live_call(api: Api, settings: CentreSettings, tmp_path: Path) -> AsyncIterator[tuple[TestPop, CallId, str]]:
    """A POP with a call in conversation, and an agent of that POP."""
    key = await api.new_site()
    made = await api.made("/agents", agent())
    call, _, events = a_call("live")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(call, events[:10])
        site.link.events_waiting()
        await until(lambda: _talks(api, call))
        yield site, call, made["agent_id"]


async def _talks(api: Api, call: str) -> bool:
    found = await api.get(f"/calls/{call}")
    return found.status == 200 and bool(found.body["talks"])


async def test_every_request_becomes_its_command(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with live_call(api, settings, tmp_path) as (site, call, boss):
        await api.made("/queues", {**QUEUE, "queue_id": "billing"})
        asked: list[tuple[str, str, Any, PopCommand]] = [
            (
                "POST",
                "/supervision",
                {"agent_id": boss, "mode": "whisper"},
                SuperviseCall(call_id=call, agent_id=boss, mode="whisper"),
            ),
            ("POST", "/supervision/take-over", {}, TakeOverCall(call_id=call)),
            ("DELETE", "/supervision", None, EndSupervision(call_id=call)),
            ("POST", "/hold", {}, HoldCall(call_id=call)),
            ("POST", "/resume", {}, ResumeCall(call_id=call)),
            ("POST", "/mute", {}, MuteAgent(call_id=call, muted=True)),
            ("POST", "/unmute", {}, MuteAgent(call_id=call, muted=False)),
            ("POST", "/recording/pause", {}, PauseRecording(call_id=call, paused=True)),
            ("POST", "/recording/resume", {}, PauseRecording(call_id=call, paused=False)),
            ("POST", "/recording/withdraw", {}, StopCallRecording(call_id=call, by="caller")),
            ("POST", "/transfer", {"queue_id": "billing"}, TransferCall(call_id=call, queue_id="billing")),
            ("POST", "/transfer", {"agent_id": boss}, TransferCall(call_id=call, agent_id=boss)),
            ("POST", "/transfer", {"after": True}, TransferCall(call_id=call, after=True)),
            ("POST", "/consult", {"agent_id": boss}, ConsultAgent(call_id=call, agent_id=boss)),
            ("POST", "/consult", {"queue_id": "billing"}, ConsultAgent(call_id=call, queue_id="billing")),
            ("POST", "/consult", {"number": "030 5550777"}, ConsultAgent(call_id=call, number="+49305550777")),
            *(
                ("POST", f"/consult/{step}", {}, StepConsultation(call_id=call, step=step))
                for step in ("swap", "complete", "conference", "cancel")
            ),
            ("POST", "/transfer", {"number": "030 5550777"}, TransferCall(call_id=call, number="+49305550777")),
            ("POST", "/transfer", {"number": "+14155550100"}, TransferCall(call_id=call, number="+14155550100")),
            ("POST", "/retrieve", {"agent_id": boss}, RetrieveCall(call_id=call, agent_id=boss)),
        ]
        for method, path, body, _ in asked:
            answer = await api.ask(method, f"/calls/{call}{path}", body)
            assert answer.status == 204, (path, answer.body)
        assert [c.command for c in site.handler.commands] == [command for *_, command in asked]


async def test_a_parked_call_comes_with_its_slot(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with live_call(api, settings, tmp_path) as (site, call, _boss):
        site.handler.answer = lambda _request: CommandReply(slot=703)
        for body, command in [({}, ParkCall(call_id=call)), ({"slot": 703}, ParkCall(call_id=call, slot=703))]:
            answer = await api.post(f"/calls/{call}/park", body)
            assert (answer.status, answer.body) == (200, {"slot": 703})
            assert site.handler.commands[-1].command == command


@pytest.mark.parametrize(
    ("error_id", "status"),
    [("already_supervised", 409), ("not_in_conversation", 409), ("agent_busy", 409), ("unknown_call", 404)],
)
async def test_the_pops_refusal_is_the_answer(
    api: Api, settings: CentreSettings, tmp_path: Path, error_id: str, status: int
) -> None:
    async with live_call(api, settings, tmp_path) as (site, call, boss):
        site.handler.answer = lambda _request: CommandReply(error_id=error_id, detail="because")
        refused = await api.post(f"/calls/{call}/supervision", {"agent_id": boss, "mode": "listen"})
        assert (refused.status, refused.error_id, refused.body["detail"]) == (status, error_id, "because")


async def test_what_the_centre_refuses_does_not_reach_the_pop(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    async with live_call(api, settings, tmp_path) as (site, call, boss):
        await api.new_pop("de-ber-1")
        away = (await api.made("/agents", agent(pop_id="de-ber-1")))["agent_id"]
        nobody = derive(START, "nobody")
        for path, body, status, error_id in [
            ("supervision", {"agent_id": boss, "mode": "shout"}, 422, "invalid"),
            ("supervision", {"mode": "listen"}, 422, "invalid"),
            ("supervision", {"agent_id": nobody, "mode": "listen"}, 404, "unknown_agent"),
            ("supervision", {"agent_id": away, "mode": "listen"}, 409, "agent_elsewhere"),
            ("consult", {}, 422, "invalid"),
            ("consult", {"agent_id": nobody}, 404, "unknown_agent"),
            ("consult", {"agent_id": away}, 409, "agent_elsewhere"),
            ("consult", {"agent_id": boss, "queue_id": "sales"}, 422, "invalid"),
            ("consult", {"queue_id": "nothing"}, 404, "unknown_queue"),
            ("consult", {"number": "112"}, 422, "invalid"),
            ("consult", {"number": "+499001123456"}, 422, "invalid"),
            ("transfer", {}, 422, "invalid"),
            ("transfer", {"agent_id": boss, "queue_id": "sales"}, 422, "invalid"),
            ("transfer", {"after": True, "queue_id": "sales"}, 422, "invalid"),
            ("transfer", {"after": False}, 422, "invalid"),
            ("transfer", {"agent_id": away}, 409, "agent_elsewhere"),
            ("transfer", {"agent_id": nobody}, 404, "unknown_agent"),
            ("transfer", {"queue_id": "nothing"}, 404, "unknown_queue"),
            ("transfer", {"queue_id": "sales", "number": "+49305550777"}, 422, "invalid"),
            ("transfer", {"number": "112"}, 422, "invalid"),
            ("transfer", {"number": "+499001123456"}, 422, "invalid"),
            ("transfer", {"number": "5550777"}, 422, "invalid"),
            ("park", {"slot": 7}, 422, "invalid"),
            ("retrieve", {}, 422, "invalid"),
            ("retrieve", {"agent_id": away}, 409, "agent_elsewhere"),
        ]:
            answer = await api.post(f"/calls/{call}/{path}", body)
            assert (answer.status, answer.error_id) == (status, error_id), body
        refused = await api.post(f"/calls/{call}/transfer", {"number": "112"})
        assert refused.fields == {"number": "is an emergency number"}
        for path, body in (
            ("supervision", {"agent_id": boss, "mode": "listen"}),
            ("transfer", {"queue_id": "sales"}),
            ("hold", {}),
        ):
            assert (await api.post(f"/calls/{nobody}/{path}", body)).error_id == "unknown_call"
        assert site.handler.commands == []


async def test_the_record_names_everybody(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    async with live_call(api, settings, tmp_path) as (site, call, _boss):
        first, boss, queue = AgentId(derive(0, "agent")), AgentId("boss"), QueueId("sales")
        await site.journal.append(
            call,
            [
                ev.SupervisionStarted(at=START + 15, agent_id=boss, mode=ev.Supervision.LISTEN),
                ev.SupervisionChanged(at=START + 16, agent_id=boss, mode=ev.Supervision.WHISPER),
                ev.SupervisionEnded(at=START + 20, agent_id=boss, reason="took_over"),
                ev.TalkEnded(at=START + 20, agent_id=first, reason="taken_over"),
                ev.TalkStarted(at=START + 20, agent_id=boss, queue_id=queue),
                ev.ConsultationStarted(at=START + 21, agent_id=first),
                ev.ConferenceStarted(at=START + 22, agent_id=first),
                ev.ConsultationEnded(at=START + 23, agent_id=first, reason="hung_up"),
            ],
        )
        site.link.events_waiting()

        async def two_talks() -> Any:
            body = (await api.get(f"/calls/{call}")).body
            return body if len(body["talks"]) == 2 else None

        found = await until(two_talks)
        assert [(t["agent_id"], t["ended"]) for t in found["talks"]] == [(first, "taken_over"), (boss, None)]
        [supervision] = found["supervisions"]
        assert (supervision["modes"], supervision["ended"]) == (["listen", "whisper"], "took_over")
        [consultation] = found["consultations"]
        assert (consultation["agent_id"], consultation["ended"]) == (first, "hung_up")
        assert consultation["started_at"] < consultation["conference_at"] < consultation["ended_at"]
        assert found["agent_id"] == boss
        assert [c["call_id"] for c in (await api.get(f"/calls?agent_id={boss}")).body["items"]] == [call]
