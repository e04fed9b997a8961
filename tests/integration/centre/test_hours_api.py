"""Shifts, opening hours, sites and what else says who gets which call, over REST."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.bootstrap import Centre
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.wire.messages import AgentConfig, HoursConfig, QueueConfig, WidenSitesStep
from tests.integration.centre.support import QUEUE, Api, agent

OFFICE: dict[str, Any] = {"time_zone": "Europe/Berlin", "weekly": {"mon": ["09:00-12:00", "13:00-17:00"]}}


Cases = list[tuple[dict[str, Any], str, str]]
"""What is changed, the field that is named, a part of the reason."""

BAD_QUEUES: Cases = [
    ({"hours": {**OFFICE, "time_zone": "Europe/Nowhere"}}, "hours.time_zone", "is not a time zone"),
    ({"hours": {**OFFICE, "weekly": {"mon": ["09:00-17:00", "late"]}}}, "hours.weekly.mon.1", "not an interval"),
    ({"hours": {**OFFICE, "special": {"2026-02-30": []}}}, "hours.special.2026-02-30", "is not a date"),
    ({"hours": {**OFFICE, "holidays": ["2026-12-24", "soon"]}}, "hours.holidays.1", "is not a date"),
    ({"hours": {**OFFICE, "country": "Bay"}}, "hours.country", "must be a country"),
    ({"hours": {**OFFICE, "country": "XX"}}, "hours.country", "no public holidays of XX"),
    ({"closing": "rush"}, "closing", "serve"),
    ({"closing_prompt": "bye"}, "closing_prompt", "goes with closing end"),
    ({"closing": "end", "closing_prompt": "no"}, "closing_prompt", "no prompt no"),
    ({"shift": "night"}, "shift", "first"),
    ({"sites": ["Not A Site"]}, "sites.0", "pattern"),
    ({"sites": [f"s{n}" for n in range(9)]}, "sites", "8"),
    (
        {
            "sites": [f"s{n}" for n in range(8)],
            "steps": [{"after_s": 1, "action": {"type": "widen_sites", "sites": ["t"]}}],
        },
        "sites",
        "more than 8",
    ),
    ({"last_agent_s": -1}, "last_agent_s", "greater"),
    ({"last_agent_days": 366}, "last_agent_days", "less"),
    ({"value_weight": 101}, "value_weight", "less"),
    ({"max_waiting": 0}, "max_waiting", "greater"),
]
BAD_AGENTS: Cases = [
    ({"shifts": {**OFFICE, "weekly": {"monday": []}}}, "shifts.weekly.monday", "must be one of mon"),
    ({"shifts": {**OFFICE, "time_zone": "Berlin"}}, "shifts.time_zone", "is not a time zone"),
    (
        {"shifts": {**OFFICE, "weekly": {"mon": ["22:00-06:00"], "tue": ["05:00-09:00"]}}},
        "shifts.weekly.tue.0",
        "overlaps shifts.weekly.mon.0",
    ),
    ({"shifts": {**OFFICE, "special": {"2026-12-24": ["24:30-25:00"]}}}, "shifts.special.2026-12-24.0", "24:00"),
    ({"shifts": {**OFFICE, "country": "DE"}}, "shifts.country", "not known"),
    ({"site": "Bonn am Rhein"}, "site", "pattern"),
    ({"capacity": {"voice": 2}}, "capacity.voice", "one caller at a time"),
    ({"capacity": {"chat": 3}}, "capacity.chat", "not known"),
]


@pytest.mark.parametrize(
    ("path", "body", "cases"),
    [("/queues", QUEUE, BAD_QUEUES), ("/agents", agent(), BAD_AGENTS)],
    ids=["queue", "agent"],
)
async def test_what_is_bad_is_refused_with_place_and_reason(
    api: Api, path: str, body: dict[str, Any], cases: Cases
) -> None:
    await api.new_pop()
    for change, field, reason in cases:
        answer = await api.post(path, {**body, **change})
        assert (answer.status, answer.error_id) == (422, "invalid")
        assert reason in answer.fields.get(field, ""), answer.fields
    assert (await api.get(path)).body["items"] == []


async def test_all_of_it_is_kept_and_sent_to_pops(api: Api, centre: tuple[Centre, str]) -> None:
    await api.new_pop()
    week = {**OFFICE, "special": {"2026-12-24": []}}
    made = await api.made("/agents", agent(shifts=week, site="bonn"))
    found = (await api.get(f"/agents/{made['agent_id']}")).body
    assert (found["shifts"], found["site"], found["capacity"]) == (week, "bonn", {"voice": 1})
    rules = {
        "hours": {**week, "holidays": ["2026-12-31"], "country": "DE-BY"},
        "closing": "end",
        "shift": "only",
        "sites": ["bonn"],
        "last_agent_s": 30.0,
        "last_agent_days": 7.0,
        "redial_s": 90.0,
        "value_weight": 2.0,
        "max_waiting": 5,
        "strategy": "same_pop_first",
        "steps": [{"after_s": 30.0, "action": {"type": "widen_sites", "sites": ["ulm"]}}],
    }
    await api.made("/queues", {"queue_id": "full", "name": "Full", **rules})
    await api.made("/queues", {"queue_id": "plain", "name": "Plain"})
    kept = (await api.get("/queues/full")).body
    assert {name: kept[name] for name in rules} == rules
    plain = (await api.get("/queues/plain")).body
    assert (plain["hours"], plain["shift"], plain["sites"], plain["last_agent_s"]) == (None, "any", [], 0.0)

    assert centre[0].database is not None
    async with centre[0].database.read() as session:
        sent = await UnitOfWork(session, 0.0).entities_of("de-fra-1")
    [there] = [one for one in sent if isinstance(one, AgentConfig)]
    queues = {one.queue_id: one for one in sent if isinstance(one, QueueConfig)}
    hours: dict[str, Any] = {"time_zone": "Europe/Berlin", "weekly": week["weekly"], "special": week["special"]}
    assert (there.shifts, there.site) == (HoursConfig(**hours), "bonn")
    assert queues["full"].hours == HoursConfig(**hours, holidays=["2026-12-31"], country="DE-BY")
    assert queues["full"].steps[0].action == WidenSitesStep(sites=("ulm",))
    changed = await api.put(f"/agents/{made['agent_id']}", {**agent(), "shifts": None})
    assert (changed.body["shifts"], changed.body["site"]) == (None, None)
