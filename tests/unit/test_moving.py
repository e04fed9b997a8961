"""An agent whose phone registers at another POP moves there once, with all that belongs to the agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Caller
from pbx.controller.spanning.moving import LIFETIME_S, SILENT_S
from pbx.domain.agent import State
from pbx.domain.ids import AgentId, PopId
from pbx.domain.spanning.messages import Claim, Yielded
from pbx.domain.spanning.tenure import Tenure, may_be_presumed_gone
from pbx.ports.media_engine import EngineListener
from pbx.wire import mesh as wire
from pbx.wire import messages
from tests.support.pops import Site, pops
from tests.support.world import World

BOTH = ["de-1", "de-2"]
BO = AgentId("bo")
TAKEN = (State.RESERVED, State.RINGING, State.ON_CALL)


def have(site: Site) -> None:
    """Both POPs have bo; the first is the home, and the phone is there."""
    site.one.agent("bo", pops=BOTH)
    site.two.configure("agent.bo", site.one.config.agents[BO])


def comes(world: World, at: World | None = None) -> None:
    """The phone registers at ``world``, and ``at`` the one where it was hears that it has gone."""
    world.engine.phone("bo")
    if at is not None:
        at.engine.unregister(at.engine.phones[next(name for name in at.engine.phones if name == "bo")])


def has(world: World) -> bool:
    moving = world.pop.spanning.moving  # type: ignore[union-attr]
    return moving.elsewhere(BO) is None


class Watched:
    """A site whose agent is looked at all the time: never two offers, never two bridges."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def until(self, condition: Any, what: str) -> None:
        def looked() -> bool:
            taken = [w.pop_id for w in self.site.worlds.values() if not w.dead and self._state(w) in TAKEN]
            assert len(taken) <= 1, "one agent, one offer"
            return bool(condition())

        await self.site.one.until(looked, what)

    async def run(self, seconds: float) -> None:
        end = self.site.one.clock() + seconds
        await self.until(lambda: self.site.one.clock() >= end, "the time")

    @staticmethod
    def _state(world: World) -> State:
        agent = world.pop.router.agent(BO)
        return State.IDLE if agent is None else agent.state


@asynccontextmanager
async def moving(tmp_path: Path, **queue: Any) -> AsyncIterator[tuple[Site, Watched]]:
    async with pops(tmp_path, **queue) as site:
        have(site)
        await site.one.run(0.2)
        assert (has(site.one), has(site.two)) == (True, False)
        yield site, Watched(site)


def talks(caller: Caller) -> bool:
    return caller.hears == "talk"


async def test_an_idle_agent_moves_with_the_phone(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        assert site.two.state("bo") == ("AVAILABLE", None, "IDLE")
        for world in (site.one, site.two):
            caller = await world.call()
            await watched.until(lambda c=caller: talks(c), "the conversation")
            assert site.two.state("bo")[2] == "ON_CALL"
            caller.hang_up()
            await watched.until(lambda: site.two.state("bo")[2] == "IDLE", "the end")
        assert site.two.engine.phones[next(iter(site.two.engine.phones))].rung == 2


async def test_the_status_goes_along_and_comes_back(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        site.one.status("bo", "NOT_READY", "lunch")
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two), "the move")
        assert site.two.state("bo")[:2] == ("NOT_READY", "lunch")
        site.two.status("bo", "AVAILABLE")
        comes(site.one, site.two)
        await watched.until(lambda: has(site.one) and not has(site.two), "back")
        assert site.one.state("bo")[:2] == ("AVAILABLE", None)


async def test_a_phone_that_moves_in_a_call_finishes_it_and_wraps_up_at_the_other_pop(tmp_path: Path) -> None:
    async with moving(tmp_path, wrap_up_s=20.0) as (site, watched):
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        waiting = await site.two.call()
        comes(site.two, site.one)
        await watched.run(30)
        assert talks(caller)
        assert not talks(waiting), "who talks is offered nothing, wherever the phone is"
        assert has(site.one)
        caller.hang_up()
        await watched.until(lambda: has(site.two), "the move after the call")
        assert site.one.state("bo")[2] == "IDLE"
        assert site.two.state("bo") == ("AVAILABLE", None, "WRAP_UP")
        await watched.run(18)
        assert not talks(waiting)
        await watched.run(5)
        assert talks(waiting)


