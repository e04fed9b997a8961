"""The controller away and back, the lease and its fallback, a restart of Asterisk, wrong credentials."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.domain.events import DigitPressed, LegEnded, LegOffered, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import PhoneId
from tests.contract.asterisk_pop import DID, AsteriskPop, Listener, account, calling, taken
from tests.contract.conftest import leak_check
from tests.lab.errors import wait_until
from tests.lab.phone import Phone

pytestmark = pytest.mark.lab


async def kill(engine: AsteriskEngine) -> None:
    """End the controller's side as a crash would: nothing is said, the lease is not given back."""
    engine.cut()
    await engine.stop()


async def test_events_of_the_time_away_arrive_once(pop: AsteriskPop) -> None:
    engine, listener = pop.engine(), Listener()
    await engine.start(listener)
    await listener.until(lambda: bool(listener.ups), "engine_up")
    async with calling(pop) as phone, calling(pop, "second") as second:
        await phone.dial(f"sip:{DID}@{pop.host.address}")
        leg = await taken(engine, listener)
        await phone.wait_for("CALL_ESTABLISHED")
        await kill(engine)
        await phone.send_digits("7")
        await second.dial(f"sip:{DID}@{pop.host.address}")
        wait_until(lambda: len(pop.server.channels()) == 2, 5, "the second call")
        async with pop.controller() as (back, after):
            offered = await after.wait_for(LegOffered)
            assert offered.leg_id != leg
            await after.wait_for(DigitPressed, lambda e: e.leg_id == leg)
            assert leg in {leg.leg_id for leg in after.ups[0].legs if leg.in_control}
            await phone.hang_up()
            await after.wait_for(LegEnded, lambda e: e.leg_id == leg)
            await back.hang_up(offered.leg_id, HangupCause.NORMAL_CLEARING)
            await after.wait_for(LegEnded, lambda e: e.leg_id == offered.leg_id)
            assert len(after.of(LegOffered)) == len(after.of(DigitPressed)) == 1
            assert len(after.of(LegEnded)) == 2
    leak_check(pop)


async def test_without_a_lease_callers_get_the_fallback_at_once(pop: AsteriskPop) -> None:
    async with pop.controller():
        assert float(pop.global_variable("CALLPLANE_LEASE")) > time.time()
    assert pop.global_variable("CALLPLANE_LEASE") == "0"
    async with calling(pop) as phone:
        await phone.dial(f"sip:{DID}@{pop.host.address}")
        assert "503" in (await phone.wait_for("CALL_CLOSED", deadline_s=2)).param
    leak_check(pop)


async def test_controller_that_dies_under_a_running_lease(pop: AsteriskPop) -> None:
    """The caller waits in Stasis for no longer than the dialplan's limit; a taken leg has no limit."""
    engine, listener = pop.engine(), Listener()
    await engine.start(listener)
    await listener.until(lambda: bool(listener.ups), "engine_up")
    async with calling(pop) as held, calling(pop, "late") as late:
        await held.dial(f"sip:{DID}@{pop.host.address}")
        await taken(engine, listener)
        await kill(engine)
        await late.dial(f"sip:{DID}@{pop.host.address}")
        assert "503" in (await late.wait_for("CALL_CLOSED", deadline_s=15)).param
        assert len(pop.server.channels()) == 1
    async with pop.controller() as (_, after):
        await after.until(lambda: len(after.of(LegEnded)) >= 1, "the ends")
    leak_check(pop)


async def test_restart_of_the_server(pop: AsteriskPop) -> None:
    async with pop.controller() as (engine, listener), calling(pop) as phone:
        await engine.put_phone(account("anna", "secret"))
        await phone.dial(f"sip:{DID}@{pop.host.address}")
        leg = await taken(engine, listener)
        await asyncio.to_thread(pop.server.kill)
        await listener.until(lambda: bool(listener.downs), "engine_down")
        await asyncio.to_thread(pop.server.start)
        await listener.until(lambda: len(listener.ups) == 2, "engine_up")
        assert listener.ups[1].legs == ()
        await listener.wait_for(LegEnded, lambda e: e.leg_id == leg)
        began = time.monotonic()
        await asyncio.gather(*(engine.put_phone(account(f"agent{n}", "secret")) for n in range(1000)))
        took_s = time.monotonic() - began
        assert took_s < 10
        await engine.put_phone(account("anna", "secret"))
        async with Phone.start(pop.phones, "anna", server=pop.host.address, password="secret", tone_hz=500) as anna:
            await anna.wait_registered()
            await listener.wait_for(PhoneReachable, lambda e: e.phone_id == "anna" and e.reachable)
        await asyncio.gather(*(engine.remove_phone(PhoneId(f"agent{n}")) for n in range(1000)))
        print(f"1000 phones put in {took_s:.2f} s")
    leak_check(pop)


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
