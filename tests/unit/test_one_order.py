"""An agent of a queue that spans POPs and of one of the POP alone takes the calls of both in one order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.wire import messages as wire
from tests.support.pops import Site, pops
from tests.support.world import SHORT_FLOW, World

OWN: dict[str, Any] = {
    **SHORT_FLOW,
    "nodes": {**SHORT_FLOW["nodes"], "wait": {**SHORT_FLOW["nodes"]["wait"], "queue": "own"}},
}


def to_own_queue(world: World, version: int, **wait: Any) -> None:
    """Callers of this POP wait in its own queue from now on."""
    world.configure("queue.own", wire.QueueConfig(queue_id="own", name="Own", skills={"support": 1}, wrap_up_s=0.0))
    nodes = {**OWN["nodes"], "wait": {**OWN["nodes"]["wait"], **wait}}
    world.put_flow("main", {**OWN, "nodes": nodes}, version)


async def _first(site: Site, shared: Any, own: Any) -> str:
    """Who is served first when the only agent comes."""
    await site.one.run(3)
    site.two.agent("bo")
    await site.one.until(lambda: "talk" in (shared.hears, own.hears), "a conversation")
    assert [shared.hears, own.hears].count("talk") == 1
    found, other = ("shared", own) if shared.hears == "talk" else ("own", shared)
    (shared if found == "shared" else own).hang_up()
    await site.one.until(lambda: other.hears == "talk", "then the other")
    return found


@pytest.mark.parametrize("home", ["one", "two"], ids=["caller at another POP", "caller at the agent's POP"])
@pytest.mark.parametrize("earlier", ["shared", "own"])
async def test_who_came_first_is_served_first(tmp_path: Path, home: str, earlier: str) -> None:
    async with pops(tmp_path) as site:
        at: World = getattr(site, home)
        if earlier == "shared":
            shared = await at.call()
            await site.one.run(10)
            to_own_queue(site.two, 2)
            own = await site.two.call()
        else:
            to_own_queue(site.two, 2)
            own = await site.two.call()
            await site.one.run(10)
            site.two.put_flow("main", SHORT_FLOW, 3)
            shared = await at.call()
        assert await _first(site, shared, own) == earlier


async def test_priority_counts_as_in_one_queue(tmp_path: Path) -> None:
    async with pops(tmp_path) as site:
        shared = await site.one.call()
        await site.one.run(10)
        to_own_queue(site.two, 2, priority=5)
        own = await site.two.call()
        assert await _first(site, shared, own) == "own"


async def test_a_call_that_the_router_does_not_give_the_agent_holds_nobody_up(tmp_path: Path) -> None:
    """What was heard of the first call of other POPs is old."""
    async with pops(tmp_path) as site:
        gone = await site.one.call()
        await site.one.run(10)
        to_own_queue(site.two, 2)
        own = await site.two.call()
        await site.one.run(3)
        gone.hang_up()
        site.two.agent("bo")
        began = site.two.clock()
        await site.two.until(lambda: own.hears == "talk", "the conversation")
        assert site.two.clock() - began < 4
