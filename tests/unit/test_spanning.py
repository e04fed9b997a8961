"""Queues that span POPs: two POPs on simulated media servers, a bus that a test cuts, virtual time."""

from __future__ import annotations

from pathlib import Path

from pbx.adapters.memory.engine import Answer
from pbx.adapters.memory.legs import Leg
from pbx.domain import events as ev
from pbx.domain.e164 import cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId, OfferId, PhoneId, PopId, QueueId
from pbx.wire import messages as wire
from tests.support.pops import pops
from tests.support.world import SHORT_FLOW


async def test_a_caller_is_answered_by_an_agent_of_another_pop(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        phone = site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk", "the conversation")
        assert site.two.state("bo") == ("AVAILABLE", None, "ON_CALL")
        assert phone.rung == 1
        await site.one.run(30)
        caller.hang_up()
        cdr = await site.one.ended(caller)
        assert [talk.agent_id for talk in cdr.talks] == ["bo"]
        assert not cdr.abandoned
        await site.two.until(lambda: site.two.state("bo")[2] == "IDLE", "the agent free again")
        assert not site.two.pop.calls
        assert site.two.engine.legs == {}


async def test_the_agent_hangs_up(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo").hangs_up_after_s = 20.0
        caller = await site.one.call()
        cdr = await site.one.ended(caller)
        assert cdr.end_reason == "agent_hung_up"
        assert site.two.state("bo")[2] == "IDLE"


async def test_one_who_does_not_pick_up_is_not_ready_and_the_caller_keeps_the_place(tmp_path: Path) -> None:
    async with pops(tmp_path, ring_timeout_s=10.0) as site:
        site.two.agent("bo").behaviour = Answer.NEVER
        first = await site.one.call()
        await site.one.until(lambda: site.two.state("bo")[2] == "RINGING", "ringing")
        second = await site.two.call()
        await site.two.until(lambda: site.two.state("bo") == ("NOT_READY", "RONA", "IDLE"), "RONA")
        site.two.agent("cleo")
        await site.one.until(lambda: first.hears == "talk", "the first caller first")
        assert second.hears != "talk"
        offers = site.one.cdr(site.one.call_id(first)).offers
        assert [(offer.agent_id, offer.outcome) for offer in offers] == [("bo", "no_answer"), ("cleo", "answered")]


async def test_a_caller_who_leaves_stops_the_phone_at_the_other_pop(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo").behaviour = Answer.NEVER
        caller = await site.one.call()
        await site.one.until(lambda: site.two.state("bo")[2] == "RINGING", "ringing")
        caller.hang_up()
        assert (await site.one.ended(caller)).abandoned
        await site.two.until(lambda: site.two.state("bo") == ("AVAILABLE", None, "IDLE"), "the agent free again")
        assert site.two.engine.legs == {}


async def test_an_agent_who_logs_out_while_ringing_is_rung_no_more(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo").behaviour = Answer.NEVER
        caller = await site.one.call()
        await site.one.until(lambda: site.two.state("bo")[2] == "RINGING", "ringing")
        site.two.status("bo", "LOGGED_OUT")
        await site.two.until(lambda: site.two.state("bo") == ("LOGGED_OUT", None, "IDLE"), "out")
        site.one.agent("anna")
        await site.one.until(lambda: caller.hears == "talk", "another agent")


async def test_an_agent_in_a_local_call_is_not_offered_another(tmp_path: Path) -> None:
    """The router saw the agent free; a call of a queue of that POP alone was faster."""
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        site.bus.delay_s = 0.2
        site.two.configure("queue.own", wire.QueueConfig(queue_id="own", name="Own", skills={"support": 1}))
        own = {**SHORT_FLOW, "nodes": {**SHORT_FLOW["nodes"], "wait": {**SHORT_FLOW["nodes"]["wait"], "queue": "own"}}}
        caller = await site.one.call()
        site.two.put_flow("main", own, 2)
        local = await site.two.call()
        await site.two.until(lambda: local.hears == "talk", "the local call")
        await site.one.run(1)
        assert caller.hears != "talk"
        assert site.two.engine.phones[PhoneId("bo")].rung == 1
        local.hang_up()
        await site.one.until(lambda: caller.hears == "talk", "then the other")


async def test_a_stale_epoch_is_refused_although_the_agent_is_idle(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        desk = site.two.pop.spanning
        assert desk is not None
        told = desk._agents[AgentId("bo")]
        assert desk.accepts(AgentId("bo"), told.epoch)
        assert not desk.accepts(AgentId("bo"), told.epoch - 1)
        seen = told.epoch
        site.two.status("bo", "NOT_READY", "lunch")
        assert not desk.accepts(AgentId("bo"), told.epoch)
        site.two.status("bo", "AVAILABLE")
        assert not desk.accepts(AgentId("bo"), seen)
        leg = Leg(LegId("mesh"))
        site.two.engine.legs[leg.leg_id] = leg
        offer = ev.GuestOffered(
            at=site.two.clock(), leg_id=leg.leg_id, home=PopId("de-1"), offer_id=OfferId("o"), call_id=CallId("c"),
            queue_id=QueueId("support"), agent_id=AgentId("bo"), epoch=seen, cli=cli_of("withheld"),
        )  # fmt: skip
        site.two.engine.emit(offer)
        await site.two.until(lambda: not site.two.engine.legs, "the refusal")
        assert site.two.engine.phones[PhoneId("bo")].rung == 0
        assert site.two.state("bo") == ("AVAILABLE", None, "IDLE")


async def test_without_a_router_a_pop_serves_its_callers_with_its_agents_and_joins_again(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        there = await site.two.call()
        here = await site.one.call()
        site.part("de-2")
        await site.one.until(lambda: site.two.pop.spanning.router_pop is None, "alone")  # type: ignore[union-attr]
        beat = site.two.pop.heartbeat()
        assert (beat.spanning_queues, beat.router_pop) == (1, None)
        site.two.agent("bo")
        await site.two.until(lambda: there.hears == "talk", "served alone")
        assert here.hears != "talk"
        site.heal("de-2")
        await site.one.until(lambda: site.router() is not None, "one router")
        site.two.agent("cleo")
        await site.one.until(lambda: here.hears == "talk", "the other POP's caller")
        assert site.two.state("cleo")[2] == "ON_CALL"
        # An agent who is talking when all comes together again is offered nothing.
        assert site.two.engine.phones[PhoneId("bo")].rung == 1


async def test_same_pop_first(tmp_path: Path) -> None:
    async with pops(tmp_path, strategy="same_pop_first") as site:
        site.one.agent("anna")
        await site.one.run(10)
        site.two.agent("bo")
        caller = await site.two.call()
        await site.two.until(lambda: caller.hears == "talk", "the conversation")
        assert site.two.state("bo")[2] == "ON_CALL"
        another = await site.two.call()
        await site.two.until(lambda: another.hears == "talk", "the conversation with the other POP")
        assert site.one.state("anna")[2] == "ON_CALL"


async def test_agents_off_shift_and_new_skills_are_told(tmp_path: Path) -> None:
    async with pops(tmp_path, shift="only") as site:
        never = wire.HoursConfig(time_zone="Europe/Berlin", weekly={})
        site.two.agent("bo", shifts=never)
        caller = await site.one.call()
        await site.one.run(5)
        assert caller.hears != "talk"
        site.two.agent("cleo", skills={"other": 3})
        await site.one.run(5)
        assert caller.hears != "talk"
        site.two.agent("cleo")  # the same one, who has learned it
        await site.one.until(lambda: caller.hears == "talk", "an agent on shift")
        assert site.two.state("bo")[2] == "IDLE"


async def test_the_number_of_another_pops_caller_is_not_in_the_journal(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk", "talk")
        rows = site.two.journal._db.execute("SELECT CAST(data AS TEXT) FROM events").fetchall()
        assert any("GuestOffered" in kind for (kind,) in site.two.journal._db.execute("SELECT kind FROM events"))
        assert not any("17012345678" in text for (text,) in rows)


async def test_a_restarted_owner_finds_its_agent_talking(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk" and site.two.state("bo")[2] == "ON_CALL", "talk")
        await site.one.run(1)
        await site.two.restart()
        await site.two.run(10)
        assert caller.hears == "talk"
        assert site.two.state("bo") == ("AVAILABLE", None, "ON_CALL")
        waiting = await site.one.call()
        await site.one.run(5)
        assert waiting.hears != "talk", "who talks is offered nothing"
        caller.hang_up()
        await site.one.until(lambda: waiting.hears == "talk", "the next one")


async def test_an_agent_who_hangs_up_while_the_owner_is_down_ends_the_call_once_it_is_back(tmp_path: Path) -> None:
    """The caller does not listen to silence until the leg between the POPs counts as nobody's, and the agent is not
    offered the next caller meanwhile."""
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk" and site.two.state("bo")[2] == "ON_CALL", "talk")
        await site.one.run(1)
        await site.two.die()
        phone = next(leg for leg in site.two.engine.legs.values() if leg.variables["CALLPLANE_ROLE"] == "guest-agent")
        site.two.engine.end_leg(phone, HangupCause.NORMAL_CLEARING)
        await site.one.run(1)
        await site.two.live()
        back = site.one.clock()
        cdr = await site.one.ended(caller)
        assert site.one.clock() - back < 0.5
        assert cdr.end_reason == "agent_hung_up"
        assert site.two.state("bo") == ("AVAILABLE", None, "IDLE")


async def test_a_media_server_that_dies_without_a_word_ends_its_conversations_at_other_pops(tmp_path: Path) -> None:
    """Power was lost: no BYE comes, and the caller would hear silence until no sound has come for a minute."""
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk" and site.two.state("bo")[2] == "ON_CALL", "talk")
        own = await site.two.call()
        await site.one.run(20)
        assert caller.hears == "talk", "what goes on is left alone"
        for world in (site.one, site.two):
            for leg in world.engine.legs.values():
                leg.far = None
        site.two.engine.crash()
        died = site.one.clock()
        cdr = await site.one.ended(caller)
        assert site.one.clock() - died < 6
        assert cdr.end_reason == "agent_hung_up"
        assert own._leg.leg_id not in site.two.engine.legs


async def test_an_agent_who_is_free_again_ends_the_conversation_that_nobody_ended(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk" and site.two.state("bo")[2] == "ON_CALL", "talk")
        for world in (site.one, site.two):
            for leg in world.engine.legs.values():
                leg.far = None
        desk = site.one.pop.spanning
        assert desk is not None
        desk.served = lambda owner, offers: None  # what would end it as well, later
        site.two.engine.crash()
        site.two.agent("bo")  # registers again
        following = await site.one.call()
        await site.one.until(lambda: following.hears == "talk", "the next conversation")
        assert site.one.call_id(caller) not in site.one.pop.calls


async def test_an_agent_who_is_free_again_is_rung_for_nobody_else(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo").behaviour = Answer.NEVER
        caller = await site.one.call()
        await site.one.until(lambda: site.two.state("bo")[2] == "RINGING", "ringing")
        for world in (site.one, site.two):
            for leg in world.engine.legs.values():
                leg.far = None
        following = await site.one.call()
        site.two.engine.crash()
        site.two.agent("bo").behaviour = Answer.ANSWER
        died = site.one.clock()
        await site.one.until(lambda: "talk" in (caller.hears, following.hears), "the next conversation")
        await site.one.run(3)
        offers = [offer for one in (caller, following) for offer in site.one.cdr(site.one.call_id(one)).offers]
        lost = [offer for offer in offers if offer.outcome != "answered" and offer.offered_at < died]
        assert len(lost) == 1
        assert lost[0].ended_at is not None
        assert lost[0].ended_at < died + 5, "not at the end of the time for ringing"


async def test_what_a_pop_says_of_its_conversations_may_be_old(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.bus.delay_s = 1.0
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk", "talk")
        await site.one.run(30)
        assert caller.hears == "talk"
        await site.two.restart()
        await site.one.run(10)
        assert caller.hears == "talk", "the next controller found the conversation"
        await site.one.restart()
        await site.one.run(10)
        assert caller.hears == "talk"


async def test_a_restarted_home_keeps_the_conversation_and_the_places(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk", "talk")
        first, second = await site.one.call(), await site.one.call()
        await site.one.run(1)
        await site.one.restart()
        await site.one.run(10)
        assert caller.hears == "talk"
        caller.hang_up()
        await site.one.until(lambda: first.hears == "talk", "the first")
        assert second.hears != "talk"
        first.hang_up()
        await site.one.until(lambda: second.hears == "talk", "the second")
        assert site.two.engine.phones[PhoneId("bo")].rung == 3


async def test_an_agent_who_moves_to_another_pop_moves_once(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.one.agent("anna")
        caller = await site.two.call()
        await site.two.until(lambda: caller.hears == "talk", "talk")
        site.one.pop.config_changed("agent.anna", None)
        site.two.agent("anna")
        another = await site.two.call()
        await site.two.until(lambda: another.hears == "talk", "by the same agent at the new POP")
        caller.hang_up()
        await site.one.until(lambda: site.one.pop.router.agent(AgentId("anna")) is None, "gone from the former POP")
        assert site.two.engine.phones[PhoneId("anna")].rung == 1
