"""FreeSWITCH keeps the promises of every engine."""

from __future__ import annotations

import pytest

from tests.contract.backend import Backend
from tests.contract.contract import MediaEngineContract
from tests.contract.freeswitch_pop import FreeSwitchPop


@pytest.mark.lab
class TestFreeSwitch(MediaEngineContract):
    @pytest.fixture
    def backend(self, freeswitch_pop: FreeSwitchPop) -> Backend:
        return freeswitch_pop
