"""Who the caller is: the last agent comes first, and a customer's value is priority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain import last_agent
from pbx.domain.agent import Status
from pbx.domain.decisions import Remembered
from pbx.domain.e164 import E164
from pbx.domain.ids import AgentId, CallId, QueueId
from pbx.domain.last_agent import DAY_S, LastAgents
from pbx.domain.queue_rules import OverflowToQueue
from pbx.wire import messages as wire
from tests.support.world import CALLER, World
from tests.unit.test_call_nodes import events, flow, queueing, talked_to
from tests.unit.test_routing import Floor, Q, R, queue
from tests.unit.test_transfer import transfer

ANN, BOB = E164("+493011111111"), E164("+493022222222")


# --- the last agent ---------------------------------------------------------------------------------------------------


def served(floor: Floor, call: str, name: str, caller: E164 | None = ANN) -> None:
    """A call that ``name`` takes."""
    assert floor.call(call, caller=caller) == [(call, name)]
    floor.talk(call, name)


def two_agents(**rules: Any) -> Floor:
    """Anna has served Ann, and Bela is the longest idle."""
    floor = Floor(queue(last_agent_s=20.0, **rules))
    floor.agent("anna", x=1)
    floor.agent("bela", x=1)
    served(floor, "a", "anna")
    return floor


def test_the_last_agent_comes_before_the_strategy() -> None:
    floor = two_agents()
    assert floor.call("b", caller=BOB) == [("b", "bela")]
    floor.talk("b", "bela")
    assert floor.call("c", caller=BOB) == [("c", "bela")]  # by the strategy it would be anna's turn
    floor.talk("c", "bela")
    assert floor.call("d", caller=ANN) == [("d", "anna")]


def test_a_busy_last_agent_is_waited_for_so_long_and_no_longer() -> None:
    floor = two_agents()
    assert floor.call("other") == [("other", "bela")]
    assert floor.call("busy", caller=ANN) == [("busy", "anna")]
    floor.end("busy", "anna")
    assert floor.call("again", caller=ANN) == []
    assert floor.talk("other", "bela", 1) == []
    assert floor.reasons("again")[0][0] == "prefers"
    assert floor.wait(18) == []
    assert floor.wait(2) == [("again", "bela")]


def test_a_withheld_caller_has_no_last_agent_and_leaves_none() -> None:
    floor = Floor(queue(last_agent_s=20.0))
    floor.agent("anna", x=1)
    served(floor, "a", "anna", caller=None)
    assert len(floor.acd.last_agents) == 0


def test_nothing_is_remembered_where_the_queue_does_not_ask_for_it() -> None:
    floor = Floor(queue())
    floor.agent("anna", x=1)
    served(floor, "a", "anna")
    assert len(floor.acd.last_agents) == 0


def test_the_last_agent_is_of_one_queue_and_of_a_time() -> None:
    floor = two_agents(last_agent_days=2.0)
    floor.do(floor.acd.put_queue(queue(R, last_agent_s=20.0), floor.now))
    assert floor.call("b", R, caller=ANN) == [("b", "bela")]
    floor.talk("b", "bela")
    floor.wait(2 * DAY_S)
    floor.status("bela", Status.NOT_READY)
    floor.status("bela", Status.AVAILABLE)
    floor.now += 1
    floor.status("anna", Status.NOT_READY)
    floor.status("anna", Status.AVAILABLE)
    assert floor.call("c", caller=ANN) == [("c", "bela")]  # idle a moment longer; two days are over


@pytest.mark.parametrize("gone", ["logged out", "lost the skill", "removed"])
def test_a_last_agent_who_is_not_there_is_not_waited_for(gone: str) -> None:
    floor = two_agents()
    if gone == "logged out":
        floor.status("anna", Status.LOGGED_OUT)
    elif gone == "removed":
        floor.do(floor.acd.remove_agent(AgentId("anna"), floor.now))
    else:
        floor.agent("anna", y=1)
    assert floor.call("b", caller=ANN) == [("b", "bela")]
    assert not any(name.startswith("prefer:") for name in floor.timers)


def test_what_the_flow_prefers_comes_before_the_last_agent() -> None:
    floor = two_agents()
    assert floor.call("b", caller=ANN, preferred=AgentId("bela"), preferred_s=5.0) == [("b", "bela")]


def test_who_hands_a_caller_on_is_not_waited_for() -> None:
    floor = two_agents()
    assert floor.call("b", caller=ANN) == [("b", "anna")]
    floor.end("b", "anna")
    floor.now += 10
    assert floor.call("b", caller=ANN) == [("b", "bela")]  # handed on while anna is on the call
    released = floor.do(floor.acd.handle(CallId("b"), cmd.ReleaseAgent(AgentId("anna")), floor.now))
    assert released == []


def test_an_overflow_is_remembered_where_it_was_served() -> None:
    floor = Floor(queue(R, skills={"y": 1}, last_agent_s=20.0), queue(Q, (5, OverflowToQueue(R)), last_agent_s=20.0))
    floor.agent("yves", y=1)
    assert floor.call("a", caller=ANN) == [("a", "yves")]
    floor.talk("a", "yves")
    assert floor.acd.last_agents.who(R, ANN, 1, floor.now) == "yves"
    assert floor.acd.last_agents.who(Q, ANN, 1, floor.now) is None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_agent, "MAX_REMEMBERED", 3)
    memory = LastAgents(b"secret")
    for number in range(3):
        assert len(memory.served(Q, f"+49{number}", AgentId("a"), float(number))) == 1
    memory.served(Q, "+490", AgentId("a"), 3.0)  # served again: no longer the oldest
    kept = memory.served(Q, "+493", AgentId("a"), 4.0)
    assert [one.agent_id for one in kept] == ["a", None]
    assert len(memory) == 3
    assert memory.who(Q, "+490", 1, 5.0) == "a"
    assert memory.who(Q, "+491", 1, 5.0) is None


async def test_what_the_journal_keeps_names_no_caller(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    memory = LastAgents(journal.secret())
    for one in memory.served(Q, ANN, AgentId("anna"), 2e9):
        journal.remember(one)
    journal.remember(Remembered("gone", AgentId("bela"), 2e9))
    journal.remember(Remembered("gone", None, 2e9))
    journal.remember(Remembered("old", AgentId("bela"), 1000.0))
    journal.close()
    again = SqliteJournal(tmp_path / "journal.sqlite")
    known = again.remembered()
    assert [one.agent_id for one in known] == ["anna"]  # what is older than a year goes at the start
    assert LastAgents(again.secret(), known).who(Q, ANN, 1, 2e9) == "anna"
    assert LastAgents(b"another", known).who(Q, ANN, 1, 2e9) is None
    again.close()
    assert ANN[1:].encode() not in (tmp_path / "journal.sqlite").read_bytes()


async def test_the_last_agent_of_a_whole_pop_survives_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path, queueing(), last_agent_s=20) as world:
        world.agent("anna")
        await talked_to(world, await world.call())
    again = SqliteJournal(tmp_path / "journal.sqlite")
    memory = LastAgents(again.secret(), again.remembered())
    assert memory.who(QueueId("support"), CALLER, 1, world.clock()) == "anna"
    again.close()


# --- the customer's value ---------------------------------------------------------------------------------------------


def test_value_times_weight_is_priority() -> None:
    floor = Floor(queue(value_weight=2.0))
    floor.call("early")
    floor.wait(5 * 60)
    floor.call("dear", value=3.0)  # worth six minutes
    floor.call("late", value=0.5)
    assert floor.acd.waiting_calls(Q) == ["dear", "early", "late"]
    floor.do(floor.acd.put_queue(queue(value_weight=0.0), floor.now))
    assert floor.acd.waiting_calls(Q) == ["early", "dear", "late"]
    floor.acd.check()


def test_the_weight_is_that_of_the_queue_where_the_call_waits() -> None:
    floor = Floor(queue(R, skills={"y": 1}, value_weight=10.0), queue(Q, (5, OverflowToQueue(R)), value_weight=0.0))
    floor.agent("yves", y=1)
    floor.call("busy", R)
    floor.call("first", R)
    floor.call("dear", value=1.0)
    assert floor.acd.waiting_calls(R) == ["dear", "busy", "first"]


@pytest.mark.parametrize(
    ("value", "tier", "counts", "noted"),
    [
        ("{tier}", "7", 7.0, False),
        ("{tier}", 2.5, 2.5, False),
        (4, "", 4.0, False),
        ("{nothing}", "", 0.0, False),
        ("{tier}", "gold", 0.0, True),
        ("{tier}", "11", 0.0, True),
        ("{tier}", "-1", 0.0, True),
        ("{tier}", True, 0.0, True),
        ("1{tier}", "0", 10.0, False),
    ],
)
async def test_bad_values_count_as_none_and_are_noted(
    tmp_path: Path, value: str | int, tier: str | float | bool, counts: float, noted: bool
) -> None:
    graph = queueing(value=value)
    nodes = {**graph["nodes"], "tier": {"type": "set", "values": {"tier": tier}, "next": graph["start"]}}
    async with World(tmp_path, flow("tier", **nodes)) as world:
        caller = await world.call()
        await world.until(lambda: "QueueJoined" in world.kinds(caller), "waiting")
        waiting = world.pop.router.acd._waiting[world.call_id(caller)]
        assert waiting.value == counts
        told = [event for event in events(world, caller) if isinstance(event, ev.CustomerValueIgnored)]
        assert bool(told) is noted
        assert str(tier) not in repr(told) or not str(tier)


# --- a whole POP ------------------------------------------------------------------------------------------------------


async def test_a_closed_queue_sends_callers_on(tmp_path: Path) -> None:
    closed = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
    async with World(tmp_path, queueing(), hours=closed) as world:
        world.agent("anna")
        caller = await world.call()
        await world.ended(caller)
        refused = [event for event in events(world, caller) if isinstance(event, ev.QueueRefused)]
        assert [event.reason for event in refused] == ["closed"]


async def test_a_queue_with_holidays_of_nowhere_is_refused_by_the_pop(tmp_path: Path) -> None:
    async with World(tmp_path, queueing()) as world:
        hours = wire.HoursConfig(time_zone="Europe/Berlin", weekly={}, country="XX")
        world.configure("queue.other", wire.QueueConfig(queue_id="other", name="Other", skills={}, hours=hours))
        assert "XX" in world.config.errors["queue.other"]
        german = wire.HoursConfig(time_zone="Europe/Berlin", weekly={}, country="DE-BY")
        world.configure("queue.other", wire.QueueConfig(queue_id="other", name="Other", skills={}, hours=german))
        assert not world.config.errors


async def test_closing_plays_a_prompt_and_goes_on_as_after_a_timeout(tmp_path: Path) -> None:
    graph = queueing(on_timeout="late", max_wait_s=3600)
    graph["nodes"]["late"] = {"type": "hang_up", "prompts": ["goodbye"]}
    never = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
    async with World(tmp_path, graph) as world:
        caller = await world.call()
        await world.until(lambda: "QueueJoined" in world.kinds(caller), "waiting")
        config: dict[str, Any] = {"queue_id": "support", "name": "Support", "skills": {"support": 1}}
        closing = wire.QueueConfig(**config, hours=never, closing="end", closing_prompt="goodbye")
        world.configure("queue.support", closing)
        await world.ended(caller)
        told = [event for event in events(world, caller) if isinstance(event, ev.WaitEnded)]
        assert [(event.reason, event.target) for event in told] == [("closed", "goodbye")]
        entered = [event.node for event in events(world, caller) if isinstance(event, ev.NodeEntered)]
        assert entered[-1] == "late"


async def test_a_pop_rings_nobody_off_shift(tmp_path: Path) -> None:
    never = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
    async with World(tmp_path, queueing(), shift="only") as world:
        off: dict[str, Any] = {"name": "off", "ha1": "0" * 32, "skills": {"support": 5}, "country": "DE"}
        world.agent("off")
        world.configure("agent.off", wire.AgentConfig(agent_id="off", phone_id="off", shifts=never, **off))
        await world.run(5)
        world.agent("on")
        assert await talked_to(world, await world.call()) == "on"
        caller = await world.call()
        await world.until(lambda: "QueueJoined" in world.kinds(caller), "waiting")
        explain = wire.ExplainWait(call_id=world.call_id(caller), agent_id="off")
        wait = world.told(explain).wait
        assert wait is not None
        assert wait.agent is not None
        assert [reason.because for reason in wait.agent] == ["off_shift"]
        assert (wait.groups[0].requirement, wait.groups[0].classes) == ({"support": 1}, ["shift"])


async def test_a_caller_is_not_handed_to_an_agent_off_shift(tmp_path: Path) -> None:
    never = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
    async with World(tmp_path, queueing(), shift="only") as world:
        world.agent("anna")
        world.agent("bela")
        off: dict[str, Any] = {"name": "bela", "ha1": "0" * 32, "skills": {"support": 5}, "country": "DE"}
        world.configure("agent.bela", wire.AgentConfig(agent_id="bela", phone_id="bela", shifts=never, **off))
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        assert await transfer(world, caller, agent_id="bela") == "agent_off_shift"


async def test_after_hours_a_caller_is_handed_to_a_colleague(tmp_path: Path) -> None:
    async with World(tmp_path, queueing()) as world:
        world.agent("anna")
        world.agent("bela", available=False)
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        never = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
        config: dict[str, Any] = {"queue_id": "support", "name": "Support", "skills": {"support": 1}}
        world.configure("queue.support", wire.QueueConfig(**config, hours=never))
        world.status("bela", "AVAILABLE")
        assert await transfer(world, caller, agent_id="bela") is None
        await world.until(lambda: world.state("bela")[2] == "ON_CALL")
        assert (await talked_to(world, caller)) is not None
