"""An agent at a POP: whether it is this POP's, and what the POP does with an offer.

``accepts`` is the rule of all offers. ``Owned`` plays an agent's part with the ACD's own table of states
(``agent_state``), from the offer to the end of the conversation.

The phone decides whose the agent is (``tenure``). A former owner may be gone: then a claim counts after a while without
an answer. That is safe, because a phone that registers elsewhere when its POP is not heard does not reach that POP,
and the former owner cannot ring a phone that has left it.
"""

from __future__ import annotations

from typing import NamedTuple

from pbx.domain.agent_state import State, Step, after
from pbx.domain.ids import AgentId, PopId
from pbx.domain.spanning.messages import AgentIs, Answered, Attempt, Claim, HangUp, Invite, Message, Over, Yielded
from pbx.domain.spanning.tenure import Tenure

IDLE = State.IDLE
BUSY = frozenset((State.RESERVED, State.RINGING, State.ON_CALL))


def accepts(*, ours: bool, idle: bool, epoch: int, offered_epoch: int) -> bool:
    """Whether the owner takes an offer: the agent is its own and IDLE, and nothing has happened to the agent since the
    router saw it. The epoch makes an offer good for one time only: a second copy of it finds another epoch."""
    return ours and idle and epoch == offered_epoch


class Owned(NamedTuple):
    pop_id: PopId
    agent_id: AgentId
    tenure: Tenure
    reachable: bool = True
    """As far as is known: its registration may last longer than the phone stays."""
    epoch: int = 0
    state: State = State.IDLE
    attempt: Attempt | None = None
    home: PopId | None = None

    @classmethod
    def start(cls, pop_id: PopId, agent_id: AgentId, *, ours: bool) -> Owned:
        return cls(pop_id, agent_id, Tenure(pop_id, agent_id, ours))

    @property
    def ours(self) -> bool:
        """This POP is the owner."""
        return self.tenure.ours

    @property
    def waits(self) -> bool:
        """The phone is here, and the former owner has not let go yet."""
        return self.tenure.waits

    def report(self) -> AgentIs:
        free = self.tenure.serves and self.reachable and self.state is IDLE
        return AgentIs(self.pop_id, self.agent_id, self.epoch, free)

    def _told(self, *more: Message) -> Step2:
        return self, (*more, self.report())

    # --- offers ---------------------------------------------------------------------------------------------------

    def invited(self, invite: Invite, phone_is_here: bool) -> Step2:
        """``phone_is_here``: it can be rung. Refused with how the agent stands."""
        idle = self.state is IDLE and self.reachable
        if not accepts(ours=self.tenure.serves, idle=idle, epoch=self.epoch, offered_epoch=invite.epoch):
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
        tenure, granted = freed.tenure.freed()
        return freed._replace(tenure=tenure)._told(*more, *granted)

    # --- a phone that moves -----------------------------------------------------------------------------------------

    def registered(self, others: tuple[PopId, ...]) -> Step2:
        """The phone has come here, from wherever it was."""
        here = self if self.reachable else self._replace(reachable=True, epoch=self.epoch + 1)
        tenure, claims = here.tenure.registered(others)
        return here._kept(tenure)._told(*claims)

    def claimed(self, claim: Claim) -> Step2:
        """Another POP says that the phone is there, and not here any more."""
        tenure, granted = self.tenure.claimed(claim, busy=self.state in BUSY)
        return (self, ()) if tenure == self.tenure and not granted else self._kept(tenure)._told(*granted)

    def yielded(self, yielded: Yielded) -> Step2:
        return self._after(self.tenure.yielded(yielded)[0])

    def silent(self, pop_id: PopId) -> Step2:
        """The former owner does not answer, and counts as gone."""
        return self._after(self.tenure.let_go((pop_id,))[0])

    def _after(self, tenure: Tenure) -> Step2:
        return (self, ()) if tenure == self.tenure else self._kept(tenure)._told()

    def _kept(self, tenure: Tenure) -> Owned:
        """A change of who serves the agent makes offers of before stale."""
        changed = tenure.serves is not self.tenure.serves
        return self._replace(tenure=tenure, epoch=self.epoch + changed)


Step2 = tuple[Owned, tuple[Message, ...]]


def hang_up(owned: Owned, message: HangUp) -> Step2:
    return owned.hung_up(message.attempt)
