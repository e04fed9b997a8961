"""What comes after the conversation: the flow goes on when the agent is out, and a survey asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Caller, Phone
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, PhoneId
from pbx.wire import messages as wire
from tests.support.world import World
from tests.unit.test_call_nodes import digits, flow

SURVEY: dict[str, Any] = {
    "type": "survey",
    "questions": [
        {"id": "solved", "prompts": ["survey-solved"], "digits": "12"},
        {"id": "csat", "prompts": ["survey-rating"], "digits": "12345"},
    ],
    "next": "end",
}
QUEUE = {"type": "queue", "queue": "support", "on_refused": "end", "after": "rating"}
FLOW = flow("wait", wait=QUEUE, rating=SURVEY, end={"type": "hang_up", "prompts": ["goodbye"]})


def with_survey(**change: Any) -> dict[str, Any]:
    return FLOW | {"nodes": FLOW["nodes"] | {"rating": SURVEY | change}}


class Talk:
    def __init__(self, world: World) -> None:
        self.world = world

    async def begin(self, recorded: bool = True) -> Caller:
        world = self.world
        world.config.regimes = RegimeTable({}, Regime.NONE if recorded else Regime.PROHIBITED)
        self.anna: Phone = world.agent("anna")
        self.caller = await world.call()
        await world.until(lambda: self.caller.hears == "talk")
        await world.run(2)
        return self.caller

    def hang_up(self, phone: Phone) -> None:
        leg = self.world.engine.legs[phone.leg_id or LegId("")]
        self.world.engine.end_leg(leg, HangupCause.NORMAL_CLEARING)

    async def asked(self, prompt: str) -> None:
        await self.world.until(lambda: self.caller.hears == f"de/{prompt}", prompt)


@pytest.mark.parametrize("recorded", [True, False])
async def test_the_agent_hangs_up_and_the_caller_answers(tmp_path: Path, recorded: bool) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin(recorded)
        talk.hang_up(talk.anna)
        await talk.asked("survey-solved")
        assert world.state("anna")[2] == "WRAP_UP"
        assert not world.engine.recordings
        kinds = world.kinds(caller)
        if recorded:
            assert kinds.index("RecordingEnded") < len(kinds) - 1 - kinds[::-1].index("NodeEntered")
        caller.press("1")
        await talk.asked("survey-rating")
        await world.run(3)  # after the prompt
        caller.press("4")
        await talk.asked("survey-thanks")
        caller.press("5")
        cdr = await world.ended(caller)
        assert [(a.question, a.digit, a.agent_id, a.node) for a in cdr.survey] == [
            ("solved", "1", "anna", "rating"),
            ("csat", "4", "anna", "rating"),
        ]
        assert (cdr.nodes, cdr.end_reason, cdr.abandoned) == (["wait", "rating", "end"], "flow_ended", False)
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "agent_hung_up")]
        assert cdr.talk_s == pytest.approx(2, abs=0.2)
        assert len(cdr.recordings) == recorded
        assert not world.engine.legs
        assert not world.engine.bridges


async def test_the_caller_hangs_up_first(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW) as world:
        caller = await Talk(world).begin()
        caller.hang_up()
        cdr = await world.ended(caller)
        assert (cdr.nodes, cdr.end_reason, cdr.survey) == (["wait"], "caller_hung_up", [])


async def test_without_after_the_call_ends_with_the_agent(tmp_path: Path) -> None:
    graph = flow("wait", wait=QUEUE | {"after": "end"}, end={"type": "hang_up"})
    del graph["nodes"]["wait"]["after"]
    async with World(tmp_path, graph) as world:
        talk = Talk(world)
        caller = await talk.begin()
        talk.hang_up(talk.anna)
        cdr = await world.ended(caller)
        assert (cdr.nodes, cdr.end_reason) == (["wait"], "agent_hung_up")
        after = wire.TransferCall(call_id=cdr.call_id, after=True)
        assert await world.command(after) == "unknown-call"


async def test_wrong_digits_and_silence_end_the_survey(tmp_path: Path) -> None:
    async with World(tmp_path, with_survey(tries=3)) as world:
        talk = Talk(world)
        caller = await talk.begin()
        talk.hang_up(talk.anna)
        await talk.asked("survey-solved")
        caller.press("3")
        await talk.asked("invalid-choice")
        caller.press("2")  # an answer counts as soon as its question is being asked
        await talk.asked("survey-rating")
        cdr = await world.ended(caller)
        assert caller.heard.count("de/survey-rating") == 3
        assert caller.heard.count("de/no-input") == 2
        assert ([a.question for a in cdr.survey], "de/survey-thanks" in caller.heard) == (["solved"], False)
        assert cdr.nodes[-1] == "end"


async def test_the_caller_hangs_up_in_the_survey(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        talk.hang_up(talk.anna)
        await talk.asked("survey-solved")
        caller.press("1")
        await talk.asked("survey-rating")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert ([a.digit for a in cdr.survey], cdr.end_reason, cdr.abandoned) == (["1"], "caller_hung_up", False)


async def test_the_caller_hangs_up_while_the_recording_is_being_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        stop = world.engine.stop_recording

        async def slow(*args: Any) -> None:
            await world.run(3)
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        talk.hang_up(talk.anna)
        await world.run(1)
        assert caller.hears is None  # the survey waits for the recorder
        assert "rating" not in world.pop.calls[world.call_id(caller)].call.node  # type: ignore[operator]
        caller.hang_up()
        cdr = await world.ended(caller)
        assert (cdr.nodes, cdr.recordings[0].size_bytes != 0) == (["wait"], True)


async def test_answers_are_kept_where_the_flow_collects(tmp_path: Path) -> None:
    collect = {"type": "collect", "prompts": ["menu"], "variable": "x", "next": "wait", "on_failure": "end"}
    graph = FLOW | {"start": "first", "nodes": FLOW["nodes"] | {"first": collect}}
    async with World(tmp_path, graph) as world:
        world.config.regimes = RegimeTable({}, Regime.NONE)
        talk = Talk(world)
        talk.anna = world.agent("anna")
        talk.caller = caller = await world.call()
        await talk.asked("menu")
        for key in "77#":
            caller.press(key)
        await world.until(lambda: caller.hears == "talk")
        caller.press("9")
        talk.hang_up(talk.anna)
        await talk.asked("survey-solved")
        caller.press("1")
        await talk.asked("survey-rating")
        caller.press("5")
        await talk.asked("survey-thanks")
        caller.press("8")
        cdr = await world.ended(caller)
        assert [a.digit for a in cdr.survey] == ["1", "5"]
        assert digits(world, caller) == "????15?"


async def test_the_agent_hands_the_caller_to_the_survey(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        assert await world.command(wire.TransferCall(call_id=world.call_id(caller), after=True)) is None
        await talk.asked("survey-solved")
        assert world.state("anna")[2] == "WRAP_UP"
        assert talk.anna.leg_id not in world.engine.legs
        caller.hang_up()
        cdr = await world.ended(caller)
        assert ([t.ended for t in cdr.talks], cdr.abandoned) == (["handed_to_flow"], False)


async def test_nowhere_to_hand_the_caller_to(tmp_path: Path) -> None:
    graph = flow("wait", wait={k: v for k, v in QUEUE.items() if k != "after"}, end={"type": "hang_up"})
    async with World(tmp_path, graph) as world:
        caller = await Talk(world).begin()
        call_id = world.call_id(caller)
        assert await world.command(wire.TransferCall(call_id=call_id, after=True)) == "no_after"
        both = wire.TransferCall(call_id=call_id, after=True, queue_id="support")
        assert await world.command(both) == "bad_target"
        assert caller.hears == "talk"
        caller.hang_up()
        await world.ended(caller)


@pytest.mark.parametrize("beside", ["hold", "supervisor"])
async def test_the_agent_hangs_up_with_something_under_way(tmp_path: Path, beside: str) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        world.agent("boss", available=False)
        world.status("boss", "NOT_READY", "SUPERVISING")
        call_id = world.call_id(caller)
        if beside == "hold":
            assert await world.command(wire.HoldCall(call_id=call_id)) is None
        else:
            assert await world.command(wire.SuperviseCall(call_id=call_id, agent_id="boss", mode="listen")) is None
            await world.until(lambda: "SupervisionStarted" in world.kinds(caller))
        talk.hang_up(talk.anna)
        await talk.asked("survey-solved")
        await world.until(lambda: world.state("boss") == ("NOT_READY", "SUPERVISING", "IDLE"))
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [t.ended for t in cdr.talks] == ["agent_hung_up"]
        assert [s.ended for s in cdr.supervisions] == (["talk_ended"] if beside == "supervisor" else [])
        assert not world.engine.legs
        assert not world.engine.bridges


@pytest.mark.parametrize("answers", [True, False])
async def test_an_agent_who_hands_over_is_not_the_last_one(tmp_path: Path, answers: bool) -> None:
    """The survey comes when the consulted agent hangs up; where that one does not answer, after the next agent."""
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        boss = world.agent("boss", available=False)
        boss.behaviour = Answer.ANSWER if answers else Answer.NEVER
        consult = wire.ConsultAgent(call_id=world.call_id(caller), agent_id="boss")
        assert await world.command(consult) is None
        if answers:
            await world.until(lambda: "ConsultationStarted" in world.kinds(caller))
        else:
            world.agent("carl")
        talk.hang_up(talk.anna)
        last = boss if answers else world.engine.phones[PhoneId("carl")]
        await world.until(lambda: world.hears(caller.leg_id) == {last.phone_id})
        await world.run(1)
        talk.hang_up(last)
        await talk.asked("survey-solved")
        caller.press("2")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(a.digit, a.agent_id) for a in cdr.survey] == [("2", last.phone_id)]
        assert cdr.talks[-1].ended == "agent_hung_up"
        assert not world.engine.legs
        assert not world.engine.bridges


# --- with what else may come of a conversation -----------------------------------------------------------------------


async def test_the_survey_comes_after_a_consultation_not_during_it(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        world.agent("boss", available=False)
        call_id = world.call_id(caller)
        assert await world.command(wire.ConsultAgent(call_id=call_id, agent_id="boss")) is None
        await world.until(lambda: "ConsultationStarted" in world.kinds(caller))
        after = wire.TransferCall(call_id=call_id, after=True)
        assert await world.command(after) == "consultation_under_way"
        assert world.pop.calls[call_id].call.node == "wait"
        assert await world.command(wire.StepConsultation(call_id=call_id, step="cancel")) is None
        await world.until(lambda: world.hears(caller.leg_id) == {"anna"})
        assert await world.command(after) is None
        await talk.asked("survey-solved")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "handed_to_flow")]
        assert [c.ended for c in cdr.consultations] == ["cancelled"]


async def test_who_retrieves_a_parked_caller_is_the_one_the_survey_is_about(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW) as world:
        talk = Talk(world)
        caller = await talk.begin()
        bela = world.agent("bela", available=False)
        call_id = world.call_id(caller)
        assert await world.command(wire.ParkCall(call_id=call_id)) is None
        await world.until(lambda: caller.hears == "music:default")
        assert await world.command(wire.TransferCall(call_id=call_id, after=True)) == "not_in_conversation"
        assert await world.command(wire.RetrieveCall(call_id=call_id, agent_id="bela")) is None
        await world.until(lambda: world.hears(caller.leg_id) == {"bela"})
        await world.run(1)
        talk.hang_up(bela)
        await talk.asked("survey-solved")
        caller.press("1")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(a.digit, a.agent_id) for a in cdr.survey] == [("1", "bela")]
        assert [(t.agent_id, t.ended) for t in cdr.talks] == [("anna", "parked"), ("bela", "agent_hung_up")]
        assert not world.engine.legs
        assert not world.engine.bridges


@pytest.mark.parametrize("answers", [True, False])
async def test_a_caller_transferred_to_a_number_is_asked_only_after_an_agent(tmp_path: Path, answers: bool) -> None:
    """The conversation with the number ends the call; in vain, the caller is back with the agent."""
    number = "+49305550999"
    async with World(tmp_path, FLOW, wrap_up_s=1) as world:
        far = world.engine.callees[number] = Callee(number, None if answers else HangupCause.USER_BUSY)
        talk = Talk(world)
        caller = await talk.begin()
        call_id = world.call_id(caller)
        both = wire.TransferCall(call_id=call_id, number=number, after=True)
        assert await world.command(both) == "bad_target"
        assert await world.command(wire.TransferCall(call_id=call_id, number=number)) is None
        if answers:
            await world.until(lambda: far.leg_id in world.engine.legs, "the number")
            world.engine.pick_up(far.leg_id or LegId(""))
            await world.until(lambda: caller.hears == "talk")
            world.engine.end_leg(world.engine.legs[far.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)
        else:
            await world.until(lambda: world.kinds(caller).count("TalkStarted") == 2, "the agent again")
            talk.hang_up(talk.anna)
            await talk.asked("survey-solved")
            caller.press("2")
            caller.hang_up()
        cdr = await world.ended(caller)
        assert [a.digit for a in cdr.survey] == ([] if answers else ["2"])
        assert cdr.end_reason == ("outside_hung_up" if answers else "caller_hung_up")
        assert cdr.nodes == (["wait"] if answers else ["wait", "rating"])
        assert not cdr.abandoned
