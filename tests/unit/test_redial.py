"""The media server dies; who waited, or talked, and dials again within the queue's time is back at the former place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.memory.engine import Caller
from pbx.domain import kept_places
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import E164
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import QueueId
from pbx.domain.kept_places import KeptPlace, KeptPlaces
from pbx.simulation.replay import replay
from pbx.simulation.replay_read import read
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World

ANN, BEA, CAT = "+4917011111111", "+4917022222222", "+4917033333333"
NONE = RegimeTable({"DE": Regime.NONE}, Regime.NONE)


async def waits(world: World, cli: str) -> Caller:
    caller = await world.call(cli)
    await world.until(lambda: "QueueJoined" in world.kinds(caller), "the caller in the queue")
    return caller


def world_of(tmp_path: Path, redial_s: float = 120.0, **more: Any) -> World:
    return World(tmp_path, SHORT_FLOW, redial_s=redial_s, wrap_up_s=0, **more)


async def cut_off(world: World, *callers: Caller) -> None:
    world.engine.crash()
    for caller in callers:
        cdr = await world.ended(caller)
        assert cdr.cause in kept_places.CUT_OFF


def order(world: World, *callers: Caller) -> list[Caller]:
    of = {world.call_id(caller): caller for caller in callers}
    return [of[call_id] for call_id in world.pop.router.acd.waiting_calls(QueueId("support"))]


async def test_who_dials_again_is_back_at_the_former_place(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        ann = await waits(world, ANN)
        await world.run(5)
        bea = await waits(world, BEA)
        await cut_off(world, ann, bea)
        assert world.kinds(ann).count("PlaceKept") == 1
        await world.run(20)
        cat = await waits(world, CAT)
        bea, ann = await waits(world, BEA), await waits(world, ANN)
        assert order(world, ann, bea, cat) == [ann, bea, cat]
        world.agent("anna")
        await world.until(lambda: ann.hears == "talk", "the first of them with the agent")
        for caller in (ann, bea, cat):
            caller.hang_up()
            await world.ended(caller)
    report = replay(read(tmp_path / "journal.sqlite"))
    assert (report.difference, report.offers) == (None, 3)


@pytest.mark.parametrize(("redial_s", "after_s", "kept"), [(60, 55, True), (60, 65, False), (0, 1, False)])
async def test_only_within_the_time_of_the_queue(tmp_path: Path, redial_s: float, after_s: float, kept: bool) -> None:
    async with world_of(tmp_path, redial_s) as world:
        ann = await waits(world, ANN)
        await cut_off(world, ann)
        cat = await waits(world, CAT)
        await world.run(after_s)
        ann = await waits(world, ANN)
        assert order(world, ann, cat) == ([ann, cat] if kept else [cat, ann])


async def test_another_number_another_queue_and_a_withheld_number_have_no_place(tmp_path: Path) -> None:
    other = {
        "start": "menu",
        "languages": ["de"],
        "nodes": {
            "menu": {"type": "menu", "prompt": "menu", "choices": {"1": "one", "2": "two"}, "on_failure": "end"},
            "one": {"type": "queue", "queue": "support", "on_refused": "end"},
            "two": {"type": "queue", "queue": "sales", "on_refused": "end"},
            "end": {"type": "hang_up", "prompts": ["goodbye"]},
        },
    }

    async def chooses(world: World, cli: str, digit: str) -> Caller:
        caller = await world.call(cli)
        await world.until(lambda: caller.hears == "de/menu", "the menu")
        caller.press(digit)
        await world.until(lambda: "QueueJoined" in world.kinds(caller), "the caller in the queue")
        return caller

    async with World(tmp_path, other, redial_s=120) as world:
        world.configure("queue.sales", wire.QueueConfig(queue_id="sales", name="Sales", skills={}, redial_s=120))
        ann, anon = await chooses(world, ANN, "1"), await chooses(world, "anonymous", "1")
        await cut_off(world, ann, anon)
        assert world.kinds(anon).count("PlaceKept") == 0
        began = world.clock()
        for cli, digit in ((ANN, "2"), (BEA, "1"), ("anonymous", "1")):
            caller = await chooses(world, cli, digit)
            assert entered(world, caller) >= began, cli
        again = await chooses(world, ANN, "1")
        assert entered(world, again) < began


def entered(world: World, caller: Caller) -> float:
    """What the caller's place goes by."""
    now = world.clock()
    return now - world.pop.router.acd.waits(world.call_id(caller), now).waited_s


async def test_a_place_is_given_back_once(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        ann = await waits(world, ANN)
        await cut_off(world, ann)
        began = world.clock()
        first, second = await waits(world, ANN), await waits(world, ANN)
        assert entered(world, first) < began <= entered(world, second)


async def test_who_hangs_up_has_no_place(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        ann = await waits(world, ANN)
        ann.hang_up()
        await world.ended(ann)
        began = world.clock()
        assert entered(world, await waits(world, ANN)) >= began
        assert "PlaceKept" not in world.kinds(ann)


async def test_who_talked_has_the_age_of_the_wait(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.config.regimes = NONE
        ann = await waits(world, ANN)
        await world.run(30)
        world.agent("anna")
        await world.until(lambda: ann.hears == "talk", "the conversation")
        await world.run(300)
        cut_at = world.clock()
        await cut_off(world, ann)
        world.status("anna", "NOT_READY", "BREAK")
        again = await waits(world, ANN)
        assert entered(world, again) == pytest.approx(cut_at - 30, abs=2)


async def test_the_next_controller_knows_the_places_too(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        ann = await waits(world, ANN)
        await cut_off(world, ann)
        began = world.clock()
        await world.restart()
        assert entered(world, await waits(world, ANN)) < began


async def test_a_crash_of_both_keeps_the_place(tmp_path: Path) -> None:
    """As after a crash of the host: the next controller finds no leg of the last one's calls."""
    async with world_of(tmp_path) as world:
        await waits(world, ANN)
        await world.die()
        world.engine.crash()
        began = world.clock()
        await world.live()
        await world.run(5)
        assert entered(world, await waits(world, ANN)) < began


async def test_a_number_that_is_forgotten_has_no_place(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        ann = await waits(world, ANN)
        await cut_off(world, ann)
        began = world.clock()
        world.pop.router.forget([ANN])
        assert entered(world, await waits(world, ANN)) >= began


def test_places_are_bounded_and_old_ones_leave_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_places, "MAX_KEPT", 2)
    queue, numbers = QueueId("q"), [E164(f"+4917000000{number:02}") for number in range(3)]
    places = KeptPlaces(KeptPlace(queue, number, 1.0, 2.0) for number in numbers)
    assert [places.take(queue, number, 60, 3.0) for number in numbers] == [None, 1.0, 1.0]
    assert len(places) == 0
    assert SqliteJournal(tmp_path / "journal.sqlite").kept_places(0.0) == []


def test_a_network_out_of_order_is_a_cut_and_a_hang_up_is_none() -> None:
    assert HangupCause.NETWORK_OUT_OF_ORDER in kept_places.CUT_OFF
    assert HangupCause.NORMAL_CLEARING not in kept_places.CUT_OFF
