"""A POP's backup holds beforehand what it would take over; that a POP fails is noted once, shown and audited."""

from __future__ import annotations

from typing import Any

from orchestrator.bootstrap import Centre
from orchestrator.services.presence import CONNECTED_S, PresenceBoard
from orchestrator.services.unit_of_work import UnitOfWork, key_of
from pbx.wire.messages import AgentConfig, Heartbeat
from tests.integration.centre.support import Api

HOME, BACKUP, THIRD = "de-ber-1", "de-fra-1", "de-ham-1"
DID: dict[str, Any] = {
    "number": "+49305550100",
    "pop_id": HOME,
    "flow_id": "main",
    "country": "DE",
    "language": "de",
    "time_zone": "Europe/Berlin",
    "region": "eu",
}
AGENT: dict[str, Any] = {"name": "Anna", "phone_id": "anna", "country": "DE", "pop_id": HOME}
FLOW = {"start": "end", "languages": ["de"], "nodes": {"end": {"type": "hang_up"}}}


def site(pop_id: str, backup: str | None) -> dict[str, Any]:
    return {"pop_id": pop_id, "name": pop_id, "country": "DE", "backup_pop_id": backup}


async def held(centre: Centre, pop_id: str) -> set[str]:
    """Keys of what the POP would be sent as a whole, but for what is everywhere."""
    assert centre.database is not None
    async with centre.database.read() as session:
        entities = await UnitOfWork(session, 0.0).entities_of(pop_id)
    return {key for key in map(key_of, entities) if key.startswith(("did.", "agent."))}


async def who_has(centre: Centre, pop_id: str) -> list[str]:
    """As the last message to the POP about its agent says: published or still to be."""
    assert centre.database is not None
    async with centre.database.read() as session:
        unit = UnitOfWork(session, 0.0)
        [agent] = [entity for entity in await unit.entities_of(pop_id) if isinstance(entity, AgentConfig)]
        return agent.pops


async def test_the_backup_has_it_all_beforehand(api: Api, centre: tuple[Centre, str]) -> None:
    for pop_id in (THIRD, BACKUP):
        await api.made("/pops", site(pop_id, None))
    await api.made("/pops", site(HOME, BACKUP))
    await api.made("/flows", {"flow_id": "main", "graph": FLOW})
    await api.made("/dids", DID)
    agent = await api.made("/agents", AGENT)
    keys = {"did.49305550100", f"agent.{agent['agent_id']}"}
    assert [await held(centre[0], pop_id) for pop_id in (HOME, BACKUP, THIRD)] == [keys, keys, set()]
    assert (await api.get(f"/pops/{HOME}")).body["backup_pop_id"] == BACKUP
    assert [await who_has(centre[0], pop_id) for pop_id in (HOME, BACKUP)] == [[HOME, BACKUP]] * 2

    body = site(HOME, THIRD)
    del body["pop_id"]  # it is in the path
    changed = await api.put(f"/pops/{HOME}", body)
    assert changed.body["backup_pop_id"] == THIRD
    assert [await held(centre[0], pop_id) for pop_id in (BACKUP, THIRD)] == [set(), keys]
    assert [await who_has(centre[0], pop_id) for pop_id in (HOME, THIRD)] == [[HOME, THIRD]] * 2
    await api.delete(f"/dids/{DID['number']}")
    assert await held(centre[0], THIRD) == keys - {"did.49305550100"}


async def test_a_backup_that_cannot_be_is_refused(api: Api) -> None:
    answer = await api.post("/pops", site(HOME, HOME))
    assert (answer.status, answer.fields) == (422, {"backup_pop_id": "a POP cannot take over for itself"})
    answer = await api.post("/pops", site(HOME, "nowhere"))
    assert (answer.status, answer.fields) == (422, {"backup_pop_id": "there is no POP nowhere"})
    await api.made("/pops", site(BACKUP, None))
    await api.made("/pops", site(HOME, BACKUP))
    answer = await api.delete(f"/pops/{BACKUP}")
    assert (answer.status, answer.error_id) == (409, "pop_in_use")


async def test_that_a_pop_fails_is_noted_once(api: Api, centre: tuple[Centre, str]) -> None:
    await api.made("/pops", site(HOME, None))
    now = [1000.0]
    assert centre[0].database is not None
    boards = [PresenceBoard(centre[0].database, lambda: now[0]) for _ in range(2)]

    async def beat(**fields: Any) -> None:
        heard = {"revision": 1, "engine_up": True, "live_calls": 0, "unsent_events": 0, **fields}
        for board in boards:
            board.heartbeat(Heartbeat(pop_id=HOME, at=now[0], **heard))
            await board.judge()

    async def found() -> list[tuple[str, list[str]]]:
        page = (await api.get("/audit?action=pop_state")).body["items"]
        return [(entry["outcome"], entry["changes"]) for entry in reversed(page)]

    await beat()
    await beat()
    assert await found() == []  # who is heard of for the first time has not failed
    await beat(carries_audio=False, audio_reason="the called side heard nothing")
    await beat(engine_up=False)
    now[0] += CONNECTED_S + 1
    for board in boards:
        await board.judge()
        await board.judge()
    await beat()
    assert await found() == [
        ("no_audio", ["was ok", "the called side heard nothing"]),
        ("media_server_down", ["was no_audio"]),
        ("away", ["was media_server_down"]),
        ("ok", ["was away"]),
    ]
