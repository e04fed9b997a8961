"""Figures over the API: what was fed in by hand comes out, by every key, in the queue's own hours and days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import count, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from orchestrator.adapters.bus.client import Delivered
from orchestrator.bootstrap import Centre
from orchestrator.services.ingest import Ingest
from orchestrator.services.reports import Asked, By, Limits, has_agents, read
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId, QueueId, derive
from pbx.wire import subjects
from pbx.wire.codec import encode_event
from pbx.wire.messages import EventBatch, EventEnvelope
from tests.integration.centre.support import QUEUE, Api, until

DE, FR = "+493055501001", "+33155501001"
_NUMBER = count(1)
NORMAL = HangupCause.NORMAL_CLEARING


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def a_call(
    began_at: float,
    wait_s: float,
    *talks: tuple[str, float],
    queue: str = "sales",
    did: str = DE,
    cli: str = "",
) -> list[tuple[CallId | None, ev.Event]]:
    """A caller waits for ``wait_s`` and talks to each of ``talks`` (agent, seconds), or to nobody and gives up."""
    number = next(_NUMBER)
    call, leg, now = CallId(derive(began_at, number)), LegId(f"l{number}"), began_at + wait_s
    caller = cli_of(cli or f"+4917{number:08}")
    events: list[ev.Event] = [
        ev.LegOffered(at=began_at, leg_id=leg, did=E164(did), cli=caller, caller_country="DE", trunk="t"),
        ev.QueueJoined(at=began_at, queue_id=QueueId(queue), position=1),
    ]
    for place, (agent, talk_s) in enumerate(talks):
        events.append(ev.TalkStarted(at=now, agent_id=AgentId(agent), queue_id=QueueId(queue)))
        now += talk_s
        if place < len(talks) - 1:
            events.append(ev.TalkEnded(at=now, agent_id=AgentId(agent), reason="transferred"))
    events.append(ev.CallEnded(at=now, ended_at=now, reason=ev.EndReason.CALLER_HUNG_UP, cause=NORMAL))
    return [(call, event) for event in events]


def agent_is(moment: float, agent: str, state: str, status: str = "AVAILABLE") -> list[tuple[CallId | None, ev.Event]]:
    changed = ev.AgentChanged(at=moment, agent_id=AgentId(agent), status=status, reason=None, state=state)
    return [(None, changed)]


async def fed(centre: Centre, *parts: Sequence[tuple[CallId | None, ev.Event]], journal: str = "J") -> None:
    """Have the centre take these in, as one batch of a POP's journal in the order of their times."""
    assert centre.database is not None
    events = sorted((pair for part in parts for pair in part), key=lambda pair: pair[1].at)
    wired = [
        EventEnvelope(
            seq=seq, call_id=call, kind=type(event).__name__, at=event.at, data=msgspec.Raw(encode_event(event))
        )
        for seq, (call, event) in enumerate(events, 1)
    ]
    batch = msgspec.json.encode(EventBatch(pop_id="de-fra-1", journal_id=journal, events=wired))
    database = centre.database
    ingest = Ingest(database, lambda: None)
    await ingest.store([Delivered(subjects.events("de-fra-1"), batch, 1)])


async def figures(api: Api, **query: str) -> dict[str, Any]:
    answer = await api.get("/reports/figures", params=query)
    assert answer.status == 200, answer.body
    return dict(answer.body)


