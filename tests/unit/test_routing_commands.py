"""A queue's rules and the centre's commands about agents and waiting calls, through a whole POP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.controller import routing_commands
from pbx.domain import measured
from pbx.domain.ids import AgentId
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World


async def test_steps_from_the_wire_change_a_wait(tmp_path: Path) -> None:
    steps = (
        wire.QueueStepConfig(after_s=20, action=wire.RaisePriorityStep(by=2)),
        wire.QueueStepConfig(after_s=40, action=wire.RelaxSkillStep(skill="support", least=1)),
    )
    async with World(tmp_path, SHORT_FLOW, skills={"support": 3}, steps=steps, wrap_up_s=60) as world:
        world.agent("novice", skills={"support": 1})
        world.agent("expert", available=False)
        world.status("expert", "NOT_READY", "LUNCH")  # with nobody logged in who could, the steps would be skipped to
        caller = await world.call()
        call_id = world.call_id(caller)
        await world.until(lambda: "QueueJoined" in world.kinds(caller))

        asked = world.told(wire.ExplainWait(call_id=call_id, agent_id="novice"))
        assert asked.wait is not None
        assert asked.wait.position == 1
        [group] = asked.wait.groups
        assert group.requirement == {"support": 3}
        assert {one.because for one in group.reasons} == {"not_ready", "lacks_skill"}
        assert asked.wait.agent == [
            wire.WaitReason(because="lacks_skill", agents=1, skill="support", least=3, agent_id="novice")
        ]
        assert asked.wait.next_step_s == pytest.approx(20, abs=1)

        await world.run(25)
        later = world.told(wire.ExplainWait(call_id=call_id)).wait
        assert later is not None
        assert later.agent is None
        assert later.effective_priority == pytest.approx(2 + later.waited_s / 60, abs=0.01)
        assert world.state("novice")[2] == "IDLE"
        await world.until(lambda: world.state("novice")[2] == "ON_CALL")
        [chosen] = world.told(wire.ExplainChoice(call_id=call_id)).chosen or []
        assert (chosen.agent_id, chosen.queue_id, chosen.asked_by) == ("novice", "support", "call")
        assert (chosen.strategy, chosen.requirement, chosen.turn) == ("longest_idle", {"support": 1}, 0)
        assert chosen.waited_s == pytest.approx(40 + 2 * 60, abs=2)
        assert chosen.idle_s == pytest.approx(40, abs=2)
        assert routing_commands.carry_out(world.pop.router, wire.ExplainWait(call_id=call_id)).error_id == "not-waiting"
        caller.hang_up()
        await world.ended(caller)


async def test_the_estimate_of_a_wait_is_told_once_enough_was_measured(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=10) as world:
        world.agent("anna")
        for number in range(measured.ENOUGH + 1):
            caller = await world.call(f"+4917000000{number:02}")
            await world.until(lambda: world.state("anna")[2] == "ON_CALL")
            if number == 0:
                early = await world.call("+491709999999")
                await world.until(lambda early=early: "QueueJoined" in world.kinds(early))
                told = world.told(wire.ExplainWait(call_id=world.call_id(early))).wait
                assert told is not None
                assert told.estimate is None
                early.hang_up()
                await world.ended(early)
            await world.run(60)
            caller.hang_up()
            await world.ended(caller)
            await world.until(lambda: world.state("anna")[2] == "IDLE")
        talking = await world.call("+491701111111")
        await world.until(lambda: world.state("anna")[2] == "ON_CALL")
        waiting = await world.call("+491702222222")
        await world.until(lambda: "QueueJoined" in world.kinds(waiting))
        told = world.told(wire.ExplainWait(call_id=world.call_id(waiting))).wait
        assert told is not None
        assert told.estimate is not None
        assert told.estimate.agents == 1
        assert 20 < told.estimate.median_s <= told.estimate.p80_s < 140  # one agent, busy for a moment, 70 s a call
        for caller in (talking, waiting):
            caller.hang_up()
            await world.ended(caller)


async def test_wrap_up_is_extended_and_ended_by_command(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=30, wrap_up_max_s=50) as world:
        world.agent("anna")
        for command in (wire.EndWrapUp(agent_id="anna"), wire.ExtendWrapUp(agent_id="anna", by_s=5)):
            refused = routing_commands.carry_out(world.pop.router, command)
            assert (refused.error_id, refused.detail) == ("not-in-wrap-up", "the agent is IDLE, not in wrap-up")
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "ON_CALL")
        caller.hang_up()
        await world.ended(caller)
        assert world.state("anna")[2] == "WRAP_UP"
        world.told(wire.ExtendWrapUp(agent_id="anna", by_s=1000))
        await world.run(45)
        assert world.state("anna")[2] == "WRAP_UP"
        await world.run(10)
        assert world.state("anna")[2] == "IDLE"

        again = await world.call()
        await world.until(lambda: world.state("anna")[2] == "ON_CALL")
        again.hang_up()
        await world.ended(again)
        world.told(wire.EndWrapUp(agent_id="anna"))
        assert world.state("anna")[2] == "IDLE"


@pytest.mark.parametrize(
    ("command", "error_id"),
    [
        (wire.EndWrapUp(agent_id="nobody"), "unknown-agent"),
        (wire.ExplainWait(call_id="x", agent_id="nobody"), "unknown-agent"),
        (wire.ExplainWait(call_id="x"), "not-waiting"),
        (wire.ExplainChoice(call_id="x"), "not-offered"),
        (wire.SetAgentStatus(agent_id="anna", status="ASLEEP"), "bad-status"),
    ],
)
async def test_commands_that_cannot_be_carried_out(tmp_path: Path, command: wire.RoutingCommand, error_id: str) -> None:
    async with World(tmp_path) as world:
        world.agent("anna")
        before = world.state("anna")
        assert routing_commands.carry_out(world.pop.router, command).error_id == error_id
        assert world.state("anna") == before


async def test_the_cheapest_agent_is_chosen_where_the_queue_says_so(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, strategy="lowest_cost") as world:
        for name, cost in (("dear", 40.0), ("cheap", 15.0)):
            world.agent(name, available=False)
            config = wire.AgentConfig(
                agent_id=name, name=name, phone_id=name, ha1="0" * 32, skills={"support": 3}, country="DE", cost=cost
            )
            world.configure(f"agent.{name}", config)
            world.status(name, "AVAILABLE")
        caller = await world.call()
        await world.until(lambda: world.state("cheap")[2] == "ON_CALL")
        assert world.state("dear")[2] == "IDLE"
        caller.hang_up()
        await world.ended(caller)


async def test_why_one_agent_has_not_got_a_call_names_the_break_and_the_earlier_calls(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        world.status("anna", "NOT_READY", "LUNCH")
        first, second = await world.call("+491700000001"), await world.call("+491700000002")
        await world.until(lambda: "QueueJoined" in world.kinds(second))
        why = world.pop.router.why_not(world.call_id(second), AgentId("anna"))
        assert [(one.because.value, one.calls) for one in why] == [("not_ready", 0), ("earlier_calls", 1)]
        for caller in (first, second):
            caller.hang_up()
            await world.ended(caller)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strategy": "psychic"}, "strategy"),
        ({"no_agent": "sulk"}, "no_agent"),
        ({"steps": (wire.QueueStepConfig(after_s=-1, action=wire.RaisePriorityStep(by=1)),)}, "after_s"),
        ({"steps": (wire.QueueStepConfig(after_s=1, action=wire.RelaxSkillStep(skill="x", least=6)),)}, "least"),
    ],
)
async def test_rules_that_cannot_work_leave_the_former_in_force(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    async with World(tmp_path) as world:
        settings: dict[str, object] = {"queue_id": "support", "name": "s", "skills": {}, **change}
        world.configure("queue.support", wire.QueueConfig(**settings))  # type: ignore[arg-type]
        assert said in world.pop.heartbeat().config_errors["queue.support"]


async def test_those_who_wait_are_listed_the_longest_wait_first(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        callers = []
        for number in range(3):
            callers.append(await world.call(f"+4917000000{number:02}"))
            await world.until(lambda: "QueueJoined" in world.kinds(callers[-1]))
            await world.run(10)
        ids = [world.call_id(caller) for caller in callers]

        async def asked(**what: Any) -> wire.CommandReply:
            request = wire.CommandRequest(idempotency_key="k", deadline_at=0.0, command=wire.ListWaiting(**what))
            return await world.pop.command(request)

        every = await asked()
        assert [one.call_id for one in every.waiting] == ids
        assert [one.position for one in every.waiting] == [1, 2, 3]
        assert [round(one.waited_s, -1) for one in every.waiting] == [30, 20, 10]
        assert ({one.queue_id for one in every.waiting}, every.more) == ({"support"}, False)
        two = await asked(queue_id="support", limit=2)
        assert ([one.call_id for one in two.waiting], two.more) == (ids[:2], True)
        assert (await asked(queue_id="sales")).waiting == []
        for caller in callers:
            caller.hang_up()
            await world.ended(caller)
        assert (await asked()).waiting == []
