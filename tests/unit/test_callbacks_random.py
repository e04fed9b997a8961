"""Callbacks and the ACD under random events and crashes; ``make fuzz-callbacks`` runs more of it."""

from __future__ import annotations

import pytest

from tests.fuzz.callbacks import run


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_random_steps(seed: int) -> None:
    seen = run(1000, seed)
    assert min(seen[kind] for kind in ("CallbackDialled", "CallbackMissed", "CallbackDone", "CallbackFailed")) > 0
    assert seen["crashes"] > 0
