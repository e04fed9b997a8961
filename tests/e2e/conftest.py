"""Every call of these tests is placed on each media server; FreeSWITCH is skipped by name where there is none."""

from __future__ import annotations

import pytest

from dialplans.schema import Engine
from tests.lab.media_server import ENGINES
from tests.support.freeswitch import freeswitch_or_skip


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """The POP's media server."""
    name: Engine = request.param
    if name == "freeswitch":
        freeswitch_or_skip()
    return name
