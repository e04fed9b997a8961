"""The million steps go on beside all other tests, on what those leave of the processors: tests that talk to servers
mostly wait."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from functools import partial
from multiprocessing.pool import MapResult, Pool

import pytest

from tests.fuzz.acd import run

STEPS = 1_000_000
RUNS = 8
LATEST_S = 600.0
USES = "million_steps"

_pool: pytest.StashKey[Pool] = pytest.StashKey()
_seen: pytest.StashKey[MapResult[Counter[str]]] = pytest.StashKey()


def _stand_back() -> None:
    """Runs only while nobody else wants the processor; who presses Ctrl-C means the parent."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def pytest_collection_finish(session: pytest.Session) -> None:
    used = any(USES in getattr(item, "fixturenames", ()) for item in session.items)
    if used and not session.config.option.collectonly:
        # Not forked: other tests of this process have threads.
        pool = multiprocessing.get_context("spawn").Pool(min(RUNS, os.cpu_count() or 1), initializer=_stand_back)
        session.config.stash[_pool] = pool
        session.config.stash[_seen] = pool.map_async(partial(run, STEPS // RUNS), range(RUNS), chunksize=1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    pool = session.config.stash.get(_pool, None)
    if pool is not None:
        pool.terminate()
        pool.join()


@pytest.fixture
def million_steps(request: pytest.FixtureRequest) -> Counter[str]:
    """How often what happened. Raises AssertionError with seed and step."""
    return sum(request.config.stash[_seen].get(LATEST_S), Counter[str]())
