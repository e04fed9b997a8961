"""Metrics, readiness and traces of a centre as a process of its own, on each database."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from pbx.wire.messages import CommandReply
from pbx.wire.telemetry.call_place import place_of
from tests.integration.centre.conftest import Postgres
from tests.integration.centre.support import Api, agent, did, graph, pop, until
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_process import ROOT, Running, _command, _environment, started
from tests.support import metrics, otlp
from tests.support.ports import free_port


@asynccontextmanager
async def watched(tmp_path: Path, **settings: str) -> AsyncIterator[tuple[Running, Api, str, int]]:
    """A centre, its API, the address of its metrics, the port of its bus."""
    port, bus = free_port(), free_port()
    more = {"bus_port": str(bus), "metrics_port": str(port), **settings}
    environment = _environment(tmp_path / "centre", **more)
    code, token, err = await _command(environment, "centre", "token", "create", "lab")
    assert code == 0, err
    headers = {"Authorization": f"Bearer {token.strip()}", "X-Purpose": "a test"}
    async with (
        started(environment) as running,
        aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session,
    ):
        yield running, Api(session), f"http://127.0.0.1:{port}", bus


async def _site(api: Api) -> str:
    """A POP and what its calls name; its key."""
    key = await api.new_pop()
    await api.made("/queues", {"queue_id": "sales", "name": "Sales"})
    await api.made("/flows", {"flow_id": "main", "graph": graph(nodes={"hello": {"type": "hang_up"}})})
    await api.made("/dids", did())
    return key


async def test_what_an_operator_is_called_for(tmp_path: Path, database_url: str) -> None:
    async with watched(tmp_path, database_url=database_url) as (_, api, url, bus):
        key = await _site(api)
        made = await api.made("/agents", agent(name="Grace Hopper"))
        call, _, events = a_call("one", time.time() - 60)
        for _ in range(2):
            assert (await api.get("/calls/nothing")).status == 404
        assert (await api.post("/login", {"login": "ada", "password": "wrong horse battery"})).status == 401
        assert (await api.get("/pops", headers={"Authorization": "Bearer cp_nobody"})).status == 401
        assert (await api.ask("GET", "/no/such/path")).status == 404
        async with pop(tmp_path / "j.db", bus, key) as site:
            await site.journal.append(call, events)
            site.link.events_waiting()

            async def stored() -> metrics.Scrape | None:
                found = await metrics.scrape(url)
                new = found.has("callplane_ingest_events_total", pop="de-fra-1")
                return found if new and found.has("callplane_pop_connected", pop="de-fra-1") else None

            page: metrics.Scrape = await until(stored)
            assert page.value("callplane_ingest_events_total", pop="de-fra-1") == len(events)
            newest = max(event.at for event in events)
            assert 0 < page.value("callplane_ingest_lag_seconds", pop="de-fra-1") <= time.time() - newest
            assert page.value("callplane_ingest_rejected_batches_total") == 0
            assert page.value("callplane_ingest_transaction_seconds_count") >= 1
            await until(lambda: _is(url, "callplane_ingest_waiting_batches", 0))
            await until(lambda: _is(url, "callplane_pop_config_lag_seconds", 0))
            assert page.value("callplane_pop_calls_live", pop="de-fra-1") == 3, "as its heartbeat says"
            assert page.value("callplane_pop_media_server_up", pop="de-fra-1") == 1
            known = {"method": "GET", "route": "/api/v1/calls/{call_id}", "status": "404"}
            assert page.value("callplane_http_requests_total", **known) == 2
            assert page.value("callplane_http_request_seconds_count", route="/api/v1/calls/{call_id}") == 2
            assert page.value("callplane_http_requests_total", route="none", status="404") == 1
            assert page.value("callplane_login_failures_total", what="password") == 1
            assert page.value("callplane_login_failures_total", what="token") == 1
            for up in ("bus", "ingest", "database"):
                assert page.value(f"callplane_{up}_up") == 1
            assert page.value("callplane_config_outbox_rows") >= 0
            assert page.value("callplane_database_connections_idle") >= 1
            assert page.value("callplane_task_restarts_total", task="bus") == 0
            assert page.value("callplane_event_loop_lag_seconds_count") > 0
            assert page.value("process_cpu_seconds_total") > 0
            assert page.personal(made["agent_id"], made["name"]) == []
        async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/pops") as answer:
            assert answer.status == 404, "metrics only"
        assert (await api.session.get("/metrics")).status == 404, "not at the API, which others can reach"


async def _is(url: str, name: str, value: float) -> bool:
    return (await metrics.scrape(url)).value(name) == value


async def _ready(api: Api) -> tuple[int, Any]:
    async with api.session.get("/ready", headers={"Authorization": ""}) as answer:
        return answer.status, await answer.json()


async def test_ready_names_the_migrations_that_are_missing(tmp_path: Path, database_url: str) -> None:
    async with watched(tmp_path, database_url=database_url) as (_, api, url, _bus):
        await until(lambda: _answers(api, 200))
        parts = ("database", "migrations", "bus", "ingest")
        assert await _ready(api) == (200, {"status": "ready", "parts": dict.fromkeys(parts, "ok")})
        assert await metrics.ready(url) == (200, dict.fromkeys(parts, "ok"))
        await _set_revision(database_url, "0003")
        status, body = await _ready(api)
        assert (status, body["error_id"]) == (503, "not_ready")
        assert [(e["field"], e["reason"]) for e in body["errors"]] == [("migrations", "are not at the head")]
        assert (await metrics.ready(url))[1]["migrations"] == "are not at the head"
        await _set_revision(database_url, "9999")
        assert (await _ready(api))[0] == 200, "a newer centre's schema serves this one, too"


async def _answers(api: Api, status: int) -> bool:
    return (await _ready(api))[0] == status


async def _set_revision(url: str, revision: str) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        return
    other = await asyncpg.connect(url)
    await other.execute("UPDATE alembic_version SET version_num = $1", revision)
    await other.close()


async def test_ready_names_the_database_that_is_gone(tmp_path: Path) -> None:
    server = Postgres()
    try:
        async with watched(tmp_path, database_url=await server.new_database()) as (_, api, url, _bus):
            await until(lambda: _answers(api, 200))
            server.stop()
            status, body = await _ready(api)
            assert (status, body["errors"][0]["field"]) == (503, "database")
            page = await metrics.scrape(url)
            assert page.value("callplane_database_up") == 0
            server.start()
            await until(lambda: _answers(api, 200), 30)
    finally:
        server.stop()
        server.remove()


async def test_ready_names_the_bus_that_is_gone(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "centre", bus_url=f"nats://127.0.0.1:{free_port()}")
    (tmp_path / "centre").mkdir()
    process = await _start(environment)
    try:
        port = await until(lambda: Running(process, tmp_path / "centre").port())
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            status, body = await _ready(Api(session))
            assert status == 503
            assert {e["field"] for e in body["errors"]} == {"bus", "ingest"}
            async with session.get("/health") as answer:
                assert answer.status == 200, "it lives"
    finally:
        process.terminate()
        await process.communicate()


async def _start(environment: dict[str, str]) -> Any:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", "centre", "run",
        env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """Where traces can be sent to, and the file of what came."""
    port, path = free_port(), tmp_path / "spans"
    runner = web.AppRunner(otlp.make_app(path))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/v1/traces", path
    await runner.cleanup()


async def test_the_centres_part_of_a_trace(tmp_path: Path, receiver: tuple[str, Path]) -> None:
    url, path = receiver
    async with watched(tmp_path, traces_url=url) as (_, api, _url, bus):
        key = await _site(api)
        call, _, events = a_call("one", time.time() - 60)
        async with pop(tmp_path / "j.db", bus, key) as site:
            await site.journal.append(call, events[:-1])
            site.link.events_waiting()

            async def live() -> bool:
                return (await api.get(f"/calls/{call}")).status == 200

            await until(live)
            site.handler.answer = lambda request: CommandReply(error_id="agent_busy", detail="x")
            asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            assert (await api.post(f"/calls/{call}/hold", headers={"traceparent": asked})).error_id == "agent_busy"
            [command] = site.handler.commands
            unsampled = asked[:-1] + "0"
            await api.post(f"/calls/{call}/resume", headers={"traceparent": unsampled})
            assert site.handler.commands[-1].traceparent is None

        def come() -> list[dict[str, Any]] | None:
            spans = otlp.read(path)
            names = {span["name"] for span in spans}
            return spans if {"record", "POST /api/v1/calls/{call_id}/hold"} <= names else None

        spans = await until(come)
    root = place_of(call)
    assert root is not None
    trace, above = f"{root.trace_id:032x}", f"{root.span_id:016x}"
    ingest = next(span for span in spans if span["name"] == "ingest")
    record = next(span for span in spans if span["name"] == "record")
    assert (ingest["trace"], ingest["parent"], ingest["service"]) == (trace, above, "callplane-centre")
    assert ingest["attributes"] == {"pop.id": "de-fra-1", "events": len(events) - 1}
    assert (record["trace"], record["parent"]) == (trace, ingest["id"])
    assert ingest["began"] <= record["began"] <= record["ended"] <= ingest["ended"]
    hold = next(span for span in spans if span["name"] == "POST /api/v1/calls/{call_id}/hold")
    assert (hold["trace"], hold["parent"]) == (asked[3:35], asked[36:52])
    assert hold["links"] == [{"trace": trace, "id": above}]
    assert hold["attributes"]["http.response.status_code"] == 409
    sent = next(span for span in spans if span["name"] == "command HoldCall")
    assert (sent["parent"], sent["kind"]) == (hold["id"], "SPAN_KIND_CLIENT")
    assert command.traceparent == f"00-{sent['trace']}-{sent['id']}-01"
    assert not any(span["name"].endswith("/resume") for span in spans), "the caller wants no trace of it"
    assert "+49" not in path.read_text()


async def test_a_port_that_is_taken_costs_the_metrics_only(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with watched(tmp_path, metrics_port=port) as (running, api, _url, _bus):
            assert (await api.get("/pops")).status == 200
            running.process.terminate()
            _, err = await running.process.communicate()
    assert "no metrics: metrics_host and metrics_port cannot be had" in err.decode()
