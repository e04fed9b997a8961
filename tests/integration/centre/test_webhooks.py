"""From a POP's journal to a customer's server: what is told, to whom, in which order, and through a killed centre."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from orchestrator.domain.webhook_kinds import KINDS
from pbx.domain import callback_events as cb
from pbx.domain import events as ev
from pbx.domain.e164 import E164
from pbx.domain.ids import AgentId, CallbackId, QueueId, derive
from tests.integration.centre.access_world import SCOPES, Scope, World, make_world
from tests.integration.centre.support import QUEUE, Api, TestPop, did, graph, pop, until
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_process import _environment, started
from tests.integration.centre.test_voicemails import a_message
from tests.support.ports import free_port
from tests.support.webhook_receiver import Received, Receiver

START = 1_790_000_000.0
LOOPBACK = "127.0.0.0/8"
TALK = ["LegOffered", "QueueJoined", "OfferMade", "TalkStarted", "RecordingEnded", "CallEnded"]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> CentreSettings:
    return CentreSettings(
        state_dir=tmp_path / "centre",
        database_url=SecretStr(database_url),
        api_port=0,
        bus_port=free_port(),
        webhook_networks=[ip_network(LOOPBACK)],
    )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().running() as running:
        yield running


async def hook(api: Api, url: str, *events: str, **more: Any) -> Any:
    return await api.made("/webhooks", {"url": url, "events": list(events) or ["*"], **more})


async def deliveries(api: Api, query: str = "") -> list[Any]:
    found = await api.get(f"/webhook-deliveries{query}")
    assert found.status == 200, found.body
    return list(found.body["items"])


async def append(site: TestPop, call: Any, events: list[Any]) -> None:
    await site.journal.append(call, events)
    site.link.events_waiting()


async def test_a_call_is_told_as_the_api_shows_it(
    api: Api, settings: CentreSettings, receiver: Receiver, tmp_path: Path
) -> None:
    key = await api.new_site()
    made = await hook(api, receiver.url())
    ended = await hook(api, receiver.url("/ended"), "CallEnded")
    call, recording, events = a_call("one")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await append(site, call, events)
        await until(lambda: len(receiver.at("/hook")) == 6 and receiver.at("/ended"))
    told = receiver.at("/hook")
    assert [one.kind for one in told] == TALK
    assert all(one.signed_with(made["secret"]) for one in told)
    assert not any(one.signed_with(ended["secret"]) for one in told)
    assert len({one.message_id for one in told}) == 6
    assert told[0].headers["content-type"] == "application/json"
    offered, _, rung, _, made_recording, record = (one.message for one in told)
    assert (offered["data"]["call_id"], offered["data"]["did"], offered["data"]["cli"]) == (
        call,
        "+49305550100",
        "withheld",
    )
    assert offered["timestamp"] == "2026-09-21T14:13:20Z"
    assert (rung["data"]["queue_id"], rung["data"]["agent_id"]) == ("sales", derive(0, "agent"))
    assert made_recording["data"] == (await api.get(f"/recordings/{recording}")).body
    assert record["data"] == (await api.get(f"/calls/{call}")).body
    [other] = receiver.at("/ended")
    assert (other.message_id, other.message) == (told[-1].message_id, record)

    async def all_noted() -> bool:
        return len(await deliveries(api, "?state=delivered")) == 7

    await until(all_noted)
    assert len(await deliveries(api, f"?state=delivered&webhook_id={ended['webhook_id']}&kind=CallEnded")) == 1
    assert len(await deliveries(api, f"?subject={call}&limit=4")) == 4
    page = (await api.get("/webhook-deliveries?limit=5")).body
    rest = (await api.get(f"/webhook-deliveries?limit=5&cursor={page['next_cursor']}")).body
    assert [len(page["items"]), len(rest["items"]), rest["next_cursor"]] == [5, 2, None]
    assert (await deliveries(api, "?state=dead")) == []


def promised(callback: CallbackId, queue: str) -> cb.CallbackRequested:
    return cb.CallbackRequested(
        at=START + 20,
        callback_id=callback,
        queue_id=QueueId(queue),
        number=E164("+49306667788"),
        did=E164("+49305550100"),
        trunk="t1",
        language="de",
        entered_at=START,
        priority=0,
        needs=(),
        by="flow",
    )


async def test_other_kinds(api: Api, settings: CentreSettings, receiver: Receiver, tmp_path: Path) -> None:
    key = await api.new_site()
    await hook(api, receiver.url(), "VoicemailLeft", "CallbackRequested", "CallbackMissed", "AgentChanged")
    call, voicemail, events = a_message("one", START)
    callback, agent_id = CallbackId(derive(START, "cb")), AgentId(derive(START, "agent"))
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await append(site, call, events)
        await append(site, None, [promised(callback, "sales")])
        await until(lambda: "CallbackRequested" in receiver.kinds())
        await append(
            site,
            None,
            [
                cb.CallbackMissed(at=START + 30, callback_id=callback, attempt=1, cause=None, retry_at=START + 900),
                ev.AgentChanged(at=START + 31, agent_id=agent_id, status="NOT_READY", reason="lunch", state="IDLE"),
            ],
        )
        await until(lambda: len(receiver.received) == 4)
    told = {one.kind: one.message["data"] for one in receiver.received}
    assert told["VoicemailLeft"] == (await api.get(f"/voicemails/{voicemail}")).body
    assert (told["CallbackRequested"]["state"], told["CallbackRequested"]["number"]) == ("waiting", "+49306667788")
    assert told["CallbackMissed"] == (await api.get(f"/callbacks/{callback}")).body
    assert told["AgentChanged"] == {
        "agent_id": agent_id,
        "pop_id": "de-fra-1",
        "status": "NOT_READY",
        "reason": "lunch",
        "state": "IDLE",
    }


async def test_the_document_says_what_is_sent(api: Api) -> None:
    document = (await api.get("/openapi.json")).body
    assert set(document["webhooks"]) == {*KINDS, "WebhookTest"}
    for name, entry in document["webhooks"].items():
        model, narrowed = entry["post"]["requestBody"]["content"]["application/json"]["schema"]["allOf"]
        assert narrowed["properties"]["type"]["const"] == name
        properties = document["components"]["schemas"][model["$ref"].rsplit("/", 1)[1]]["properties"]
        assert set(properties) == {"type", "timestamp", "data"}


async def test_a_units_webhook_gets_only_that_units_events(
    api: Api, settings: CentreSettings, receiver: Receiver, tmp_path: Path
) -> None:
    key = await api.new_pop()
    for unit in ("sales", "billing"):
        await api.made("/units", {"unit_id": unit, "name": unit})
        await api.made("/queues", {**QUEUE, "queue_id": unit, "unit_id": unit})
        await hook(api, receiver.url(f"/{unit}"), unit_id=unit)
    await api.made("/flows", {"flow_id": "main", "graph": graph()})
    await api.made("/dids", did(unit_id="billing"))
    await hook(api, receiver.url("/all"))
    agents = dict[str | None, AgentId]()
    for owner in ("sales", "billing", None):
        spec: dict[str, Any] = {"name": "Ada", "skills": {}, "country": "DE", "pop_id": "de-fra-1", "unit_id": owner}
        agents[owner] = AgentId((await api.made("/agents", spec))["agent_id"])
    in_queue, _, events = a_call("one")  # of the queue's unit, although its number is billing's
    message, _, left = a_message("two", START)  # in no queue: of its number's unit
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await append(site, in_queue, events)
        await append(site, message, left)
        for name in ("sales", "nobodys"):
            await append(site, None, [promised(CallbackId(derive(START, name)), name)])
        for agent_id in agents.values():
            changed = ev.AgentChanged(at=START, agent_id=agent_id, status="AVAILABLE", reason=None, state="IDLE")
            await append(site, None, [changed])
        last, _, more = a_call("last", START + 100)
        await append(site, last, more[-1:])
        total = 6 + 4 + 2 + 3 + 1
        await until(lambda: len(receiver.at("/all")) == total)

        async def none_waits() -> bool:
            return not await deliveries(api, "?state=waiting")

        await until(none_waits)

    def subjects(path: str) -> set[Any]:
        return {subject(one) for one in receiver.at(path)}

    assert subjects("/sales") == {in_queue, derive(START, "sales"), agents["sales"]}
    assert subjects("/billing") == {message, derive(START, "nobodys"), agents["billing"]}
    in_use = await api.delete("/units/billing")
    assert (in_use.status, in_use.error_id) == (409, "unit_in_use")


def subject(one: Received) -> Any:
    of_a_callback, data = one.kind.startswith("Callback"), one.message["data"]
    return data["callback_id" if of_a_callback else "agent_id" if one.kind == "AgentChanged" else "call_id"]


async def test_dead_letters_are_seen_and_sent_again(
    api: Api, settings: CentreSettings, receiver: Receiver, tmp_path: Path
) -> None:
    key = await api.new_site()
    path = "/webhooks/" + (made := await hook(api, receiver.url(), "CallEnded"))["webhook_id"]
    receiver.answer = lambda _received: 410
    call, _, events = a_call("one")
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await append(site, call, events)
        [dead] = await until(lambda: deliveries(api, "?state=dead"))
        assert (dead["error"], dead["status"], dead["attempts"], dead["subject"]) == ("gone", 410, 1, call)
        stopped = (await api.get(path)).body
        assert (stopped["active"], stopped["stopped_why"]) == (False, "gone")
        backlog = (await api.get(f"{path}/backlog")).body
        assert (backlog["waiting"], backlog["dead"], backlog["last_status"]) == (0, 1, 410)
        for refused in (
            await api.post(f"{path}/resend"),
            await api.post(f"{path}/test"),
            await api.post(f"/webhook-deliveries/{dead['delivery_id']}/resend"),
        ):
            assert (refused.status, refused.error_id) == (409, "webhook_inactive")
        other, _, more = a_call("meanwhile", START + 100)  # nothing is queued for an inactive one
        await append(site, other, more)
        await until(lambda: _there(api, other))

        receiver.answer = lambda _received: 200
        spec = {"url": made["url"], "events": ["CallEnded"]}
        assert (await api.put(path, spec)).body["stopped_why"] is None
        assert (await api.post(f"{path}/resend")).body == {"deliveries": 1}
        one = f"/webhook-deliveries/{dead['delivery_id']}"

        async def delivered(attempts: int) -> bool:
            found = (await api.get(one)).body
            return bool(found["state"] == "delivered" and found["attempts"] == attempts)

        await until(lambda: delivered(2))
        assert (await api.post(f"{one}/resend")).body["state"] == "waiting"  # once more: the receiver lost it
        await until(lambda: delivered(3))
        ids = [received.message_id for received in receiver.received]
        assert ids == [dead["message_id"]] * 3
        assert receiver.received[-1].message["data"]["call_id"] == call

        tested = await api.post(f"{path}/test")
        assert tested.status == 201
        await until(lambda: receiver.kinds()[-1] == "WebhookTest")
        assert receiver.received[-1].message_id == tested.body["message_id"]
        assert receiver.received[-1].signed_with(made["secret"])
    for unknown in ("0", "12345678901234567890", "x", "²"):
        assert (await api.get(f"/webhook-deliveries/{unknown}")).error_id == "unknown_delivery"
    assert (await api.delete(path)).status == 204
    assert await deliveries(api) == []


async def _there(api: Api, call: str) -> bool:
    return (await api.get(f"/calls/{call}")).status == 200


async def test_a_secret_is_renewed_while_the_former_one_still_signs(api: Api, receiver: Receiver) -> None:
    made = await hook(api, receiver.url())
    path = f"/webhooks/{made['webhook_id']}"
    renewed = (await api.post(f"{path}/secret")).body
    assert renewed["former_until"] is not None
    await api.post(f"{path}/test")
    await until(lambda: receiver.received)
    assert [receiver.received[0].signed_with(secret) for secret in (made["secret"], renewed["secret"])] == [True, True]
    leaked = (await api.post(f"{path}/secret", {"keep_former_s": 0})).body
    assert leaked["former_until"] is None
    await api.post(f"{path}/test")
    await until(lambda: len(receiver.received) == 2)
    secrets = (made["secret"], renewed["secret"], leaked["secret"])
    assert [receiver.received[1].signed_with(secret) for secret in secrets] == [False, False, True]


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "http://93.184.216.34/"])
async def test_addresses_that_could_never_be_reached_are_refused(api: Api, url: str) -> None:
    refused = await api.post("/webhooks", {"url": url, "events": ["*"]})
    assert refused.fields == {"url": "is an address that webhooks may not reach"}


async def test_who_may_not_listen_is_told_nothing_of_recordings(
    api: Api, centre: tuple[Centre, str], settings: CentreSettings, receiver: Receiver, tmp_path: Path
) -> None:
    world: World = await make_world(api, centre[0])
    engineer, admin = await world.caller("engineer", SCOPES["sales"]), await world.caller("admin", SCOPES["sales"])
    url, whole = receiver.url(), await world.caller("engineer", Scope())
    for kind in ("RecordingEnded", "RecordingErased", "VoicemailLeft"):
        refused = await api.post("/webhooks", {"url": url, "events": [kind], "unit_id": "sales"}, headers=engineer)
        assert list(refused.fields) == ["events"]
    spec = {"url": url, "events": ["*"], "unit_id": "sales"}
    for outside in ({"unit_id": "billing"}, {"unit_id": None}):
        assert list((await api.post("/webhooks", {**spec, **outside}, headers=engineer)).fields) == ["unit_id"]
    assert (await api.post("/webhooks", spec, headers=await world.caller("engineer", SCOPES["eu"]))).status == 403
    deaf = (await api.post("/webhooks", spec, headers=engineer)).body
    hears = (await api.post("/webhooks", {**spec, "url": receiver.url("/hears")}, headers=admin)).body
    assert (deaf["listens"], hears["listens"]) == (False, True)
    call, _, events = a_call("one")
    events = [
        ev.QueueJoined(at=one.at, queue_id=QueueId("q-sales"), position=1)
        if isinstance(one, ev.QueueJoined)
        else ev.TalkStarted(at=one.at, agent_id=one.agent_id, queue_id=QueueId("q-sales"))
        if isinstance(one, ev.TalkStarted)
        else one
        for one in events
    ]
    key = (await api.post("/pops/de-fra-1/key")).body["key"]
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await append(site, call, events)
        await until(lambda: len(receiver.at("/hears")) == 6 and len(receiver.at("/hook")) == 5)
    assert "RecordingEnded" not in receiver.kinds()
    # An engineer who turns an admin's webhook to another address does not get recordings by it either.
    turned = await api.put(f"/webhooks/{hears['webhook_id']}", spec, headers=whole)
    assert (turned.status, turned.body["listens"]) == (200, False)
    assert (
        await api.get(f"/webhooks/{deaf['webhook_id']}", headers=await world.caller("engineer", SCOPES["eu"]))
    ).status == 404


async def test_deliveries_outlast_kill_9(database_url: str, receiver: Receiver, tmp_path: Path) -> None:
    """The centre dies in the middle of deliveries and again while events come in: each message arrives, those of a call
    in their order, and what comes twice has the same id and says the same."""
    environment = _environment(
        tmp_path / "centre",
        bus_port=str(bus := free_port()),
        database_url=database_url,
        webhook_networks=f'["{LOOPBACK}"]',
    )
    calls = [a_call(f"c{n}", START + n) for n in range(30)]
    token = key = ""
    for round_ in range(3):
        async with started(environment) as running:
            assert running.process.stdout is not None
            if not token:
                token = (await running.process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session:
                api = Api(session)
                if not key:
                    key = await api.new_pop()
                    await hook(api, receiver.url())
            async with pop(tmp_path / "j.db", bus, key) as site:
                for call, _, events in calls[10 * round_ : 10 * round_ + 10]:
                    await append(site, call, events)
                if round_ == 2:
                    await until(lambda: len(by_id(receiver)) == 30 * len(TALK), 60)
                else:
                    so_far = len(receiver.received)
                    await until(lambda so_far=so_far: len(receiver.received) > so_far + 10)
                    running.process.kill()
                    await running.process.wait()
    for call, _, _ in calls:
        firsts = dict.fromkeys(one.message_id for one in receiver.received if one.message["data"]["call_id"] == call)
        assert [by_id(receiver)[message].kind for message in firsts] == TALK
    for one in receiver.received:
        assert one.body == by_id(receiver)[one.message_id].body


def by_id(receiver: Receiver) -> dict[str, Received]:
    return {one.message_id: one for one in reversed(receiver.received)}
