"""Callbacks on a whole POP: promised, called at their turn and within the hours, once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Caller, Phone
from pbx.domain.cdr import Cdr
from pbx.domain.errors import JournalError
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, QueueId
from pbx.wire import messages as wire
from tests.support.world import CALLER, DID, World, sha_of

OFFER = wire.QueueStepConfig(after_s=5, action=wire.OfferCallbackStep())
QUEUE: dict[str, Any] = {"steps": (OFFER,), "wrap_up_s": 5, "ring_timeout_s": 10}
FLOW: dict[str, Any] = {
    "start": "wait",
    "languages": ["de"],
    "nodes": {
        "wait": {"type": "queue", "queue": "support", "on_refused": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
CONSENT_FLOW = FLOW | {
    "start": "consent",
    "nodes": FLOW["nodes"] | {"consent": {"type": "consent", "next": "wait"}},
}
NODE_FLOW: dict[str, Any] = {
    "start": "promise",
    "languages": ["de"],
    "nodes": {
        "promise": {"type": "callback", "queue": "support", "next": "bye", "on_failure": "sorry"},
        "bye": {"type": "hang_up"},
        "sorry": {"type": "hang_up", "prompts": ["no-agent"]},
    },
}


class Desk:
    """A world, and what happens at the customer's phone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.callee = world.engine.callees[CALLER] = Callee(CALLER)

    async def promised(self, cli: str = CALLER) -> Caller:
        """A caller who waited, was offered a callback, took it, and is gone."""
        caller = await self.world.call(cli)
        await self.world.until(lambda: caller.hears == "de/callback-offer", "the offer")
        caller.press("1")
        await self.world.until(lambda: caller.cause is not None, "the goodbye")
        await self.world.ended(caller)
        return caller

    def events(self, kind: str) -> list[dict[str, Any]]:
        rows = self.world.journal._db.execute("SELECT call_id, data FROM events WHERE kind = ? ORDER BY seq", (kind,))
        return [{"in_call": call_id, **json.loads(data)} for call_id, data in rows]

    async def rung(self, times: int = 1) -> None:
        """The customer's phone has begun to ring for the ``times``-th time."""
        await self.world.until(lambda: len(self.events("CallbackDialled")) == times, f"call {times} to the customer")
        leg_id = self.events("CallbackDialled")[-1]["leg_id"]
        await self.world.until(lambda: self.callee.leg_id == leg_id, "the customer's phone")

    def answer(self) -> None:
        assert self.callee.leg_id is not None
        self.world.engine.pick_up(self.callee.leg_id)

    @property
    def customer(self) -> set[str]:
        return self.world.hears(self.callee.leg_id)

    def hang_up(self) -> None:
        assert self.callee.leg_id is not None
        self.world.engine.end_leg(self.world.engine.legs[self.callee.leg_id], HangupCause.NORMAL_CLEARING)

    def record(self, attempt: int = -1) -> Cdr:
        return self.world.cdr(CallId(self.events("CallbackDialled")[attempt]["in_call"]))

    async def over(self) -> Cdr:
        call_id = CallId(self.events("CallbackDialled")[-1]["in_call"])
        await self.world.until(lambda: call_id not in self.world.pop.calls, "the end of the call")
        return self.world.cdr(call_id)


def at_hour(world: World, hour: int) -> float:
    """Seconds until it is that hour of UTC."""
    now = datetime.fromtimestamp(world.clock(), UTC)
    then = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return (then.timestamp() - now.timestamp()) % 86_400


async def morning(world: World) -> None:
    """Nine o'clock UTC: people in Germany may be called for hours."""
    await world.run(at_hour(world, 9))


