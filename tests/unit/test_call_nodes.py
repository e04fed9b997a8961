"""Calls through the nodes that collect, decide, look up and run other flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Caller
from pbx.domain import events as ev
from pbx.domain.errors import LookupFailed
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.opening_hours import WEEKDAYS
from pbx.wire import messages as wire
from pbx.wire.codec import decode_event
from tests.support.world import CALLER, SHORT_FLOW, World

BYE = {"type": "hang_up"}
COLLECT: dict[str, Any] = {
    "type": "collect",
    "prompts": ["menu"],
    "variable": "account",
    "min_digits": 3,
    "max_digits": 6,
    "next": "good",
    "on_failure": "bad",
}


def flow(start: str = "node", **nodes: Any) -> dict[str, Any]:
    return {"start": start, "languages": ["de"], "nodes": nodes}


def collecting(**change: Any) -> dict[str, Any]:
    good = {"type": "say", "prompts": ["consent-granted"], "next": "end", "barge_in": False}
    bad = {"type": "hang_up", "prompts": ["goodbye"]}
    return flow(node=COLLECT | change, good=good, bad=bad, end=BYE)


def events(world: World, caller: Caller) -> list[ev.Event]:
    rows = world.journal.read_call(world.call_id(caller))
    return [event for row in rows if (event := decode_event(row.kind, row.data)) is not None]


def digits(world: World, caller: Caller) -> str:
    return "".join(event.digit for event in events(world, caller) if isinstance(event, ev.DigitPressed))


def variables(world: World, caller: Caller) -> dict[str, Any]:
    return world.pop.calls[world.call_id(caller)].call.context.variables


async def key_in(world: World, caller: Caller, keys: str, pause_s: float = 0.3) -> None:
    for key in keys:
        caller.press(key)
        await world.run(pause_s)


# --- collect --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "value"), [("1234#", "1234"), ("123456", "123456"), ("123", "123")])
async def test_digits_by_terminator_by_length_and_by_pause(tmp_path: Path, keys: str, value: str) -> None:
    async with World(tmp_path, collecting()) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, keys)
        await world.until(lambda: caller.hears == "de/consent-granted")
        assert variables(world, caller) == {"account": value}
        cdr = await world.ended(caller)
        assert cdr.nodes == ["node", "good", "end"]
        [found] = [event for event in events(world, caller) if isinstance(event, ev.DigitsCollected)]
        assert (found.count, found.digits) == (len(value), None)


async def test_the_journal_and_the_logs_do_not_have_the_digits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor those keyed in before the question, nor those after the answer."""
    graph = collecting(max_digits=4, terminator="none")
    graph |= {"start": "hello"}
    graph["nodes"]["hello"] = {"type": "say", "prompts": ["greeting"], "next": "node"}
    caplog.set_level("DEBUG")
    async with World(tmp_path, graph) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/greeting")
        await key_in(world, caller, "987654")
        assert variables(world, caller) == {"account": "9876"}
        await world.ended(caller)
        assert digits(world, caller) == "??????"
        written = b"".join(row.data for row in world.journal.read_call(world.call_id(caller)))
        assert b"9876" not in written
        assert "9876" not in caplog.text


async def test_the_key_that_skips_an_announcement_is_no_part_of_the_number(tmp_path: Path) -> None:
    graph = collecting(tries=1)
    graph |= {"start": "hello"}
    graph["nodes"]["hello"] = {"type": "say", "prompts": ["greeting"], "next": "node"}
    async with World(tmp_path, graph) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/greeting")
        caller.press("#")
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "123#")
        assert variables(world, caller) == {"account": "123"}
        await world.ended(caller)


async def test_digits_that_may_be_kept(tmp_path: Path) -> None:
    async with World(tmp_path, collecting(keep=True)) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "4711#")
        await world.ended(caller)
        assert digits(world, caller) == "4711#"
        [found] = [event for event in events(world, caller) if isinstance(event, ev.DigitsCollected)]
        assert found.digits == "4711"


