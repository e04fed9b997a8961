"""Asterisk keeps the promises of every engine."""

from __future__ import annotations

import pytest

from tests.contract.asterisk_pop import AsteriskPop
from tests.contract.backend import Backend
from tests.contract.contract import MediaEngineContract


@pytest.mark.lab
class TestAsterisk(MediaEngineContract):
    @pytest.fixture
    def backend(self, pop: AsteriskPop) -> Backend:
        return pop
