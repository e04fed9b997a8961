"""A POP and its centre while calls go through them: what they show to monitoring, traces from POP to centre, and logs
that say nothing of persons."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dialplans.schema import Engine
from pbx.wire.telemetry.call_place import place_of
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import METRICS_PORT, POP_ID, Stack, Watched
from tests.support import metrics, otlp

TRACES_PORT = 4318
CALLER, OTHER = "+491701234567", "+491709876543"
ASKED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    watched = Watched(metrics=True, json_log=True, traces_port=TRACES_PORT)
    async with Stack.start(lab, engine=engine, watched=watched) as started:
        yield started
        if started.server.process.poll() is None:
            started.server.wait_idle()


def _receiver(stack: Stack) -> Path:
    """Receives traces on the centre's host; the file of what came."""
    path = stack.centre.state_dir / "spans"
    words = [sys.executable, "-m", "tests.support.otlp", stack.centre.address, str(TRACES_PORT), str(path)]
    stack.centre.spawn(words, name="otlp", cwd=ROOT)
    return path


async def _eventually(condition: Any, deadline_s: float = 20) -> Any:
    found: list[Any] = []

    async def once() -> bool:
        found[:] = [await condition()]
        return bool(found[0])

    end = asyncio.get_running_loop().time() + deadline_s
    while not await once():
        assert asyncio.get_running_loop().time() < end, f"not within {deadline_s:g} s"
        await asyncio.sleep(0.1)
    return found[0]


