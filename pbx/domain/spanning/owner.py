"""An agent at a POP: whether it is this POP's, and what the POP does with an offer.

``accepts`` is the rule of all offers. ``Owned`` plays an agent's part with the ACD's own table of states
(``agent_state``), from the offer to the end of the conversation.

The phone decides whose the agent is. When it registers at another POP, that one claims the agent; the former owner
lets go at once, or after the call that is under way, and says so. It may be gone: then the claim counts after a while
without an answer. That is safe, because a phone registers elsewhere only when its call, if it had one, is over, and
the former owner cannot ring a phone that has left it.
"""

from __future__ import annotations

from typing import NamedTuple

from pbx.domain.agent_state import State, Step, after
from pbx.domain.ids import AgentId, PopId
from pbx.domain.spanning.messages import AgentIs, Answered, Attempt, Claim, HangUp, Invite, Message, Over, Yielded

IDLE = State.IDLE
BUSY = frozenset((State.RESERVED, State.RINGING, State.ON_CALL))


def accepts(*, ours: bool, idle: bool, epoch: int, offered_epoch: int) -> bool:
    """Whether the owner takes an offer: the agent is its own and IDLE, and nothing has happened to the agent since the
    router saw it. The epoch makes an offer good for one time only: a second copy of it finds another epoch."""
    return ours and idle and epoch == offered_epoch


class Owned(NamedTuple):
    pop_id: PopId
    agent_id: AgentId
    ours: bool = False
    """This POP is the owner."""
    claim: int = 0
    """The highest known for this agent."""
    waits: bool = False
    """The phone is here, and the former owner has not let go yet."""
    wanted: Claim | None = None
    """Another POP's claim, to be granted when the call is over."""
    reachable: bool = True
    """As far as is known: its registration may last longer than the phone stays."""
    epoch: int = 0
    state: State = State.IDLE
    attempt: Attempt | None = None
    home: PopId | None = None

    def report(self) -> AgentIs:
        free = self.ours and self.reachable and self.state is IDLE
        return AgentIs(self.pop_id, self.agent_id, self.epoch, free)

    def _told(self, *more: Message) -> Step2:
        return self, (*more, self.report())

    # --- offers ---------------------------------------------------------------------------------------------------

    def invited(self, invite: Invite, phone_is_here: bool) -> Step2:
        """``phone_is_here``: it can be rung. Refused with how the agent stands."""
        idle = self.state is IDLE and self.reachable
        if not accepts(ours=self.ours, idle=idle, epoch=self.epoch, offered_epoch=invite.epoch):
            return self._told(Over(invite.attempt))
        if not phone_is_here:
            return self._replace(reachable=False, epoch=self.epoch + 1)._told(Over(invite.attempt))
        state = after(after(self.state, Step.RESERVE), Step.RING)
        taken = self._replace(state=state, epoch=self.epoch + 1, attempt=invite.attempt, home=invite.home)
        return taken._told()

    def picked_up(self) -> Step2:
        if self.attempt is None:
            raise AssertionError("a phone that rings, rings for somebody")
        return self._replace(state=after(self.state, Step.ANSWER)), (Answered(self.attempt),)

    def ended(self) -> Step2:
        """The phone rejects the call, rings in vain, or hangs up."""
        if self.attempt is None:
            return self, ()
        over = Over(self.attempt)
        return self._freed(over)

    def hung_up(self, attempt: Attempt) -> Step2:
        return self._freed() if attempt == self.attempt else (self, ())

    def _freed(self, *more: Message) -> Step2:
        state = self.state
        if state is State.ON_CALL:
            state = after(after(state, Step.RELEASE), Step.FINISH)
        else:
            state = after(state, Step.GIVE_BACK)
        freed = self._replace(state=state, epoch=self.epoch + 1, attempt=None, home=None)
        if freed.wanted is not None:
            freed, granted = freed.claimed(freed.wanted)
            return freed, (*more, *granted)
        return freed._told(*more)

    # --- a phone that moves -----------------------------------------------------------------------------------------

    def registered(self) -> Step2:
        """The phone has come here, from wherever it was."""
        if self.ours:
            here = self if self.reachable else self._replace(reachable=True, epoch=self.epoch + 1)
            return here._told()
        number = self.claim + 1
        waiting = self._replace(claim=number, waits=True, wanted=None, reachable=True)
        return waiting, (Claim(self.pop_id, self.agent_id, number),)

    def claimed(self, claim: Claim) -> Step2:
        """Another POP says that the phone is there, and not here any more."""
        if claim.number < self.claim or (claim.number == self.claim and claim.pop_id < self.pop_id):
            return self, ()  # an old one; of two at once the higher name's counts
        if self.state in BUSY:
            return self._replace(wanted=claim), ()
        gone = self._replace(claim=claim.number, ours=False, waits=False, wanted=None, epoch=self.epoch + 1)
        return gone._told(Yielded(claim.agent_id, claim.number))

    def yielded(self, yielded: Yielded) -> Step2:
        if not self.waits or yielded.number != self.claim:
            return self, ()
        return self.takes()

    def takes(self) -> Step2:
        """The former owner let go, or did not answer in time."""
        if not self.waits:
            return self, ()
        return self._replace(ours=True, waits=False, epoch=self.epoch + 1)._told()


Step2 = tuple[Owned, tuple[Message, ...]]


def hang_up(owned: Owned, message: HangUp) -> Step2:
    return owned.hung_up(message.attempt)
