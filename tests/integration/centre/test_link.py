"""The POP's link against a real nats-server: configuration down, events up, and what a login may not do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.adapters.link.nats import _Client
from pbx.domain.events import LegAnswered
from pbx.domain.ids import CallId, LegId, derive
from pbx.wire import pop_key, subjects
from pbx.wire.messages import AgentConfig, DidConfig
from tests.integration.centre.conftest import running
from tests.integration.centre.support import Api, TestPop, agent, did, graph, outbox_is_empty, pop, until
from tests.support.ports import free_port


@pytest.fixture
def database_url() -> str:
    """The default, SQLite: one database is enough for what happens on the bus."""
    return ""


async def _raw(port: int, pop_id: str, key: str, refusals: list[str]) -> Client:
    """A POP's login without the link's manners."""

    async def on_error(error: Exception) -> None:
        refusals.append(str(error))

    client = _Client(pop_key.public_nkey(key))
    await client.connect(
        f"nats://127.0.0.1:{port}",
        signature_cb=lambda nonce: pop_key.sign(key, nonce),
        inbox_prefix=subjects.inbox_prefix(pop_id),
        allow_reconnect=False,
        error_cb=on_error,
    )
    return client


def _entity(running_pop: TestPop, key: str) -> object:
    entry = running_pop.journal.config().get(key)
    return None if entry is None else entry.entity


async def test_configuration_reaches_the_journal_and_follows_changes(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: set(site.journal.config()) == {"queue.sales", "flow.main", "did.49305550100"})
        order = [changed for changed, _ in site.handler.changes]
        assert order == ["queue.sales", "flow.main", "did.49305550100"]
        made = await api.made("/agents", agent(phone_id="1001"))
        name = f"agent.{made['agent_id']}"
        entity = await until(lambda: _entity(site, name))
        assert isinstance(entity, AgentConfig)
        assert made["sip"]["password"] not in str(entity)
        await api.put("/flows/main", {"graph": graph(languages=["de"])})
        await until(lambda: site.journal.config()["flow.main"].entity.version == 2)  # type: ignore[union-attr]
        await api.delete(f"/agents/{made['agent_id']}")
        await until(lambda: _entity(site, name) is None)
        assert site.handler.changes[-1] == (name, None)
        lag = "revision_lag"
        await until(lambda: _is(api, lag, 0))
        await until(lambda: _is(api, "seconds_behind", 0.0))


async def test_a_pop_says_at_once_that_its_media_server_has_the_phones(
    api: Api, settings: CentreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await api.new_site()
    assert (await api.get("/pops/de-fra-1")).body["phones_pending"] is None
    monkeypatch.setattr("pbx.adapters.link.nats.HEARTBEAT_S", 3600.0)
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: _is(api, "revision_lag", 0))  # what else is told at once has been told
        for pending in (3, 2, 1, 0):
            site.handler.phones_pending = pending
            site.link.heartbeat_changed()
            await until(lambda now=pending: _is(api, "phones_pending", now))


async def test_how_far_a_pop_is_behind(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    never = (await api.get("/pops/de-fra-1")).body
    assert (never["applied_revision"], never["revision_lag"], never["seconds_behind"]) == (None, None, None)
    async with pop(tmp_path / "j.db", settings.bus_port, key):
        await until(lambda: _is(api, "revision_lag", 0))
    before = (await api.get("/pops/de-fra-1")).body
    assert before["applied_revision"] == before["config_revision"]
    assert before["seconds_behind"] == 0.0
    began = time.time()
    for name in ("one", "two"):
        await api.put("/queues/sales", {"name": name})
    board = centre[0]._presence
    assert board is not None
    await board.save()  # forgets what has been applied, and only that
    behind = (await api.get("/pops")).body["items"][0]
    assert behind["revision_lag"] == 2
    assert behind["applied_revision"] == before["applied_revision"]
    assert 0 < behind["seconds_behind"] <= time.time() - began
    later = await until(lambda: _later(api, behind["seconds_behind"]))
    assert later["seconds_behind"] > behind["seconds_behind"], "counted from the first change that is missing"
    async with pop(tmp_path / "j.db", settings.bus_port, key):
        await until(lambda: _is(api, "seconds_behind", 0.0))
    assert (await api.get("/pops/de-fra-1")).body["revision_lag"] == 0


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
async def test_a_clock_that_is_set_wrong_is_told_and_refuses_no_command(
    api: Api, settings: CentreSettings, tmp_path: Path, ahead_s: float
) -> None:
    """Deadlines were the centre's time, judged by the POP's: a POP that was 5 s ahead refused all."""
    key = await api.new_site()
    made = await api.made("/agents", agent(phone_id="1001"))
    assert (await api.get("/pops/de-fra-1")).body["clock_ahead_s"] is None

    def clock() -> float:
        return time.time() + ahead_s

    async with pop(tmp_path / "j.db", settings.bus_port, key, clock=clock) as site:
        await until(lambda: _is(api, "revision_lag", 0))
        told = (await api.get("/pops/de-fra-1")).body["clock_ahead_s"]
        assert ahead_s - 2.0 < told <= ahead_s, "less what the heartbeat took"
        sent_at = clock()
        answer = await api.post(f"/agents/{made['agent_id']}/status", {"status": "AVAILABLE"})
        assert answer.status < 300, answer.body
        assert len(site.handler.commands) == 1
        spare_s = site.handler.commands[0].deadline_at - sent_at
        assert 2.0 < spare_s < 6.0, "late is late by either clock"


async def _later(api: Api, behind_s: float) -> dict[str, float] | None:
    found: dict[str, float] = (await api.get("/pops/de-fra-1")).body
    return found if found["seconds_behind"] > behind_s else None


async def _is(api: Api, field: str, value: object) -> bool:
    return bool((await api.get("/pops/de-fra-1")).body[field] == value)


async def test_what_was_deleted_while_the_pop_was_away_is_gone_when_it_is_back(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: len(site.journal.config()) == 3)
    await api.delete("/dids/+49305550100")
    await api.put("/queues/sales", {"name": "Verkauf"})
    await until(lambda: outbox_is_empty(centre[0]))
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: set(site.journal.config()) == {"queue.sales", "flow.main"})
        assert [changed for changed, _ in site.handler.changes] == ["queue.sales", "did.49305550100"]


async def test_a_did_moves_from_one_pop_to_another(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    one = await api.new_site()
    two = await api.new_pop("de-ber-1")
    async with (
        pop(tmp_path / "1.db", settings.bus_port, one) as first,
        pop(tmp_path / "2.db", settings.bus_port, two, "de-ber-1") as second,
    ):
        await until(lambda: _entity(first, "did.49305550100"))
        await until(lambda: set(second.journal.config()) == {"queue.sales", "flow.main"})
        body = {k: v for k, v in did(pop_id="de-ber-1").items() if k != "number"}
        await api.put("/dids/+49305550100", body)
        assert isinstance(await until(lambda: _entity(second, "did.49305550100")), DidConfig)
        await until(lambda: _entity(first, "did.49305550100") is None)


async def test_a_wrong_key_is_one_clear_error(
    api: Api, settings: CentreSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = await api.new_pop()
    await api.new_pop("de-ber-1")
    async with pop(tmp_path / "j.db", settings.bus_port, pop_key.new_key()) as site:
        await until(lambda: [r for r in caplog.records if r.name.startswith("pbx") and r.levelno >= logging.ERROR])
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 1.0)  # it tries on, and says nothing more
        (record,) = [r for r in caplog.records if r.name.startswith("pbx") and r.levelno >= logging.WARNING]
        assert "POP de-fra-1" in record.getMessage()
        assert "CALLPLANE_POP_KEY" in record.getMessage()
        assert not site.link.connected
    caplog.clear()
    async with pop(tmp_path / "j.db", settings.bus_port, "short"):
        await until(lambda: "CALLPLANE_POP_KEY is not a POP key" in caplog.text)
    assert key not in caplog.text


async def test_a_replaced_key_and_a_deleted_pop_lose_their_login(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_pop()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: site.link.connected)
        newer = (await api.post("/pops/de-fra-1/key")).body["key"]
        await until(lambda: not site.link.connected)
    async with pop(tmp_path / "j.db", settings.bus_port, newer) as site:
        await until(lambda: site.link.connected)
        assert (await api.delete("/pops/de-fra-1")).status == 204
        await until(lambda: not site.link.connected)


async def test_a_login_touches_only_its_own_subjects(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings
) -> None:
    key = await api.new_site()
    await api.new_pop("de-ber-1")
    await until(lambda: outbox_is_empty(centre[0]))
    refusals: list[str] = []
    client = await _raw(settings.bus_port, "de-fra-1", key, refusals)
    own = "$JS.API.DIRECT.GET.KV_config_de-fra-1"
    ask = b'{"seq":1,"next_by_subj":"$KV.config_de-fra-1.>","batch":10}'
    assert (await client.request(own, ask, timeout=2)).data
    forbidden = [
        "$JS.API.DIRECT.GET.KV_config_de-ber-1",
        "$JS.API.STREAM.INFO.KV_config_de-ber-1",
        "$JS.API.CONSUMER.CREATE.KV_config_de-fra-1",
        "$JS.API.STREAM.MSG.GET.EVENTS",
        "$JS.API.STREAM.DELETE.EVENTS",
        "$JS.API.STREAM.NAMES",
        subjects.events("de-ber-1"),
        subjects.heartbeat("de-ber-1"),
        subjects.commands("de-ber-1"),
        subjects.prompts("de-ber-1"),
        subjects.erased("de-ber-1"),
        "$KV.config_de-fra-1.queue.sales",
        "$KV.config_de-ber-1.queue.sales",
        "_INBOX_centre.x",
    ]
    for subject in forbidden:
        refusals.clear()
        await client.publish(subject, b"x")
        await client.flush()
        await until(lambda: any("permissions violation" in r.lower() for r in refusals), 5)
    for subject in (
        "$KV.config_de-ber-1.>",
        subjects.commands("de-ber-1"),
        subjects.events("*"),
        subjects.prompts("de-fra-1"),
        subjects.erased("de-fra-1"),
        "_INBOX_centre.>",
        "_INBOX_de-ber-1.>",
        ">",
    ):
        refusals.clear()
        await client.subscribe(subject)
        await client.flush()
        await until(lambda: any("permissions violation" in r.lower() for r in refusals), 5)
    await client.close()


async def test_nobody_gets_in_without_a_login(api: Api, settings: CentreSettings) -> None:
    await api.new_pop()
    with pytest.raises((NatsError, OSError)):
        await nats.connect(f"nats://127.0.0.1:{settings.bus_port}", allow_reconnect=False)


async def test_an_outbox_waits_for_the_bus(settings: CentreSettings, tmp_path: Path) -> None:
    """The bus is an external one that is not there yet: configuration is accepted and arrives later."""
    from orchestrator.adapters.bus.accounts import Listen, Login
    from orchestrator.adapters.bus.server import EmbeddedServer

    server = EmbeddedServer(tmp_path / "bus", Listen("127.0.0.1", settings.bus_port))
    (tmp_path / "bus").mkdir()
    user, password = server.credentials()
    away = settings.model_copy(
        update={"bus_url": type(settings.bus_url)(f"nats://{user}:{password}@127.0.0.1:{settings.bus_port}")}
    )
    import aiohttp

    async with running(away) as (centre, said):
        headers = {"Authorization": "Bearer " + said[0].rsplit(" ", 1)[1]}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
            api = Api(session)
            key = await api.new_site()
            assert (await api.get("/health")).body == {"status": "degraded", "bus": False, "database": True}
            made = await api.made("/agents", agent())
            await api.delete(f"/agents/{made['agent_id']}")
            await server.start([Login("de-fra-1", pop_key.public_nkey(key))])
            try:
                async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
                    await until(lambda: set(site.journal.config()) == {"queue.sales", "flow.main", "did.49305550100"})
            finally:
                await server.stop()


async def test_a_bus_that_lost_its_disk_is_filled_again_and_the_pop_keeps_everything(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    import shutil

    key = await api.new_site()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: len(site.journal.config()) == 3)
        server = centre[0].server
        assert server is not None
        assert server.pid is not None
        site.handler.changes.clear()
        shutil.rmtree(settings.state_dir / "bus" / "jetstream")
        os.kill(server.pid, signal.SIGKILL)
        await api.put("/queues/sales", {"name": "Verkauf"})
        await until(lambda: site.journal.config()["queue.sales"].entity.name == "Verkauf")  # type: ignore[union-attr]
        await until(lambda: _is(api, "revision_lag", 0))
        assert all(entry is not None for _, entry in site.handler.changes)
        assert len(site.journal.config()) == 3


def _answered(call: str, at: float) -> list[LegAnswered]:
    return [LegAnswered(at=at + n, leg_id=LegId(f"leg-{call}-{n}")) for n in range(5)]


async def test_kill_9_of_the_server_loses_and_doubles_nothing(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_pop()
    server = centre[0].server
    assert server is not None
    total = 0
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await until(lambda: site.link.connected)
        for kill in range(4):
            pid = server.pid
            for number in range(120):
                at = 1_700_000_000.0 + kill * 1000 + number
                call = CallId(derive(at, "call", kill, number))
                events = _answered(call, at)
                total += len(events)
                await site.journal.append(call, events)
                site.link.events_waiting()
                if number == 60 and pid is not None:
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.003)
            await until(lambda pid=pid: server.pid not in (None, pid))
        await until(lambda: site.journal.unsent_count() == 0, 30)
        journal_id = site.journal.journal_id
    database = centre[0].database
    assert database is not None
    from sqlalchemy import select

    from orchestrator.adapters.db.models import EventRow

    async def stored() -> list[int]:
        async with database.read() as session:
            rows = await session.scalars(select(EventRow.seq).where(EventRow.journal_id == journal_id))
            return sorted(rows)

    async def all_there() -> bool:
        return len(await stored()) >= total

    await until(all_there, 30)
    assert await stored() == list(range(1, total + 1))


async def test_an_orphaned_server_is_ended_at_the_next_start(settings: CentreSettings, tmp_path: Path) -> None:
    from orchestrator.adapters.bus.accounts import Listen
    from orchestrator.adapters.bus.server import EmbeddedServer, ServerError

    listen = Listen("127.0.0.1", free_port())
    first = EmbeddedServer(tmp_path / "bus", listen)
    await first.start([])
    stranger = EmbeddedServer(tmp_path / "other", listen)
    with pytest.raises(ServerError, match="another program"):
        await stranger.start([])
    second = EmbeddedServer(tmp_path / "bus", listen)
    await second.start([])
    assert first.pid != second.pid
    await second.stop()
    await first.stop()
    assert oct((tmp_path / "bus" / "nats.conf").stat().st_mode)[-3:] == "600"
