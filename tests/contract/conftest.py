"""One server of each kind for all contract tests; a controller for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.asterisk_pop import AsteriskPop
from tests.contract.freeswitch_pop import FreeSwitchPop
from tests.lab.lab import Lab
from tests.support.freeswitch import freeswitch_or_skip


@pytest.fixture(scope="session")
def pop(lab: Lab) -> Iterator[AsteriskPop]:
    pop = AsteriskPop(lab)
    yield pop
    pop.server.stop()


@pytest.fixture(scope="session")
def freeswitch_pop(lab: Lab) -> Iterator[FreeSwitchPop]:
    freeswitch_or_skip()
    pop = FreeSwitchPop(lab)
    yield pop
    pop.server.stop()