async def test_choices_are_written_although_the_flow_collects(tmp_path: Path) -> None:
    graph = collecting()
    graph |= {"start": "choose"}
    graph["nodes"]["choose"] = {"type": "menu", "prompt": "menu", "choices": {"5": "node"}, "on_failure": "bad"}
    async with World(tmp_path, graph) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "5123#")
        await world.ended(caller)
        assert digits(world, caller) == "5????"


async def test_too_short_silent_and_wrong_keys_count_against_the_tries(tmp_path: Path) -> None:
    async with World(tmp_path, collecting(tries=4)) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "12#")
        await world.until(lambda: caller.heard.count("de/invalid-choice") == 1)
        await world.until(lambda: caller.heard.count("de/no-input") == 1)
        await key_in(world, caller, "1*34#")
        await world.until(lambda: caller.heard.count("de/invalid-choice") == 2)
        await key_in(world, caller, "#")
        cdr = await world.ended(caller)
        assert cdr.nodes == ["node", "bad"]
        assert "CollectFailed" in world.kinds(caller)


@pytest.mark.parametrize(("barge_in", "value"), [(True, "1234"), (False, "456")])
async def test_barge_in(tmp_path: Path, barge_in: bool, value: str) -> None:
    async with World(tmp_path, collecting(barge_in=barge_in)) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "1234#", 0.05)
        await world.until(lambda: caller.hears != "de/menu")
        if not barge_in:
            await key_in(world, caller, "456#")
        await world.until(lambda: caller.hears == "de/consent-granted")
        assert variables(world, caller) == {"account": value}
        await world.ended(caller)


async def test_the_terminator_after_the_last_possible_digit_chooses_nothing(tmp_path: Path) -> None:
    graph = collecting()
    graph["nodes"]["good"] = {
        "type": "menu",
        "prompt": "menu",
        "choices": {"#": "end", "1": "end"},
        "on_failure": "bad",
    }
    async with World(tmp_path, graph) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        await key_in(world, caller, "123456#")
        await world.run(1)
        assert world.cdr(world.call_id(caller)).nodes == ["node", "good"]
        caller.press("#")
        assert (await world.ended(caller)).nodes == ["node", "good", "end"]


async def test_a_pause_between_digits_and_no_prompt(tmp_path: Path) -> None:
    async with World(tmp_path, collecting(prompts=[], digit_timeout_s=2, timeout_s=10)) as world:
        caller = await world.call()
        await world.run(9)
        await key_in(world, caller, "1234", 1.8)
        await world.until(lambda: caller.hears == "de/consent-granted")
        assert variables(world, caller) == {"account": "1234"}
        await world.ended(caller)


# --- set, branch, hours ---------------------------------------------------------------------------------------------


async def test_variables_and_branches(tmp_path: Path) -> None:
    graph = flow(
        node={"type": "set", "values": {"tier": "gold", "who": "{caller}", "tries": 2}, "next": "copy"},
        copy={"type": "set", "values": {"tier": "{tries}", "tries": "{tier}", "gone": "{unset}"}, "next": "branch"},
        branch={
            "type": "branch",
            "conditions": [
                {"variable": "gone", "present": True, "next": "bad"},
                {"variable": "did", "prefix": "+43", "next": "bad"},
                {"variable": "caller_country", "in": ["AT", "CH"], "next": "bad"},
                {"variable": "tier", "less": 2, "next": "bad"},
                {"variable": "who", "equals": CALLER, "next": "second"},
            ],
            "otherwise": "bad",
        },
        second={
            "type": "branch",
            "conditions": [{"variable": "tries", "equals": "silver", "next": "bad"}],
            "otherwise": "end",
        },
        bad=BYE,
        end=BYE,
    )
    async with World(tmp_path, graph) as world:
        cdr = await world.ended(await world.call())
        assert cdr.nodes == ["node", "copy", "branch", "second", "end"]


