"""What is FreeSWITCH's own: its lease and limit, a wrong password, a server that hangs, big and strange events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dialplans.endpoints import PhoneClass
from dialplans.render import ALONE_LOG
from pbx.adapters.freeswitch import esl, session
from pbx.adapters.freeswitch.engine import FreeSwitchEngine
from pbx.adapters.freeswitch.esl import EslLink
from pbx.controller.served_alone import read
from pbx.domain.errors import BadValue
from pbx.domain.events import DigitPressed, FeatureDialled, LegAnswered, LegEnded, LegOffered, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from tests.contract.backend import TRUNK, Controller, account
from tests.contract.far_end import CALLEE, CALLER, DID, PROMPT_HZ, RATE, FarEnd, tones_in
from tests.contract.freeswitch_pop import PASSWORD, FreeSwitchPop
from tests.contract.listener import Listener
from tests.contract.promises.recording import sides
from tests.contract.sip_far_ends import AUTHORITY, MESH_PORT, SipFarEnd
from tests.dialplans.test_mesh_tls import OPTIONS
from tests.lab.authority import Authority
from tests.lab.errors import wait_until

pytestmark = pytest.mark.lab


@contextlib.asynccontextmanager
async def side_door(pop: FreeSwitchPop) -> AsyncIterator[EslLink]:
    """A connection of its own to the server."""
    up = asyncio.Event()

    async def connected() -> None:
        up.set()

    link = EslLink(
        host=pop.pop.esl_host,
        port=pop.pop.esl_port,
        password=PASSWORD,
        events=("HEARTBEAT",),
        filters=(),
        on_event=lambda _: None,
        on_connected=connected,
        on_down=lambda _: None,
    )
    link.start()
    async with asyncio.timeout(10):
        await up.wait()
    try:
        yield link
    finally:
        await link.stop()


@pytest.fixture
async def controller(freeswitch_pop: FreeSwitchPop) -> AsyncIterator[Controller]:
    async with freeswitch_pop.controller() as controller:
        yield controller
    await freeswitch_pop.leak_check()


async def press(caller: FarEnd, controller: Controller, digit: str) -> None:
    count = len(controller.listener.of(DigitPressed))
    await caller.press(digit)
    assert (await controller.listener.wait_for(DigitPressed, count=count + 1)).digit == digit


def is_spoken_to(pop: FreeSwitchPop, port: int, shown: Path | None) -> bool:
    """Whether there is a SIP answer over TLS for one who shows the certificate in that directory, or none."""
    context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    if shown is not None:
        context.load_cert_chain(shown / "cert.pem", shown / "key.pem")
    address = pop.host.address
    with socket.create_connection((address, port), timeout=5) as plain:
        try:  # in TLS 1.3 a client learns only by its first read that it was refused
            with context.wrap_socket(plain, server_hostname=address) as encrypted:
                me = encrypted.getsockname()[0]
                encrypted.sendall(OPTIONS.format(to=address, me=me).encode())
                return encrypted.recv(1000).startswith(b"SIP/2.0 ")
        except (ssl.SSLError, ConnectionError):
            return False


def test_other_pops_show_a_certificate_of_the_site(freeswitch_pop: FreeSwitchPop, tmp_path: Path) -> None:
    for name, authority in (("ours", AUTHORITY), ("foreign", Authority("Somebody else"))):
        authority.certify(tmp_path / name, "198.18.0.1")
    assert is_spoken_to(freeswitch_pop, MESH_PORT, tmp_path / "ours")
    assert not is_spoken_to(freeswitch_pop, MESH_PORT, tmp_path / "foreign")
    assert not is_spoken_to(freeswitch_pop, MESH_PORT, None)
    assert is_spoken_to(freeswitch_pop, 5061, None), "phones show none"


async def test_a_phone_speaks_what_its_class_says(freeswitch_pop: FreeSwitchPop) -> None:
    """When it is rung, and when it calls, though it would rather speak something else."""
    pop, listener = freeswitch_pop, Listener()
    engine = pop.engine(classes={"desk": PhoneClass(), "narrow": PhoneClass(codecs=["alaw"])})
    await engine.start(listener)
    await listener.until(lambda: bool(listener.ups), "engine_up")
    controller = Controller(engine, listener)
    with pytest.raises(BadValue, match="phone_class: is none of this POP's: desk, narrow"):
        await engine.put_phone(replace(account("dora"), phone_class="browser"))
    async with pop.phone(controller, "dora") as dora, pop.caller() as caller:
        assert isinstance(dora, SipFarEnd)
        await engine.put_phone(replace(account("dora"), phone_class="narrow"))
        first = await controller.called_by(caller)  # by the law that the caller's phone names first
        second = await controller.reached(dora, first)
        [offered] = re.findall(r"INVITE sip:.*?m=audio \d+ RTP/AVP ([0-9 ]+)", dora.phone.process.log_text(), re.S)
        assert offered.split()[:2] == ["8", "101"]
        assert "0" not in offered.split()
        await engine.hang_up(second, HangupCause.NORMAL_CLEARING)
        await controller.outcome(second)
        await dora.dial("*11")
        dialled = await listener.wait_for(FeatureDialled)
        await engine.answer(dialled.leg_id)
        await controller.answered(dialled.leg_id)
        assert pop.server.cli(f"uuid_getvar {dialled.leg_id} read_codec").strip() == "PCMA"
        await engine.hang_up(dialled.leg_id, HangupCause.NORMAL_CLEARING)
    await controller.settled()
    await engine.stop()
    await pop.leak_check()


async def test_without_a_lease_callers_get_the_fallback_at_once(freeswitch_pop: FreeSwitchPop) -> None:
    pop = freeswitch_pop
    async with pop.controller():
        assert float(pop.server.cli("global_getvar callplane_lease")) > time.time()
    assert pop.server.cli("global_getvar callplane_lease").strip() == "0"
    async with pop.caller() as caller:
        await caller.dial()
        assert await caller.is_over(deadline_s=5) >= 400  # the limit for a leg that nobody takes is 10 s
    await pop.leak_check()


async def test_calls_without_a_controller_are_noted_for_the_next(freeswitch_pop: FreeSwitchPop, tmp_path: Path) -> None:
    """One that heard the announcement, one that an agent's phone dialled, and one that was barred."""
    pop, file = freeswitch_pop, tmp_path / ALONE_LOG
    async with pop.controller() as controller, pop.phone(controller, "dora") as dora, pop.callee() as callee:
        await controller.engine.stop()
        async with pop.caller() as caller:
            await caller.dial()
            assert await caller.is_over() == 503
        await dora.dial("+499001234567")
        assert await dora.is_over() in (403, 603)
        await dora.dial(CALLEE)
        await callee.rings()
        await callee.answer()
        await callee.hears(dora.hz)
        await dora.hang_up()
        await pop.leak_check()
        engine, listener = pop.engine(alone_log=file), Listener()
        await engine.start(listener)
        await asyncio.to_thread(wait_until, file.exists, 15, "the lines")
        calls, going_on = read(file.read_text().splitlines(keepends=True), lambda *_: False, time.time())
        await listener.until(lambda: bool(listener.ups), "engine_up")
        controller.engine, controller.listener = engine, listener
    came, talked, barred = sorted(calls, key=lambda call: call.began.get("number", ""))
    assert going_on == []
    assert (came.began["did"], came.began["cli"], came.began["trunk"], came.began["over"]) == (DID, CALLER, TRUNK, "")
    assert (came.cause, came.answered, came.handed) == (HangupCause.SWITCH_CONGESTION, False, False)
    assert (barred.began["phone"], barred.began["number"]) == ("dora", "+499001234567")
    assert (barred.cause, barred.answered) == (HangupCause.CALL_REJECTED, False)
    assert (talked.began["number"], talked.began["trunk"], talked.answered) == (CALLEE, TRUNK, True)
    assert talked.cause is HangupCause.NORMAL_CLEARING
    assert pop.server.cli("db count/callplane-alone").strip() == "0"


