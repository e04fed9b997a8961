"""The ownership protocol holds in every world of the small configurations, and the explorer sees it broken."""

from __future__ import annotations

from typing import Any

import pytest

from pbx.domain.ids import PopId
from pbx.domain.spanning import home, owner, tenure
from pbx.domain.spanning.home import Home, Phase
from pbx.domain.spanning.messages import Attempt, Claim, Propose, Yielded
from pbx.domain.spanning.owner import Owned
from pbx.domain.spanning.tenure import Tenure
from tests.model.explore import QUICK, Found, explore
from tests.model.world import Budgets

FEWEST = 500
"""Worlds of the smallest configuration: fewer means that the explorer does not explore."""


@pytest.mark.parametrize("name", QUICK)
def test_nothing_forbidden_happens_and_nobody_waits_for_ever(name: str) -> None:
    found = explore(QUICK[name], most=100_000)
    assert found.states > FEWEST
    assert found.steps > found.states


def _any_epoch(*, ours: bool, idle: bool, epoch: int, offered_epoch: int) -> bool:
    return ours and idle


def _even_busy(*, ours: bool, idle: bool, epoch: int, offered_epoch: int) -> bool:
    return ours and epoch == offered_epoch


def _even_offered(self: Home, proposal: Propose, term: int) -> home.Step:
    return self._replace(phase=Phase.OPEN).offer(proposal.agent_id, proposal.owner, proposal.epoch)


def _whoever_answers(self: Home, attempt: Attempt) -> home.Step:
    after = self._replace(phase=Phase.TALKING)
    return after, (after.report(),)


def _keeps(self: Owned, claim: Claim) -> owner.Step2:
    return self, ()


def _even_in_a_call(self: Tenure, claim: Claim, *, busy: bool) -> tenure.After:
    gone = self._replace(ours=False, number=claim.number, claimant=claim.pop_id, missing=frozenset(), wanted=None)
    return gone, (Yielded(self.pop_id, self.agent_id, claim.number),)


def _without_asking(self: Tenure, others: tuple[PopId, ...]) -> tenure.After:
    return self.takes()


@pytest.mark.parametrize(
    ("where", "rule", "broken", "budgets", "seen"),
    [
        (owner, "accepts", _any_epoch, Budgets(double=1), "an attempt was taken twice"),
        (owner, "accepts", _even_busy, Budgets(confused=1), "IllegalTransition"),
        (Home, "proposed", _even_offered, Budgets(double=1), "a call was given to two agents"),
        (Home, "answered", _whoever_answers, Budgets(early=1), "a call was given to two agents"),
        (Owned, "claimed", _keeps, Budgets(move=1), "somebody waits for ever"),
        (Tenure, "claimed", _even_in_a_call, Budgets(roam=1), "an agent has two calls"),
        (Tenure, "registered", _without_asking, Budgets(roam=1), "an agent has two calls"),
    ],
    ids=["stale epoch", "not idle", "call under offer", "former attempt", "claim ignored", "let go too early", "taken"],
)
def test_a_broken_rule_is_found(
    monkeypatch: pytest.MonkeyPatch, where: Any, rule: str, broken: Any, budgets: Budgets, seen: str
) -> None:
    monkeypatch.setattr(where, rule, broken)
    with pytest.raises(Found, match=seen):
        explore(budgets, most=100_000)
