"""Every call of these tests is placed on each media server; FreeSWITCH is skipped by name where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dialplans.schema import Engine
from tests.lab.lab import Lab
from tests.lab.media_server import ENGINES
from tests.support.freeswitch import freeswitch_or_skip


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for each module: one has 245 addresses for hosts, and these tests together make more."""
    with Lab.start(asterisk=request.config.getoption("--asterisk")) as started:
        yield started


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """The POP's media server."""
    name: Engine = request.param
    if name == "freeswitch":
        freeswitch_or_skip()
    return name
