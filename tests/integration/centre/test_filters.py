"""Lists: narrowed by their filters, and paged so that what comes in between moves nothing."""

from __future__ import annotations

import pytest

from tests.integration.centre.support import QUEUE, Api, agent, did


async def test_lists_are_narrowed(api: Api) -> None:
    await api.new_site()
    await api.new_pop("us-nyc-1")
    await api.made("/dids", did(number="+49305550101", pop_id="us-nyc-1", language="en", region="us"))
    await api.made("/agents", agent(site="fra", phone_id="1001"))
    await api.made("/agents", agent(name="Bob 100%", skills={"lang:en": 1}, pop_id="us-nyc-1"))
    await api.made("/queues", {"queue_id": "care", "name": "Care", "strategy": "random"})
    await api.made("/tokens", {"name": "robot"})
    await api.put("/flows/main/draft", {"graph": {}})
    for path, found in {
        "/dids?pop_id=us-nyc-1": ["+49305550101"],
        "/dids?flow_id=main": ["+49305550100", "+49305550101"],
        "/dids?language=en&region=us": ["+49305550101"],
        "/dids?language=en&region=eu": [],
        "/agents?skill=lang:de": ["Ada"],
        "/agents?skill=nothing": [],
        "/agents?name=bob": ["Bob 100%"],
        "/agents?name=%25": ["Bob 100%"],
        "/agents?site=fra": ["Ada"],
        "/agents?phone_id=1001": ["Ada"],
        "/agents?pop_id=us-nyc-1": ["Bob 100%"],
        "/queues?skill=lang:de": ["sales"],
        "/queues?name=SALES": ["sales"],
        "/queues?strategy=random": ["care"],
        "/pops?name=frank": ["de-fra-1", "us-nyc-1"],
        "/pops?country=FR": [],
        "/tokens?name=robot": ["robot"],
        "/flows?published_by=first+admin": ["main"],
        "/flows?published_by=nobody": [],
        "/flow-drafts?saved_by=first+admin": ["main"],
        "/recordings?kind=voicemail&since=2026-01-01T00:00:00Z": [],
        "/voicemails?did=%2B49305550100&until=2026-01-01T00:00:00%2B01:00": [],
        "/callbacks?did=%2B49305550100": [],
        "/calls?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z": [],
    }.items():
        answer = await api.get(path)
        assert answer.status == 200, (path, answer.body)
        key = {"dids": "number", "agents": "name", "queues": "queue_id", "pops": "pop_id", "tokens": "name"}
        named = key.get(path.split("?")[0].strip("/"), "flow_id")
        assert [item[named] for item in answer.body["items"]] == found, path


@pytest.mark.parametrize("query", ["calls?since=yesterday", "calls?since=2026-01-01T00:00:00", "agents?skill=No+Skill"])
async def test_what_is_no_filter_is_refused(api: Api, query: str) -> None:
    assert (await api.get(f"/{query}")).status == 422


async def test_what_comes_in_between_moves_no_page(api: Api) -> None:
    for name in ("b", "d", "f"):
        await api.made("/queues", {**QUEUE, "queue_id": name})
    page = (await api.get("/queues?limit=2")).body
    assert [item["queue_id"] for item in page["items"]] == ["b", "d"]
    for name in ("a", "c", "e"):
        await api.made("/queues", {**QUEUE, "queue_id": name})
    await api.delete("/queues/d")
    rest = (await api.get(f"/queues?limit=2&cursor={page['next_cursor']}")).body
    assert [item["queue_id"] for item in rest["items"]] == ["e", "f"]
    assert rest["next_cursor"] is None
