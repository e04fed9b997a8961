"""Random calls, and nothing captured without a grant; ``make fuzz-consent`` places a million."""

from __future__ import annotations

import pytest

from tests.fuzz.consent import run


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_random_calls(seed: int) -> None:
    seen = run(400, str(seed))
    assert seen["calls"] == 400
    for what in ("notice", "opt_out", "opt_in"):
        assert seen[f"captured under {what}"] > 20, f"hardly anything was captured under {what}"
    assert min(seen[what] for what in ("refused", "agreed", "cut", "kept", "outside", "supervise", "hand_on")) > 10
    assert seen["withdrawn"] > 0
    assert min(seen[what] for what in ("placed", "captured of placed")) > 3
