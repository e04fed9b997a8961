"""FreeSWITCH keeps the promises of every engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.backend import Backend
from tests.contract.contract import MediaEngineContract
from tests.contract.freeswitch_pop import FreeSwitchPop
from tests.lab.lab import Lab
from tests.support.freeswitch import freeswitch_or_skip


@pytest.fixture(scope="session")
def freeswitch_pop(lab: Lab) -> Iterator[FreeSwitchPop]:
    freeswitch_or_skip()
    pop = FreeSwitchPop(lab)
    yield pop
    pop.server.stop()


@pytest.mark.lab
class TestFreeSwitch(MediaEngineContract):
    @pytest.fixture
    def backend(self, freeswitch_pop: FreeSwitchPop) -> Backend:
        return freeswitch_pop