async def test_who_presses_1_is_called_back_when_the_turn_comes(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        caller = await desk.promised()
        assert caller.heard[-2:] == ["de/callback-offer", "de/callback-promised"]
        first = world.cdr(world.call_id(caller))
        assert (first.end_reason, first.abandoned) == ("flow_ended", False)
        await world.run(600)
        assert desk.events("CallbackDialled") == []

        anna = world.agent("anna")
        await desk.rung()
        assert world.state("anna")[2] == "RESERVED"
        assert anna.rung == 0
        desk.answer()
        await world.until(lambda: anna.rung == 1, "anna's phone")
        await world.until(lambda: desk.customer == {"anna"}, "the conversation")
        await world.run(30)
        desk.hang_up()
        record = await desk.over()
        [requested] = desk.events("CallbackRequested")
        assert (record.direction, record.callback_id) == ("outbound", requested["callback_id"])
        assert record.callback_of == world.call_id(caller)
        assert first.callback_id == requested["callback_id"]
        assert (record.cli, record.did, record.agent_id) == (CALLER, DID, "anna")
        assert record.talk_s == pytest.approx(30, abs=0.2)
        assert [offer.outcome for offer in record.offers] == ["answered"]
        await world.run(3600)
        assert len(desk.events("CallbackDialled")) == 1
        assert len(desk.events("CallbackDone")) == 1
        assert not world.pop.callbacks.promises.open
        assert world.journal.callbacks() == []
        assert not world.engine.legs


async def test_the_place_is_kept_before_later_callers_and_behind_earlier_ones(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        early = await world.call("+491701111111")
        await world.run(10)
        await desk.promised()
        late = await world.call("+491702222222")
        await world.run(60)
        world.agent("anna")
        await world.until(lambda: early.hears == "talk")
        early.hang_up()
        await desk.rung()
        assert late.hears != "talk"
        desk.answer()
        await world.until(lambda: len(desk.events("TalkStarted")) == 2)
        desk.hang_up()
        await world.until(lambda: late.hears == "talk")
        late.hang_up()
        await world.ended(late)


async def test_consent_is_asked_before_the_agents_phone_rings(tmp_path: Path) -> None:
    async with World(tmp_path, CONSENT_FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/consent-keys-opt-in")
        caller.press("2")
        await world.until(lambda: caller.hears == "de/callback-offer")
        caller.press("1")
        await world.ended(caller)
        anna = world.agent("anna")
        await desk.rung()
        desk.answer()
        leg = world.engine.legs[desk.callee.leg_id]  # type: ignore[index]
        await world.until(lambda: leg.heard[-1:] == ["de/consent-keys-opt-in"])
        assert anna.rung == 0
        Caller(world.engine, leg).press("1")
        await world.until(lambda: desk.customer == {"anna"})
        assert leg.heard[0] == "de/callback-greeting"
        await world.run(5)
        desk.hang_up()
        record = await desk.over()
        assert [(one.granted, one.digit) for one in record.consents] == [(True, "1")]
        assert len(record.recordings) == 1


async def test_an_agent_who_does_not_answer_costs_the_customer_no_second_call(tmp_path: Path) -> None:
    """RONA: the customer waits on the line, at the place kept, for the next agent."""
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        late = await world.call("+491702222222")
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        await desk.rung()
        desk.answer()
        await world.until(lambda: world.state("anna")[:2] == ("NOT_READY", "RONA"))
        assert desk.customer == {"music:default"}
        world.agent("bela")
        await world.until(lambda: desk.customer == {"bela"})
        assert late.hears != "talk"
        desk.hang_up()
        record = await desk.over()
        assert [offer.outcome for offer in record.offers] == ["no_answer", "answered"]
        assert len(desk.events("CallbackDialled")) == 1
        late.hang_up()


@pytest.mark.parametrize("refusal", [None, HangupCause.USER_BUSY])
async def test_a_number_that_does_not_answer_is_tried_again_and_then_given_up(
    tmp_path: Path, refusal: HangupCause | None
) -> None:
    async with World(tmp_path, FLOW, callback_attempts=2, callback_retry_s=600, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        desk.callee.refusal = refusal
        await desk.promised()
        world.agent("anna")
        await world.until(lambda: len(desk.events("CallbackMissed")) == 1)
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        missed_at = world.clock()
        record = await desk.over()
        assert (record.end_reason, record.answered_at) == ("not_reached", None)
        assert [offer.outcome for offer in record.offers] == ["caller_gone"]
        live = await world.call("+491702222222")
        await world.until(lambda: live.hears == "talk")  # nobody waits for a phone that is not being called
        live.hang_up()
        await world.until(lambda: len(desk.events("CallbackDialled")) == 2)
        assert world.clock() - missed_at == pytest.approx(600, abs=2)
        await world.until(lambda: bool(desk.events("CallbackFailed")))
        await world.run(7200)
        assert [event["reason"] for event in desk.events("CallbackFailed")] == ["not_reached"]
        assert len(desk.events("CallbackDialled")) == 2
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        assert world.journal.callbacks() == []


@pytest.mark.long
async def test_nobody_is_called_at_night_while_live_callers_are_served(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        await world.run(at_hour(world, 22))
        world.agent("anna")
        live = await world.call("+491702222222")
        await world.until(lambda: live.hears == "talk")
        live.hang_up()
        await world.ended(live)
        await world.run(7.5 * 3600)
        assert desk.events("CallbackDialled") == []
        await desk.rung()
        opened = datetime.fromtimestamp(world.clock(), UTC)
        assert (opened.hour, opened.minute) == (6, 0)  # eight o'clock in Berlin in September
        desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        desk.hang_up()
        await desk.over()


async def test_one_number_has_one_promise_in_a_queue(tmp_path: Path) -> None:
    async with World(tmp_path, NODE_FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        first, second = await world.call(), await world.call()
        promises = [(await world.ended(caller)).callback_id for caller in (first, second)]
        assert promises[0] == promises[1] is not None
        assert len(desk.events("CallbackRequested")) == 1
        assert [event["existing"] for event in desk.events("CallbackPromised")] == [False, True]
        assert first.heard == ["de/callback-promised"]


@pytest.mark.parametrize("cli", ["withheld", "+49900123456"])
async def test_who_cannot_be_called_goes_on_elsewhere(tmp_path: Path, cli: str) -> None:
    async with World(tmp_path, NODE_FLOW, **QUEUE) as world:
        caller = await world.call(cli)
        cdr = await world.ended(caller)
        assert cdr.nodes == ["promise", "sorry"]
        assert world.journal.callbacks() == []


async def test_who_shows_no_number_is_offered_nothing(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        caller = await world.call("withheld")
        await world.run(30)
        caller.press("1")
        world.agent("anna")
        await world.until(lambda: caller.hears == "talk")
        assert "de/callback-offer" not in caller.heard
        caller.hang_up()


async def test_who_is_refused_a_callback_waits_on_at_the_same_place(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        premium = await world.call("+49900123456")
        await world.run(1)
        late = await world.call("+491702222222")
        await world.until(lambda: premium.hears == "de/callback-offer")
        premium.press("1")
        await world.until(lambda: "CallbackRefused" in world.kinds(premium))
        world.agent("anna")
        await world.until(lambda: premium.hears == "talk")
        assert late.hears != "talk"
        assert world.journal.callbacks() == []
        premium.hang_up()
        late.hang_up()


async def test_an_agent_offered_to_a_caller_who_has_just_pressed_1_is_free_again(tmp_path: Path) -> None:
    """The caller's key and the agent cross: one customer never has two agents."""
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/callback-offer")
        caller.press("1")
        anna = world.agent("anna")  # in the same moment
        await desk.rung()
        desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        assert anna.rung == 1
        await world.ended(caller)
        desk.hang_up()
        await desk.over()
        assert len(desk.events("TalkStarted")) == 1


async def test_a_number_keyed_in_is_of_the_dids_country(tmp_path: Path) -> None:
    collect = {
        "type": "collect",
        "prompts": ["menu"],
        "variable": "number",
        "next": "promise",
        "on_failure": "sorry",
    }
    promise = NODE_FLOW["nodes"]["promise"] | {"number": "number"}
    flow = NODE_FLOW | {"start": "ask", "nodes": NODE_FLOW["nodes"] | {"ask": collect, "promise": promise}}
    async with World(tmp_path, flow, **QUEUE) as world:
        desk = Desk(world)
        for keyed, nodes in (("017012345678#", "bye"), ("0019005550100#", "sorry"), ("110#", "sorry")):
            caller = await world.call("withheld")
            await world.until(lambda caller=caller: caller.hears == "de/menu")
            for digit in keyed:
                caller.press(digit)
            assert (await world.ended(caller)).nodes[-1] == nodes
        assert [event["number"] for event in desk.events("CallbackRequested")] == ["+4917012345678"]


async def test_a_callback_is_not_refused_for_a_full_queue_and_takes_no_callers_room(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, max_waiting=1, no_agent="end", max_wait_s=60, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        world.agent("anna", available=False)
        world.status("anna", "NOT_READY", "LUNCH")
        await desk.promised()
        live = await world.call("+491702222222")
        await world.until(lambda: "QueueJoined" in world.kinds(live))
        world.status("anna", "LOGGED_OUT")  # the queue turns live callers out, and would give up after a minute
        await world.ended(live)
        await world.run(300)
        world.status("anna", "AVAILABLE")
        await desk.rung()
        desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        desk.hang_up()
        await desk.over()


async def test_the_customer_who_hangs_up_before_an_agent_came_is_not_called_again(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        await desk.rung()
        desk.answer()
        await world.until(lambda: anna.rung == 1)
        desk.hang_up()
        assert (await desk.over()).abandoned
        await world.until(lambda: world.state("anna") == ("AVAILABLE", None, "IDLE"))
        await world.run(7200)
        assert [event["reason"] for event in desk.events("CallbackFailed")] == ["left"]
        assert len(desk.events("CallbackDialled")) == 1


async def test_the_agent_logs_out_while_the_customers_phone_rings(tmp_path: Path) -> None:
    """The customer who answers then waits for the next agent; the phone rings once."""
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        world.agent("anna")
        await desk.rung()
        world.status("anna", "LOGGED_OUT")
        await world.run(1)
        assert world.state("anna")[2] == "IDLE"
        desk.answer()
        await world.run(20)
        assert desk.customer == {"music:default"}
        world.agent("bela")
        await world.until(lambda: desk.customer == {"bela"})
        desk.hang_up()
        record = await desk.over()
        assert [offer.outcome for offer in record.offers] == ["withdrawn", "answered"]
        assert len(desk.events("CallbackDialled")) == 1


async def test_an_agent_is_not_kept_for_a_customer_who_ponders(tmp_path: Path) -> None:
    flow = CONSENT_FLOW | {
        "nodes": CONSENT_FLOW["nodes"] | {"consent": {"type": "consent", "next": "wait", "tries": 5, "timeout_s": 20}}
    }
    async with World(tmp_path, flow, max_wait_s=120, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/consent-keys-opt-in")
        caller.press("2")
        await world.until(lambda: caller.hears == "de/callback-offer")
        caller.press("1")
        await world.ended(caller)
        await world.run(600)  # longer than a live caller may wait
        world.agent("anna")
        await desk.rung()
        answered = world.clock()
        desk.answer()
        await world.run(1)
        live = await world.call("+491702222222")
        await world.until(lambda: live.hears == "de/consent-keys-opt-in")
        live.press("2")
        await world.until(lambda: live.hears == "talk")
        assert world.clock() - answered == pytest.approx(46, abs=2)
        live.hang_up()
        await world.until(lambda: desk.customer == {"anna"})
        desk.hang_up()
        record = await desk.over()
        assert [offer.outcome for offer in record.offers] == ["withdrawn", "answered"]


async def test_who_is_promised_a_callback_is_led_out_to_no_number(tmp_path: Path) -> None:
    """Not while the promise waits, nor once the customer has answered; after the conversation the rules are any
    caller's."""
    number = "+49305550999"
    out = wire.QueueStepConfig(after_s=30, action=wire.OverflowToNumberStep(number=number))
    async with World(tmp_path, FLOW, **{**QUEUE, "steps": (OFFER, out)}) as world:
        await morning(world)
        world.engine.callees[number] = far = Callee(number, None)
        desk = Desk(world)
        await desk.promised()
        await world.run(600)
        [call_id] = world.pop.router.acd.waiting_calls(QueueId("support"))
        assert world.pop.router.acd._waiting[call_id].tried == ()
        anna = world.agent("anna")
        anna.behaviour = Answer.REJECT
        await desk.rung()
        desk.answer()
        await world.until(lambda: anna.rung == 1, "anna's phone")
        await world.run(120)
        assert desk.events("ForwardStarted") == []
        world.agent("bela")
        await world.until(lambda: desk.customer == {"bela"}, "the conversation")
        call = CallId(desk.events("CallbackDialled")[-1]["in_call"])
        assert await world.command(wire.TransferCall(call_id=call, number=number)) is None
        await world.until(lambda: far.leg_id is not None, "the number")
        desk.hang_up()
        assert [forward.why for forward in (await desk.over()).forwards] == ["transfer"]


async def test_who_is_promised_a_callback_is_led_to_no_mailbox(tmp_path: Path) -> None:
    """The promise stands, and so does the place of a customer who has answered and has no agent yet."""
    mailbox = wire.QueueStepConfig(after_s=30, action=wire.ToVoicemailStep(mailbox="support"))
    async with World(tmp_path, FLOW, **{**QUEUE, "steps": (OFFER, mailbox)}) as world:
        for prompt in ("voicemail-greeting", "voicemail-tone", "voicemail-thanks"):
            world.prompts[prompt, "de"] = sha_of(prompt, "de")
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        await world.run(600)
        assert len(world.pop.router.acd.waiting_calls(QueueId("support"))) == 1
        anna = world.agent("anna")
        anna.behaviour = Answer.REJECT
        await desk.rung()
        desk.answer()
        await world.until(lambda: anna.rung == 1, "anna's phone")
        await world.run(120)
        other = await world.call("+4930765432")  # who was promised nothing is led there
        await world.until(lambda: other.hears == "de/voicemail-greeting", "the mailbox")
        assert len(world.pop.router.acd.waiting_calls(QueueId("support"))) == 1
        world.agent("bela")
        await world.until(lambda: desk.customer == {"bela"}, "the conversation")
        desk.hang_up()
        assert (await desk.over()).voicemails == []


@pytest.mark.parametrize(("trunk", "used"), [(None, "carrier"), ("outside", "outside")])
async def test_a_callback_goes_over_the_trunk_for_numbers_outside(tmp_path: Path, trunk: str | None, used: str) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        world.config.dialling = replace(world.config.dialling, trunk=trunk)
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        world.agent("anna")
        await desk.rung()
        assert desk.events("CallbackDialled")[0]["trunk"] == used
        desk.hang_up()
        await desk.over()


async def scheduled(world: World, **changes: Any) -> wire.CommandReply:
    world.config.dialling = replace(world.config.dialling, trunk="outside")
    command = wire.ScheduleCallback(**({"did": DID, "queue_id": "support", "number": CALLER} | changes))
    return await world.pop.command(wire.CommandRequest(idempotency_key="k", deadline_at=9e9, command=command))


async def test_the_centre_schedules_a_callback_for_later(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        world.agent("anna")
        at = world.clock() + 1800
        reply = await scheduled(world, not_before=at, language="en")
        assert (await scheduled(world)) == wire.CommandReply(callback_id=reply.callback_id, existing=True)
        await world.run(1790)
        assert desk.events("CallbackDialled") == []
        await desk.rung()
        assert world.clock() == pytest.approx(at, abs=1)
        desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        assert world.engine.legs[desk.callee.leg_id].heard[0] == "en/callback-greeting"  # type: ignore[index]
        cancel = wire.CancelCallback(callback_id=reply.callback_id or "", by="api")
        assert await world.command(cancel) == "being_called"
        desk.hang_up()
        await desk.over()
        assert await world.command(cancel) == "unknown_callback"


@pytest.mark.parametrize(
    ("changes", "error_id"),
    [
        ({"did": "+49305550199"}, "unknown_did"),
        ({"queue_id": "nothing"}, "unknown_queue"),
        ({"number": "+49900123456"}, "bad_number"),
    ],
)
async def test_what_cannot_be_scheduled_is_refused(tmp_path: Path, changes: dict[str, str], error_id: str) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        assert (await scheduled(world, **changes)).error_id == error_id
        assert not world.pop.callbacks.promises.open


async def test_without_a_trunk_of_its_own_a_pop_calls_nobody_who_has_not_called(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        command = wire.ScheduleCallback(did=DID, queue_id="support", number=CALLER)
        assert await world.command(command) == "no_trunk"
        assert not world.pop.callbacks.promises.open


async def test_a_cancelled_callback_calls_nobody(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        reply = await scheduled(world)
        await world.run(1)
        assert await world.command(wire.CancelCallback(callback_id=reply.callback_id or "", by="api")) is None
        world.agent("anna")
        live = await world.call("+491702222222")
        await world.until(lambda: live.hears == "talk")
        await world.run(60)
        assert (desk.events("CallbackDialled"), len(desk.events("CallbackCancelled"))) == ([], 1)
        assert world.journal.callbacks() == []
        live.hang_up()
        await world.ended(live)


# --- after a crash ----------------------------------------------------------------------------------------------------


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Where the next controller finds what the first had on its disk."""
    path = tmp_path / "second"
    path.mkdir()
    return path


async def _crashed(first: World, directory: Path) -> None:
    """What is committed now, and nothing later, is on the next controller's disk."""
    for file in first.journal._path.parent.glob("journal.sqlite*"):
        shutil.copy(file, directory)


@pytest.mark.parametrize(
    ("moment", "kinds"),
    [
        ("promised", {"CallbackRequested"}),
        ("dialled", {"CallbackRequested", "CallbackDialled", "CallbackMissed"}),
        ("reached", set()),
    ],
)
async def test_after_a_crash_nobody_is_forgotten_and_nobody_called_twice(
    tmp_path: Path, second: Path, moment: str, kinds: set[str]
) -> None:
    (tmp_path / "first").mkdir()
    async with World(tmp_path / "first", FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        if moment != "promised":
            world.agent("anna")
            await desk.rung()
        if moment == "reached":
            desk.answer()
            await world.run(0.05)
        await _crashed(world, second)
        before = len(desk.events("CallbackDialled"))
    async with World(second, FLOW, **QUEUE) as world:
        desk = Desk(world)
        world.agent("anna")
        await world.run(60)
        assert {type(event).__name__ for event in world.journal.callbacks()} == (
            kinds if moment != "promised" else {"CallbackRequested", "CallbackDialled", "CallbackMissed"}
        )
        assert len(desk.events("CallbackDialled")) == max(before, 1)
        if moment == "dialled":
            assert desk.events("CallbackMissed")[0]["cause"] == HangupCause.NETWORK_OUT_OF_ORDER
            await world.until(lambda: len(desk.events("CallbackDialled")) == 2)
            assert desk.events("CallbackDialled")[-1]["attempt"] == 2
        if moment == "reached":
            assert [event["reason"] for event in desk.events("CallbackFailed")] == ["interrupted"]


async def test_no_evidence_on_disk_nobody_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        append = world.journal.append

        async def refuse(call_id: Any, events: Any) -> None:
            if any(type(event).__name__ == "CallbackDialled" for event in events):
                raise JournalError("the disk is full")
            await append(call_id, events)

        monkeypatch.setattr(world.journal, "append", refuse)
        anna: Phone = world.agent("anna")
        await world.run(60)
        assert desk.callee.leg_id is None
        assert anna.rung == 0
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        assert not [record for record in caplog.records if record.exc_info], "refused, not broken"
        monkeypatch.setattr(world.journal, "append", append)
        await world.until(lambda: desk.callee.leg_id is not None, "the call, when there is room")
