"""The POP calls itself: what counts as down, who is told, and that nobody else has to do with it."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from pbx.adapters.memory.engine import SimulatedEngine
from pbx.controller.self_call import SelfCalls
from pbx.domain.events import MediaChecked
from pbx.recording.tone import RATE, carries
from tests.support.virtual_time import VirtualTimeLoop

EVERY_S = 15.0


class Site:
    def __init__(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.directory = directory
        self.engine = SimulatedEngine(loop.wall)
        self.told: list[MediaChecked] = []
        self.calls = SelfCalls(self.engine, directory, loop.wall, EVERY_S, self.told.append)
        self.connected = True

    def files(self) -> list[Path]:
        return list(self.directory.iterdir())

    def said(self) -> list[bool]:
        return [event.carries_audio for event in self.told]


@asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    made = Site(directory)
    running = asyncio.create_task(made.calls.run(lambda: made.connected))
    await asyncio.sleep(2)
    yield made
    running.cancel()


async def test_it_hears_itself_and_leaves_no_file(tmp_path: Path) -> None:
    async with site(tmp_path) as pop:
        await asyncio.sleep(10 * EVERY_S)
        assert (pop.calls.carries_audio, pop.calls.reason) == (True, "")
        assert pop.said() == [True]
        assert pop.files() == []


@pytest.mark.parametrize(
    ("deaf", "reason"),
    [
        ({"local"}, "in its call to itself the calling side heard nothing"),
        ({"far"}, "in its call to itself the called side heard nothing"),
        ({"local", "far"}, "in its call to itself the calling side and the called side heard nothing"),
    ],
)
async def test_a_side_that_hears_nothing_is_down(tmp_path: Path, deaf: set[str], reason: str) -> None:
    async with site(tmp_path) as pop:
        pop.engine.deaf = deaf
        await asyncio.sleep(3 * EVERY_S)
        assert (pop.calls.carries_audio, pop.calls.reason) == (False, reason)
        pop.engine.deaf = set()
        await asyncio.sleep(2 * EVERY_S)
        assert (pop.calls.carries_audio, pop.calls.reason) == (True, "")
        assert pop.said() == [True, False, True]


async def test_a_call_that_is_not_answered_is_down(tmp_path: Path) -> None:
    async with site(tmp_path) as pop:
        pop.engine.silent_call = True
        await asyncio.sleep(3 * EVERY_S)
        assert pop.calls.reason == "its call to itself was not answered"
        assert pop.said() == [True, False]


async def test_one_failure_is_none(tmp_path: Path) -> None:
    async with site(tmp_path) as pop:
        pop.engine.deaf = {"far"}
        await asyncio.sleep(EVERY_S + 1)  # one call, which will have failed
        pop.engine.deaf = set()
        await asyncio.sleep(3 * EVERY_S)
        assert pop.said() == [True]


async def test_without_a_media_server_nothing_is_known(tmp_path: Path) -> None:
    async with site(tmp_path) as pop:
        pop.connected = False
        await asyncio.sleep(2 * EVERY_S)
        assert pop.calls.carries_audio is None
        assert pop.said() == [True]


def heard(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_only_the_tone_itself_is_heard(tmp_path: Path) -> None:
    at = np.arange(RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 700 * at)
    noise = np.random.default_rng(1).normal(0, 0.2, RATE)
    cases = {"tone": tone, "other": 0.2 * np.sin(2 * np.pi * 1100 * at), "noise": noise, "silence": 0 * at}
    cases["faint"] = tone / 1000
    cases["late"] = np.concatenate((0 * at, tone))
    cases["torn"] = tone * (np.arange(RATE) % 1600 < 400)  # three of four packets are lost
    found = {name for name, samples in cases.items() if carries(heard(tmp_path / f"{name}.wav", samples), 700)}
    assert found == {"tone", "late"}
    assert not carries(tmp_path / "none.wav", 700)
