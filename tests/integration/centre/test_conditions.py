"""ETag, If-Match and Idempotency-Key: what was read is what is changed, and what was asked twice is done once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.adapters.db.models import AgentRow, IdempotentRow
from orchestrator.bootstrap import Centre
from orchestrator.services import idempotency
from tests.integration.centre.support import QUEUE, Answer, Api, agent, did, graph, outbox_is_empty, until


async def _site(api: Api) -> dict[str, tuple[str, dict[str, Any]]]:
    """A resource of each kind: its path, and a change that is no change."""
    await api.new_site()
    made = await api.made("/agents", agent())
    draft: dict[str, Any] = {"graph": {"nodes": {}}}
    assert (await api.put("/flows/main/draft", draft)).status == 200
    number = did()
    return {
        "pops": ("/pops/de-fra-1", {"name": "Frankfurt", "country": "DE"}),
        "queues": ("/queues/sales", {k: v for k, v in QUEUE.items() if k != "queue_id"}),
        "dids": (f"/dids/{number.pop('number')}", number),
        "agents": (f"/agents/{made['agent_id']}", agent()),
        "flows": ("/flows/main", {"graph": graph()}),
        "drafts": ("/flows/main/draft", {**draft, "draft_revision": 1}),
    }


async def test_an_etag_stands_for_what_was_read(api: Api) -> None:
    for noun, (path, body) in (await _site(api)).items():
        read = await api.get(path)
        tag = read.headers["ETag"]
        assert (await api.get(path)).headers["ETag"] == tag, noun
        stale = await api.put(path, body, headers={"If-Match": '"another"'})
        assert (stale.status, stale.error_id) == (412, "stale"), noun
        weak = await api.put(path, body, headers={"If-Match": f"W/{tag}"})
        assert weak.status == 412, noun
        assert (await api.get(path)).headers["ETag"] == tag, noun
        same = await api.put(path, body, headers={"If-Match": f'"another", {tag}'})
        assert same.status == 200, (noun, same.body)
        after = (await api.get(path)).headers["ETag"]
        assert same.headers["ETag"] == after, noun
        assert (after == tag) is (noun not in ("flows", "drafts")), noun  # those count their changes


async def test_what_was_made_has_its_etag_and_place(api: Api) -> None:
    await api.new_pop()
    for path, body in (("/queues", QUEUE), ("/agents", agent())):
        made = await api.post(path, body)
        read = await api.get(made.headers["Location"].removeprefix("/api/v1"))
        assert read.status == 200
        assert read.headers["ETag"] == made.headers["ETag"]
    await api.made("/flows", {"flow_id": "main", "graph": graph(nodes={"bye": {"type": "hang_up"}}, start="bye")})
    assert (await api.post("/dids", did())).headers["Location"] == "/api/v1/dids/%2B49305550100"


async def test_only_one_of_two_who_read_the_same_changes_it(api: Api) -> None:
    await api.made("/queues", QUEUE)
    tag = (await api.get("/queues/sales")).headers["ETag"]

    async def change(name: str) -> Answer:
        return await api.put("/queues/sales", {"name": name}, headers={"If-Match": tag})

    answers = await asyncio.gather(*(change(f"name {at}") for at in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7
    [won] = [answer.body["name"] for answer in answers if answer.status == 200]
    assert (await api.get("/queues/sales")).body["name"] == won


async def test_a_stale_change_writes_nothing(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    await until(lambda: outbox_is_empty(centre[0]))
    before = (await api.get("/pops/de-fra-1")).body["config_revision"]
    for path in ("/dids/+49305550100", "/queues/sales", "/flows/main", "/pops/de-fra-1"):
        stale = await api.delete(path, headers={"If-Match": '"x"'})
        assert (stale.status, stale.error_id) == (412, "stale")
        assert (await api.get(path)).status == 200
    assert (await api.get("/pops/de-fra-1")).body["config_revision"] == before
    tag = (await api.get("/dids/+49305550100")).headers["ETag"]
    assert (await api.delete("/dids/+49305550100", headers={"If-Match": tag})).status == 204
    gone = await api.delete("/dids/+49305550100", headers={"If-Match": tag})
    assert (gone.status, gone.error_id) == (404, "unknown_did")


async def test_conditions_that_cannot_be_met_are_refused(api: Api) -> None:
    await api.made("/queues", QUEUE)
    for header in ("name", '"a" "b"', ""):
        bad = await api.put("/queues/sales", {"name": "x"}, headers={"If-Match": header})
        assert (bad.status, set(bad.fields)) == (422, {"If-Match"}), header
    token = await api.made("/tokens", {"name": "lab"})
    nowhere = await api.delete(f"/tokens/{token['token_id']}", headers={"If-Match": "*"})
    assert nowhere.fields == {"If-Match": "cannot be asked for here"}
    assert (await api.put("/queues/sales", {"name": "x"}, headers={"If-Match": "*"})).status == 200


async def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    await api.new_site()
    tag = (await api.get("/queues/sales")).headers["ETag"]
    for header in (tag, f"W/{tag}", "*"):
        assert (await api.get("/queues/sales", headers={"If-None-Match": header})).status == 304
    assert (await api.get("/queues/sales", headers={"If-None-Match": '"x"'})).status == 200
    # A POP's heartbeat is no change of its own, so its ETag does not say that the answer is the same.
    tag = (await api.get("/pops/de-fra-1")).headers["ETag"]
    assert (await api.get("/pops/de-fra-1", headers={"If-None-Match": tag})).status == 200


async def test_a_request_with_a_key_is_done_once(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_pop()
    key = {"Idempotency-Key": "once-1"}
    first = await api.post("/agents", agent(), headers=key)
    again = await api.post("/agents", agent(), headers=key)
    assert first.status == again.status == 201
    assert again.body == first.body  # the password, too
    assert (again.headers["Location"], again.headers["ETag"]) == (first.headers["Location"], first.headers["ETag"])
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert len((await api.get("/agents")).body["items"]) == 1
    for answer in (
        await api.post("/agents", agent(name="Bob"), headers=key),
        await api.post("/queues", QUEUE, headers=key),
    ):
        assert (answer.status, answer.error_id) == (422, "idempotency_key_reused")
    assert (await api.get("/queues")).body["items"] == []
    # Another's key is another key, and what is kept of the answer cannot be read from the database.
    other = (await api.made("/tokens", {"name": "other"}))["token"]
    mine = await api.post("/agents", agent(), headers={**key, "Authorization": f"Bearer {other}"})
    assert mine.body["agent_id"] != first.body["agent_id"]
    assert centre[0].database is not None
    async with centre[0].database.read() as session:
        kept = [row.answer or b"" for row in await session.scalars(select(IdempotentRow))]
    assert len(kept) == 2
    assert not any(first.body["sip"]["password"].encode() in answer for answer in kept)


async def test_requests_at_the_same_time_are_done_once(api: Api) -> None:
    await api.new_pop()
    answers = await asyncio.gather(
        *(api.post("/agents", agent(), headers={"Idempotency-Key": "at-once"}) for _ in range(8))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["sip"]["password"] for answer in answers}) == 1
    assert len((await api.get("/agents")).body["items"]) == 1


async def test_what_failed_may_be_asked_again(api: Api) -> None:
    key = {"Idempotency-Key": "later"}
    assert (await api.post("/agents", agent(), headers=key)).status == 422  # no such POP
    await api.new_pop()
    assert (await api.post("/agents", agent(), headers=key)).status == 201
    for bad in ("a b", "x" * 256, "\u00e9"):
        assert "Idempotency-Key" in (await api.post("/queues", QUEUE, headers={"Idempotency-Key": bad})).fields


@pytest.fixture
def asked(centre: tuple[Centre, str]) -> idempotency.Asked:
    return idempotency.Asked("key", f"Bearer {centre[1]}", "f" * 64)


async def test_a_claim_that_was_left_is_taken_over_and_its_owner_can_do_no_more(
    api: Api, centre: tuple[Centre, str], asked: idempotency.Asked
) -> None:
    database = centre[0].database
    assert database is not None
    await api.new_pop()
    slow = await idempotency.claim(database, asked)
    assert isinstance(slow, idempotency.Claim)
    long_ago = time.time() - idempotency.CLAIM_S - 1
    async with database.write() as session:
        await session.execute(update(IdempotentRow).values(started_at=long_ago))
    second = await idempotency.claim(database, asked)
    assert isinstance(second, idempotency.Claim)

    async def carry_out() -> None:
        async with database.write() as session:
            session.add(AgentRow(**agent(), agent_id="a", phone_id="p", ha1="h", created_at=0.0))
            await slow.mark(session)

    with pytest.raises(Exception, match="began anew") as error:
        await carry_out()
    assert getattr(error.value, "error_id", None) == "idempotency_superseded"
    assert (await api.get("/agents")).body["items"] == []


async def test_what_was_done_without_an_answer_is_not_done_again(
    centre: tuple[Centre, str], asked: idempotency.Asked
) -> None:
    database = centre[0].database
    assert database is not None
    claim = await idempotency.claim(database, asked)
    assert isinstance(claim, idempotency.Claim)
    async with database.write() as session:
        await claim.mark(session)
    await claim.release()  # what was carried out stays
    async with database.write() as session:
        await session.execute(update(IdempotentRow).values(started_at=time.time() - idempotency.CLAIM_S - 1))
    with pytest.raises(Exception, match="its answer was lost"):
        await idempotency.claim(database, asked)
    async with database.write() as session:
        await session.execute(update(IdempotentRow).values(started_at=time.time() - idempotency.KEPT_S - 1))
    assert isinstance(await idempotency.claim(database, asked), idempotency.Claim)
