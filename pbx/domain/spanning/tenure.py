"""Whose an agent is whose phone may register at several POPs. Pure; ``owner`` (the model) and the controller go by it.

::

              registered (claim)          let go by all others
    not ours ------------------> waiting ---------------------> ours
       ^                            |                            |
       +----- a higher claim -------+------- a higher claim -----+   (while the agent is busy: when that is over)

The phone decides. Where it registers the POP *claims* the agent with a number higher than that of any claim it knows;
of two with the same number the POP with the higher name counts. A POP that hears a claim lets go and says so: at once,
or after the call that is under way. Only when each of the other POPs has let go is the agent the claimant's. A POP that
has fallen silent cannot answer; whether it counts as gone, ``may_be_presumed_gone`` says.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pbx.domain.ids import AgentId, PopId
from pbx.domain.spanning.messages import Claim, Yielded


def may_be_presumed_gone(*, claimed_at: float, heard_at: float, was_busy: bool) -> bool:
    """Whether a former owner that is silent counts as gone. A phone that registers elsewhere after its POP fell silent
    says that it does not reach that POP either. Where it had registered before, the POP may be alive behind a broken
    bus: then the agent is taken only if it was in no call there as far as was heard."""
    return claimed_at > heard_at or not was_busy


class Tenure(NamedTuple):
    pop_id: PopId
    agent_id: AgentId
    ours: bool = False
    number: int = 0
    """Of the highest claim known, and whose it is."""
    claimant: PopId = PopId("")
    missing: frozenset[PopId] = frozenset()
    """Who has not let go yet of an agent that this POP claims."""
    wanted: Claim | None = None
    """Another POP's claim, to be granted when the call is over."""

    @property
    def waits(self) -> bool:
        return bool(self.missing)

    @property
    def serves(self) -> bool:
        """Whether this POP may offer the agent calls."""
        return self.ours and self.wanted is None and not self.missing

    def claim(self) -> Claim:
        """What it last said, to be said again until it is answered."""
        return Claim(self.pop_id, self.agent_id, self.number)

    def registered(self, others: Collection[PopId]) -> After:
        """The phone has come here. ``others``: the other POPs that have the agent."""
        if self.ours:
            if self.wanted is None:
                return self, ()
            # It was elsewhere during this very call and is back. Who wanted it may have taken it meanwhile, presuming
            # this POP gone: no more calls here before that one has let go, either.
            number = max(self.number, self.wanted.number) + 1
            again = self._replace(
                wanted=None, number=number, claimant=self.pop_id, missing=frozenset(others) - {self.pop_id}
            )
            return again, (again.claim(),)
        after = self._replace(number=self.number + 1, claimant=self.pop_id, missing=frozenset(others), wanted=None)
        return (after, (after.claim(),)) if others else after.takes()

    def claimed(self, claim: Claim, *, busy: bool) -> After:
        """Another POP says that the phone is there."""
        if (claim.number, claim.pop_id) < (self.number, self.claimant):
            return self, ()
        if self.ours and busy:
            return self._replace(wanted=claim), ()
        gone = self._replace(ours=False, number=claim.number, claimant=claim.pop_id, missing=frozenset(), wanted=None)
        return gone, (Yielded(self.pop_id, self.agent_id, claim.number),)

    def freed(self) -> After:
        """The agent's call is over."""
        return (self, ()) if self.wanted is None else self.claimed(self.wanted, busy=False)

    def yielded(self, yielded: Yielded) -> After:
        """One of the others has let go."""
        return self.let_go((yielded.pop_id,)) if yielded.number == self.number else (self, ())

    def let_go(self, pops: Collection[PopId]) -> After:
        """These have let go, or count as gone."""
        if not self.missing:
            return self, ()
        left = self._replace(missing=self.missing.difference(pops))
        return (left, ()) if left.missing else left.takes()

    def takes(self) -> After:
        return self._replace(ours=True, missing=frozenset()), ()


After = tuple[Tenure, tuple[Claim | Yielded, ...]]
