"""One server for all contract tests; a controller for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pbx.adapters.asterisk.engine import AsteriskEngine
from tests.contract.asterisk_pop import AsteriskPop, Listener
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def pop(lab: Lab) -> Iterator[AsteriskPop]:
    pop = AsteriskPop(lab)
    yield pop
    pop.server.stop()


@pytest.fixture
async def controlled(pop: AsteriskPop) -> AsyncIterator[tuple[AsteriskEngine, Listener]]:
    """The adapter, connected; afterwards nothing may be left on the server."""
    async with pop.controller() as controlled:
        yield controlled
    leak_check(pop)


def leak_check(pop: AsteriskPop) -> None:
    pop.server.wait_idle()
    left: list[Path] = [path for path in pop.recording_dir.iterdir() if path.stat().st_size == 0]
    assert not left, "empty recordings are left"