async def test_controller_that_dies_under_a_running_lease(freeswitch_pop: FreeSwitchPop) -> None:
    """A caller whom nobody takes waits for no longer than the dialplan's limit; a taken leg has none."""
    pop = freeswitch_pop
    async with contextlib.AsyncExitStack() as stack:
        engine, listener = pop.engine(), Listener()
        await engine.start(listener)
        await listener.until(lambda: bool(listener.ups), "engine_up")
        held, late = [await stack.enter_async_context(pop.caller(name)) for name in ("held", "late")]
        first = await Controller(engine, listener).called_by(held)
        await pop.crash(Controller(engine, listener))
        await late.dial()
        assert await late.is_over(15) >= 400
        await asyncio.to_thread(wait_until, lambda: pop.server.channels() == [first], 5, "only the taken leg to stay")
        after = await stack.enter_async_context(pop.controller())
        await after.engine.hang_up(first, HangupCause.NORMAL_CLEARING)
        await after.listener.wait_for(LegEnded)
        assert not after.listener.of(LegOffered)
    await pop.leak_check()


async def test_caller_who_came_while_the_controller_was_away(freeswitch_pop: FreeSwitchPop) -> None:
    """Within lease and limit the next controller takes the leg: the snapshot shows it."""
    pop = freeswitch_pop
    async with pop.caller() as caller:
        async with contextlib.AsyncExitStack() as stack:
            before = await stack.enter_async_context(pop.controller())
            await pop.crash(before)
            stack.pop_all()
        await caller.dial()
        await asyncio.to_thread(wait_until, lambda: len(pop.server.channels()) == 1, 5, "the call")
        async with pop.controller() as after:
            leg = await after.taken()
            await caller.talks()
            await after.engine.hang_up(leg, HangupCause.NORMAL_CLEARING)
            await after.listener.wait_for(LegEnded)
            assert len(after.listener.of(LegOffered)) == 1
    await pop.leak_check()


