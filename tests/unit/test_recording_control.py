"""Recordings under way: paused and captured again, stopped, and what a caller who withdraws leaves behind: nothing."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbx.adapters.memory.engine import Callee
from pbx.adapters.memory.legs import Tone
from pbx.controller.phone_codes import PhoneCodes
from pbx.domain import events as ev
from pbx.domain.consent import Regime
from pbx.domain.errors import EngineRefused
from pbx.domain.ids import LegId, RecordingId
from pbx.wire import messages as wire
from tests.support.scene import Scene
from tests.support.world import SHORT_FLOW, World

NONE = {"DE": Regime.NONE}


class Recorded(Scene):
    """Anna talks to a caller, and it is recorded."""

    async def talks(self) -> None:
        await self.begin(NONE)
        for leg_id, hz in ((self.caller.leg_id, 700), (self.anna.leg_id, 900)):
            self.world.engine.tones[f"leg:{leg_id}"] = Tone(hz)
        self.world.pop.codes = PhoneCodes(self.world.pop.router, self.world.config, True)
        await self.world.run(4)

    async def pause(self, paused: bool = True) -> str | None:
        return await self.world.command(wire.PauseRecording(call_id=self.call_id, paused=paused))

    def press(self, keys: str, leg_id: LegId | None) -> None:
        for digit in keys:
            self.world.engine.emit(ev.DigitPressed(at=self.world.clock(), leg_id=leg_id or LegId(""), digit=digit))

    async def withdraws(self, how: str) -> None:
        if how == "keys":
            self.press("*0", self.caller.leg_id)
        else:
            command = wire.StopCallRecording(call_id=self.call_id, by="caller")
            assert await self.world.command(command) is None
        await self.world.run(0.5)

    def sound(self, recording_id: str) -> list[tuple[bool, bool]]:
        """Of each whole second: whether the caller's side has sound in its middle, and whether the agent's has."""
        data, size = self.world.pop.vault.read(RecordingId(recording_id), 0, 1 << 24)
        assert len(data) == size
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 8000)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        middles = [samples[second * 8000 + 3000 : second * 8000 + 5000] for second in range(len(samples) // 8000)]
        return [(bool(np.any(part[:, 0])), bool(np.any(part[:, 1]))) for part in middles]


BOTH, SILENCE = (True, True), (False, False)


async def test_a_pause_is_silence_on_both_sides_and_takes_its_time(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        assert await scene.pause(False) == "not_paused"
        assert await scene.pause() is None
        assert await scene.pause() == "already_paused"
        await world.run(5)
        assert await scene.pause(False) is None
        await world.run(3)
        cdr = await scene.finish()
        [recording] = cdr.recordings
        assert recording.pauses == 1
        assert recording.duration_ms == pytest.approx(12_000, abs=500)
        found = scene.sound(recording.recording_id)
        assert found[:3] == [BOTH] * 3
        assert found[5:8] == [SILENCE] * 3
        assert found[10:11] == [BOTH]


async def test_an_agent_pauses_by_key(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        for _ in range(2):
            scene.press("*0", scene.anna.leg_id)
            await world.run(3)
        kinds = world.kinds(scene.caller)
        assert [kinds.count(kind) for kind in ("RecordingPaused", "RecordingResumed")] == [1, 1]
        [recording] = (await scene.finish()).recordings
        assert SILENCE in scene.sound(recording.recording_id)


async def test_an_agent_stops_it_by_key(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        scene.press("*#", scene.anna.leg_id)
        await world.run(5)
        assert await scene.pause() == "not_recorded"
        [recording] = (await scene.finish()).recordings
        assert not recording.discarded
        assert recording.duration_ms == pytest.approx(4_000, abs=500)


async def test_no_part_begins_during_a_pause(tmp_path: Path) -> None:
    """A new agent takes the caller while the recording is paused; the part begins when it is over."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        assert await scene.pause() is None
        await scene.attached()
        assert await scene.take_over() is None
        await world.run(4)
        assert not world.engine.recordings
        assert await scene.pause(False) is None
        await world.run(3)
        assert len(world.engine.recordings) == 1
        scene.caller.hang_up()
        first, second = (await world.ended(scene.caller)).recordings
        assert first.pauses == 1
        assert second.duration_ms == pytest.approx(3_000, abs=500)


