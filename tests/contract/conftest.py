"""One server for all contract tests; a controller for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.asterisk_pop import AsteriskPop
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def pop(lab: Lab) -> Iterator[AsteriskPop]:
    pop = AsteriskPop(lab)
    yield pop
    pop.server.stop()
