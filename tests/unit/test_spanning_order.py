"""Who is served when, in queues that span POPs: while the router changes, a controller starts, a POP is cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Caller
from pbx.controller.spanning.desk import CUT_OFF_S
from pbx.controller.spanning.global_router import EXPIRE_S
from pbx.domain.errors import EngineGone
from pbx.domain.ids import PhoneId
from tests.support.pops import Site, pops
from tests.support.world import World

SAME_MOMENT_S = 0.01
"""What the router proposes to two POPs at once they journal as it reaches them."""


class Served:
    """Who has been answered, in which order."""

    def __init__(self, callers: list[Caller]) -> None:
        self._callers = callers
        self.order: list[int] = []

    def count(self) -> int:
        seen = set(self.order)
        self.order += [n for n, caller in enumerate(self._callers) if n not in seen and caller.hears == "talk"]
        return len(self.order)

    async def reach(self, world: World, count: int) -> None:
        """Wait until so many are served; some at a time, for a busy machine's sake."""
        for some in (*range(len(self.order) + 10, count, 10), count):
            await world.until(lambda: self.count() >= some, f"{some} served")  # noqa: B023


async def _two_hundred(site: Site) -> tuple[list[World], Served]:
    """Callers at three POPs in turn, and one agent at each."""
    worlds = list(site.worlds.values())
    callers = [await worlds[n % 3].call(cli=f"+49170{n:07d}") for n in range(200)]
    await site.one.run(5)
    for world in worlds:
        phone = world.agent(f"agent-{world.pop_id}")
        phone.answers_after_s, phone.hangs_up_after_s = 0.3, 0.8
    return worlds, Served(callers)


def passed(worlds: list[World]) -> list[tuple[float, float]]:
    """Callers whom somebody was offered before who came later: when they came, and for how long before."""
    places: list[tuple[float, float]] = []
    for world in worlds:
        rows = world.journal._db.execute("SELECT call_id, kind, at, data FROM events ORDER BY seq").fetchall()
        came = {c: json.loads(data)["asked"]["entered_at"] for c, kind, _, data in rows if kind == "QueueJoined"}
        offered: dict[str, float] = {}
        for call_id, kind, at, _ in rows:
            if kind == "OfferMade":
                offered.setdefault(call_id, at)
        places += [(came[call_id], at) for call_id, at in offered.items()]
    places.sort()
    found: list[tuple[float, float]] = []
    first_later = float("inf")
    for came_at, offered_at in reversed(places):
        if offered_at - first_later > SAME_MOMENT_S:
            found.append((came_at, offered_at - first_later))
        first_later = min(first_later, offered_at)
    return found


@pytest.mark.parametrize("how", ["dies", "loses its lease", "its controller is killed"])
async def test_two_hundred_callers_keep_their_order_when_the_router_changes(tmp_path: Path, how: str) -> None:
    """The place is that of the time the caller came, whichever POP it was and whoever is the router."""
    async with pops(tmp_path, count=3) as site:
        worlds, served = await _two_hundred(site)
        leader = site.router()
        assert leader is not None
        await served.reach(site.one, 60)
        election = site.worlds[leader].pop.spanning.election  # type: ignore[union-attr]
        if how == "dies":
            election.stop()
            election.look = lambda *_: None  # type: ignore[method-assign]
        elif how == "its controller is killed":
            await site.worlds[leader].restart(away_s=1.2)
        else:
            site.bus.until = 0.0
            site.bus.holder = None
            site.bus.mesh(leader).lease = _nothing  # type: ignore[method-assign]
        again = (None,) if how == "its controller is killed" else (None, leader)
        await site.one.until(lambda: (served.count(), site.router())[1] not in again, "another router")
        await served.reach(site.one, 200)
        assert passed(worlds) == []
        # Three agents are rung at a time, and whoever picks up first is seen first: nobody is passed by a fourth.
        assert max(abs(place - number) for place, number in enumerate(served.order)) <= 3


async def test_a_new_router_hears_all_pops_before_it_proposes(tmp_path: Path) -> None:
    """Its own POP's callers, of whom it hears first, came after the other's."""
    async with pops(tmp_path) as site:
        former, new = site.router_first()
        first = await former.call()
        await site.one.run(1)
        second = await new.call()
        site.bus.delay_s = 0.1
        former.pop.spanning.election.stop()  # type: ignore[union-attr]
        former.pop.spanning.election.look = lambda *_: None  # type: ignore[union-attr, method-assign]
        await site.one.run(1.5)
        new.agent("bo")
        await site.one.until(lambda: "talk" in (first.hears, second.hears), "a conversation")
        assert first.hears == "talk"
        assert site.router() == new.pop_id


async def test_a_controller_that_starts_waits_for_the_routers_word(tmp_path: Path) -> None:
    """Its agent is free, its caller came later than the other POP's: who was first is served first."""
    async with pops(tmp_path) as site:
        router, other = site.router_first()
        first = await router.call()
        await site.one.run(1)
        second = await other.call()
        await other.die()
        await site.one.run(1)
        await other.live()
        other.agent("bo")
        await site.one.until(lambda: "talk" in (first.hears, second.hears), "a conversation")
        assert first.hears == "talk"