@pytest.mark.parametrize("paused", [True, False])
async def test_a_media_server_that_does_not_do_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """What could not be paused is stopped at once; what cannot go on is followed by another part."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()

        async def refuses(*_: Any) -> None:
            raise EngineRefused("no")

        if not paused:
            assert await scene.pause() is None
        monkeypatch.setattr(world.engine, "pause_recording" if paused else "resume_recording", refuses)
        assert await scene.pause(paused) == "engine_failed"
        await world.run(1)
        if paused:
            assert not world.engine.recordings
            assert await scene.pause(False) is None
        await world.run(3)
        assert len(world.engine.recordings) == 1
        cdr = await scene.finish()
        first, second = cdr.recordings
        assert (first.discarded, second.discarded) == (False, False)
        assert BOTH in scene.sound(second.recording_id)


@pytest.mark.parametrize("how", ["keys", "api"])
async def test_who_withdraws_leaves_nothing(tmp_path: Path, how: str) -> None:
    """Of two parts, one placed and one under way."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        await scene.attached()
        assert await scene.take_over() is None
        await world.run(4)
        assert len(world.files()) == 2
        await scene.withdraws(how)
        assert world.files() == []
        assert not world.engine.recordings
        await world.run(4)
        assert await scene.pause() == "not_recorded"
        scene.caller.hang_up()
        cdr = await world.ended(scene.caller)
        assert [recording.discarded for recording in cdr.recordings] == [True, True]
        assert [(c.granted, c.reason) for c in cdr.consents] == [(False, "withdrawn")]
        assert world.files() == []


async def test_what_callers_key_in_while_they_talk_is_not_in_the_journal(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        scene.press("4111*5", scene.caller.leg_id)
        await world.run(1)
        [recording] = (await scene.finish()).recordings
        assert not recording.discarded
        digits = [
            bytes(envelope.data)
            for envelope in world.journal.read_call(scene.call_id)
            if envelope.kind == "DigitPressed"
        ]
        assert len(digits) == 6
        assert all(b'"?"' in data for data in digits)


async def test_a_part_that_is_being_closed_is_destroyed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        stop = world.engine.stop_recording

        async def slowly(*args: Any) -> None:
            await world.run(2)
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slowly)
        assert await world.command(wire.StopCallRecording(call_id=scene.call_id, by="api")) is None
        await world.run(1)
        await scene.withdraws("api")
        await world.run(4)
        assert world.files() == []
        [recording] = (await scene.finish()).recordings
        assert recording.discarded


async def test_a_disk_that_refuses_to_destroy_is_an_alarm_and_the_call_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        assert await world.command(wire.StopCallRecording(call_id=scene.call_id, by="api")) is None
        await world.run(1)

        def refuses(_: RecordingId) -> None:
            raise OSError("no")

        monkeypatch.setattr(world.pop.vault, "erase", refuses)
        await scene.withdraws("api")
        assert "ALARM" in caplog.text
        [recording] = (await scene.finish()).recordings
        assert not recording.discarded  # it is there, and its record says so


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "ended"])
async def test_a_pause_outlives_the_controller(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        assert await scene.pause() is None
        await world.run(2)
        await world.restart(kill=kill)
        assert await scene.pause() == "already_paused"
        await world.run(2)
        assert await scene.pause(False) is None
        await world.restart(kill=kill)
        await world.run(3)
        assert await scene.pause(False) == "not_paused"
        [recording] = (await scene.finish()).recordings
        found = scene.sound(recording.recording_id)
        assert (found[2], found[5], found[-2]) == (BOTH, SILENCE, BOTH)


@pytest.mark.parametrize("written", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("commit", range(4))
async def test_killed_while_it_destroys(tmp_path: Path, commit: int, written: bool) -> None:
    """At whatever commit the controller dies once it knows of the withdrawal: in the end nothing is there."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Recorded(world)
        await scene.talks()
        await scene.attached()
        assert await scene.take_over() is None
        await world.run(2)
        world.kill_at_commit(commit, written)
        scene.press("*0", scene.caller.leg_id)
        await world.run(1)
        if world.dead:
            await world.live()
            await world.run(2)
        else:
            world.spare()
        # A key of which nothing was written was never pressed.
        withdrawn = any(consent.reason == "withdrawn" for consent in world.cdr(scene.call_id).consents)
        assert withdrawn or commit == 0
        scene.caller.hang_up()
        cdr = await world.ended(scene.caller)
        assert [recording.discarded for recording in cdr.recordings] == [withdrawn, withdrawn]
        assert len(world.files()) == (0 if withdrawn else 2)


@pytest.mark.parametrize("waits", ["parked", "handed on", "number rings"])
async def test_who_waits_between_two_agents_can_withdraw_by_key(tmp_path: Path, waits: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene, number = Recorded(world), "+49305550777"
        billing = wire.QueueConfig(queue_id="billing", name="Billing", skills={"billing": 1})
        world.configure("queue.billing", billing)
        world.engine.callees[number] = Callee(number)
        await scene.talks()
        commands: dict[str, wire.PopCommand] = {
            "parked": wire.ParkCall(call_id=scene.call_id),
            "handed on": wire.TransferCall(call_id=scene.call_id, queue_id="billing"),
            "number rings": wire.TransferCall(call_id=scene.call_id, number=number),
        }
        assert await world.command(commands[waits]) is None
        await world.run(2)
        assert [name.endswith(".sealed") for name in world.files()] == [True]
        scene.press("*0", scene.caller.leg_id)
        await world.run(0.5)
        assert world.files() == []
        cdr = await scene.finish()
        assert cdr.consents[-1].reason == "withdrawn"
