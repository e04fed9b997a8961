"""Which faults a run of chaos strikes, and what its table says of them."""

from __future__ import annotations

from collections import Counter

from tests.chaos.__main__ import aimed_plan, cells, plan_of
from tests.chaos.runner import Outcome
from tests.chaos.states import STATES

NAMES = ["bus killed", "centre killed", "disk slow"]


def test_each_fault_comes_before_any_comes_again() -> None:
    plan = [name for name, _ in plan_of(7, 8, NAMES)]
    assert [Counter(plan[:3]), Counter(plan[3:6])] == [Counter(NAMES)] * 2
    assert plan_of(7, 8, NAMES) == plan_of(7, 8, NAMES), "a seed says it all"


def test_each_fault_meets_each_state_once_whatever_the_number_of_rounds() -> None:
    wanted = Counter((name, state) for name in NAMES for state in STATES)
    for rounds in (1, 4):
        dealt = aimed_plan(7, NAMES, rounds)
        assert len(dealt) == rounds
        assert Counter((name, state) for one in dealt for name, _, state in one) == wanted


def test_a_cell_that_was_not_met_is_in_the_table_and_one_that_was_not_planned_is_not() -> None:
    first, second = Outcome(1, "asterisk"), Outcome(2, "asterisk")
    first.planned = {("bus killed", "hold"), ("bus killed", "parked")}
    first.aimed = {"bus killed": Counter({"hold": 1})}
    second.planned = {("disk slow", "hold")}
    second.aimed = {"disk slow": Counter({"hold": 1})}
    assert cells([first, second]) == {
        ("bus killed", "hold"): 1,
        ("bus killed", "parked"): 0,
        ("disk slow", "hold"): 1,
    }
