"""A POP that drains: new calls go elsewhere, live ones go on, nobody is called back; a restart changes nothing."""

from __future__ import annotations

from pathlib import Path

from pbx.domain.hangup_cause import HangupCause, sip_status
from pbx.wire import messages as wire
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_callbacks import FLOW, QUEUE, Desk, morning

DRAINING = wire.PopConfig(draining=True)


def undrain(world: World) -> None:
    world.pop.config_changed("pop", None)


async def test_new_calls_are_refused_and_live_ones_go_on(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        talking = await world.call()
        await world.until(lambda: talking.hears == "talk")
        waiting = await world.call("+4917012345679")
        world.configure("pop", DRAINING)
        refused = await world.call("+4917012345670")
        await world.until(lambda: refused.cause is not None)
        assert refused.cause is HangupCause.SWITCH_CONGESTION
        assert sip_status(refused.cause) == 503, "upon which a carrier takes its next route"
        cdr = world.cdr(world.call_id(refused))
        assert (cdr.end_reason, cdr.cause, cdr.answered_at) == ("draining", 42, None)
        beat = world.pop.heartbeat()
        assert (beat.draining, beat.live_calls) == (True, 2)
        talking.hang_up()
        await world.ended(talking)
        await world.until(lambda: waiting.hears == "talk", "who waits is still served")
        waiting.hang_up()
        assert (await world.ended(waiting)).end_reason == "caller_hung_up"
        assert anna.rung == 2
        beat = world.pop.heartbeat()
        assert (beat.draining, beat.live_calls) == (True, 0)
        undrain(world)
        again = await world.call()
        await world.until(lambda: again.hears == "talk")
        assert not world.pop.heartbeat().draining


async def test_a_number_of_nobody_does_not_exist_while_it_drains(tmp_path: Path) -> None:
    """The carrier's next route may know the number: only a POP that takes calls says that there is none."""
    async with World(tmp_path, SHORT_FLOW) as world:
        world.configure("pop", DRAINING)
        caller = await world.call(did="+49305550199")
        await world.until(lambda: caller.cause is not None)
        assert caller.cause is HangupCause.SWITCH_CONGESTION


async def test_it_still_drains_after_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        talking = await world.call()
        await world.until(lambda: talking.hears == "talk")
        entry = wire.ConfigEntry(revision=9, entity=DRAINING)
        world.journal.put_config("pop", entry)  # as the link does, first
        world.pop.config_changed("pop", entry)
        await world.restart()
        refused = await world.call("+4917012345670")
        await world.until(lambda: refused.cause is not None)
        assert refused.cause is HangupCause.SWITCH_CONGESTION
        assert talking.hears == "talk"
        await world.until(lambda: world.pop.heartbeat().live_calls == 1)
        talking.hang_up()
        await world.until(lambda: world.pop.heartbeat().live_calls == 0)


async def test_nobody_is_called_back_until_it_takes_calls_again(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        world.configure("pop", DRAINING)
        world.agent("anna")
        await world.run(2 * 3600)
        assert desk.events("CallbackDialled") == []
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        assert len(world.pop.callbacks.promises.open) == 1, "the promise stands"
        undrain(world)
        await desk.rung()
        desk.answer()
        await world.until(lambda: desk.customer == {"anna"})
        desk.hang_up()
        assert (await desk.over()).direction == "outbound"


async def test_one_who_is_being_called_is_called_to_the_end(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, **QUEUE) as world:
        await morning(world)
        desk = Desk(world)
        await desk.promised()
        world.agent("anna")
        await desk.rung()
        world.configure("pop", DRAINING)
        assert world.pop.heartbeat().live_calls == 1
        desk.hang_up()
        await desk.over()
        await world.run(3 * 3600)
        assert len(desk.events("CallbackDialled")) == 1, "the next attempt waits"
        undrain(world)
        await desk.rung(2)