@pytest.mark.parametrize("away_s", [0.5, 10.0], ids=["a moment", "forgotten"])
async def test_an_agent_of_a_controller_that_starts_takes_who_came_first(tmp_path: Path, away_s: float) -> None:
    """What it tells the router, whose own caller waits, is a free agent and a caller who came before that one. The
    router may know the caller still, by an older number: a proposal for that would be refused, and two seconds lost."""
    async with pops(tmp_path) as site:
        router, other = site.router_first()
        other.agent("bo")
        other.engine.unregister(other.engine.phones[PhoneId("bo")])
        first = await other.call()
        await site.one.run(1)
        second = await router.call()
        await other.die()
        other.engine.phone("bo")
        await site.one.run(away_s)
        await other.live()
        await site.one.until(lambda: other.pop.spanning.router_pop is not None, "the router's word")  # type: ignore[union-attr]
        heard = site.one.clock()
        await site.one.until(lambda: "talk" in (first.hears, second.hears), "a conversation")
        assert first.hears == "talk"
        assert site.one.clock() - heard < EXPIRE_S, "with the first proposal"


async def test_a_controller_that_starts_without_a_bus_serves_its_callers_soon(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        caller = await site.one.call()
        await site.one.die()
        site.part("de-1")
        await site.one.live()
        site.one.agent("anna")
        came = site.one.clock()
        await site.one.until(lambda: caller.hears == "talk", "a conversation")
        assert site.one.clock() - came < CUT_OFF_S + 5.0


async def test_calls_of_a_pop_without_its_media_server_hold_up_nobody(tmp_path: Path) -> None:
    """Nobody can be rung for them. When the media server answers again they are in their places."""
    async with pops(tmp_path) as site:
        first = await site.two.call()
        await site.one.run(1)
        second = await site.one.call()
        third = await site.one.call()

        async def gone(*_: object) -> None:
            raise EngineGone("the media server is not connected")

        originate = site.two.engine.originate
        site.two.engine.originate = gone  # type: ignore[method-assign, assignment]
        site.two.pop.engine_down("a test")
        await site.one.run(0.5)
        site.one.agent("anna")
        asked = site.one.clock()
        await site.one.until(lambda: second.hears == "talk", "the caller whose POP can ring an agent")
        assert site.one.clock() - asked < EXPIRE_S
        site.two.engine.originate = originate  # type: ignore[method-assign]
        site.two.pop.engine_up(await site.two.engine.snapshot())
        await site.one.run(1)
        second.hang_up()
        await site.one.until(lambda: "talk" in (first.hears, third.hears), "the next")
        assert first.hears == "talk", "who came first"


async def test_agents_of_a_pop_without_its_media_server_are_offered_nobody(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        site.two.agent("bo")
        await site.one.run(1)
        site.two.pop.engine_down("a test")
        await site.one.run(0.5)
        site.one.agent("anna")
        caller = await site.one.call()
        await site.one.until(lambda: caller.hears == "talk", "the conversation")
        offers = site.one.cdr(site.one.call_id(caller)).offers
        assert [offer.agent_id for offer in offers] == ["anna"], "bo has been idle for longer"
        site.two.pop.engine_up(await site.two.engine.snapshot())
        another = await site.one.call()
        await site.one.until(lambda: another.hears == "talk", "the other agent")


async def _nothing(held: int | None) -> int | None:
    return None


async def test_a_pop_that_is_cut_off_serves_its_own_and_nobody_is_lost(tmp_path: Path) -> None:
    async with pops(tmp_path, count=3) as site:
        worlds, served = await _two_hundred(site)
        leader = site.router()
        assert leader is not None
        await served.reach(site.one, 30)
        site.part(leader)
        await served.reach(site.one, 90)
        site.heal(leader)
        await served.reach(site.one, 200)
        for at in range(3):
            own = [number for number in served.order if number % 3 == at]
            assert own == sorted(own), "the callers of one POP stay in order, whoever is cut off"
        assert all(world.state(f"agent-{world.pop_id}")[0] == "AVAILABLE" for world in worlds)


async def test_a_trunk_that_is_broken_holds_up_nobody_else(tmp_path: Path) -> None:
    """Callers of a POP whose agents' POPs it does not reach come first, and others are served all the same."""
    async with pops(tmp_path) as site:
        first = []
        for _ in range(5):
            first.append(await site.two.call())
            await site.one.run(1)
        second = await site.one.call()
        site.part("de-2")
        site.bus.mesh("de-2").cut = False  # the bus is there: it is the trunks that are not
        site.one.agent("anna")
        asked = site.one.clock()
        await site.one.until(lambda: second.hears == "talk", "the caller whom the agent can be given")
        assert site.one.clock() - asked < 15.0
        site.heal("de-2")
        second.hang_up()
        await site.one.until(lambda: any(caller.hears == "talk" for caller in first), "one of those who came first")
