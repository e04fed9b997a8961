"""What monitoring is told of the router of queues that span POPs, and of agents who move."""

from __future__ import annotations

from pathlib import Path

from pbx.controller.spanning.desk import ALONE_S
from pbx.controller.watch import PopWatch
from pbx.domain.ids import AgentId, PhoneId
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from tests.support.metrics import Scrape
from tests.support.pops import pops
from tests.support.world import World


async def page(world: World) -> Scrape:
    watch = PopWatch(world.pop, world.pop._services.recorder, None, LoopLag(), LogCounts())
    return Scrape((await watch.page()).encoded("")[0].decode())


async def test_the_router_and_what_becomes_of_its_proposals(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        leader, other = site.router_first()
        other.agent("bo")
        caller = await other.call()
        await site.one.until(lambda: caller.hears == "talk", "the conversation")
        at_leader, at_other = await page(leader), await page(other)
        assert [one.value("callplane_router_here") for one in (at_leader, at_other)] == [1, 0]
        assert at_leader.value("callplane_router_term") == at_other.value("callplane_router_term") > 0
        assert [one.value("callplane_router_proposals_total", what="made") for one in (at_leader, at_other)] == [1, 0]
        assert at_other.value("callplane_router_proposals_answered_total", answer="taken") == 1
        assert at_other.value("callplane_spanning_queues") == at_other.value("callplane_router_known") == 1
        assert at_other.value("callplane_router_heard_age_seconds") < ALONE_S
        # A proposal for an agent who is not free any more when it comes.
        caller.hang_up()
        await site.one.until(lambda: other.state("bo")[2] == "IDLE", "the agent free again")
        await site.one.run(1)
        site.bus.delay_s = 0.3
        waiting = await other.call()
        await site.one.run(0.4)
        other.status("bo", "NOT_READY", "lunch")
        await site.one.run(2)
        assert waiting.hears != "talk"
        assert (await page(other)).value("callplane_router_proposals_answered_total", answer="agent_not_free") >= 1
        site.bus.delay_s = 0.001
        site.part(str(other.pop_id))
        await site.one.run(ALONE_S + 1)
        alone = await page(other)
        assert alone.value("callplane_router_known") == 0
        assert alone.value("callplane_router_heard_age_seconds") > ALONE_S


async def test_agents_who_move_are_counted_where_they_are(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.one.agent("bo", pops=["de-1", "de-2"])
        site.two.configure("agent.bo", site.one.config.agents[AgentId("bo")])
        site.two.engine.phone("bo")
        site.one.engine.unregister(site.one.engine.phones[PhoneId("bo")])
        await site.one.run(1)
        former, now = await page(site.one), await page(site.two)
        assert [one.value("callplane_agents_elsewhere") for one in (former, now)] == [1, 0]
        assert [former.value("callplane_agent_moves_total", what=what) for what in ("went", "came")] == [1, 0]
        assert [now.value("callplane_agent_moves_total", what=what) for what in ("went", "came")] == [0, 1]
        ready = {"status": "AVAILABLE", "state": "IDLE"}
        assert [one.value("callplane_agents", **ready) for one in (former, now)] == [0, 1]
        assert former.value("callplane_agents_unreachable") == 0, "nobody need look for that phone"
