"""Callers led out to a number: by the flow, by a queue, by an agent; and every way in which that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Caller
from pbx.domain.cdr import Cdr
from pbx.domain.commands import OriginateLeg, ToTrunk
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import WITHHELD, cli_of
from pbx.domain.errors import EngineRefused
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from pbx.wire import messages as wire
from tests.support.world import CALLER, DID, SHORT_FLOW, World

NUMBER = "+49305550999"


def out(**transfer: Any) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "transfer", "on_failure": "sorry"} | (transfer or {"number": NUMBER})
    nodes = {"out": node, "sorry": {"type": "hang_up", "prompts": ["goodbye"]}}
    return {"start": "out", "languages": ["de"], "nodes": nodes}


def callee(world: World, refusal: HangupCause | None = None, number: str = NUMBER) -> Callee:
    world.engine.callees[number] = found = Callee(number, refusal)
    return found


async def rings(world: World, far: Callee) -> LegId:
    await world.until(lambda: far.leg_id in world.engine.legs, "the outside number being rung")
    assert far.leg_id is not None
    return far.leg_id


async def talks_outside(world: World, caller: Caller, far: Callee) -> LegId:
    leg = await rings(world, far)
    world.engine.pick_up(leg)
    await world.until(lambda: caller.hears == "talk")
    return leg


def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[OriginateLeg]:
    seen, originate = [], world.engine.originate

    async def noted(leg: OriginateLeg) -> None:
        seen.append(leg)
        await originate(leg)

    monkeypatch.setattr(world.engine, "originate", noted)
    return seen


def only(cdr: Cdr) -> tuple[str, str | None, str | None, bool]:
    [forward] = cdr.forwards
    return forward.why, forward.number, forward.outcome, forward.answered_at is not None


# --- from a flow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["caller", "number"])
async def test_answered_and_hung_up(tmp_path: Path, who: str) -> None:
    async with World(tmp_path, out()) as world:
        far = callee(world)
        caller = await world.call()
        leg = await rings(world, far)
        assert caller.hears == "music:default"
        world.engine.pick_up(leg)
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(leg) == {"caller"}
        await world.run(30)
        if who == "caller":
            caller.hang_up()
        else:
            world.engine.end_leg(world.engine.legs[leg], HangupCause.NORMAL_CLEARING)
        cdr = await world.ended(caller)
        assert cdr.end_reason == ("caller_hung_up" if who == "caller" else "outside_hung_up")
        assert only(cdr) == ("flow", NUMBER, "answered", True)
        assert (cdr.forwards[0].kind, cdr.recordings, cdr.abandoned) == ("fixed", [], False)
        assert not world.engine.legs
        assert not world.engine.bridges


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (HangupCause.USER_BUSY, "busy"),
        (HangupCause.CALL_REJECTED, "rejected"),
        (HangupCause.UNALLOCATED_NUMBER, "unreachable"),
        (HangupCause.NETWORK_OUT_OF_ORDER, "failed"),
    ],
)
async def test_who_does_not_get_through_goes_on(tmp_path: Path, refusal: HangupCause, outcome: str) -> None:
    async with World(tmp_path, out()) as world:
        callee(world, refusal)
        caller = await world.call()
        cdr = await world.ended(caller)
        assert only(cdr) == ("flow", NUMBER, outcome, False)
        assert caller.heard[-1] == "de/goodbye"
        assert cdr.nodes == ["out", "sorry"]


async def test_nobody_answers(tmp_path: Path) -> None:
    async with World(tmp_path, out(number=NUMBER, ring_s=12)) as world:
        callee(world)
        caller = await world.call()
        cdr = await world.ended(caller)
        [forward] = cdr.forwards
        assert forward.outcome == "no_answer"
        assert (forward.ended_at or 0) - forward.started_at == pytest.approx(12, abs=0.1)
        assert caller.heard == ["music:default", "de/goodbye"]


async def test_the_caller_leaves_while_it_rings(tmp_path: Path) -> None:
    async with World(tmp_path, out()) as world:
        far = callee(world)
        caller = await world.call()
        await rings(world, far)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert only(cdr) == ("flow", NUMBER, "caller_gone", False)
        assert not world.engine.legs


@pytest.mark.parametrize("what", ["originate", "bridge"])
async def test_the_media_server_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    async def refuse(*_: Any) -> None:
        raise EngineRefused("no")

    async with World(tmp_path, out()) as world:
        far = callee(world)
        monkeypatch.setattr(world.engine, what, refuse)
        caller = await world.call()
        if what == "bridge":
            world.engine.pick_up(await rings(world, far))
        cdr = await world.ended(caller)
        assert only(cdr) == ("flow", NUMBER, "failed", False)
        assert caller.heard[-1] == "de/goodbye"
        assert not world.engine.legs


@pytest.mark.parametrize("keyed", ["09001123456", "112", "+14155550100", "5550100", ""])
async def test_a_number_that_may_not_be_called_is_not(tmp_path: Path, keyed: str) -> None:
    flow = out(number="{keyed}")
    flow["nodes"]["set"] = {"type": "set", "values": {"keyed": keyed}, "next": "out"}
    async with World(tmp_path, {**flow, "start": "set"}) as world:
        caller = await world.call()
        cdr = await world.ended(caller)
        assert only(cdr) == ("flow", None, "refused", False)
        assert cdr.forwards[0].reason
        assert "ForwardStarted" not in world.kinds(caller)
        assert caller.heard == ["de/goodbye"]


async def test_a_national_number_out_of_a_variable(tmp_path: Path) -> None:
    flow = out(number="{keyed}")
    flow["nodes"]["set"] = {"type": "set", "values": {"keyed": "030 555-0999"}, "next": "out"}
    async with World(tmp_path, {**flow, "start": "set"}) as world:
        far = callee(world)
        caller = await world.call()
        await talks_outside(world, caller, far)
        caller.hang_up()
        await world.ended(caller)


@pytest.mark.parametrize(
    ("show_caller", "cli", "shown"),
    [
        (False, CALLER, cli_of(DID)),
        (True, CALLER, cli_of(CALLER)),
        (True, "withheld", WITHHELD),
        (True, "", cli_of(DID)),
        (False, "withheld", cli_of(DID)),
    ],
)
async def test_what_the_number_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show_caller: bool, cli: str, shown: Any
) -> None:
    async with World(tmp_path, out(number=NUMBER, show_caller=show_caller)) as world:
        seen = asked(world, monkeypatch)
        far = callee(world)
        caller = await world.call(cli)
        await rings(world, far)
        assert [(leg.cli, leg.to) for leg in seen] == [(shown, ToTrunk("carrier", far.number))]  # type: ignore[arg-type]
        caller.hang_up()
        await world.ended(caller)


async def test_what_the_caller_keys_in_for_the_far_end_is_not_kept(tmp_path: Path) -> None:
    async with World(tmp_path, out()) as world:
        far = callee(world)
        caller = await world.call()
        await talks_outside(world, caller, far)
        caller.press("7")
        caller.hang_up()
        await world.ended(caller)
        digits = [e.data for e in world.journal.read_call(world.call_id(caller)) if e.kind == "DigitPressed"]
        assert len(digits) == 1
        assert b'"?"' in bytes(digits[0])


async def test_to_a_queue(tmp_path: Path) -> None:
    async with World(tmp_path, out(queue="support")) as world:
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        assert (await world.ended(caller)).queue_id == "support"


# --- from a flow, to one agent ---------------------------------------------------------------------------------------


async def test_to_an_agent(tmp_path: Path) -> None:
    async with World(tmp_path, out(agent="anna")) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        world.agent("bela")
        anna = world.agent("anna")
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"anna"}
        assert world.state("anna")[2] == "ON_CALL"
        assert anna.rung == 1
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(talk.agent_id, talk.queue_id) for talk in cdr.talks] == [("anna", "")]
        assert (cdr.agent_id, cdr.queue_id, cdr.recordings) == ("anna", None, [])
        assert world.state("anna")[2] == "WRAP_UP"
        await world.run(11)
        assert world.state("anna")[2] == "IDLE"


@pytest.mark.parametrize("why", ["not_ready", "no_answer", "nobody", "busy", "logged_out"])
async def test_an_agent_who_is_not_to_be_had(tmp_path: Path, why: str) -> None:
    async with World(tmp_path, out(agent="anna")) as world:
        if why != "nobody":
            anna = world.agent("anna", available=why != "logged_out")
            anna.behaviour = {"no_answer": Answer.NEVER, "busy": Answer.BUSY}.get(why, Answer.ANSWER)
        if why == "not_ready":
            world.status("anna", "NOT_READY", "LUNCH")
        before = world.state("anna") if why != "nobody" else None
        caller = await world.call()
        cdr = await world.ended(caller)
        assert caller.heard[-1] == "de/goodbye"
        assert cdr.talks == []
        assert before is None or world.state("anna") == before
        assert not world.engine.legs


async def test_the_caller_leaves_while_the_agent_is_rung(tmp_path: Path) -> None:
    async with World(tmp_path, out(agent="anna")) as world:
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        caller = await world.call()
        await world.until(lambda: anna.rung == 1)
        assert world.state("anna")[2] == "ENGAGED"
        caller.hang_up()
        await world.ended(caller)
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")


# --- from a queue ----------------------------------------------------------------------------------------------------


def step(after_s: float = 10, number: str = NUMBER, **more: Any) -> wire.QueueStepConfig:
    return wire.QueueStepConfig(after_s=after_s, action=wire.OverflowToNumberStep(number=number, **more))


async def test_a_queue_overflows_to_a_number(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, steps=(step(),), music_class="jazz") as world:
        far = callee(world)
        caller = await world.call()
        await rings(world, far)
        assert caller.hears == "music:jazz"
        await talks_outside(world, caller, far)
        await world.run(5)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert only(cdr) == ("queue", NUMBER, "answered", True)
        assert (cdr.abandoned, cdr.talks) == (False, [])
        assert cdr.wait_s == pytest.approx(10, abs=0.5)


async def test_in_vain_the_place_is_kept_and_the_number_is_rung_once(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, steps=(step(ring_s=20),)) as world:
        callee(world)
        first = await world.call()
        await world.run(5)
        second = await world.call()
        await world.run(60)
        acd = world.pop.router.acd
        (queue_id,) = {line.queue.queue_id for line in acd._lines.values()}
        assert acd.waiting_calls(queue_id) == [world.call_id(first), world.call_id(second)]
        assert world.kinds(first).count("ForwardStarted") == 1
        assert "de/queue-welcome" not in first.heard[2:]
        anna = world.agent("anna")
        await world.until(lambda: first.hears == "talk")
        assert anna.rung == 1
        first.hang_up()
        cdr = await world.ended(first)
        assert [forward.outcome for forward in cdr.forwards] == ["no_answer"]
        assert cdr.wait_s == pytest.approx(66, abs=1.5)
        second.hang_up()
        assert (await world.ended(second)).abandoned


@pytest.mark.parametrize("closing", ["serve", "end"])
async def test_who_comes_back_waits_on_as_the_same_customer(tmp_path: Path, closing: str) -> None:
    """The queue has closed meanwhile, which ends a wait only where the queue says so."""
    wait = SHORT_FLOW["nodes"]["wait"] | {"value": 4}
    flow = {**SHORT_FLOW, "nodes": SHORT_FLOW["nodes"] | {"wait": wait}}
    rules: dict[str, Any] = {"steps": (step(ring_s=20),), "value_weight": 2.0, "last_agent_s": 3600.0}
    async with World(tmp_path, flow, **rules) as world:
        callee(world)
        anna = world.agent("anna")
        before = await world.call()
        await world.until(lambda: before.hears == "talk")
        before.hang_up()
        await world.ended(before)
        world.status("anna", "NOT_READY", "LUNCH")
        caller = await world.call()
        call_id, acd = world.call_id(caller), world.pop.router.acd
        first = acd._waiting[call_id]
        assert first.preferred == "anna"
        await world.until(lambda: "ForwardStarted" in world.kinds(caller))
        hours = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
        closed = wire.QueueConfig(
            queue_id="support", name="Support", skills={"support": 1}, hours=hours, closing=closing, **rules
        )
        world.configure("queue.support", closed)
        await world.until(lambda: "ForwardEnded" in world.kinds(caller))
        await world.run(1)
        if closing == "end":
            assert (await world.ended(caller)).nodes == ["wait", "full"]
            return
        back = acd._waiting[call_id]
        assert back.line.closed
        assert (
            (back.value, back.caller, back.pop_id) == (first.value, first.caller, first.pop_id) == (4.0, CALLER, None)
        )
        assert back.place == first.place
        assert back.preferred is None  # anna has been waited for
        world.agent("bela")
        await world.until(lambda: caller.hears == "talk")
        assert anna.rung == 1
        caller.hang_up()
        await world.ended(caller)


async def test_a_second_number_follows_the_first(tmp_path: Path) -> None:
    other = "+49305550888"
    async with World(tmp_path, SHORT_FLOW, steps=(step(10), step(60, other))) as world:
        callee(world, HangupCause.USER_BUSY)
        far = callee(world, number=other)
        caller = await world.call()
        await talks_outside(world, caller, far)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(f.number, f.outcome) for f in cdr.forwards] == [(NUMBER, "busy"), (other, "answered")]
        assert cdr.forwards[1].started_at - (cdr.queued_at or 0) == pytest.approx(60, abs=0.5)


async def test_the_nodes_longest_wait_goes_on_counting(tmp_path: Path) -> None:
    wait = SHORT_FLOW["nodes"]["wait"] | {"max_wait_s": 40, "on_timeout": "full"}
    flow = {**SHORT_FLOW, "nodes": SHORT_FLOW["nodes"] | {"wait": wait}}
    async with World(tmp_path, flow, steps=(step(ring_s=20),)) as world:
        callee(world)
        caller = await world.call()
        cdr = await world.ended(caller)
        assert cdr.nodes == ["wait", "full"]
        assert (cdr.ended_at or 0) - (cdr.offered_at or 0) == pytest.approx(42, abs=0.5)


async def test_a_number_that_may_not_be_called_costs_the_caller_nothing(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, steps=(step(number="+14155550100"),)) as world:
        caller = await world.call()
        await world.run(20)
        world.agent("anna")
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        assert only(await world.ended(caller)) == ("queue", None, "refused", False)


async def test_who_hangs_up_while_the_overflow_rings_has_abandoned(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, steps=(step(),)) as world:
        far = callee(world)
        caller = await world.call()
        await rings(world, far)
        caller.hang_up()
        assert (await world.ended(caller)).abandoned


# --- from a conversation ---------------------------------------------------------------------------------------------


async def talking(world: World) -> Caller:
    world.agent("anna")
    caller = await world.call()
    await world.until(lambda: caller.hears == "talk")
    return caller


async def transfer(world: World, caller: Caller, number: str = NUMBER) -> str | None:
    return await world.command(wire.TransferCall(call_id=world.call_id(caller), number=number))


async def test_an_agent_hands_the_caller_out(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        far = callee(world)
        caller = await talking(world)
        await world.run(5)
        assert world.engine.recordings
        assert await transfer(world, caller) is None
        leg = await rings(world, far)
        assert world.state("anna")[2] == "WRAP_UP"
        assert caller.hears == "music:default"
        await talks_outside(world, caller, far)
        assert not world.engine.recordings
        await world.run(30)
        world.engine.end_leg(world.engine.legs[leg], HangupCause.NORMAL_CLEARING)
        cdr = await world.ended(caller)
        assert only(cdr) == ("transfer", NUMBER, "answered", True)
        assert [(talk.agent_id, talk.ended) for talk in cdr.talks] == [("anna", "transferred")]
        [recording] = cdr.recordings
        assert recording.duration_ms == pytest.approx(5000, abs=1000)
        assert (cdr.end_reason, cdr.abandoned) == ("outside_hung_up", False)


async def test_nobody_is_let_in_before_the_recording_is_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = RegimeTable({"DE": Regime.NONE})
        far = callee(world)
        caller = await talking(world)
        stop = world.engine.stop_recording

        async def slow(*args: Any) -> None:
            await world.run(8)
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        assert await transfer(world, caller) is None
        world.engine.pick_up(await rings(world, far))
        await world.run(4)
        assert caller.hears == "music:default"
        await world.until(lambda: caller.hears == "talk")
        assert not world.engine.recordings
        caller.hang_up()
        await world.ended(caller)


@pytest.mark.parametrize("refusal", [HangupCause.USER_BUSY, None])
async def test_in_vain_the_caller_is_back_with_the_same_agent(tmp_path: Path, refusal: HangupCause | None) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5) as world:
        callee(world, refusal)
        caller = await talking(world)
        bela = world.agent("bela", available=False)
        assert await transfer(world, caller) is None
        world.status("bela", "AVAILABLE")
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"anna"}
        assert bela.rung == 0
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [talk.agent_id for talk in cdr.talks] == ["anna", "anna"]
        assert cdr.forwards[0].outcome == ("busy" if refusal else "no_answer")


async def test_who_comes_back_is_not_sent_off_at_once(tmp_path: Path) -> None:
    """By its age the call would overflow: that was before it had an agent."""
    other = "+49305550888"
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5, steps=(step(40, other),)) as world:
        callee(world, HangupCause.USER_BUSY)
        late = callee(world, number=other)
        anna = world.agent("anna", available=False)
        caller = await world.call()
        await world.until(lambda: late.leg_id is not None)
        await world.run(31)
        world.status("anna", "AVAILABLE")
        await world.until(lambda: caller.hears == "talk")
        assert await transfer(world, caller) is None
        await world.until(lambda: anna.rung == 2)
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(f.why, f.number, f.outcome) for f in cdr.forwards] == [
            ("queue", other, "no_answer"),
            ("transfer", NUMBER, "busy"),
        ]


async def test_who_is_handed_to_a_colleague_is_not_sent_off_instead(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=5, steps=(step(20),)) as world:
        callee(world, HangupCause.USER_BUSY)
        caller = await world.call()
        await world.run(30)
        world.agent("anna")
        await world.until(lambda: caller.hears == "talk")
        bela = world.agent("bela", available=False)
        world.status("bela", "NOT_READY", "LUNCH")
        to_bela = wire.TransferCall(call_id=world.call_id(caller), agent_id="bela")
        assert await world.command(to_bela) is None
        await world.run(20)
        world.status("bela", "AVAILABLE")
        await world.until(lambda: world.hears(caller.leg_id) == {"bela"})
        assert bela.rung == 1
        caller.hang_up()
        assert [f.why for f in (await world.ended(caller)).forwards] == ["queue"]


async def test_after_a_while_anybody_may_take_the_caller_back(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=600) as world:
        callee(world, HangupCause.USER_BUSY)
        caller = await talking(world)
        assert await transfer(world, caller) is None
        world.agent("bela")
        await world.until(lambda: caller.hears == "talk")
        assert world.hears(caller.leg_id) == {"bela"}
        caller.hang_up()
        await world.ended(caller)


@pytest.mark.parametrize("number", ["112", "+14155550100", "+499001123456", "nonsense"])
async def test_a_refused_transfer_changes_nothing(tmp_path: Path, number: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await talking(world)
        assert await transfer(world, caller, number) == "number_refused"
        assert caller.hears == "talk"
        assert world.state("anna")[2] == "ON_CALL"
        caller.hang_up()
        assert (await world.ended(caller)).forwards == []


async def test_nothing_is_asked_of_a_caller_who_talks_outside(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        far = callee(world)
        caller = await talking(world)
        await transfer(world, caller)
        await talks_outside(world, caller, far)
        assert await transfer(world, caller) == "not_in_conversation"
        assert await world.command(wire.HangUpCall(call_id=world.call_id(caller))) is None
        cdr = await world.ended(caller)
        assert cdr.end_reason == "asked"
        assert not world.engine.legs
