"""A disk that fills while calls are recorded: recordings end and say so, calls go on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pbx.domain.events import RecordingStopAsked
from tests.support.world import SHORT_FLOW, World
from tests.unit.test_recording_control import Recorded


async def test_what_is_under_way_is_placed_and_nothing_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        room = world.pop.disk_room
        scene = Recorded(world)
        await scene.talks()
        room.look()
        assert len(world.engine.recordings) == 1
        assert "ALARM" not in caplog.text
        monkeypatch.setattr(room.recorder, "_reserve", 1 << 60)
        with caplog.at_level(logging.INFO):
            room.look()
            await world.run(1)
            room.look()
            assert caplog.text.count("ALARM the disk of recordings under way is full: 1 were stopped") == 1
            assert caplog.text.count("ALARM") == 1, "said once"
            assert world.engine.recordings == {}
            assert scene.caller.hears == "talk"
            cdr = await scene.finish()
            [recording] = cdr.recordings
            assert recording.duration_ms == pytest.approx(4000, abs=300)
            kept = world.files()

            # Nothing begins while it is full; the call is taken as any other.
            caller = await world.call()
            await world.until(lambda: caller.hears == "talk")
            await world.run(2)
            assert world.files() == kept
            caller.hang_up()
            assert not (await world.ended(caller)).recordings
            assert "is not made: the disk of recordings under way is full" in caplog.text

            monkeypatch.setattr(room.recorder, "_reserve", 0)
            room.look()
            assert "there is room for recordings again" in caplog.text
            caller = await world.call()
            await world.until(lambda: caller.hears == "talk")
            await world.run(2)
            caller.hang_up()
            assert (await world.ended(caller)).recordings[0].size_bytes
        events = world.journal.read_call(scene.call_id)
        assert any(event.kind == RecordingStopAsked.__name__ for event in events)


async def test_a_directory_that_is_gone_has_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        assert world.pop.disk_room.recorder.has_room()
        world.recordings.rmdir()
        assert not world.pop.disk_room.recorder.has_room()
        assert "ALARM the directory of recordings under way cannot be looked at" in caplog.text