async def test_a_loop_without_a_pause_ends_the_call(tmp_path: Path) -> None:
    graph = flow(
        node={"type": "set", "values": {"a": "{a}{a}x"}, "next": "again"},
        again={"type": "branch", "conditions": [{"variable": "a", "equals": "", "next": "end"}], "otherwise": "node"},
        end=BYE,
    )
    async with World(tmp_path, graph) as world:
        cdr = await world.ended(await world.call())
        assert (cdr.end_reason, len(cdr.nodes)) == ("flow_ended", 500)


HOURS: dict[str, Any] = {
    "type": "hours",
    "time_zone": "UTC",
    "weekly": {},
    "open": "open",
    "closed": "closed",
    "holiday": "holiday",
}


@pytest.mark.parametrize(
    ("change", "node"),
    [
        ({}, "closed"),
        ({"weekly": {day: ["00:00-24:00"] for day in WEEKDAYS}}, "open"),
        ({"holidays": ["2026-09-21"]}, "holiday"),
        ({"special": {"2026-09-21": ["00:00-24:00"]}, "holidays": ["2026-09-21"]}, "open"),
        ({"country": "DE"}, "closed"),
        ({"country": "JP"}, "holiday"),
    ],
)
async def test_hours(tmp_path: Path, change: dict[str, Any], node: str) -> None:
    """The day is 21 September 2026: Respect for the Aged Day in Japan."""
    graph = flow(node=HOURS | change, open=BYE, closed=BYE, holiday=BYE)
    async with World(tmp_path, graph) as world:
        assert not world.config.errors
        assert (await world.ended(await world.call())).nodes == ["node", node]


async def test_a_country_without_known_holidays_is_refused(tmp_path: Path) -> None:
    graph = flow(node=HOURS | {"country": "XX"}, open=BYE, closed=BYE, holiday=BYE)
    async with World(tmp_path) as world:
        world.configure("flow.main", wire.FlowConfig(flow_id="main", version=2, graph=graph))
        assert "no public holidays of XX" in world.config.errors["flow.main"]


# --- lookup ---------------------------------------------------------------------------------------------------------

LOOKUP: dict[str, Any] = {
    "type": "lookup",
    "url": "https://crm.example/{caller}/{path}",
    "headers": {"X-Who": "{path}"},
    "take": {"name": "customer.name", "score": "score"},
    "deadline_s": 2,
    "next": "branch",
    "on_failure": "bad",
}


def looking_up(**change: Any) -> dict[str, Any]:
    branch = {
        "type": "branch",
        "conditions": [{"variable": "score", "greater": 5, "next": "gold"}],
        "otherwise": "plain",
    }
    values = {"path": "a/../b?c\r\nd", "score": 9}
    first = {"type": "set", "values": values, "next": "node"}
    return flow("first", first=first, node=LOOKUP | change, branch=branch, gold=BYE, plain=BYE, bad=BYE)


@pytest.mark.parametrize(("keep", "kept"), [(False, {}), (True, {"name": "Ada", "score": 7})])
async def test_a_lookup_brings_variables(tmp_path: Path, keep: bool, kept: dict[str, Any]) -> None:
    async with World(tmp_path, looking_up(keep=keep)) as world:
        world.lookups.document = {"customer": {"name": "Ada"}, "score": 7}
        caller = await world.call()
        cdr = await world.ended(caller)
        assert cdr.nodes == ["first", "node", "branch", "gold"]
        [asked] = world.lookups.asked
        assert asked.url == "https://crm.example/%2B4917012345678/a%2F..%2Fb%3Fc%0D%0Ad"
        assert asked.headers == (("X-Who", "a/../b?cd"),)
        assert (asked.method, asked.body) == ("GET", None)
        assert CALLER[1:] not in repr(asked)
        [ended] = [event for event in events(world, caller) if isinstance(event, ev.LookupEnded)]
        assert (ended.status, ended.error, ended.values) == (200, "", kept)


async def test_what_is_not_in_the_answer_is_not_set(tmp_path: Path) -> None:
    async with World(tmp_path, looking_up()) as world:
        assert (await world.ended(await world.call())).nodes[-1] == "plain"