async def test_wrong_password_is_named(freeswitch_pop: FreeSwitchPop, caplog: pytest.LogCaptureFixture) -> None:
    engine, listener = freeswitch_pop.engine(esl_password="another-one"), Listener()
    await engine.start(listener)
    try:
        await asyncio.to_thread(wait_until, lambda: "esl_password" in caplog.text, 10, "the error")
    finally:
        await engine.stop()
    assert not listener.ups
    assert len([record for record in caplog.records if "esl_password" in record.getMessage()]) == 1
    assert PASSWORD not in caplog.text
    assert "another-one" not in caplog.text
    async with freeswitch_pop.controller():
        pass


async def test_server_that_hangs_is_noticed_and_found_again(
    freeswitch_pop: FreeSwitchPop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HUNG_S", 2.0)
    pop = freeswitch_pop
    async with pop.controller() as controller, pop.caller() as caller:
        leg = await controller.called_by(caller)
        os.kill(pop.server.process.pid, signal.SIGSTOP)
        try:
            await controller.listener.until(lambda: bool(controller.listener.downs), "engine_down", 15)
        finally:
            os.kill(pop.server.process.pid, signal.SIGCONT)
        await controller.listener.until(lambda: len(controller.listener.ups) == 2, "engine_up", 15)
        assert [seen.leg_id for seen in controller.listener.ups[1].legs] == [leg]
        await controller.play(leg, "short")
        assert (await controller.listener.wait_for(PlayEnded)).completed
        await controller.engine.hang_up(leg, HangupCause.NORMAL_CLEARING)
        await controller.outcome(leg)
    await pop.leak_check()


async def test_event_of_a_megabyte(freeswitch_pop: FreeSwitchPop, controller: Controller) -> None:
    """Every event of the leg is that big; it is read, and the other call goes on."""
    async with freeswitch_pop.caller() as caller, freeswitch_pop.caller("other") as other:
        leg = await controller.called_by(caller)
        second = await controller.called_by(other)
        async with side_door(freeswitch_pop) as link:
            await link.api(f"uuid_setvar {leg} big {'x' * (1 << 20)}")
        await press(caller, controller, "5")
        await press(other, controller, "6")
        snapshot = await controller.engine.snapshot()
        assert {seen.leg_id for seen in snapshot.legs} == {leg, second}
        await caller.hang_up()
        assert await controller.outcome(leg) is HangupCause.NORMAL_CLEARING
        await press(other, controller, "7")
    assert not controller.listener.downs


async def test_header_of_any_bytes(freeswitch_pop: FreeSwitchPop, controller: Controller) -> None:
    anything = bytes(byte for byte in range(1, 256) if byte not in b"\r\n '\"\\")
    async with freeswitch_pop.caller() as caller, freeswitch_pop.caller("other") as other:
        leg = await controller.called_by(caller)
        second = await controller.called_by(other)
        async with side_door(freeswitch_pop) as link:
            for name in ("anything", "CALLPLANE_ROLE"):
                await link.api(f"uuid_setvar {leg} {name} {anything.decode('utf-8', 'surrogateescape')}")
        await press(caller, controller, "5")
        seen = await controller.leg(leg)
        assert seen is not None
        assert "\ufffd" in seen.variables["CALLPLANE_ROLE"]
        await press(other, controller, "6")
        await caller.hang_up()
        await controller.outcome(leg)
        assert await controller.leg(second) is not None
    assert not controller.listener.downs


async def test_recording_of_a_parked_leg_keeps_time(freeswitch_pop: FreeSwitchPop, controller: Controller) -> None:
    """Nothing is said to the leg for a second: the recording must not be shorter for it."""
    path = freeswitch_pop.recording_dir / "parked.raw"
    async with freeswitch_pop.caller() as caller:
        leg = await controller.called_by(caller)
        await caller.goes_on(0.2)
        began = time.monotonic()
        recording = await controller.record(leg, path)
        await caller.goes_on(1.0)
        await controller.play(leg, "short")
        await controller.listener.wait_for(PlayEnded)
        await controller.engine.stop_recording(recording, leg)
        took_s = time.monotonic() - began
        left, right = sides(path)
        path.unlink()
        await caller.hang_up()
        await controller.outcome(leg)
    assert abs(len(left) / RATE - took_s) < 0.15
    assert tones_in(left) == {caller.hz}
    assert tones_in(right[-RATE // 4 :]) == {PROMPT_HZ["short"]}


async def test_slow_reader_is_resynchronised(
    freeswitch_pop: FreeSwitchPop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A controller that cannot keep up drops what it has not read, says so, and reads what is there now."""
    async with freeswitch_pop.controller() as controller, freeswitch_pop.caller() as caller:
        leg = await controller.called_by(caller)
        assert isinstance(controller.engine, FreeSwitchEngine)
        monkeypatch.setattr(esl, "LONGEST_INBOX", 0)
        await caller.press("1")
        await controller.listener.until(lambda: bool(controller.listener.downs), "engine_down")
        monkeypatch.undo()
        await controller.listener.until(lambda: len(controller.listener.ups) == 2, "engine_up")
        assert [seen.leg_id for seen in controller.listener.ups[-1].legs] == [leg]
        assert len(controller.listener.of(LegAnswered)) == 1
        await press(caller, controller, "2")
        await controller.engine.hang_up(leg, HangupCause.NORMAL_CLEARING)
        await controller.outcome(leg)
    await freeswitch_pop.leak_check()