def only(found: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(found[name] for name in names)


DAY = {"since": "2026-03-02", "until": "2026-03-02", "time_zone": "Europe/Berlin"}
MORNING = at("2026-03-02T09:00+01:00")


async def test_by_every_key(api: Api, centre: tuple[Centre, str]) -> None:
    await fed(
        centre[0],
        a_call(MORNING, 10, ("anna", 60)),
        a_call(MORNING + 60, 30, ("anna", 20), ("ben", 100)),
        a_call(MORNING + 3700, 40),
        a_call(MORNING + 3800, 3),
        a_call(MORNING + 7300, 5, ("ben", 60), queue="support", did=FR),
        agent_is(MORNING - 100, "anna", "IDLE"),
        agent_is(MORNING + 8, "anna", "RINGING"),
        agent_is(MORNING + 10, "anna", "ON_CALL"),
        agent_is(MORNING + 70, "anna", "WRAP_UP"),
        agent_is(MORNING + 80, "anna", "IDLE"),
        agent_is(MORNING + 90, "anna", "ON_CALL"),
        agent_is(MORNING + 110, "anna", "WRAP_UP"),
        agent_is(MORNING + 130, "anna", "IDLE", "LOGGED_OUT"),
    )
    whole = (await figures(api, **DAY))["total"]
    assert only(whole, "offered", "answered", "abandoned", "short_abandons") == (5, 3, 2, 1)
    assert only(whole, "handled", "transferred") == (4, 1), "talk counts for each agent, the call once"
    assert whole["service_level"] == pytest.approx(2 / 4)
    assert whole["asa_s"] == pytest.approx(15)
    assert whole["abandon_share"] == pytest.approx(1 / 4)
    assert whole["talk_s"] == 240
    assert whole["wrap_up_s"] == 30
    assert whole["aht_s"] == pytest.approx(270 / 4)
    assert only(whole, "first_contacts", "fcr") == (3, 1.0)
    assert whole["ready_s"] == 100 + 8 + 10
    assert whole["busy_s"] == 2 + 60 + 10 + 20 + 20
    assert whole["occupancy"] == pytest.approx(112 / 230)

    found = await figures(api, by="queue", **DAY)
    assert [only(one, "key", "offered", "handled", "occupancy") for one in found["items"]] == [
        ("sales", 4, 3, pytest.approx(112 / 230)), ("support", 1, 1, None),
    ]  # fmt: skip
    assert found["total"] == whole
    found = await figures(api, by="agent", **DAY)
    names = ("key", "answered", "handled", "talk_s", "wrap_up_s", "transferred")
    assert [only(one, *names) for one in found["items"]] == [
        ("anna", 2, 2, 80, 30, 1), ("ben", 1, 2, 160, 0, 0),
    ]  # fmt: skip
    for by, keys in (("did", [DE, FR]), ("country", ["DE", "FR"])):
        found = await figures(api, by=by, **DAY)
        assert [one["key"] for one in found["items"]] == keys
    found = await figures(api, by="hour", **DAY)
    assert len(found["items"]) == 24
    assert [(one["key"], one["offered"]) for one in found["items"] if one["offered"]] == [
        ("2026-03-02T09:00:00+01:00", 2), ("2026-03-02T10:00:00+01:00", 2), ("2026-03-02T11:00:00+01:00", 1),
    ]  # fmt: skip
    assert found["total"] == whole
    # Two filters, and a key besides a filter: from the facts instead of the sums, and the same.
    found = await figures(api, by="agent", queue_id="support", **DAY)
    assert [only(one, "key", "answered", "talk_s") for one in found["items"]] == [("ben", 1, 60)]
    assert only(found["total"], "offered", "handled") == (1, 1)
    both = await figures(api, queue_id="sales", country="DE", **DAY)
    alone = await figures(api, queue_id="sales", **DAY)
    assert both["total"]["offered"] == alone["total"]["offered"] == 4
    of_agents = dict.fromkeys(("ready_s", "busy_s", "not_ready_s", "occupancy"))
    assert both["total"] == {**alone["total"], **of_agents}


async def test_days_and_hours_are_those_of_the_queue_across_a_clock_change(
    api: Api, centre: tuple[Centre, str]
) -> None:
    hours = {"time_zone": "Europe/Berlin", "weekly": {"mon": ["09:00-17:00"]}}
    await api.made("/queues", {**QUEUE, "hours": hours})
    await fed(
        centre[0],
        a_call(at("2026-10-24T23:59+02:00"), 10, ("anna", 5)),
        a_call(at("2026-10-25T00:00+02:00"), 10, ("anna", 5)),
        a_call(at("2026-10-25T02:30+02:00"), 10, ("anna", 5)),
        a_call(at("2026-10-25T02:30+01:00"), 10, ("anna", 5)),
        a_call(at("2026-10-25T23:59+01:00"), 10, ("anna", 5)),
        a_call(at("2026-10-26T00:00+01:00"), 10, ("anna", 5)),
    )
    period = {"since": "2026-10-24", "until": "2026-10-26", "queue_id": "sales"}
    days = await figures(api, by="day", **period)
    assert days["time_zone"] == "Europe/Berlin"
    assert [(one["key"], one["offered"]) for one in days["items"]] == [
        ("2026-10-24", 1), ("2026-10-25", 4), ("2026-10-26", 1),
    ]  # fmt: skip
    assert (days["items"][1]["since"], days["items"][1]["until"]) == (
        "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00",
    )  # fmt: skip
    sunday = await figures(api, by="hour", queue_id="sales", since="2026-10-25", until="2026-10-25")
    assert len(sunday["items"]) == 25
    twice = [(one["key"], one["offered"]) for one in sunday["items"] if "T02:" in one["key"]]
    assert twice == [("2026-10-25T02:00:00+02:00", 1), ("2026-10-25T02:00:00+01:00", 1)]
    heat = (await api.get("/reports/heat-map", params=period)).body
    assert heat["time_zone"] == "Europe/Berlin"
    busy = {(cell["weekday"], cell["hour"]): cell["offered"] for cell in heat["cells"] if cell["offered"]}
    assert busy == {(5, 23): 1, (6, 0): 1, (6, 2): 2, (6, 23): 1, (0, 0): 1}
    assert len(heat["cells"]) == 168
    # The same calls, looked at from elsewhere.
    utc = await figures(api, by="day", time_zone="UTC", since="2026-10-24", until="2026-10-26", queue_id="sales")
    assert [one["offered"] for one in utc["items"]] == [2, 4, 0]


async def test_a_long_period_is_the_sum_of_its_days(api: Api, centre: tuple[Centre, str]) -> None:
    """Whole days of UTC are read as such, the quarters at both ends one by one."""
    start = at("2026-05-01T00:00+05:30")
    await fed(centre[0], *(a_call(start + n * 5000, n % 50, ("anna", n)) for n in range(300)))
    period = {"since": "2026-05-01", "until": "2026-05-15", "time_zone": "Asia/Kolkata"}
    days = await figures(api, by="day", **period)
    whole = await figures(api, **period)
    of_queue = await figures(api, queue_id="sales", **period)
    assert whole["total"]["offered"] == sum(one["offered"] for one in days["items"]) == 260
    assert whole["total"] == days["total"]
    assert whole["total"] == of_queue["total"]


async def test_calling_again_unresolves_the_call_before(api: Api, centre: tuple[Centre, str]) -> None:
    await fed(centre[0], a_call(MORNING, 10, ("anna", 60), cli="+4917012345678"))
    total = (await figures(api, **DAY))["total"]
    assert only(total, "first_contacts", "fcr") == (1, 1.0)
    await fed(centre[0], a_call(MORNING + 86400, 10, cli="+4917012345678"), journal="K")

    async def unresolved() -> bool:
        return only((await figures(api, **DAY))["total"], "first_contacts", "fcr") == (1, 0.0)

    await until(unresolved, 5)  # answers are kept for a second


async def test_what_an_agent_did(api: Api, centre: tuple[Centre, str]) -> None:
    await fed(
        centre[0],
        a_call(MORNING, 10, ("anna", 60)),
        agent_is(MORNING - 100, "anna", "IDLE"),
        agent_is(MORNING + 10.5, "anna", "ON_CALL"),
        agent_is(MORNING + 70, "anna", "WRAP_UP"),
        agent_is(MORNING + 80, "anna", "IDLE"),
        agent_is(MORNING + 90, "anna", "IDLE", "NOT_READY"),
        agent_is(MORNING, "ben", "IDLE"),
    )
    answer = await api.get("/reports/agent-states", params={"agent_id": "anna", **DAY})
    call = (await api.get("/calls")).body["items"][0]["call_id"]
    assert [(one["status"], one["state"], one["call_id"], one["queue_id"]) for one in answer.body["items"]] == [
        ("AVAILABLE", "IDLE", None, "sales"),
        ("AVAILABLE", "ON_CALL", call, "sales"),
        ("AVAILABLE", "WRAP_UP", call, "sales"),
        ("AVAILABLE", "IDLE", None, None),
        ("NOT_READY", "IDLE", None, None),
    ]
    ends = [(one["began_at"], one["ended_at"]) for one in answer.body["items"]]
    assert all(before[1] == after[0] for before, after in pairwise(ends)), "nothing lies in between"
    assert ends[-1] == ("2026-03-02T08:01:30Z", None)
    assert not answer.body["truncated"]
    assert (await api.get("/reports/agent-states")).status == 422


async def test_agents_time_belongs_to_the_queue_it_led_to(api: Api, centre: tuple[Centre, str]) -> None:
    await fed(
        centre[0],
        a_call(MORNING, 10, ("anna", 50)),
        a_call(MORNING + 100, 20, ("anna", 30), queue="support"),
        a_call(MORNING + 900, 20, ("anna", 80), queue="support"),
        agent_is(MORNING - 100, "anna", "IDLE"),
        agent_is(MORNING + 5, "anna", "RINGING"),
        agent_is(MORNING + 10, "anna", "ON_CALL"),
        agent_is(MORNING + 60, "anna", "IDLE"),  # she does not answer: the next one has this time, too
        agent_is(MORNING + 80, "anna", "RINGING"),
        agent_is(MORNING + 90, "anna", "IDLE"),
        agent_is(MORNING + 115, "anna", "RINGING"),
        agent_is(MORNING + 120, "anna", "ON_CALL"),
        agent_is(MORNING + 150, "anna", "WRAP_UP"),
        agent_is(MORNING + 160, "anna", "IDLE"),  # this leads to nothing: no queue has it
        agent_is(MORNING + 400, "anna", "IDLE", "NOT_READY"),
        agent_is(MORNING + 800, "anna", "IDLE"),  # over an edge of two quarters
        agent_is(MORNING + 920, "anna", "ON_CALL"),
        agent_is(MORNING + 1000, "anna", "IDLE"),
    )
    found = await figures(api, by="queue", **DAY)
    assert {one["key"]: only(one, "ready_s", "busy_s", "occupancy") for one in found["items"]} == {
        "sales": (105, 55, pytest.approx(55 / 160)),
        "support": (20 + 25 + 120, 10 + 5 + 30 + 10 + 80, pytest.approx(135 / 300)),
    }
    hours = await figures(api, by="hour", queue_id="support", **DAY)
    assert [only(one, "ready_s", "busy_s") for one in hours["items"] if one["busy_s"]] == [(165, 135)]
    both = await figures(api, by="agent", queue_id="support", **DAY)
    assert [one["occupancy"] for one in both["items"]] == [None]


async def test_limits_hold_whatever_is_asked(centre: tuple[Centre, str]) -> None:
    await fed(
        centre[0],
        a_call(MORNING, 10, ("anna", 60)),
        a_call(MORNING, 10, ("ben", 60), queue="support", did=FR),
        a_call(MORNING, 10, ("anna", 60), queue="support"),
        agent_is(MORNING, "anna", "IDLE"),
        agent_is(MORNING + 60, "anna", "ON_CALL"),
    )
    assert centre[0].database is not None
    day, sales = int(MORNING) // 86400 * 86400, Limits(queues=frozenset({"sales"}))

    async def offered(by: By, limits: Limits, days: int = 1, **filters: str) -> dict[Any, int]:
        asked = Asked(day, day + days * 86400, ZoneInfo("Europe/Berlin"), by, filters, limits)
        mine = by in (By.NOTHING, By.QUEUE, By.HOUR) and set(filters) <= {"queue_id"}
        assert has_agents(asked) == (limits.pops is None and mine)
        sums = await read(centre[0].database, asked)  # type: ignore[arg-type]
        return {key: found["offered"] for key, found in sums.items() if found["offered"]}

    for days in (1, 30):
        assert await offered(By.NOTHING, sales, days) == {None: 1}
        assert await offered(By.QUEUE, sales, days) == {"sales": 1}
        assert await offered(By.AGENT, sales, days) == {"anna": 1}
        assert await offered(By.NOTHING, sales, days, queue_id="support") == {}
        assert await offered(By.NOTHING, sales, days, agent_id="anna") == {None: 1}
        assert await offered(By.COUNTRY, sales, days, did=FR) == {}
    assert sum((await offered(By.HOUR, sales)).values()) == 1
    assert await offered(By.NOTHING, Limits(queues=frozenset())) == {}
    assert await offered(By.QUEUE, Limits(pops=frozenset({"de-fra-1"}))) == {"sales": 1, "support": 2}
    assert await offered(By.QUEUE, Limits(pops=frozenset({"elsewhere"}))) == {}


async def test_what_is_asked_for_must_make_sense(api: Api) -> None:
    for query, field in (
        ({"by": "moon"}, "by"),
        ({"since": "2026-02-30"}, "since"),
        ({"since": "2026-03-01T10:00:00"}, "since"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "until"),
        ({"since": "0001-01-01", "until": "2026-03-01"}, "since"),
        ({"since": "2020-01-01", "until": "2026-03-01"}, "until"),
        ({"since": "2026-01-01", "until": "2026-05-01", "by": "hour"}, "until"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"country": "Germany"}, "country"),
        ({"colour": "blue"}, "colour"),
    ):
        answer = await api.get("/reports/figures", params=query)
        assert answer.status == 422, query
        assert any(name.split(".")[0] == field for name in answer.fields), (query, answer.fields)
    empty = await figures(api)
    assert only(empty["total"], "offered", "service_level", "asa_s", "occupancy") == (0, None, None, None)
