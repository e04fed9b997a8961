"""Callbacks over REST: asked of the DID's POP, known from its events, however often they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.config import CentreSettings
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallbackId, CallId, LegId, QueueId, derive
from pbx.wire.messages import CancelCallback, CommandReply, ScheduleCallback
from tests.integration.centre.support import Api, did, pop, until

START = 1_790_000_000.0
NUMBER, DID = E164("+4917012345678"), E164("+49305550100")
PROMISE = CallbackId(derive(START, "promise"))
ASKED_IN, FIRST, SECOND = (CallId(derive(START, name)) for name in ("asked", "first", "second"))


def requested(at: float = START, callback_id: CallbackId = PROMISE) -> ev.CallbackRequested:
    return ev.CallbackRequested(
        at=at, callback_id=callback_id, queue_id=QueueId("sales"), number=NUMBER, did=DID, trunk="carrier",
        language="de", entered_at=at, priority=0, needs=(), by="queue", call_id=ASKED_IN,
    )  # fmt: skip


def dialled(at: float, attempt: int) -> ev.CallbackDialled:
    return ev.CallbackDialled(
        at=at, callback_id=PROMISE, attempt=attempt, leg_id=LegId(f"leg-{attempt}"), did=DID, cli=cli_of(NUMBER),
        caller_country="DE", trunk="carrier", language="de", queue_id=QueueId("sales"), entered_at=START, priority=0,
        needs=(), ring_s=30.0, asked_in=ASKED_IN,
    )  # fmt: skip


async def test_a_callback_is_known_from_its_events(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:

        async def told(call_id: CallId | None, *events: ev.Event) -> None:
            await site.journal.append(call_id, events)
            site.link.events_waiting()

        async def is_in(state: str) -> Any:
            found = await api.get(f"/callbacks/{PROMISE}")
            return found.body if found.status == 200 and found.body["state"] == state else None

        await told(None, requested())
        waiting = await until(lambda: is_in("waiting"))
        assert (waiting["number"], waiting["requested_by"], waiting["asked_in"]) == (NUMBER, "queue", ASKED_IN)
        missed = ev.CallbackMissed(
            at=START + 40, callback_id=PROMISE, attempt=1, cause=HangupCause.NO_ANSWER, retry_at=START + 940
        )
        await told(FIRST, dialled(START + 10, 1))
        await until(lambda: is_in("calling"))
        await told(None, missed)
        again = await until(lambda: is_in("waiting"))
        assert (again["attempts"], again["call_id"], again["not_before"]) == (1, FIRST, "2026-09-21T14:29:00Z")
        reached = ev.CallbackReached(at=START + 950, callback_id=PROMISE, attempt=2)
        done = ev.CallbackDone(at=START + 970, callback_id=PROMISE, agent_id=AgentId("anna"))
        other = CallbackId(derive(START + 1, "other"))
        await told(SECOND, dialled(START + 940, 2), reached, done)
        await told(None, requested(START + 1, other))
        last = await until(lambda: is_in("done"))
        assert (last["attempts"], last["call_id"], last["agent_id"]) == (2, SECOND, "anna")
        site.journal._sent = 0  # the POP sends all of it again
        await told(None, ev.CallbackCancelled(at=START + 980, callback_id=other, by="api"))

        async def listed(query: str) -> list[str]:
            return [item["callback_id"] for item in (await api.get(f"/callbacks?{query}")).body["items"]]

        await until(lambda: listed("state=cancelled"))
        assert (await is_in("done")) == last
        assert await listed("queue_id=sales") == [other, PROMISE]
        assert await listed("state=done&number=%2B4917012345678") == [PROMISE]
        assert await listed("queue_id=billing") == []
        page = (await api.get("/callbacks?limit=1")).body
        assert [item["callback_id"] for item in page["items"]] == [other]
        rest = (await api.get(f"/callbacks?limit=1&cursor={page['next_cursor']}")).body
        assert [item["callback_id"] for item in rest["items"]] == [PROMISE]


async def test_scheduling_and_cancelling_are_the_pops(api: Api, settings: CentreSettings, tmp_path: Path) -> None:
    key = await api.new_site()
    body = {"did": DID, "queue_id": "sales", "number": NUMBER}
    async with pop(tmp_path / "j.db", settings.bus_port, key) as site:
        await site.journal.append(None, [requested()])
        site.link.events_waiting()

        async def known() -> bool:
            return (await api.get(f"/callbacks/{PROMISE}")).status == 200

        await until(known)
        site.handler.answer = lambda _request: CommandReply(callback_id=PROMISE, existing=True)
        made = await api.made("/callbacks", {**body, "not_before": "2026-09-21T15:00:00+02:00", "language": "en"})
        assert made == {"callback_id": PROMISE, "existing": True}
        assert (await api.delete(f"/callbacks/{PROMISE}")).status == 204
        assert [request.command for request in site.handler.commands] == [
            ScheduleCallback(did=DID, queue_id="sales", number=NUMBER, not_before=1_789_995_600.0, language="en"),
            CancelCallback(callback_id=PROMISE, by="api"),
        ]
        site.handler.answer = lambda _request: CommandReply(error_id="bad_number", detail="cannot be called")
        refused = await api.post("/callbacks", body)
        assert (refused.status, refused.error_id) == (409, "bad_number")
        asked = len(site.handler.commands)
        await api.made("/dids", did(number="+49305550101"))
        for wrong, status, error_id in (
            ({"did": "+49305550199"}, 404, "unknown_did"),
            ({"queue_id": "nothing"}, 404, "unknown_queue"),
            ({"number": "017012345678"}, 422, "invalid"),
            ({"not_before": "2026-09-21T15:00:00"}, 422, "invalid"),
        ):
            answer = await api.post("/callbacks", body | wrong)
            assert (answer.status, answer.error_id) == (status, error_id), wrong
        assert (await api.delete(f"/callbacks/{derive(START, 'nobody')}")).error_id == "unknown_callback"
        assert len(site.handler.commands) == asked
