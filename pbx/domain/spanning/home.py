"""A waiting call at its home, the POP where the caller is.

::

    OPEN --proposal--> OFFERED --answered--> TALKING --over--> GONE
      ^                   |
      +----over, gave up--+          the caller leaves: GONE, from anywhere

The call is given to an agent only in OFFERED, by the attempt that is under way; ``number`` counts the attempts, so that
an answer to a former one, and a proposal made before it, are known for what they are. The place in the queue is not
here: it goes with the call, and nothing in this table touches it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pbx.domain.ids import AgentId, CallId, PopId
from pbx.domain.spanning.messages import Attempt, CallIs, HangUp, Invite, Message, Propose


class Phase(Enum):
    OPEN = "open"
    OFFERED = "offered"
    TALKING = "talking"
    GONE = "gone"


class Home(NamedTuple):
    pop_id: PopId
    call_id: CallId
    phase: Phase = Phase.OPEN
    number: int = 0
    owner: PopId | None = None
    """Of the agent who is rung for it, or talks to the caller."""

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.call_id, self.number)

    def report(self) -> CallIs:
        return CallIs(self.pop_id, self.call_id, self.number, self.phase is Phase.OPEN)

    def _now(self, phase: Phase, owner: PopId | None, *more: Message) -> Step:
        after = self._replace(phase=phase, owner=owner, number=self.number + 1)
        return after, (*more, after.report())

    def proposed(self, proposal: Propose, term: int) -> Step:
        """``term``: the highest that this POP has heard of. What is refused is answered with how the call stands."""
        if proposal.term < term:
            return self, ()
        if self.phase is not Phase.OPEN or proposal.attempt != self.attempt:
            return self, (self.report(),)
        return self.offer(proposal.agent_id, proposal.owner, proposal.epoch)

    def offer(self, agent_id: AgentId, owner: PopId, epoch: int) -> Step:
        """The call is OPEN: ring for it."""
        if self.phase is not Phase.OPEN:
            raise AssertionError("only an open call is offered")
        after = self._replace(phase=Phase.OFFERED, owner=owner, number=self.number + 1)
        return after, (Invite(after.attempt, self.pop_id, agent_id, epoch), after.report())

    def answered(self, attempt: Attempt) -> Step:
        """The agent has picked up. One who is not rung for any more is told to hang up."""
        if self.phase is not Phase.OFFERED or attempt != self.attempt:
            return self, () if self.phase is Phase.TALKING and attempt == self.attempt else (HangUp(attempt),)
        after = self._replace(phase=Phase.TALKING)  # by the same attempt
        return after, (after.report(),)

    def over(self, attempt: Attempt) -> Step:
        """The agent's leg has ended, whoever ended it."""
        if attempt != self.attempt or self.phase not in (Phase.OFFERED, Phase.TALKING):
            return self, ()
        return self._now(Phase.OPEN if self.phase is Phase.OFFERED else Phase.GONE, None)

    def gave_up(self) -> Step:
        """The agent was rung for too long, or nothing was heard of the owner."""
        if self.phase is not Phase.OFFERED:
            return self, ()
        return self._now(Phase.OPEN, None, HangUp(self.attempt))

    def left(self) -> Step:
        """The caller has hung up, or leaves the queue by another way."""
        if self.phase is Phase.GONE:
            return self, ()
        rung = self.phase in (Phase.OFFERED, Phase.TALKING)
        return self._now(Phase.GONE, None, *((HangUp(self.attempt),) if rung else ()))


Step = tuple[Home, tuple[Message, ...]]


def not_here(pop_id: PopId, proposal: Propose) -> CallIs:
    """The answer to a proposal for a call that this POP does not have any more."""
    return CallIs(pop_id, proposal.attempt.call_id, proposal.attempt.number + 1, open=False)
