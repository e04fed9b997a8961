"""The simulated media server keeps the promises of every engine, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.contract.backend import Backend
from tests.contract.contract import MediaEngineContract
from tests.contract.simulated import SimulatedBackend
from tests.support.virtual_time import VirtualTimeLoop


class TestSimulated(MediaEngineContract):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> Backend:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return SimulatedBackend(tmp_path, loop.wall)
