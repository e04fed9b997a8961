"""A million random steps against the ACD; and that the watch sees each fault when there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pbx.domain import agent_state, explain, wait_plan, waits
from pbx.domain import commands as cmd
from pbx.domain.acd import Acd
from pbx.domain.agent import Agent, Condition, State, Status, Step
from pbx.domain.pools import Pools
from pbx.domain.queue_rules import ShiftRule
from pbx.domain.sorted_blocks import Place
from tests.fuzz.acd import run
from tests.fuzz.conftest import LATEST_S

Patch = pytest.MonkeyPatch


@pytest.mark.timeout(LATEST_S + 10)
def test_a_million_steps_break_nothing(million_steps: Counter[str]) -> None:
    seen = million_steps
    for what in (
        "closed",
        "AgentEngaged",
        "taken over",
        "full",
        "max_wait",
        "no_agent",
        "prompt",
        "number",
        "unknown_queue",
    ):
        assert seen[what] > 300, f"{what} hardly ever happened"
    assert seen["consulted"] > 100
    assert seen["offers"] > 50_000
    assert seen["QueueOverflowed"] > 10_000


# --- each fault is seen ---------------------------------------------------------------------------------------------


def _offered_if(monkeypatch: Patch, condition: Callable[[Agent], bool]) -> None:
    monkeypatch.setattr(Agent, "can_be_offered", property(condition))


def _ready(agent: Agent) -> bool:
    return agent.status is Status.AVAILABLE and agent.reachable and not agent.held and not agent.removed


def _offered_after(monkeypatch: Patch, method: str, state: State) -> None:
    """The ACD takes an agent whom ``method`` brought into ``state`` for an idle one."""
    original = getattr(Acd, method)
    monkeypatch.setitem(agent_state.TRANSITIONS, (state, Step.RESERVE), State.RESERVED)

    def wrong(self: Acd, *args: Any) -> list[Any]:
        before = [agent for agent in self.agents.values() if agent.state is state]
        decisions: list[Any] = original(self, *args)
        for agent in self.agents.values():
            if agent.state is state and agent not in before and _ready(agent) and agent.profile is not None:
                decisions += self._offer_to(agent, args[-1])
        return decisions

    monkeypatch.setattr(Acd, method, wrong)


def rung_twice(monkeypatch: Patch) -> None:
    _offered_after(monkeypatch, "_serve", State.RESERVED)
    _offered_after(monkeypatch, "_offer_to", State.RESERVED)


def rung_in_wrap_up(monkeypatch: Patch) -> None:
    _offered_after(monkeypatch, "_release", State.WRAP_UP)


def rung_while_talking(monkeypatch: Patch) -> None:
    _offered_after(monkeypatch, "_end_offer", State.ON_CALL)


def rung_while_supervising(monkeypatch: Patch) -> None:
    _offered_after(monkeypatch, "_engage", State.ENGAGED)


def rung_in_a_break(monkeypatch: Patch) -> None:
    _offered_if(monkeypatch, lambda agent: agent.reachable and not agent.held and agent.state is State.IDLE)


def rung_without_a_phone(monkeypatch: Patch) -> None:
    _offered_if(monkeypatch, lambda agent: agent.status is Status.AVAILABLE and agent.state is State.IDLE)


def rung_off_shift(monkeypatch: Patch) -> None:
    make = wait_plan.make
    monkeypatch.setattr(wait_plan, "make", lambda queue, *args: make(replace(queue, shift=ShiftRule.ANY), *args))


def let_in_when_closed(monkeypatch: Patch) -> None:
    keeps = Acd._keeps_hours

    def always_open(self: Acd, line: Any, *args: Any) -> Any:
        decisions = keeps(self, line, *args)
        line.closed = False
        return decisions

    monkeypatch.setattr(Acd, "_keeps_hours", always_open)


def callback_given_up(monkeypatch: Patch) -> None:
    join = Acd._join
    monkeypatch.setattr(
        Acd, "_join", lambda self, call_id, asked, now: join(self, call_id, replace(asked, callback=False), now)
    )


def lost_after_rona(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Acd, "_reopen", lambda self, waiting, now: self._drop(waiting))


def left_in_the_former_line(monkeypatch: Patch) -> None:
    move = Acd._move

    def moved(self: Acd, waiting: Any, target: Any, now: float) -> Any:
        former, place = waiting.line, waiting.place
        decision = move(self, waiting, target, now)
        former.all.add(place)
        return decision

    monkeypatch.setattr(Acd, "_move", moved)


def kept_after_leaving(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Acd, "_leave", lambda self, call_id, now: [])


def priority_forgotten(monkeypatch: Patch) -> None:
    def by_age(priority: int, entered_at: float, call_id: Any) -> Place:
        return (entered_at, call_id)

    monkeypatch.setattr(waits, "place_of", by_age)


def not_offered_when_free(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Acd, "_offer_to", lambda self, agent, now: [])


def reason_forgotten(monkeypatch: Patch) -> None:
    pool = explain._pool
    dropped = (explain.Because.ON_CALL, explain.Because.EARLIER_CALLS)
    monkeypatch.setattr(explain, "_pool", lambda *args: (r for r in pool(*args) if r.because not in dropped))


def reason_miscounted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Pools, "count", lambda self, requirement: [0] * len(Condition))


def _without(monkeypatch: Patch, method: str, kind: type, prefix: str) -> None:
    """The ACD forgets a command about a timer."""
    original = getattr(Acd, method)

    def filtered(*args: Any) -> list[Any]:
        decisions = original(*args)
        return [d for d in decisions if not (isinstance(d, kind) and d.timer.startswith(prefix))]  # type: ignore[attr-defined]

    monkeypatch.setattr(Acd, method, filtered)


def timer_not_set(monkeypatch: Patch) -> None:
    _without(monkeypatch, "_settle", cmd.SetTimer, "step:")


def wrap_up_for_ever(monkeypatch: Patch) -> None:
    _without(monkeypatch, "_release", cmd.SetTimer, "wrap_up:")


def timer_not_cancelled(monkeypatch: Patch) -> None:
    _without(monkeypatch, "_drop", cmd.CancelTimer, "step:")


FAULTS: dict[Callable[[Patch], None], str] = {
    rung_twice: "an agent has one offer at most",
    rung_in_wrap_up: "wrap-up is honoured",
    rung_while_talking: "nobody is rung while on a call",
    rung_while_supervising: "nobody is rung while supervising",
    rung_in_a_break: "nobody not ready is rung",
    rung_without_a_phone: "nobody unreachable is rung",
    rung_off_shift: "nobody off shift is rung",
    let_in_when_closed: "nobody enters a queue that is closed",
    callback_given_up: "a callback is not given up",
    lost_after_rona: "no call is lost or in two places",
    left_in_the_former_line: "a call is in a line exactly when it is waiting",
    kept_after_leaving: "no call is lost or in two places",
    priority_forgotten: "a call of higher effective priority stays behind",
    not_offered_when_free: "a call waits although an agent could take it",
    reason_forgotten: "every group has a reason|counted",
    reason_miscounted: "counted",
    timer_not_set: "whatever waits for a timer has it",
    wrap_up_for_ever: "whatever waits for a timer has it",
    timer_not_cancelled: "is nobody's",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_seen(monkeypatch: Patch, fault: Callable[[Patch], None]) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        run(20_000, seed=1)
