"""The million steps run in processes of their own, on what other tests leave of the processors: those that talk to
servers mostly wait."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from functools import partial

import pytest

from tests.fuzz.acd import run

STEPS = 1_000_000
RUNS = 8
LATEST_S = 900.0


def _stand_back() -> None:
    """Gives way to whoever wants the processor; who presses Ctrl-C means the parent."""
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def million_steps() -> Counter[str]:
    """How often what happened. Raises AssertionError with seed and step."""
    # Not forked: other tests of this process have threads.
    with multiprocessing.get_context("spawn").Pool(min(RUNS, os.cpu_count() or 1), initializer=_stand_back) as pool:
        return sum(pool.map_async(partial(run, STEPS // RUNS), range(RUNS), chunksize=1).get(LATEST_S), Counter[str]())
