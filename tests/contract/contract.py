"""The contract: what every media engine promises, as tests that run on each of them.

A backend's test file makes a subclass that supplies the fixture ``backend`` and nothing else. Overriding a test is an
error at import, so that its collection fails: an engine that cannot do something says so in its capabilities.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.backend import Backend, Controller
from tests.contract.promises.bridges import Bridges
from tests.contract.promises.causes import Causes
from tests.contract.promises.legs import Legs
from tests.contract.promises.links import Links
from tests.contract.promises.many import Many
from tests.contract.promises.originating import Originating
from tests.contract.promises.other_pops import OtherPops
from tests.contract.promises.plays import Plays
from tests.contract.promises.recording import Recordings
from tests.contract.promises.self_calls import SelfCalls
from tests.contract.promises.supervision import Supervisions

FIXTURES = frozenset({"backend"})
"""What a subclass supplies."""


class MediaEngineContract(
    Legs, Causes, Plays, Originating, Bridges, Supervisions, Recordings, Links, Many, SelfCalls, OtherPops
):
    """All promises. Subclass it as in ``backend.py``."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(MediaEngineContract):
            if name.startswith("__") or name in FIXTURES:
                continue
            if inspect.getattr_static(cls, name) is not inspect.getattr_static(MediaEngineContract, name):
                raise TypeError(f"{cls.__name__} overrides {name} of the contract; a backend supplies fixtures only")

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError("a backend's test class supplies the fixture 'backend'")

    @pytest.fixture
    async def controller(self, backend: Backend, request: pytest.FixtureRequest) -> AsyncIterator[Controller]:
        """An engine that is connected; afterwards nothing may be left."""
        async with backend.controller() as controller:
            capabilities = controller.engine.capabilities
            for mark in request.node.iter_markers("needs"):
                for capability in mark.args:
                    if not getattr(capabilities, capability):
                        pytest.skip(f"{capabilities.name} has no {capability}")
            yield controller
            await controller.settled()
        await nothing_left(backend)

    @pytest.fixture
    async def unattended(self, backend: Backend) -> AsyncIterator[Backend]:
        """The server without a controller: the test starts its own. Afterwards nothing may be left."""
        yield backend
        await nothing_left(backend)


async def nothing_left(backend: Backend) -> None:
    """The leak check after every test."""
    await backend.leak_check()
    left = [path.name for path in backend.recording_dir.iterdir() if path.stat().st_size == 0]
    assert not left, f"empty recordings are left: {left}"
