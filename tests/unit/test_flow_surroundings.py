"""``callplane flow test``: time of day, lookups, flows that run flows, and what variables hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.simulation.flows.files import Unusable
from tests.unit.test_flow_cases import outcome, suite_of

HOURS: dict[str, Any] = {
    "start": "hours",
    "languages": ["de"],
    "nodes": {
        "hours": {
            "type": "hours",
            "time_zone": "Europe/Berlin",
            "weekly": {"mon": ["09:00-17:00"], "thu": ["09:00-17:00"]},
            "country": "DE",
            "open": "opened",
            "closed": "shut",
            "holiday": "feast",
        },
        "opened": {"type": "hang_up", "cause": "USER_BUSY"},
        "shut": {"type": "hang_up", "cause": "NO_ANSWER"},
        "feast": {"type": "hang_up", "cause": "CALL_REJECTED"},
    },
}


@pytest.mark.parametrize(
    ("zone", "at", "cause"),
    [
        ("Europe/Berlin", "2026-11-23 09:00", "USER_BUSY"),
        ("Europe/Berlin", "2026-11-23 08:59", "NO_ANSWER"),
        ("UTC", "2026-11-23 08:00", "USER_BUSY"),
        ("UTC", "2026-11-23 16:00", "NO_ANSWER"),
        ("Europe/Berlin", "2026-01-01 12:00", "CALL_REJECTED"),
    ],
)
def test_the_time_of_a_case_decides_hours_and_holidays(tmp_path: Path, zone: str, at: str, cause: str) -> None:
    suite = suite_of({"ends": {"hung_up": cause}}, flow=HOURS, did={"time_zone": zone})
    suite["cases"][0]["at"] = at
    failure = outcome(tmp_path, suite).failure
    assert failure is None, str(failure)


LOOKUP: dict[str, Any] = {
    "start": "crm",
    "languages": ["de"],
    "nodes": {
        "crm": {
            "type": "lookup",
            "url": "https://crm.example/{caller}",
            "deadline_s": 2,
            "take": {"tier": "customer.tier"},
            "next": "sub",
            "on_failure": "failed",
        },
        "sub": {"type": "flow", "flow": "greet", "next": "by-tier"},
        "by-tier": {
            "type": "branch",
            "conditions": [{"variable": "tier", "equals": "gold", "next": "wait"}],
            "otherwise": "failed",
        },
        "wait": {"type": "queue", "queue": "gold", "on_refused": "failed"},
        "failed": {"type": "hang_up", "prompts": ["goodbye"], "cause": "CALL_REJECTED"},
    },
}
GREET: dict[str, Any] = {
    "start": "hello",
    "languages": ["de"],
    "nodes": {
        "hello": {"type": "say", "prompts": ["greeting"], "next": "mark"},
        "mark": {"type": "set", "values": {"greeted": "{tier}!"}, "next": "back"},
        "back": {"type": "return"},
    },
}
GOLD: dict[str, Any] = {"json": {"customer": {"tier": "gold"}}}


def lookup_case(answer: Any, *steps: Any) -> dict[str, Any]:
    suite = suite_of(*steps, flow=LOOKUP, flows={"greet": GREET})
    suite["cases"][0]["lookups"] = {"crm": answer}
    return suite


def test_a_lookup_a_flow_in_a_flow_and_their_variables(tmp_path: Path) -> None:
    steps: list[Any] = [{"at": "hello"}, {"hears": ["greeting"]}, {"ends": {"queue": "gold"}}]
    failure = outcome(tmp_path, lookup_case(GOLD, *steps)).failure
    assert failure is None, str(failure)
    has = {"variables": {"tier": "gold", "greeted": "gold!", "caller": "+4917012345678", "other": None}}
    assert outcome(tmp_path, lookup_case(GOLD, {"at": "wait"}, has)).failure is None
    failure = outcome(tmp_path, lookup_case(GOLD, {"at": "wait"}, {"variables": {"tier": "silver"}})).failure
    assert failure is not None
    assert (failure.expected, failure.happened) == ("variable tier as silver", "it is gold")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 500, "json": {"customer": {"tier": "gold"}}},
        {"fails": "certificate"},
        {**GOLD, "after": "2s"},
        {"json": {"customer": {"tier": "lead"}}},
        [{"fails": "unreachable"}, GOLD],
    ],
)
def test_lookups_that_bring_nothing(tmp_path: Path, answer: Any) -> None:
    failure = outcome(tmp_path, lookup_case(answer, {"ends": {"hung_up": "CALL_REJECTED"}})).failure
    assert failure is None, str(failure)


def test_an_answer_that_is_just_in_time_counts(tmp_path: Path) -> None:
    suite = lookup_case({**GOLD, "after": "1900ms"}, {"ends": {"queue": "gold"}})
    assert outcome(tmp_path, suite).failure is None
    del suite["cases"][0]["lookups"]
    suite["cases"][0]["steps"] = [{"ends": {"hung_up": "CALL_REJECTED"}}]
    assert outcome(tmp_path, suite).failure is None, "without a script nothing is reached"


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        ({"at": "2026-11-23 09:00"}, "did.time_zone", "is missing"),
        ({"lookups": {"wait": {"status": 200}}}, "cases.0.lookups.wait", "names no lookup node"),
        ({"lookups": {"crm": {}}}, "cases.0.lookups.crm", "some of"),
        ({"lookups": {"crm": []}}, "cases.0.lookups.crm", "at least one"),
        ({"lookups": {"crm": {"fails": "mood"}}}, "cases.0.lookups.crm.fails", "must be one of"),
        ({"lookups": {"crm": {"status": 99}}}, "cases.0.lookups.crm.status", "status of HTTP"),
        ({"lookups": {"crm": {"after": "soon"}}}, "cases.0.lookups.crm.after", "must be a time"),
        ({"steps": [{"variables": {}}]}, "cases.0.steps.0.variables", "must be an object"),
        ({"steps": [{"variables": {"A": 1}}]}, "cases.0.steps.0.variables.A", "variable's name"),
        ({"steps": [{"variables": {"a": []}}]}, "cases.0.steps.0.variables.a", "must be a text"),
    ],
)
def test_bad_surroundings_of_a_case_are_refused(tmp_path: Path, change: Any, place: str, reason: str) -> None:
    suite = lookup_case(GOLD, "hangs_up")
    suite["cases"][0].update(change)
    with pytest.raises(Unusable, match=reason) as refused:
        outcome(tmp_path, suite)
    assert refused.value.place == place


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        ({"flows": {}}, "flows", "lacks flow greet"),
        ({"flows": []}, "flows", "must be an object"),
        ({"flows": {"greet": {**GREET, "start": "gone"}}}, "flows.greet", "names no node"),
        ({"flows": {"Greet!": GREET}}, "flows.Greet!", "is no flow id"),
        ({"did": {"time_zone": "Mars"}}, "did.time_zone", "is not a time zone"),
    ],
)
def test_bad_surroundings_are_refused(tmp_path: Path, change: Any, place: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        outcome(tmp_path, {**lookup_case(GOLD, "hangs_up"), **change})
    assert refused.value.place == place
