"""Who did what: a row for each change, in its transaction, in a chain that shows where it was tampered with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from orchestrator.adapters.db.access_models import AuditRow
from orchestrator.adapters.db.engine import Database
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.domain.audit_chain import Broken
from orchestrator.domain.grants import EVERYTHING, Caller, calling
from orchestrator.services import audit
from pbx.wire.messages import CommandReply
from tests.integration.centre.access_world import SCOPES, make_world
from tests.integration.centre.support import QUEUE, Api, agent, pop, until
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_process import _command, _environment


async def entries(api: Api, query: str = "") -> list[dict[str, Any]]:
    """Oldest first."""
    answer = await api.get(f"/audit?limit=1000{query}")
    assert answer.status == 200, answer.body
    return list(reversed(answer.body["items"]))


def database(centre: tuple[Centre, str]) -> Database:
    assert centre[0].database is not None
    return centre[0].database


async def verified(base: Database, noted: tuple[int, str] | None = None) -> Broken | None:
    async with base.read() as session:
        return (await audit.verify(session, noted))[0]


async def test_a_change_has_one_row_that_says_it_all(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    made = await api.made("/agents", agent())
    body = {**agent(), "name": "Grace"}
    path = f"/agents/{made['agent_id']}"
    headers = {"X-Purpose": "she married"}
    assert (await api.ask("PUT", path, body, headers=headers)).status == 200
    assert (await api.delete("/queues/sales")).status == 409
    assert (await api.put("/queues/sales", {"name": ""})).status == 422
    assert (await api.get(path)).status == 200
    found = await entries(api)
    assert [(e["action"], e["outcome"]) for e in found] == [
        ("pops_create", "done"),
        ("queues_create", "done"),
        ("flows_create", "done"),
        ("dids_create", "done"),
        ("agents_create", "done"),
        ("agents_change", "done"),
        ("queues_delete", "queue_in_use"),
        ("queues_change", "invalid"),
    ]
    changed = found[5]
    assert changed["thing"] == path.removeprefix("/")
    assert (changed["caller"], changed["source"], changed["purpose"]) == ("first admin", "127.0.0.1", "she married")
    assert changed["changes"] == [f"changed agents/{made['agent_id']} name"]
    assert found[4]["changes"] == [f"new agents/{made['agent_id']}"]
    assert made["sip"]["password"] not in str(found)
    assert [e["seq"] for e in await entries(api, "&action=agents_change")] == [changed["seq"]]
    assert len(await entries(api, "&outcome=done&thing=agents")) == 2
    assert await entries(api, "&until=2020-01-01T00:00:00Z") == []
    page = (await api.get("/audit?limit=3")).body
    following = (await api.get(f"/audit?limit=3&cursor={page['next_cursor']}")).body
    assert [e["seq"] for e in (*page["items"], *following["items"])] == [8, 7, 6, 5, 4, 3]
    assert (await api.get("/audit?cursor=AAAA")).status == 422
    assert (await api.delete("/queues/a%00b")).status == 422
    assert (await entries(api))[-1]["thing"] == "queues/a%00b"
    assert await verified(database(centre)) is None


async def test_change_and_row_are_one_transaction(centre: tuple[Centre, str], api: Api) -> None:
    base = database(centre)
    with calling(Caller("x", "x", EVERYTHING, recorded=True)):

        async def fails() -> None:
            async with base.write() as session:
                await session.execute(text("INSERT INTO settings (key, value) VALUES ('a', '1')"))
                await audit.append(session, Caller("x", "x", ()), "done")
                await session.execute(text("INSERT INTO settings (key, value) VALUES ('a', '1')"))

        with pytest.raises(IntegrityError):
            await fails()
    assert await entries(api) == []


async def test_recordings_are_given_out_for_a_purpose_and_with_a_row(
    api: Api, settings: CentreSettings, tmp_path: Path
) -> None:
    key = await api.new_site()
    call, recording, events = a_call("why")
    path = f"/recordings/{recording}/content"
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        site.handler.answer = lambda _request: CommandReply(blob=b"RIFF", total_size=4)
        await site.journal.append(call, events)
        site.link.events_waiting()
        await until(lambda: _there(api, recording))
        silent = await api.get(path, headers={"X-Purpose": ""})
        assert (silent.status, set(silent.fields)) == (422, {"X-Purpose"})
        assert site.handler.commands == []
        assert (await api.get(path, headers={"X-Purpose": "a complaint, Grüße"})).body == b"RIFF"
        assert (await api.get(path + "?purpose=training", headers={"X-Purpose": ""})).body == b"RIFF"
        assert (await api.post(f"/calls/{call}/hangup")).status == 204
        site.handler.answer = lambda _request: CommandReply(error_id="unknown-call")
        assert (await api.post(f"/calls/{call}/hangup")).status == 404
    found = [(e["action"], e["outcome"], e["purpose"]) for e in (await entries(api))[-6:]]
    assert found == [
        ("recordings_content", "invalid", None),
        ("recordings_content", "read", "a complaint, Grüße"),
        ("recordings_content", "read", "training"),
        ("calls_hang_up", "asked", "a test"),
        ("calls_hang_up", "asked", "a test"),
        ("calls_hang_up", "unknown_call", "a test"),
    ]


async def _there(api: Api, recording: str) -> bool:
    found = await api.get(f"/recordings/{recording}")
    return found.status == 200 and found.body["size_bytes"] is not None


async def test_only_those_see_it_who_see_everything(api: Api, centre: tuple[Centre, str]) -> None:
    world = await make_world(api, centre[0])
    cases: list[tuple[dict[str, Any], int]] = [
        ({"role": "compliance"}, 200),
        ({"role": "compliance", "units": ["sales"]}, 403),
        ({"role": "supervisor"}, 403),
    ]
    for grant, code in cases:
        assert (await api.get("/audit", headers=await world.token(grant))).status == code
    engineer = await world.caller("engineer", SCOPES["sales"])
    refused = await api.ask("PUT", "/queues/q-billing", {"name": "Mine"}, headers=engineer)
    assert refused.status == 404
    assert (await entries(api))[-1]["outcome"] == "unknown_queue"


async def test_writers_at_once_make_one_chain(api: Api, centre: tuple[Centre, str]) -> None:
    base = database(centre)
    await asyncio.gather(
        *(api.post("/queues", {**QUEUE, "queue_id": f"q{n}"}) for n in range(20)),
        *(api.post("/tokens", {"name": f"t{n}"}) for n in range(20)),
        *(api.delete(f"/queues/none{n}") for n in range(20)),
    )
    found = await entries(api)
    assert [e["seq"] for e in found] == list(range(1, 61))
    assert len({e["hash"] for e in found}) == 60
    assert await verified(base) is None


async def _some_rows(api: Api) -> None:
    for n in range(6):
        await api.made("/queues", {**QUEUE, "queue_id": f"q{n}"})


INSERT = """INSERT INTO audit_log
(seq, at, caller_id, caller, source, action, thing, purpose, outcome, changes, previous, hash)
SELECT {seq}, at, caller_id, caller, source, action, thing, purpose, outcome, changes, previous, hash
FROM audit_log WHERE seq = {of}"""


@pytest.mark.parametrize(
    ("tampering", "row", "words"),
    [
        (["UPDATE audit_log SET caller = 'nobody' WHERE seq = 3"], 3, "does not say what it said"),
        (["UPDATE audit_log SET at = at + 1 WHERE seq = 1"], 1, "does not say what it said"),
        (["UPDATE audit_log SET hash = previous WHERE seq = 6"], 6, "does not say what it said"),
        (["DELETE FROM audit_log WHERE seq = 4"], 4, "is missing"),
        (["DELETE FROM audit_log WHERE seq = 1"], 1, "is missing"),
        (["DELETE FROM audit_log WHERE seq = 6"], 6, "was cut"),
        (
            [
                "UPDATE audit_log SET seq = -seq WHERE seq > 3",
                "UPDATE audit_log SET seq = 1 - seq WHERE seq < 0",
                INSERT.format(seq=4, of=2),
            ],
            4,
            "inserted or changed",
        ),
        ([INSERT.format(seq=7, of=6)], 7, "inserted or changed"),
        ([INSERT.format(seq=0, of=1)], 1, "is missing"),
        (["DELETE FROM audit_log WHERE seq > 4", "UPDATE audit_head SET seq = 4"], 4, "is not the noted end"),
    ],
)
async def test_the_first_broken_row_is_named(
    api: Api, centre: tuple[Centre, str], tampering: list[str], row: int, words: str
) -> None:
    await _some_rows(api)
    base = database(centre)
    assert await verified(base) is None
    async with base.write() as session:
        for statement in tampering:
            await session.execute(text(statement))
    broken = await verified(base)
    assert broken is not None
    assert broken.seq == row
    assert words in broken.reason


async def test_a_row_made_to_fit_breaks_the_next_and_a_noted_end_shows_a_chain_made_anew(
    api: Api, centre: tuple[Centre, str]
) -> None:
    """Who can write to the database can make a chain of his own; who noted an end before sees it."""
    await _some_rows(api)
    base = database(centre)
    async with base.read() as session:
        _, seq, end = await audit.verify(session)
        rows = list(await session.scalars(AuditRow.__table__.select().with_only_columns(AuditRow.hash)))
    assert len(rows) == seq == 6
    assert await verified(base, (6, end)) is None
    async with base.write() as session:
        await session.execute(text("DELETE FROM audit_log WHERE seq > 4"))
        head = text("UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_log WHERE seq = 4)")
        await session.execute(head)
    assert await verified(base) is None
    assert (await verified(base, (6, end))) == Broken(5, "is missing: the log was longer once")
    await api.made("/queues", {**QUEUE, "queue_id": "more"})
    await api.made("/queues", {**QUEUE, "queue_id": "still-more"})
    broken = await verified(base, (6, end))
    assert broken is not None
    assert (broken.seq, broken.reason) == (6, "is not what was noted of it")


async def test_the_command_names_the_row(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, tmp_path: Path
) -> None:
    await _some_rows(api)
    environment = _environment(settings.state_dir, database_url=settings.database_url.get_secret_value())
    code, out, _ = await _command(environment, "audit", "verify")
    assert code == 0
    assert out.startswith("6 rows, whole; the end is 6:")
    end = out.strip().rsplit(" ", 1)[1]
    assert (await _command(environment, "audit", "verify", "--end", end))[0] == 0
    async with database(centre).write() as session:
        await session.execute(text("UPDATE audit_log SET outcome = 'done?' WHERE seq = 2"))
    code, out, _ = await _command(environment, "audit", "verify")
    assert (code, out) == (1, "row 2 does not say what it said when it was written\n")
    assert (await _command(environment, "audit", "verify", "--end", "x"))[0] == 2