async def test_a_failed_lookup(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with World(tmp_path, looking_up()) as world:
        world.lookups.failure = LookupFailed("status", 500)
        caller = await world.call()
        assert (await world.ended(caller)).nodes == ["first", "node", "bad"]
        [ended] = [event for event in events(world, caller) if isinstance(event, ev.LookupEnded)]
        assert (ended.status, ended.error) == (500, "status")
        assert "a lookup failed: status" in caplog.text


async def test_a_late_answer_changes_nothing(tmp_path: Path) -> None:
    graph = looking_up()
    graph["nodes"]["bad"] = {"type": "say", "prompts": ["goodbye"] * 9, "next": "gold"}
    async with World(tmp_path, graph) as world:
        world.lookups.document, world.lookups.takes_s = {"score": 1}, 10
        caller = await world.call()
        await world.until(lambda: world.lookups.answered == 1)
        await world.run(0.1)
        assert "LookupEnded" in world.kinds(caller)
        assert variables(world, caller)["score"] == 9
        assert (await world.ended(caller)).nodes == ["first", "node", "bad", "gold"]


async def test_the_late_answer_of_one_lookup_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    graph = looking_up(on_failure="second")
    graph["nodes"]["second"] = LOOKUP | {"deadline_s": 10}
    async with World(tmp_path, graph) as world:
        world.lookups.document, world.lookups.takes_s = {"score": 1}, 5
        caller = await world.call()
        await world.until(lambda: len(world.lookups.asked) == 2)
        await world.until(lambda: world.lookups.answered == 1)
        world.lookups.document = {"score": 7}
        assert (await world.ended(caller)).nodes == ["first", "node", "second", "branch", "gold"]


async def test_a_caller_who_hangs_up_ends_the_lookup(tmp_path: Path) -> None:
    async with World(tmp_path, looking_up()) as world:
        world.lookups.takes_s = 2
        caller = await world.call()
        await world.until(lambda: bool(world.lookups.asked))
        caller.hang_up()
        assert (await world.ended(caller)).nodes == ["first", "node"]
        await world.run(5)
        assert world.lookups.answered == 0
        assert "LookupEnded" not in world.kinds(caller)


async def test_an_address_that_gets_too_long_is_not_asked(tmp_path: Path) -> None:
    long = {"path": "{" + "did}{".join([""] * 80) + "did}"}
    graph = looking_up(url="https://crm.example/" + "{path}/" * 8)
    graph["nodes"]["first"]["values"] = long
    async with World(tmp_path, graph) as world:
        assert (await world.ended(await world.call())).nodes == ["first", "node", "bad"]
        assert world.lookups.asked == []


# --- flows in flows -------------------------------------------------------------------------------------------------

SUB = flow(
    "hello",
    hello={"type": "say", "prompts": ["greeting"], "next": "value"},
    value={"type": "set", "values": {"from_sub": True}, "next": "back"},
    back={"type": "return"},
)


def running_sub(flow_id: str = "sub") -> dict[str, Any]:
    return flow(
        node={"type": "flow", "flow": flow_id, "next": "check"},
        check={
            "type": "branch",
            "conditions": [{"variable": "from_sub", "equals": True, "next": "good"}],
            "otherwise": "bad",
        },
        good=BYE,
        bad=BYE,
    )


async def test_a_flow_in_a_flow(tmp_path: Path) -> None:
    async with World(tmp_path, running_sub()) as world:
        world.put_flow("sub", SUB, version=7)
        caller = await world.call()
        cdr = await world.ended(caller)
        assert cdr.nodes == ["node", "hello", "value", "back", "check", "good"]
        assert (cdr.flow_id, cdr.flow_version) == ("main", 1)
        found = [event for event in events(world, caller) if isinstance(event, ev.SubFlowEntered)]
        assert [(event.flow_id, event.version) for event in found] == [("sub", 7)]
        assert "SubFlowLeft" in world.kinds(caller)


async def test_a_running_call_keeps_the_flows_it_may_still_come_to(tmp_path: Path) -> None:
    graph = flow(
        node={"type": "say", "prompts": ["menu"], "next": "sub"},
        sub={"type": "flow", "flow": "sub", "next": "end"},
        end=BYE,
    )
    async with World(tmp_path, graph) as world:
        world.put_flow("sub", flow(node={"type": "flow", "flow": "subsub", "next": "back"}, back={"type": "return"}))
        world.put_flow("subsub", SUB)
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        world.put_flow("subsub", flow(node=BYE), version=2)
        cdr = await world.ended(caller)
        assert cdr.nodes == ["node", "sub", "node", "hello", "value", "back", "back", "end"]


async def test_a_flow_that_the_pop_does_not_have_is_passed_over(tmp_path: Path) -> None:
    async with World(tmp_path, running_sub()) as world:
        assert (await world.ended(await world.call())).nodes == ["node", "check", "bad"]


async def test_a_return_from_nowhere_ends_the_call(tmp_path: Path) -> None:
    async with World(tmp_path, SUB) as world:
        cdr = await world.ended(await world.call())
        assert (cdr.nodes, cdr.cause) == (["hello", "value", "back"], HangupCause.NORMAL_CLEARING)


async def test_flows_that_run_each_other_end_the_call(tmp_path: Path) -> None:
    async with World(tmp_path, running_sub()) as world:
        world.put_flow("sub", running_sub("main"))
        cdr = await world.ended(await world.call())
        assert cdr.end_reason == "flow_ended"
        assert cdr.nodes == ["node"] * 9


# --- queue ----------------------------------------------------------------------------------------------------------


def queueing(**change: Any) -> dict[str, Any]:
    wait = SHORT_FLOW["nodes"]["wait"] | change
    first = {"type": "set", "values": {"agent": "bela"}, "next": "wait"}
    return flow("first", first=first, wait=wait, full=SHORT_FLOW["nodes"]["full"])


def with_skills(world: World, name: str, **skills: int) -> None:
    world.agent(name)
    named = {key.replace("_", ":"): value for key, value in skills.items()}
    config = wire.AgentConfig(
        agent_id=name, name=name, phone_id=name, ha1="0" * 32, skills={"support": 3, **named}, country="DE"
    )
    world.configure(f"agent.{name}", config)


async def talked_to(world: World, caller: Caller) -> str | None:
    await world.until(lambda: caller.hears == "talk")
    caller.hang_up()
    return (await world.ended(caller)).agent_id


async def test_needs_the_calls_language(tmp_path: Path) -> None:
    async with World(tmp_path, queueing(needs="language")) as world:
        with_skills(world, "anna", lang_en=5)
        with_skills(world, "bela", lang_de=1)
        assert await talked_to(world, await world.call()) == "bela"


async def test_needs_with_a_fallback(tmp_path: Path) -> None:
    fallback = {"after_s": 30, "skill": "lang:en", "least": 4}
    needs = [{"skill": "lang:{language}", "least": 2, "fallbacks": [fallback]}, {"skill": "{unset}"}]
    async with World(tmp_path, queueing(needs=needs)) as world:
        with_skills(world, "bela", lang_de=2)
        world.status("bela", "NOT_READY")
        with_skills(world, "anna", lang_en=5)
        caller = await world.call()
        await world.run(29)
        assert caller.hears != "talk"
        assert await talked_to(world, caller) == "anna"


async def test_the_preferred_agent_is_waited_for(tmp_path: Path) -> None:
    async with World(tmp_path, queueing(preferred="agent", preferred_s=20)) as world:
        world.agent("anna")
        world.agent("bela")
        await world.run(5)
        assert await talked_to(world, await world.call()) == "bela"
        world.status("bela", "NOT_READY")
        caller = await world.call()
        await world.run(15)
        assert caller.hears != "talk"
        assert await talked_to(world, caller) == "anna"


async def test_priority_goes_first(tmp_path: Path) -> None:
    async with World(tmp_path, queueing()) as world:
        early = await world.call()
        await world.run(30)
        world.put_flow("main", queueing(priority=1), version=2)
        late = await world.call()
        world.agent("anna").hangs_up_after_s = 1
        await world.ended(late)
        assert early.hears != "talk"
        assert (await world.ended(early)).agent_id == "anna"