async def _calls(stack: Stack) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of one call that an agent answered, and held when the centre asked, and of one that gave up."""
    async with stack.agent("anna") as anna:
        async with stack.caller(cli=CALLER) as caller:
            await stack.through_menu(caller)
            await stack.answer_consent(caller, "1")
            await anna.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await stack.talking(caller)
            talked = await stack.call_id(caller)
            headers = {"Authorization": f"Bearer {stack.api.token}", "traceparent": ASKED}
            url = f"{stack.api.url}/api/v1/calls/{talked}/hold"
            async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as answer:
                assert answer.status == 204
            await caller.hang_up()
            first = await stack.record(talked)
        await stack.event("AgentChanged", state="IDLE", status="AVAILABLE", count=2)
        await stack.status("anna", "NOT_READY", "LUNCH")
        async with stack.caller("other", cli=OTHER) as other:
            await stack.through_menu(other)
            await stack.answer_consent(other, "1")
            gone = await stack.call_id(other)
            await stack.event("QueueJoined", call_id=gone)
            await other.hang_up()
            second = await stack.record(gone)
    return first, second


async def test_a_call_is_seen_from_pop_to_centre(stack: Stack) -> None:
    path = _receiver(stack)
    pop_url, centre_url = (f"http://{host.address}:{METRICS_PORT}" for host in (stack.pop, stack.centre))
    assert await metrics.ready(pop_url) == (
        200,
        {"media_server": "ok", "lease": "ok", "configuration": "ok", "journal": "ok"},
    )
    first, second = await _calls(stack)
    await _shows_metrics(stack, pop_url, centre_url)
    await _sends_traces(path, first["call_id"], second["call_id"])
    stack.server.kill()

    async def missing() -> dict[str, str] | None:
        status, parts = await metrics.ready(pop_url)
        return parts if status == 503 and parts["lease"] != "ok" else None

    parts = await _eventually(missing)
    assert parts["media_server"] == "is not connected"
    assert (await metrics.scrape(pop_url)).value("callplane_media_server_up") == 0
    assert (await metrics.ready(centre_url))[0] == 200, "the centre is none of its parts"
    stack.stop()
    _says_nothing_of_persons(stack, first["call_id"])


async def _shows_metrics(stack: Stack, pop_url: str, centre_url: str) -> None:
    page = await metrics.scrape(pop_url)
    assert page.value("callplane_calls_ended_total", pop=POP_ID, reason="caller_hung_up") == 2
    assert page.value("callplane_queue_answered_total", queue="support") == 1
    assert page.value("callplane_queue_abandoned_total", queue="support") == 1
    assert page.value("callplane_offers_total", outcome="answered") == 1
    assert page.value("callplane_recordings_total", what="placed") >= 1
    assert page.value("callplane_recordings_total", what="failed") == 0
    assert page.value("callplane_recordings_running") == 0
    assert page.value("callplane_calls_live") == 0
    assert page.value("callplane_agents", status="NOT_READY") == 1
    assert page.value("callplane_commands_total", command="HoldCall", outcome="done") == 1
    assert page.value("callplane_media_server_up") == 1
    assert page.value("callplane_media_server_request_seconds_count") > 10
    assert page.value("callplane_media_server_unanswered_total") == 0
    assert 0 <= page.value("callplane_lease_age_seconds") < 4
    assert page.value("callplane_journal_commit_seconds_count") > 10
    assert page.value("callplane_journal_refused_total") == 0
    assert page.value("callplane_centre_link_up") == 1
    assert page.value("callplane_event_loop_lag_seconds_count") > 4
    assert page.personal("anna", stack.agents["anna"].agent_id) == []
    centre = await metrics.scrape(centre_url)
    assert centre.value("callplane_ingest_events_total", pop=POP_ID) > 20
    assert centre.value("callplane_http_requests_total", route="/api/v1/calls/{call_id}/hold", status="204") == 1
    assert centre.value("callplane_pop_connected", pop=POP_ID) == 1
    assert centre.value("callplane_pop_media_server_up", pop=POP_ID) == 1
    assert centre.personal("anna", "Anna", stack.agents["anna"].agent_id) == []


async def _sends_traces(path: Path, talked: str, gone: str) -> None:
    root = place_of(talked)
    assert root is not None
    trace = f"{root.trace_id:032x}"

    async def whole() -> list[dict[str, Any]] | None:
        spans = otlp.read(path)
        names = {span["name"] for span in spans if span["trace"] == trace}
        return spans if {"call", "wrap-up", "record"} <= names else None

    spans: list[dict[str, Any]] = await _eventually(whole)
    of_call = [span for span in spans if span["trace"] == trace]
    at_pop = {span["name"]: span for span in of_call if span["service"] == "callplane-pop"}
    at_centre = {span["name"] for span in of_call if span["service"] == "callplane-centre"}
    nodes = {f"node {name}" for name in ("greeting", "language", "menu", "consent", "wait")}
    assert at_pop.keys() == {"call", *nodes, "wait", "offer", "talk", "wrap-up", "recording"}
    assert at_centre == {"ingest", "record"}
    ids = {span["id"] for span in of_call}
    assert [span["name"] for span in of_call if span["parent"] and span["parent"] not in ids] == []
    assert at_pop["call"]["id"] == f"{root.span_id:016x}"
    assert at_pop["offer"]["parent"] == at_pop["wait"]["id"]
    assert at_pop["call"]["began"] <= at_pop["wait"]["began"] <= at_pop["offer"]["began"] <= at_pop["talk"]["began"]
    assert at_pop["talk"]["ended"] <= at_pop["wrap-up"]["ended"]
    asked = [span for span in spans if span["trace"] == ASKED[3:35]]
    by_kind = {(span["service"], span["kind"]): span for span in asked}
    rest = by_kind["callplane-centre", "SPAN_KIND_SERVER"]
    sent = by_kind["callplane-centre", "SPAN_KIND_CLIENT"]
    done = by_kind["callplane-pop", "SPAN_KIND_SERVER"]
    assert (rest["parent"], sent["parent"], done["parent"]) == (ASKED[36:52], rest["id"], sent["id"])
    assert (rest["name"], done["name"]) == ("POST /api/v1/calls/{call_id}/hold", "command HoldCall")
    assert done["links"] == [{"trace": trace, "id": at_pop["call"]["id"]}]
    text = json.dumps(spans)
    for personal in (CALLER, CALLER[3:], OTHER[3:], "305550100", "anna", "Anna"):
        assert personal not in text, personal
    other = place_of(gone)
    assert other is not None
    assert any(span["trace"] == f"{other.trace_id:032x}" for span in spans)


def _says_nothing_of_persons(stack: Stack, call_id: str) -> None:
    agent = stack.agents["anna"]
    for process in (stack.controller, stack.orchestrator):
        text = process.log_text()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        other = [line for line in text.splitlines() if not line.startswith("{") and "admin token" not in line]
        assert other == []
        assert len(lines) > 3
        for line in lines:
            assert line.keys() >= {"time", "level", "logger", "message"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]), line
        for personal in (CALLER[3:], OTHER[3:], "305550100", agent.password, "Anna", stack.pop_key):
            assert personal not in text, (process.name, personal)
        assert [line for line in lines if re.search(r"\banna\b", line["message"])] == []
    controller = [json.loads(line) for line in stack.controller.log_text().splitlines()]
    assert {line["pop_id"] for line in controller} == {POP_ID}
    root = place_of(call_id)
    assert root is not None
    for line in controller:
        if line.get("call_id") == call_id:
            assert line["trace_id"] == f"{root.trace_id:032x}"