async def test_without_wrap_up_the_former_pop_gives_no_more_calls(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        comes(site.two)  # the former registration lasts longer
        await watched.run(1)
        another = await site.one.call()
        rung = site.one.engine.phones[next(iter(site.one.engine.phones))].rung
        caller.hang_up()
        await watched.until(lambda: talks(another), "the next one")
        assert site.one.engine.phones[next(iter(site.one.engine.phones))].rung == rung
        assert site.two.state("bo")[2] == "ON_CALL"


async def test_wrap_up_that_is_under_way_is_finished_at_the_other_pop(tmp_path: Path) -> None:
    async with moving(tmp_path, wrap_up_s=20.0) as (site, watched):
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        caller.hang_up()
        await watched.until(lambda: site.one.state("bo")[2] == "WRAP_UP", "wrap-up")
        await watched.run(10)
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two), "the move")
        assert (site.one.state("bo")[2], site.two.state("bo")[2]) == ("IDLE", "WRAP_UP")
        await watched.run(8)
        assert site.two.state("bo")[2] == "WRAP_UP"
        await watched.run(4)
        assert site.two.state("bo")[2] == "IDLE"


async def test_a_phone_that_moves_while_it_rings(tmp_path: Path) -> None:
    async with moving(tmp_path, ring_timeout_s=10.0) as (site, watched):
        site.one.engine.phones[next(iter(site.one.engine.phones))].behaviour = Answer.NEVER
        caller = await site.two.call()
        await watched.until(lambda: site.one.state("bo")[2] == "RINGING", "ringing")
        comes(site.two)
        await watched.run(1)
        assert has(site.one)
        await watched.until(lambda: has(site.two), "the move after the ringing")
        assert site.two.state("bo")[:2] == ("NOT_READY", "RONA")
        site.two.status("bo", "AVAILABLE")
        await watched.until(lambda: talks(caller), "the same caller, at the new POP")


@pytest.mark.parametrize("lost", [wire.Claimed, wire.LetGo])
async def test_a_message_that_is_lost_is_said_again(tmp_path: Path, lost: type) -> None:
    async with moving(tmp_path) as (site, watched):
        left = [2]

        def loses(message: wire.MeshMessage) -> bool:
            left[0] -= isinstance(message, lost) and left[0] > 0
            return isinstance(message, lost) and left[0] > 0

        site.bus.loses = loses
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        assert left == [0]


async def test_two_pops_that_claim_at_once_agree(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two), "the move")
        site.bus.delay_s = 0.3
        comes(site.one, site.two)
        comes(site.two, site.one)
        await watched.run(3)
        assert [has(world) for world in (site.one, site.two)] == [False, True]
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")


async def test_a_pop_that_is_gone_loses_its_agents_to_their_phones(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        await site.one.run(2)
        site.bus.mesh("de-1").cut = True
        await site.one.die()
        began = site.two.clock()
        comes(site.two)
        waiting = await site.two.call()
        await site.two.until(lambda: talks(waiting), "the next call at the backup")
        assert site.two.clock() - began < SILENT_S + 4
        assert site.two.state("bo")[0] == "AVAILABLE"
        waiting.hang_up()
        caller.hang_up()
        # It comes back with what it knew, and with a registration that has not run out.
        site.bus.mesh("de-1").cut = False
        await site.one.live()
        await site.two.until(lambda: not has(site.one), "the claim")
        assert has(site.two)


async def test_a_broken_bus_is_no_reason_to_take_an_agent_out_of_a_call(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        comes(site.two)
        await watched.run(2)
        site.part("de-1", media=False)
        waiting = await site.two.call()
        await watched.run(60)
        assert talks(caller)
        assert not talks(waiting)
        caller.hang_up()
        await watched.run(10)
        site.heal("de-1")
        await watched.until(lambda: talks(waiting), "the move when all is together again")
        assert site.two.state("bo")[2] == "ON_CALL"


async def test_in_a_partition_an_agent_who_did_nothing_moves_and_is_given_up_when_it_heals(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        site.part("de-1")
        await watched.run(SILENT_S + 1)
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two), "taken from who is silent")
        assert has(site.one), "it could not be told"
        caller = await site.two.call()
        await watched.until(lambda: talks(caller), "the conversation")
        site.heal("de-1")
        await watched.until(lambda: not has(site.one), "told at last")
        assert talks(caller)
        assert has(site.two)


async def test_a_phone_that_came_back_before_its_pop_knew_that_it_had_been_away(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        site.part("de-1")
        await watched.run(SILENT_S + 1)
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two), "taken from who is silent")
        caller = await site.two.call()
        await watched.until(lambda: talks(caller), "the conversation")
        comes(site.one)
        await site.two.run(1)
        site.heal("de-1")
        await watched.run(10)
        assert talks(caller)
        assert has(site.two)
        caller.hang_up()
        await watched.run(10)
        assert (has(site.one), has(site.two)) == (True, False), "back after the call"


