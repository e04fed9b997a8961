"""What is kept for a moment is no older than that."""

from __future__ import annotations

from orchestrator.services.recent import KEPT_S, MOST, Recent


async def test_it_is_made_once_in_a_moment_and_then_anew() -> None:
    now, made = [0.0], list[str]()
    recent = Recent(clock=lambda: now[0])

    async def make() -> int:
        made.append("made")
        return len(made)

    assert [await recent.get("a", make), await recent.get("a", make), await recent.get("b", make)] == [1, 1, 2]
    now[0] = KEPT_S
    assert await recent.get("a", make) == 3
    for number in range(MOST):
        await recent.get(number, make)
    assert await recent.get("a", make) == len(made), "it was the oldest of too many"


async def test_its_age_counts_from_when_the_making_began() -> None:
    now = [0.0]
    recent = Recent(clock=lambda: now[0])

    async def slow() -> float:
        now[0] += KEPT_S
        return now[0]

    assert await recent.get("a", slow) == KEPT_S
    assert await recent.get("a", slow) == 2 * KEPT_S
