"""Queues that span POPs in a replay: what the router of these queues did here is told to the ACD again."""

from __future__ import annotations

from collections.abc import Iterable

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, Decision
from pbx.domain.service_level import End
from pbx.simulation.replay_observed import Observed
from pbx.simulation.replay_read import Run

Spanning = ev.QueuesShared | ev.ProposalTaken | ev.AgentLent | ev.LentOfferEnded


def feed(acd: Acd, run: Run, seen: Observed, event: Spanning) -> Iterable[Decision]:
    """Raises KeyError and IllegalTransition where the journal does not fit what was fed before."""
    match event:
        case ev.QueuesShared(queue_ids=queue_ids, at=at):
            return acd.share(queue_ids, at)
        case ev.ProposalTaken(call_id=call_id, agent_id=agent_id, offer_id=None, at=at):
            return acd.take_here(call_id, agent_id, at)
        case ev.ProposalTaken(call_id=call_id):
            return acd.take_elsewhere(call_id, run.offer(event))
        case ev.AgentLent(talking=True, at=at):
            return acd.adopt_guest(event, at)
        case ev.AgentLent(at=at):
            return acd.reserve(event, at)
        case ev.LentOfferEnded():
            return _ended(acd, seen, event)


def _ended(acd: Acd, seen: Observed, event: ev.LentOfferEnded) -> Iterable[Decision]:
    agent, outcome = acd.agents.get(event.agent_id), ev.OfferOutcome(event.outcome)
    if agent is not None and agent.offer_id == event.offer_id:
        return ()  # at the agent's POP the agent's change follows, and says the same
    if outcome is ev.OfferOutcome.ANSWERED:
        seen.over(event.call_id, event.at, End.ANSWERED)
    elif outcome is ev.OfferOutcome.CALLER_GONE:
        seen.over(event.call_id, event.at, End.ABANDONED)
    return acd.handle(event.call_id, cmd.EndOffer(event.offer_id, event.agent_id, outcome), event.at)
