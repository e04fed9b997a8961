"""Recordings: stereo, by grant, paused, stopped."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, RecordingId
from tests.contract.backend import Backend, Controller, allowed, fresh
from tests.contract.far_end import AGENT_HZ, CALLER_HZ, PROMPT_HZ, RATE, all_hear, tones_in
from tests.lab.audio import Samples, from_pcm16

FRAME = 4
"""Bytes of one moment in stereo."""
QUIET = 0.005
"""Of full scale: nothing is louder but noise."""


def sides(path: Path) -> list[Samples]:
    """Left and right of a recording."""
    return from_pcm16(path.read_bytes(), channels=2)


def check_stereo(path: Path) -> None:
    """Caller left, agent right, and neither on the other side; then the file is removed."""
    left, right = sides(path)
    path.unlink()
    assert tones_in(left) == {CALLER_HZ}
    assert tones_in(right) == {AGENT_HZ}


def longest_silence(samples: Samples) -> float:
    """Seconds."""
    block = RATE // 50
    loud = np.abs(samples[: len(samples) // block * block].reshape(-1, block)).max(axis=1) >= QUIET
    return max((len(list(run)) for is_loud, run in itertools.groupby(loud) if not is_loud), default=0) * block / RATE


@pytest.mark.needs("stereo_recording")
class Recordings:
    async def test_stereo_until_it_is_stopped(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "stopped.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            await caller.goes_on(1.0)
            await controller.engine.stop_recording(recording, first)
            size = path.stat().st_size
            assert size > FRAME * RATE * 0.7
            await caller.goes_on(0.3)
            await anna.hang_up()
            await controller.outcome(second)
            await controller.engine.hang_up(first, HangupCause.NORMAL_CLEARING)
            await controller.outcome(first)
            assert path.stat().st_size == size
        check_stereo(path)

    async def test_leg_that_hung_up_has_a_closed_recording(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "hung-up.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, _, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            await caller.goes_on(1.0)
            await caller.hang_up()
            await controller.outcome(first)
            await controller.engine.stop_recording(recording, first)
            size = path.stat().st_size
            assert size > FRAME * RATE * 0.7
        assert path.stat().st_size == size
        check_stereo(path)

    async def test_agents_side(self, backend: Backend, controller: Controller) -> None:
        """Left is always the leg that the recording is of."""
        path = backend.recording_dir / "agent.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            _, second, _ = await controller.talk(caller, anna)
            recording = await controller.record(second, path)
            await anna.goes_on(1.0)
            await controller.engine.stop_recording(recording, second)
        left, right = sides(path)
        path.unlink()
        assert (tones_in(left), tones_in(right)) == ({AGENT_HZ}, {CALLER_HZ})

    @pytest.mark.needs("pausing")
    async def test_pause(self, backend: Backend, controller: Controller) -> None:
        """Silence on both sides while it is paused, and the length stays that of the call."""
        path = backend.recording_dir / "paused.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, _, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            await caller.goes_on(0.8)
            await controller.engine.pause_recording(recording, first)
            await caller.goes_on(1.0)
            await controller.engine.resume_recording(recording, first)
            await caller.goes_on(0.8)
            await controller.engine.stop_recording(recording, first)
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])
        left, right = sides(path)
        path.unlink()
        assert 2.3 < len(left) / RATE < 3.6
        for side, hz in ((left, CALLER_HZ), (right, AGENT_HZ)):
            assert 0.8 < longest_silence(side) < 1.5
            assert tones_in(side[: RATE // 2]) == {hz}
            assert tones_in(side[-RATE // 2 :]) == {hz}
        quiet = np.abs(left) + np.abs(right) < QUIET
        assert longest_silence(np.where(quiet, 0.0, 1.0)) > 0.8

    @pytest.mark.needs("pausing")
    async def test_paused_until_the_end(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "paused-to-the-end.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, _, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            await caller.goes_on(0.5)
            await controller.engine.pause_recording(recording, first)
            await caller.goes_on(1.0)
            await caller.hang_up()
            await controller.outcome(first)
            await controller.engine.stop_recording(recording, first)
        for side in sides(path):
            assert longest_silence(side) > 0.7
            assert np.abs(side[-RATE // 2 :]).max() < QUIET
        path.unlink()

    async def test_held_caller(self, backend: Backend, controller: Controller) -> None:
        """A recording outlives hold: what the leg hears meanwhile is the music."""
        path = backend.recording_dir / "held.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, _, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            await caller.goes_on(0.8)
            await controller.engine.hold(first, "default")
            await caller.hears(PROMPT_HZ["music"])
            await controller.engine.unhold(first)
            await caller.hears(anna.hz)
            await controller.engine.stop_recording(recording, first)
        left, right = sides(path)
        path.unlink()
        assert tones_in(left) == {CALLER_HZ}
        assert tones_in(right[: RATE // 2]) == {AGENT_HZ}
        blocks = [tones_in(right[at : at + RATE // 4]) for at in range(0, len(right) - RATE // 4, RATE // 4)]
        assert {PROMPT_HZ["music"]} in blocks
        assert tones_in(right[-RATE // 4 :]) == {AGENT_HZ}

    async def test_muted_leg_is_not_recorded(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "muted.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            _, second, _ = await controller.talk(caller, anna)
            await controller.engine.mute(second, True)
            await caller.hears()
            recording = await controller.record(second, path)
            await anna.goes_on(1.0)
            await controller.engine.stop_recording(recording, second)
        left, right = sides(path)
        path.unlink()
        assert np.abs(left).max() < QUIET
        assert tones_in(right) == {CALLER_HZ}

    @pytest.mark.parametrize("hangs_up", [False, True])
    async def test_a_leg_in_no_bridge_is_recorded_alone(
        self, backend: Backend, controller: Controller, hangs_up: bool
    ) -> None:
        """Left what it says, right nothing, whether the recording or the leg ends first. It is sent silence, by which
        the far end knows that the call lives, and hears a prompt afterwards."""
        path = backend.recording_dir / f"alone-{hangs_up}.raw"
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.answered(leg)
            recording = await controller.record(leg, path)
            await caller.goes_on(1.5)
            if hangs_up:
                await caller.hang_up()
                await controller.outcome(leg)
            await controller.engine.stop_recording(recording, leg)
            if not hangs_up:
                await controller.play(leg, "long")
                await caller.hears(PROMPT_HZ["long"])
        left, right = sides(path)
        path.unlink()
        assert len(left) > 1.3 * RATE
        assert tones_in(left) == {CALLER_HZ}
        assert np.abs(right).max() < QUIET

    async def test_recording_needs_a_grant(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "never.raw"
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            with pytest.raises(TypeError):
                await controller.engine.start_recording(RecordingId(fresh()), leg, None, path)  # type: ignore[arg-type]
            with pytest.raises(EngineRefused):
                await controller.engine.start_recording(RecordingId(fresh()), leg, allowed(LegId("another")), path)
            assert not path.exists()

    async def test_a_used_path_is_refused(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "used.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            recording = await controller.record(first, path)
            with pytest.raises(EngineRefused):
                await controller.record(first, path)
            with pytest.raises(EngineRefused):
                await controller.record(second, path)
            await caller.goes_on(0.7)
            await controller.engine.stop_recording(recording, first)
            with pytest.raises(EngineRefused):
                await controller.record(first, path)
        check_stereo(path)

    async def test_two_recordings_of_one_call(self, backend: Backend, controller: Controller) -> None:
        """One on each leg; stopping one leaves the other."""
        one, two = backend.recording_dir / "one.raw", backend.recording_dir / "two.raw"
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            of_first = await controller.record(first, one)
            of_second = await controller.record(second, two)
            await caller.goes_on(0.7)
            await controller.engine.stop_recording(of_first, first)
            await caller.goes_on(0.7)
            await controller.engine.stop_recording(of_second, second)
        assert two.stat().st_size > one.stat().st_size + FRAME * RATE * 0.3
        two.unlink()
        check_stereo(one)

    async def test_leg_that_is_over(self, backend: Backend, controller: Controller) -> None:
        path = backend.recording_dir / "over.raw"
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await caller.hang_up()
            await controller.outcome(leg)
            with pytest.raises(LegGone):
                await controller.record(leg, path)
            with pytest.raises(LegGone):
                await controller.engine.stop_recording(RecordingId(fresh()), leg)
            with pytest.raises(LegGone):
                await controller.engine.pause_recording(RecordingId(fresh()), leg)
        assert not path.exists()
