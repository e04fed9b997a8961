"""Each type of node is read whole, or refused with the field's place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.errors import BadValue
from pbx.domain.flow import Flow, _targets, parse
from pbx.domain.flow_nodes import CheckHours, Collect, Comparison, Condition, EnterQueue, LookUp, Mailbox, SkillNeed
from pbx.domain.ids import FlowId
from pbx.domain.logic_steps import holds
from pbx.domain.lookup_step import taken
from pbx.domain.variables import Value, evaluate, fill, number_of

WHOLE: dict[str, dict[str, Any]] = {
    "collect": {
        "prompts": ["menu"],
        "variable": "account",
        "min_digits": 4,
        "max_digits": 10,
        "terminator": "*",
        "timeout_s": 6,
        "digit_timeout_s": 2.5,
        "tries": 2,
        "barge_in": False,
        "keep": True,
        "invalid_prompt": "invalid-choice",
        "no_input_prompt": "no-input",
        "next": "end",
        "on_failure": "end",
    },
    "set": {"values": {"tier": "gold", "who": "{caller}", "n": 3, "vip": True}, "next": "end"},
    "branch": {
        "conditions": [
            {"variable": "tier", "equals": "gold", "next": "end"},
            {"variable": "caller_country", "in": ["DE", "AT"], "next": "end"},
            {"variable": "did", "prefix": "+49", "next": "end"},
            {"variable": "n", "less": 3, "next": "end"},
            {"variable": "n", "greater": 2.5, "next": "end"},
            {"variable": "who", "present": False, "next": "end"},
        ],
        "otherwise": "end",
    },
    "hours": {
        "time_zone": "Europe/Berlin",
        "weekly": {"mon": ["09:00-12:00", "13:00-18:00"], "fri": ["22:00-02:00"]},
        "special": {"2026-12-24": ["09:00-12:00"], "2026-12-31": []},
        "holidays": ["2026-12-25"],
        "country": "DE-BY",
        "open": "end",
        "closed": "end",
        "holiday": "end",
    },
    "lookup": {
        "url": "https://crm.example:8443/customers/{caller}?did={did}",
        "method": "POST",
        "headers": {"Authorization": "Bearer x", "X-Call": "{call_id}"},
        "send": {"account": "{account}"},
        "take": {"name": "customer.name", "agent": "customer.agents.0"},
        "deadline_s": 0.5,
        "keep": True,
        "next": "end",
        "on_failure": "end",
    },
    "callback": {
        "queue": "support",
        "number": "account",
        "prompt": "goodbye",
        "priority": 2,
        "needs": [{"skill": "lang:{language}", "least": 3}],
        "next": "end",
        "on_failure": "end",
    },
    "flow": {"flow": "opening", "next": "end"},
    "return": {},
    "transfer": {"number": "{manager_phone}", "ring_s": 20, "show_caller": True, "on_failure": "end"},
    "queue": {
        "queue": "support",
        "on_refused": "end",
        "priority": -1000,
        "needs": [
            {"skill": "lang:{language}", "least": 3, "fallbacks": [{"after_s": 30, "skill": "lang:en", "least": 2}]}
        ],
        "preferred": "agent",
        "preferred_s": 20,
        "after": "end",
    },
    "voicemail": {
        "mailbox": "support",
        "prompts": ["greeting", "voicemail-greeting"],
        "max_s": 60,
        "min_s": 2.5,
        "terminator": "*",
        "next": "end",
        "on_failure": "end",
    },
    "survey": {
        "questions": [
            {"id": "solved", "prompts": ["survey-solved"], "digits": "12"},
            {"id": "csat", "prompts": ["survey-rating"], "digits": "12345"},
        ],
        "timeout_s": 4,
        "tries": 3,
        "thanks": ["survey-thanks"],
        "invalid_prompt": "invalid-choice",
        "no_input_prompt": "no-input",
        "next": "end",
    },
}


def graph(kind: str, **change: Any) -> dict[str, Any]:
    node = {"type": kind, **WHOLE[kind], **change}
    node = {name: value for name, value in node.items() if value is not ...}
    end = {} if kind == "return" else {"end": {"type": "hang_up"}}
    return {"start": "node", "languages": ["de"], "nodes": {"node": node, **end}}


def read(kind: str, **change: Any) -> Any:
    return parse(FlowId("main"), 1, graph(kind, **change)).nodes["node"]


@pytest.mark.parametrize("kind", WHOLE)
def test_every_field_is_read(kind: str) -> None:
    node = read(kind)
    assert set(filter(None, _targets(node).values())) == ({"end"} if kind != "return" else set())


def test_what_was_read() -> None:
    collect, queue, hours, lookup = read("collect"), read("queue"), read("hours"), read("lookup")
    assert isinstance(collect, Collect)
    assert (collect.min_digits, collect.max_digits, collect.terminator, collect.keep) == (4, 10, "*", True)
    assert read("collect", terminator="none").terminator is None
    assert isinstance(queue, EnterQueue)
    assert queue.needs == (SkillNeed("lang:{language}", 3, ((30.0, "lang:en", 2),)),)
    assert (queue.priority, queue.preferred, queue.preferred_s) == (-1000, "agent", 20)
    assert read("queue", needs="language").needs == (SkillNeed("lang:{language}", 1),)
    assert isinstance(hours, CheckHours)
    assert [len(day) for day in hours.hours.weekly] == [2, 0, 0, 0, 1, 0, 0]
    assert isinstance(lookup, LookUp)
    assert lookup.deadline_s == 0.5
    assert read("voicemail").mailbox == Mailbox(
        name="support", prompts=("greeting", "voicemail-greeting"), max_s=60, min_s=2.5, terminator="*"
    )
    assert read("voicemail", terminator="none").mailbox.terminator is None
    assert [question.digits for question in read("survey").questions] == ["12", "12345"]


def test_what_the_flow_says_of_its_nodes() -> None:
    def flow(kind: str, **change: Any) -> Flow:
        return parse(FlowId("main"), 1, graph(kind, **change))

    assert flow("collect").prompt_ids() == {"menu", "invalid-choice", "no-input"}
    assert (flow("collect").has_secrets(), flow("collect", keep=False).has_secrets()) == (False, True)
    assert flow("flow").flow_ids() == {"opening"}
    assert flow("voicemail").prompt_ids() == {"greeting", "voicemail-greeting", "voicemail-tone"}
    assert flow("survey", thanks=[]).prompt_ids() == {"survey-solved", "survey-rating", "invalid-choice", "no-input"}
    assert _targets(flow("queue").nodes["node"])["after"] == "end"
    assert flow("hours").countries() == {"DE-BY"}
    conditions = [f"conditions.{at}.next" for at in range(6)]
    assert list(_targets(flow("branch").nodes["node"])) == [*conditions, "otherwise"]


def condition(**change: Any) -> dict[str, Any]:
    return {"conditions": [{"variable": "tier", "equals": "gold", "next": "end", **change}]}


def question(**change: Any) -> dict[str, Any]:
    whole = {"id": "solved", "prompts": ["survey-solved"], "digits": "12", **change}
    return {"questions": [{name: value for name, value in whole.items() if value is not ...}]}


def need(**change: Any) -> dict[str, Any]:
    return {"needs": [{"skill": "billing", **change}]}


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("collect", {"prompts": ...}, "prompts", "is missing"),
    ("collect", {"prompts": [""]}, "prompts.0", "must be a text"),
    ("collect", {"variable": ...}, "variable", "is missing"),
    ("collect", {"variable": "Account"}, "variable", "variable's name"),
    ("collect", {"variable": "caller"}, "variable", "every call has"),
    ("collect", {"min_digits": 0}, "min_digits", "from 1 to 32"),
    ("collect", {"max_digits": 3}, "max_digits", "from 4 to 32"),
    ("collect", {"max_digits": 33}, "max_digits", "from 4 to 32"),
    ("collect", {"terminator": "1"}, "terminator", "must be one of"),
    ("collect", {"timeout_s": 0.5}, "timeout_s", "from 1 to 60"),
    ("collect", {"digit_timeout_s": 61}, "digit_timeout_s", "from 0.5 to 60"),
    ("collect", {"tries": 10}, "tries", "from 1 to 9"),
    ("collect", {"barge_in": 1}, "barge_in", "true or false"),
    ("collect", {"keep": "yes"}, "keep", "true or false"),
    ("collect", {"invalid_prompt": ""}, "invalid_prompt", "must not be empty"),
    ("collect", {"no_input_prompt": 1}, "no_input_prompt", "must be a text"),
    ("collect", {"next": "gone"}, "next", "names no node"),
    ("collect", {"on_failure": "gone"}, "on_failure", "names no node"),
    ("set", {"values": {}}, "values", "at least one"),
    ("set", {"values": {"language": "de"}}, "values.language", "every call has"),
    ("set", {"values": {"a b": "x"}}, "values.a b", "variable's name"),
    ("set", {"values": {"a": None}}, "values.a", "text, a number, true or false"),
    ("set", {"values": {"a": float("nan")}}, "values.a", "text, a number"),
    ("set", {"values": {"a": 10**400}}, "values.a", "text, a number"),
    ("set", {"values": {"a": "x" * 1001}}, "values.a", "text, a number"),
    ("set", {"values": {"a": "{b"}}, "values.a", "brace"),
    ("set", {"values": {"a": "{}"}}, "values.a", "variable's name"),
    ("set", {"next": ...}, "next", "is missing"),
    ("transfer", {"number": ...}, "", "exactly one of number, queue and agent"),
    ("transfer", {"agent": "anna"}, "", "exactly one of number, queue and agent"),
    ("transfer", {"number": "030 555"}, "number", "E.164"),
    ("transfer", {"number": "{a b}"}, "number", "variable's name"),
    ("transfer", {"number": ..., "queue": "support"}, "show_caller", "goes with number only"),
    ("transfer", {"number": ..., "agent": "anna"}, "show_caller", "goes with number only"),
    ("transfer", {"number": ..., "show_caller": ..., "queue": "support"}, "ring_s", "number and agent only"),
    ("transfer", {"ring_s": 121}, "ring_s", "from 5 to 120"),
    ("transfer", {"show_caller": "yes"}, "show_caller", "true or false"),
    ("transfer", {"on_failure": "gone"}, "on_failure", "names no node"),
    ("transfer", {"on_failure": ...}, "on_failure", "is missing"),
    ("branch", {"conditions": []}, "conditions", "at least one"),
    ("branch", {"conditions": {}}, "conditions", "list of conditions"),
    ("branch", {"conditions": ["x"]}, "conditions.0", "must be an object"),
    ("branch", condition(variable=...), "conditions.0.variable", "must be a text"),
    ("branch", condition(variable="9"), "conditions.0.variable", "variable's name"),
    ("branch", condition(prefix="g"), "conditions.0", "exactly one of"),
    ("branch", condition(equals=[]), "conditions.0.equals", "text, a number"),
    ("branch", condition(surprise=1), "conditions.0.surprise", "not known"),
    ("branch", condition(next="gone"), "conditions.0.next", "names no node"),
    ("branch", {"conditions": [{"variable": "x", "in": [], "next": "end"}]}, "conditions.0.in", "at least one"),
    ("branch", {"conditions": [{"variable": "x", "in": [{}], "next": "end"}]}, "conditions.0.in.0", "text, a number"),
    ("branch", {"conditions": [{"variable": "x", "prefix": 4, "next": "end"}]}, "conditions.0.prefix", "a text"),
    ("branch", {"conditions": [{"variable": "x", "less": "4", "next": "end"}]}, "conditions.0.less", "a number"),
    ("branch", {"conditions": [{"variable": "x", "greater": None, "next": "end"}]}, "conditions.0.greater", "number"),
    ("branch", {"conditions": [{"variable": "x", "present": 1, "next": "end"}]}, "conditions.0.present", "true or"),
    ("branch", {"otherwise": "gone"}, "otherwise", "names no node"),
    ("hours", {"time_zone": ...}, "time_zone", "is missing"),
    ("hours", {"time_zone": "Europe/Atlantis"}, "time_zone", "not a time zone"),
    ("hours", {"time_zone": "../../etc/passwd"}, "time_zone", "not a time zone"),
    ("hours", {"time_zone": "Europe"}, "time_zone", "not a time zone"),
    ("hours", {"weekly": []}, "weekly", "must be an object"),
    ("hours", {"weekly": {"monday": []}}, "weekly.monday", "must be one of mon"),
    ("hours", {"weekly": {"mon": "09:00-12:00"}}, "weekly.mon", "list of intervals"),
    ("hours", {"weekly": {"mon": ["9-12"]}}, "weekly.mon.0", "not an interval"),
    ("hours", {"weekly": {"mon": ["09:00-24:01"]}}, "weekly.mon.0", "00:00 to 24:00"),
    ("hours", {"weekly": {"mon": ["24:00-02:00"]}}, "weekly.mon.0", "00:00 to 24:00"),
    ("hours", {"weekly": {"mon": ["09:60-12:00"]}}, "weekly.mon.0", "00:00 to 24:00"),
    ("hours", {"weekly": {"mon": ["09:00-09:00"]}}, "weekly.mon.0", "whole day"),
    ("hours", {"special": {"24.12.": []}}, "special.24.12.", "not a date"),
    ("hours", {"special": {"2026-02-30": []}}, "special.2026-02-30", "not a date"),
    ("hours", {"special": {"2026-12-24": [1]}}, "special.2026-12-24.0", "not an interval"),
    ("hours", {"holidays": ["20261225"]}, "holidays.0", "not a date"),
    ("hours", {"country": "Germany"}, "country", "must be a country"),
    ("hours", {"open": "gone"}, "open", "names no node"),
    ("hours", {"closed": ...}, "closed", "is missing"),
    ("hours", {"holiday": "gone"}, "holiday", "names no node"),
    ("lookup", {"url": "ftp://crm.example/"}, "url", "https address"),
    ("lookup", {"url": "https://{account}.example/"}, "url", "https address"),
    ("lookup", {"url": "https://user:secret@crm.example/"}, "url", "https address"),
    ("lookup", {"url": "https://crm.example/#top"}, "url", "fragment"),
    ("lookup", {"url": "https://crm.example/a b"}, "url", "https address"),
    ("lookup", {"url": "https://crm.example/{"}, "url", "brace"),
    ("lookup", {"method": "DELETE"}, "method", "must be one of"),
    ("lookup", {"headers": {"X": 1}}, "headers.X", "must be a text"),
    ("lookup", {"headers": {"X": "{"}}, "headers.X", "brace"),
    ("lookup", {"headers": {"X Y": "z"}}, "headers.X Y", "not a header"),
    ("lookup", {"headers": {"Host": "z"}}, "headers.Host", "not a header"),
    ("lookup", {"method": "GET"}, "send", "POST and PUT"),
    ("lookup", {"send": []}, "send", "must be an object"),
    ("lookup", {"take": {"did": "x"}}, "take.did", "every call has"),
    ("lookup", {"take": {"name": "a..b"}}, "take.name", "path"),
    ("lookup", {"take": {"name": 1}}, "take.name", "path"),
    ("lookup", {"deadline_s": 0.05}, "deadline_s", "from 0.1 to 10"),
    ("lookup", {"deadline_s": 11}, "deadline_s", "from 0.1 to 10"),
    ("lookup", {"keep": None}, "keep", "true or false"),
    ("lookup", {"next": "gone"}, "next", "names no node"),
    ("lookup", {"on_failure": ...}, "on_failure", "is missing"),
    ("flow", {"flow": ""}, "flow", "must not be empty"),
    ("flow", {"next": "gone"}, "next", "names no node"),
    ("return", {"next": "end"}, "next", "not known"),
    ("queue", {"priority": 1001}, "priority", "from -1000 to 1000"),
    ("queue", {"priority": 1.5}, "priority", "whole number"),
    ("queue", {"needs": "skill"}, "needs", "list of skills"),
    ("queue", need(skill=""), "needs.0.skill", "must not be empty"),
    ("queue", need(skill="{"), "needs.0.skill", "brace"),
    ("queue", need(least=6), "needs.0.least", "from 1 to 5"),
    ("queue", need(surprise=6), "needs.0.surprise", "not known"),
    ("queue", need(fallbacks=[{"skill": "x"}]), "needs.0.fallbacks.0.after_s", "is missing"),
    ("queue", need(fallbacks=[{"after_s": -1, "skill": "x"}]), "needs.0.fallbacks.0.after_s", "from 0 to"),
    ("queue", need(fallbacks=[{"after_s": 1, "skill": "x"}] * 16), "needs", "more than 16 combinations"),
    ("queue", {"preferred": "X"}, "preferred", "variable's name"),
    ("queue", {"preferred": ...}, "preferred_s", "goes together"),
    ("queue", {"preferred_s": 0}, "preferred_s", "from 1 to 3600"),
    ("queue", {"after": "gone"}, "after", "names no node"),
    ("voicemail", {"mailbox": ...}, "mailbox", "is missing"),
    ("voicemail", {"mailbox": "m" * 64}, "mailbox", "at most 63"),
    ("voicemail", {"prompts": []}, "prompts", "the caller is told"),
    ("voicemail", {"prompts": [1]}, "prompts.0", "must be a text"),
    ("voicemail", {"max_s": 0.5}, "max_s", "from 1 to 3600"),
    ("voicemail", {"min_s": -1}, "min_s", "from 0 to 60"),
    ("voicemail", {"max_s": 2}, "min_s", "not be longer than max_s"),
    ("voicemail", {"terminator": "5"}, "terminator", "must be one of"),
    ("voicemail", {"silence_s": 0.5}, "silence_s", "from 1 to 60"),
    ("voicemail", {"next": "gone"}, "next", "names no node"),
    ("voicemail", {"on_failure": ...}, "on_failure", "is missing"),
    ("survey", {"questions": []}, "questions", "from 1 to 20"),
    ("survey", {"questions": {}}, "questions", "list of questions"),
    ("survey", question(id=...), "questions.0.id", "is missing"),
    ("survey", question(id="q" * 64), "questions.0.id", "at most 63"),
    ("survey", {"questions": question()["questions"] * 2}, "questions.1.id", "another question"),
    ("survey", question(prompts=[]), "questions.0.prompts", "must not be empty"),
    ("survey", question(digits="1A"), "questions.0.digits", "different ones"),
    ("survey", question(digits="11"), "questions.0.digits", "different ones"),
    ("survey", question(digits=5), "questions.0.digits", "a text"),
    ("survey", question(next="end"), "questions.0.next", "not known"),
    ("survey", {"tries": 0}, "tries", "from 1 to 9"),
    ("survey", {"timeout_s": 0}, "timeout_s", "from 1 to 60"),
    ("survey", {"next": "gone"}, "next", "names no node"),
]


@pytest.mark.parametrize(("kind", "change", "field", "reason"), BAD)
def test_refused(kind: str, change: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as refused:
        read(kind, **change)
    assert refused.value.field == ".".join(filter(None, ("graph.nodes.node", field)))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(place=st.sampled_from([(kind, name) for kind, node in WHOLE.items() for name in node]), value=json)
def test_whatever_stands_there_it_is_parsed_or_refused(place: tuple[str, str], value: Any) -> None:
    kind, name = place
    try:
        read(kind, **{name: value})
    except BadValue as refused:
        assert refused.field.startswith("graph")  # noqa: PT017


# --- variables and conditions ---------------------------------------------------------------------------------------

KNOWN: dict[str, Value] = {"tier": "gold", "n": 3, "digits": "042", "vip": True, "empty": "", "ratio": 0.5}


@pytest.mark.parametrize(
    ("variable", "test", "operand", "expected"),
    [
        ("tier", Comparison.EQUALS, "gold", True),
        ("tier", Comparison.EQUALS, "silver", False),
        ("n", Comparison.EQUALS, "3", True),
        ("n", Comparison.EQUALS, 3.0, True),
        ("digits", Comparison.EQUALS, 42, True),
        ("digits", Comparison.EQUALS, "42", False),
        ("vip", Comparison.EQUALS, True, True),
        ("vip", Comparison.EQUALS, 1, False),
        ("gone", Comparison.EQUALS, "", False),
        ("tier", Comparison.IN, ("silver", "gold"), True),
        ("tier", Comparison.IN, ("silver",), False),
        ("digits", Comparison.PREFIX, "04", True),
        ("gone", Comparison.PREFIX, "0", False),
        ("n", Comparison.LESS, 3, False),
        ("n", Comparison.LESS, 3.5, True),
        ("digits", Comparison.GREATER, 41, True),
        ("tier", Comparison.GREATER, 0, False),
        ("vip", Comparison.GREATER, 0, False),
        ("gone", Comparison.LESS, 1, False),
        ("tier", Comparison.PRESENT, True, True),
        ("empty", Comparison.PRESENT, True, False),
        ("gone", Comparison.PRESENT, False, True),
    ],
)
def test_conditions(variable: str, test: Comparison, operand: Any, expected: bool) -> None:
    assert holds(Condition(variable, test, operand, "x"), KNOWN.get) is expected


def test_templates() -> None:
    assert fill("{tier}/{n}/{gone}/{vip}/{ratio}", KNOWN.get) == "gold/3//true/0.5"
    assert evaluate("{n}", KNOWN.get) == 3
    assert evaluate("{gone}", KNOWN.get) is None
    assert len(fill("{a}{a}", {"a": "x" * 900}.get)) == 1000
    assert [number_of(value) for value in ("1_0", "٣", "inf", "", "-1.5", True)] == [None, None, None, None, -1.5, None]


def test_what_is_taken_from_an_answer() -> None:
    document = {"customer": {"name": "Ada", "phones": ["1", "2"], "age": 36, "address": {}, "none": None}, "big": 1e400}
    paths = {"name": "customer.name", "second": "customer.phones.1", "age": "customer.age"}
    missing = {
        "a": "customer.address",
        "b": "customer.none",
        "c": "customer.phones.2",
        "d": "customer.name.x",
        "e": "big",
        "f": "customer.phones.-1",
    }
    assert taken(document, paths | missing) == {"name": "Ada", "second": "2", "age": 36}
    assert taken(["x"], {"first": "0"}) == {"first": "x"}
