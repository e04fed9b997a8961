"""What is Asterisk's own about its links: events kept for a controller that is away, the lease and its fallback, phones
put again after a restart, wrong credentials."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest

from pbx.adapters.asterisk.tracker import Tracker
from pbx.domain.events import DigitPressed, LegEnded, LegOffered, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import PhoneId
from tests.contract.asterisk_pop import AsteriskPop
from tests.contract.backend import account
from tests.contract.contract import nothing_left
from tests.contract.listener import Listener
from tests.contract.promises.links import dying, hung_up
from tests.lab.errors import LabError, wait_until
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab
IN_FLIGHT = 50


async def test_events_of_the_time_away_arrive_once(pop: AsteriskPop) -> None:
    async with contextlib.AsyncExitStack() as stack:
        before = await stack.enter_async_context(dying(pop))
        caller = await stack.enter_async_context(pop.caller())
        second = await stack.enter_async_context(pop.caller("second"))
        leg = await before.called_by(caller)
        await pop.crash(before)
        await caller.press("7")
        await second.dial()
        wait_until(lambda: len(pop.server.channels()) == 2, 5, "the second call")
        after = await stack.enter_async_context(pop.controller())
        offered = await after.offered()
        assert offered != leg
        await after.listener.wait_for(DigitPressed, lambda e: e.leg_id == leg)
        assert leg in {leg.leg_id for leg in after.listener.ups[0].legs if leg.in_control}
        await caller.hang_up()
        assert await after.outcome(leg) is HangupCause.NORMAL_CLEARING
        await hung_up(after, offered)
        assert len(after.listener.of(LegOffered)) == len(after.listener.of(DigitPressed)) == 1
        assert len(after.listener.of(LegEnded)) == 2
    await nothing_left(pop)


async def test_caller_whose_news_died_with_the_controller(pop: AsteriskPop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server wrote it to a connection whose other end was gone: it is told of to nobody again."""
    async with contextlib.AsyncExitStack() as stack:
        before = await stack.enter_async_context(dying(pop))
        caller = await stack.enter_async_context(pop.caller())
        with monkeypatch.context() as lost:
            lost.setattr(Tracker, "handle", lambda tracker, event: None)
            await caller.dial()
            wait_until(lambda: len(pop.server.channels()) == 1, 5, "the call")
            await pop.crash(before)
        after = await stack.enter_async_context(pop.controller())
        leg = await after.offered()
        await after.engine.answer(leg)
        await caller.talks()
        await hung_up(after, leg)
        assert len(after.listener.of(LegOffered)) == 1
    await nothing_left(pop)


async def test_caller_who_came_and_left_meanwhile(pop: AsteriskPop) -> None:
    """The call is told of from its beginning to its end, with the times it had."""
    async with contextlib.AsyncExitStack() as stack:
        before = await stack.enter_async_context(dying(pop))
        caller = await stack.enter_async_context(pop.caller())
        await pop.crash(before)
        await caller.dial()
        wait_until(lambda: len(pop.server.channels()) == 1, 5, "the call")
        await caller.hang_up()
        await caller.is_over()
        wait_until(lambda: not pop.server.channels(), 5, "its end")
        left_at = time.time()
        after = await stack.enter_async_context(pop.controller())
        leg = await after.offered()
        await after.outcome(leg)
        assert [type(event) for event in after.listener.events] == [LegOffered, LegEnded]
        assert all(event.at <= left_at for event in after.listener.events)
    await nothing_left(pop)


async def test_without_a_lease_callers_get_the_fallback_at_once(pop: AsteriskPop) -> None:
    async with pop.controller():
        assert float(pop.global_variable("CALLPLANE_LEASE")) > time.time()
    assert pop.global_variable("CALLPLANE_LEASE") == "0"
    async with pop.caller() as caller:
        await caller.dial()
        assert await caller.is_over(deadline_s=2) == 503
    await nothing_left(pop)


