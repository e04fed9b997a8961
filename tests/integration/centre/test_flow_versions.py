"""Drafts, checks, versions and the way back, over REST."""

from __future__ import annotations

from typing import Any

from orchestrator.bootstrap import Centre
from tests.integration.centre.support import Api, graph, outbox_is_empty, until

BROKEN = {**graph(), "start": "nowhere", "languages": ["de", "en"]}


def say(text: str, **change: Any) -> dict[str, Any]:
    """A graph that differs by its end."""
    return graph(nodes={**graph()["nodes"], "bye": {"type": "hang_up", "cause": text}}, **change)


async def revision(api: Api) -> int:
    return int((await api.get("/pops/de-fra-1")).body["config_revision"])


async def test_a_draft_is_saved_with_its_faults_and_no_pop_gets_it(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    await until(lambda: outbox_is_empty(centre[0]))
    before = await revision(api)
    saved = await api.put("/flows/main/draft", {"graph": BROKEN})
    assert saved.status == 200
    assert saved.body["draft_revision"] == 1
    assert saved.body["base_version"] == 1
    assert saved.body["saved_by"] == "first admin"
    assert saved.body["graph"] == BROKEN
    places = {problem["place"]: problem for problem in saved.body["problems"]}
    assert places["graph.start"]["reason"] == "names no node of this flow"
    assert (await api.get("/flows/main/draft")).body == saved.body
    assert await revision(api) == before
    assert (await api.get("/flows/main")).body["graph"] == graph()
    refused = await api.post("/flows/main/publish", {"draft_revision": 1})
    assert (refused.status, refused.error_id) == (422, "invalid")
    assert "names no node" in refused.fields["graph.start"]
    assert (await api.get("/flows/main/draft")).body == saved.body, "still there"
    assert await revision(api) == before


async def test_who_saves_on_top_of_what_he_has_not_seen_is_told(api: Api) -> None:
    await api.new_site()
    assert (await api.put("/flows/main/draft", {"graph": say("NO_ANSWER")})).body["draft_revision"] == 1
    for stale in ({}, {"draft_revision": 2}):
        answer = await api.put("/flows/main/draft", {"graph": say("USER_BUSY"), **stale})
        assert (answer.status, answer.error_id) == (409, "draft_stale")
    second = await api.put("/flows/main/draft", {"graph": say("USER_BUSY"), "draft_revision": 1})
    assert second.body["draft_revision"] == 2
    answer = await api.post("/flows/main/publish", {"draft_revision": 1})
    assert (answer.status, answer.error_id) == (409, "draft_stale")
    assert (await api.get("/flows/main")).body["version"] == 1
    assert (await api.delete("/flows/main/draft")).status == 204
    assert (await api.get("/flows/main/draft")).error_id == "unknown_draft"
    assert (await api.delete("/flows/main/draft")).status == 404
    answer = await api.put("/flows/main/draft", {"graph": say("USER_BUSY"), "draft_revision": 2})
    assert (answer.status, answer.error_id) == (409, "draft_stale"), "it was thrown away"
    assert (await api.put("/flows/main/draft", {"graph": graph()})).body["draft_revision"] == 3, "no number twice"


async def test_publish_versions_and_roll_back(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_site()
    await api.put("/flows/main/draft", {"graph": say("USER_BUSY")})
    await until(lambda: outbox_is_empty(centre[0]))  # a new bucket is filled, with revisions of its own
    before = await revision(api)
    published = await api.post("/flows/main/publish", {"draft_revision": 1})
    assert published.status == 201
    assert (published.body["version"], published.body["published_by"]) == (2, "first admin")
    assert await revision(api) == before + 1, "the POP gets it"
    assert (await api.get("/flows/main/draft")).status == 404
    assert (await api.get("/flow-drafts")).body["items"] == []
    back = await api.post("/flows/main/rollback", {"version": 1})
    assert back.status == 201
    assert (back.body["version"], back.body["copy_of"], back.body["graph"]) == (3, 1, graph())
    assert await revision(api) == before + 2
    listed = (await api.get("/flows/main/versions?limit=2")).body
    assert [(v["version"], v["copy_of"]) for v in listed["items"]] == [(3, 1), (2, None)]
    assert all(v["published_by"] == "first admin" and v["published_at"] and "graph" not in v for v in listed["items"])
    rest = (await api.get(f"/flows/main/versions?limit=2&cursor={listed['next_cursor']}")).body
    assert [v["version"] for v in rest["items"]] == [1]
    assert rest["next_cursor"] is None
    assert (await api.get("/flows/main/versions/2")).body["graph"] == say("USER_BUSY")
    for unknown in ("9", "x", "-1", "0", "4294967296", "99999999999"):
        assert (await api.get(f"/flows/main/versions/{unknown}")).error_id == "unknown_flow_version", unknown
    assert (await api.post("/flows/main/rollback", {"version": 9})).error_id == "unknown_flow_version"
    assert (await api.post("/flows/main/rollback", {"version": 1 << 40})).status == 404
    assert (await api.get("/flows/nothing/versions")).error_id == "unknown_flow"
    assert (await api.get("/flows/main/versions?cursor=aGVsbG8=")).status == 422


async def test_what_an_earlier_version_names_may_be_gone(api: Api) -> None:
    await api.new_site()
    await api.made("/queues", {"queue_id": "other", "name": "Other"})
    nodes = {**graph()["nodes"], "wait": {"type": "queue", "queue": "other", "on_refused": "bye"}}
    assert (await api.put("/flows/main", {"graph": graph(nodes=nodes)})).body["version"] == 2
    assert (await api.put("/flows/main", {"graph": graph()})).body["version"] == 3
    assert (await api.delete("/queues/other")).status == 204
    answer = await api.post("/flows/main/rollback", {"version": 2})
    assert answer.status == 422
    assert answer.fields["graph.nodes.wait.queue"] == "there is no queue other"
    assert (await api.get("/flows/main")).body["version"] == 3


async def test_a_draft_older_than_what_is_published_must_be_looked_at_again(api: Api) -> None:
    await api.new_site()
    await api.put("/flows/main/draft", {"graph": say("USER_BUSY")})
    await api.put("/flows/main", {"graph": say("NO_ANSWER")})
    answer = await api.post("/flows/main/publish", {"draft_revision": 1})
    assert (answer.status, answer.error_id) == (409, "draft_outdated")
    saved = await api.put("/flows/main/draft", {"graph": say("USER_BUSY"), "draft_revision": 1})
    assert saved.body["base_version"] == 2
    assert (await api.post("/flows/main/publish", {"draft_revision": 2})).body["version"] == 3


async def test_a_new_flow_can_begin_as_a_draft(api: Api) -> None:
    await api.new_site()
    for bad in ("Capital", "a" * 32, "a_b"):
        assert (await api.put(f"/flows/{bad}/draft", {"graph": {}})).fields["flow_id"], bad
    empty = await api.put("/flows/second/draft", {"graph": {}})
    assert {problem["place"] for problem in empty.body["problems"]} >= {"graph.nodes", "graph.start"}
    assert empty.body["base_version"] == 0
    listed = (await api.get("/flow-drafts")).body["items"]
    assert [draft["flow_id"] for draft in listed] == ["second"]
    assert "graph" not in listed[0]
    assert (await api.get("/flows/second")).status == 404
    await api.put("/flows/second/draft", {"graph": graph(), "draft_revision": 1})
    assert (await api.post("/flows/second/publish", {"draft_revision": 2})).body["version"] == 1
    assert (await api.get("/flows/second")).body["graph"] == graph()
    await api.put("/flows/second/draft", {"graph": BROKEN})
    assert (await api.delete("/flows/second")).status == 204
    assert (await api.get("/flows/second/draft")).status == 404, "gone with its flow"


async def test_check_tells_everything_and_stores_nothing(api: Api) -> None:
    await api.new_site()
    nodes = {
        "hello": {"type": "say", "prompts": ["helo"], "next": "hours"},
        "hours": {"type": "hours", "time_zone": "UTC", "weekly": {}, "country": "XX", "open": "w", "closed": "w"},
        "w": {"type": "queue", "queue": "nobody", "on_refused": "sub"},
        "sub": {"type": "flow", "flow": "missing", "next": "bye"},
        "bye": {"type": "hang_up"},
        "lost": {"type": "hang_up"},
        "odd": {"type": "flow", "next": "bye"},
    }  # fmt: skip
    answer = await api.post("/flows/main/check", {"graph": graph(languages=["en"], nodes=nodes)})
    assert answer.status == 200
    found = {problem["place"]: problem["reason"] for problem in answer.body["problems"]}
    assert found["graph.nodes.hello.prompts.0"] == "prompt helo is missing in language en"
    assert found["graph.nodes.hours.country"] == "no public holidays of XX are known"
    assert found["graph.nodes.w.queue"] == "there is no queue nobody"
    assert found["graph.nodes.sub.flow"] == "there is no flow missing"
    assert found["graph.nodes.lost"] == "is not reached from the start"
    assert found["graph.languages"] == "lacks de, in which a DID starts this flow"
    assert "graph.nodes.odd.flow" in found
    assert "stub" not in str(answer.body)
    assert (await api.get("/flows/main/draft")).status == 404
    assert (await api.post("/flows/main/check", {"graph": graph()})).body["problems"] == []
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"in": deep}
    assert "nested" in (await api.post("/flows/main/check", {"graph": deep})).fields["graph"]
    assert "nested" in (await api.put("/flows/main/draft", {"graph": deep})).fields["graph"]