async def test_a_phone_at_both_pops_stays_until_the_one_that_has_the_agent_loses_it(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two)
        await watched.until(lambda: has(site.two), "the last registration counts")
        await watched.run(60)
        assert has(site.two)
        site.two.engine.unregister(site.two.engine.phones[next(iter(site.two.engine.phones))])
        await watched.until(lambda: has(site.one) and not has(site.two), "the one that is left")
        caller = await site.two.call()
        await watched.until(lambda: talks(caller), "the conversation")
        assert site.one.state("bo")[2] == "ON_CALL"


async def test_a_phone_that_stays_at_both_pops_goes_home(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two)
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        caller = await site.two.call()
        await watched.until(lambda: talks(caller), "the conversation")
        await watched.run(LIFETIME_S + 10)
        assert talks(caller)
        assert has(site.two)
        caller.hang_up()
        await watched.until(lambda: has(site.one) and not has(site.two), "home after the call")


async def test_a_phone_that_is_renewed_at_both_pops_is_taken_over_and_an_old_registration_is_not(
    tmp_path: Path,
) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two)  # the former registration may run out, or be renewed
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        site.part("de-2")
        await watched.run(LIFETIME_S - 60)
        assert not has(site.one)
        await watched.run(120)
        assert has(site.one)


async def test_restarted_controllers_know_where_the_agent_is(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        comes(site.two)  # the registration at the first one goes on
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        for world in (site.one, site.two):
            await world.restart()
            await site.one.run(1)
            assert (has(site.one), has(site.two)) == (False, True)
        await site.one.run(30)
        assert (has(site.one), has(site.two)) == (False, True)
        caller = await site.one.call()
        await watched.until(lambda: talks(caller), "the conversation")
        assert site.two.state("bo")[2] == "ON_CALL"


async def test_a_controller_that_has_not_seen_its_phones_yet_loses_no_agent(tmp_path: Path) -> None:
    """Until the media server has told which phones are there, the POP does not say that one is not."""
    async with moving(tmp_path) as (site, watched):
        comes(site.two)  # the registration at the first one goes on
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        start, engine = site.two.engine.start, site.two.engine
        late: list[asyncio.Task[None]] = []

        async def starts(listener: EngineListener) -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(2.5, lambda: late.append(loop.create_task(start(listener))))

        engine.start = starts  # type: ignore[method-assign]
        await site.two.restart()
        await watched.until(lambda: site.two.pop.engine_is_up, "the media server seen")
        await site.one.run(3)
        assert (has(site.one), has(site.two)) == (False, True)
        assert [task.exception() for task in late] == [None]


async def test_commands_about_an_agent_who_is_elsewhere_are_refused(tmp_path: Path) -> None:
    async with moving(tmp_path) as (site, watched):
        status = messages.SetAgentStatus(agent_id="bo", status="NOT_READY", reason="lunch")
        assert await site.two.command(status) == "agent-elsewhere"
        assert await site.one.command(status) is None
        comes(site.two, site.one)
        await watched.until(lambda: has(site.two) and not has(site.one), "the move")
        assert await site.one.command(status) == "agent-elsewhere"
        assert await site.two.command(status) is None


async def test_an_agent_of_one_pop_alone_is_nobody_elses_business(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.one.agent("anna", pops=["de-1"])
        await site.one.run(10)
        about = [m for _, _, m in site.bus.sent if isinstance(m, wire.Held | wire.Claimed | wire.LetGo)]
        assert about == []
        have(site)
        site.one.agent("bo", pops=["de-1"])  # the backup is taken away
        site.two.pop.config_changed("agent.bo", None)
        caller = await site.one.call()
        await site.one.until(lambda: talks(caller), "the conversation")


def test_a_phone_that_is_back_within_the_call_is_served_when_the_other_pop_has_let_go() -> None:
    one, two = PopId("de-1"), PopId("de-2")
    tenure, _ = Tenure(one, BO, ours=True).claimed(Claim(two, BO, 1), busy=True)
    assert (tenure.ours, tenure.serves) == (True, False)
    tenure, messages = tenure.registered((two,))
    assert messages == (Claim(one, BO, 2),)
    assert (tenure.ours, tenure.serves) == (True, False), "the other one may have it"
    assert not tenure.yielded(Yielded(two, BO, 1))[0].serves
    assert tenure.yielded(Yielded(two, BO, 2))[0].serves
    other, _ = tenure.claimed(Claim(two, BO, 3), busy=False)
    assert (other.ours, other.waits) == (False, False)


def test_who_is_presumed_gone() -> None:
    assert may_be_presumed_gone(claimed_at=10, heard_at=9, was_busy=True)
    assert may_be_presumed_gone(claimed_at=10, heard_at=12, was_busy=False)
    assert not may_be_presumed_gone(claimed_at=10, heard_at=12, was_busy=True)