async def test_controller_that_dies_under_a_running_lease(pop: AsteriskPop) -> None:
    """The caller waits in Stasis for no longer than the dialplan's limit; a taken leg has no limit."""
    async with contextlib.AsyncExitStack() as stack:
        before = await stack.enter_async_context(dying(pop))
        held = await stack.enter_async_context(pop.caller("held"))
        late = await stack.enter_async_context(pop.caller("late"))
        leg = await before.called_by(held)
        await pop.crash(before)
        await late.dial()
        assert await late.is_over(deadline_s=15) == 503
        assert len(pop.server.channels()) == 1
        after = await stack.enter_async_context(pop.controller())
        await held.hang_up()
        await after.outcome(leg)
    await nothing_left(pop)


async def test_legs_of_a_server_that_was_restarted_end_at_once(pop: AsteriskPop) -> None:
    """Before the new one is said to be up: it may give a leg the id of one of them."""
    async with pop.controller() as controller, pop.caller() as caller:
        leg = await controller.called_by(caller)
        await pop.restart_server(controller)
        listener = controller.listener
        await listener.until(lambda: len(listener.ups) == 2, "engine_up")
        assert [event.leg_id for event in listener.of(LegEnded)] == [leg]
    await nothing_left(pop)


async def test_phones_are_put_again_after_a_restart(pop: AsteriskPop) -> None:
    async with pop.controller() as controller:
        engine, listener = controller.engine, controller.listener
        await engine.put_phone(account("anna"))
        await pop.restart_server(controller)
        await listener.until(lambda: len(listener.ups) == 2, "engine_up")
        for first in range(0, 1000, IN_FLIGHT):
            await asyncio.gather(*(engine.put_phone(account(f"agent{first + n}")) for n in range(IN_FLIGHT)))
        async with pop.phone(controller, "anna"):
            pass
        for first in range(0, 1000, IN_FLIGHT):
            await asyncio.gather(*(engine.remove_phone(PhoneId(f"agent{first + n}")) for n in range(IN_FLIGHT)))
    await nothing_left(pop)


async def test_replaced_password_counts(pop: AsteriskPop) -> None:
    async with pop.controller() as controller:
        async with pop.phone(controller, "anna"):
            await controller.engine.put_phone(account("anna", "another"))
        await controller.engine.put_phone(account("anna", "another"))
        late = Phone.start(pop.phones, "anna", server=pop.host.address, password="secret", tone_hz=500)
        async with late as phone:
            with pytest.raises(LabError, match="401"):
                await phone.wait_registered()
        again = Phone.start(pop.phones, "anna", server=pop.host.address, password="another", tone_hz=500)
        async with again as phone:
            await phone.wait_registered()
            await controller.listener.wait_for(PhoneReachable, lambda e: e.reachable, count=2)
        await controller.engine.remove_phone(PhoneId("anna"))
    await nothing_left(pop)


async def test_dialplan_that_hands_over_nonsense(pop: AsteriskPop) -> None:
    async with pop.controller() as controller:
        async with pop.caller() as caller:
            await caller.dial("bad")
            await caller.is_over()
        await controller.settled()
        assert not controller.listener.events
    await nothing_left(pop)


async def test_wrong_password_is_named(pop: AsteriskPop, caplog: pytest.LogCaptureFixture) -> None:
    engine, listener = pop.engine(password="another"), Listener()
    named = asyncio.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "wrong ARI user or password" in record.getMessage():
                named.set()

    watch = Watch()
    logging.getLogger("pbx.adapters.asterisk.ari").addHandler(watch)
    await engine.start(listener)
    try:
        async with asyncio.timeout(10):
            await named.wait()
    finally:
        logging.getLogger("pbx.adapters.asterisk.ari").removeHandler(watch)
        await engine.stop()
    assert not listener.ups
    assert "of-this-test-only" not in caplog.text
    async with pop.controller():
        pass
