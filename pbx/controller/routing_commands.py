"""The centre's commands about agents and waiting calls: carried out on the router, or refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable

from pbx.controller.router import Router
from pbx.domain.agent import Status
from pbx.domain.agent_classes import shown, skills_of
from pbx.domain.errors import IllegalTransition
from pbx.domain.explain import Reason
from pbx.domain.ids import AgentId, CallId, QueueId
from pbx.domain.matching import Choice
from pbx.wire import messages as wire

MOST_WAITING = 1000


def carry_out(router: Router, command: wire.RoutingCommand) -> wire.CommandReply:
    """At once; nothing is changed by a command that is refused."""
    if isinstance(command, wire.ListWaiting):
        return _waiting(router, command)
    if isinstance(command, wire.ExplainChoice):
        return _chosen(router, CallId(command.call_id))
    if command.agent_id is not None and router.agent(AgentId(command.agent_id)) is None:
        return _refused("unknown-agent", f"agent {command.agent_id} is not at this POP")
    try:
        match command:
            case wire.SetAgentStatus(agent_id=agent_id, status=status, reason=reason):
                return _set_status(router, AgentId(agent_id), status, reason)
            case wire.EndWrapUp(agent_id=agent_id):
                router.end_wrap_up(AgentId(agent_id))
            case wire.ExtendWrapUp(agent_id=agent_id, by_s=by_s):
                router.extend_wrap_up(AgentId(agent_id), by_s)
            case wire.ExplainWait():
                return wire.CommandReply(wait=_explained(router, command))
    except IllegalTransition as error:
        return _refused("not-in-wrap-up", f"the agent is {error.state}, not in wrap-up")
    except KeyError:
        return _refused("not-waiting", "the call is not waiting in a queue of this POP")
    return wire.CommandReply()


def _refused(error_id: str, detail: str) -> wire.CommandReply:
    return wire.CommandReply(error_id=error_id, detail=detail)


def _set_status(router: Router, agent_id: AgentId, status: str, reason: str | None) -> wire.CommandReply:
    if status not in Status.__members__:
        return _refused("bad-status", f"status must be one of {', '.join(Status.__members__)}")
    router.set_status(agent_id, Status[status], reason)
    return wire.CommandReply()


def _chosen(router: Router, call_id: CallId) -> wire.CommandReply:
    choices = router.why_these_agents(call_id)
    if not choices:
        return _refused(
            "not-offered", "nobody is rung for the call, and nobody whom its queue chose talks to the caller"
        )
    return wire.CommandReply(chosen=[chosen_of(choice) for choice in choices])


def chosen_of(choice: Choice) -> wire.AgentChosen:
    return wire.AgentChosen(
        offer_id=choice.offer_id,
        at=choice.at,
        agent_id=choice.agent_id,
        queue_id=choice.queue_id,
        asked_by=choice.asked_by,
        strategy=choice.strategy.value,
        requirement=None if choice.requirement is None else skills_of(choice.requirement),
        classes=[] if choice.requirement is None else shown(choice.requirement),
        waited_s=choice.at - choice.place[0],
        idle_s=choice.at - choice.idle_since,
        turn=choice.turn,
    )


def _explained(router: Router, command: wire.ExplainWait) -> wire.WaitExplained:
    call_id = CallId(command.call_id)
    why = router.why_waiting(call_id)
    asked, estimate = command.agent_id, why.estimate
    return wire.WaitExplained(
        queue_id=why.queue_id,
        position=why.position,
        waited_s=why.waited_s,
        effective_priority=why.effective_priority,
        offer_id=why.offer_id,
        next_step_s=why.next_step_s,
        groups=[
            wire.WaitGroup(
                requirement=None if group.requirement is None else skills_of(group.requirement),
                reasons=_reasons(group.reasons),
                classes=[] if group.requirement is None else shown(group.requirement),
            )
            for group in why.groups
        ],
        estimate=None
        if estimate is None
        else wire.WaitEstimate(
            mean_s=estimate.mean_s, median_s=estimate.median_s, p80_s=estimate.p80_s, agents=estimate.agents
        ),
        agent=None if asked is None else _reasons(router.why_not(call_id, AgentId(asked))),
    )


def _waiting(router: Router, command: wire.ListWaiting) -> wire.CommandReply:
    most = max(1, min(command.limit, MOST_WAITING))
    queue_id = None if command.queue_id is None else QueueId(command.queue_id)
    found = router.longest_waits(queue_id, most + 1)
    shown = [
        wire.WaitingCall(
            call_id=one.call_id,
            queue_id=one.queue_id,
            position=one.position,
            waited_s=one.waited_s,
            effective_priority=one.effective_priority,
            offer_id=one.offer_id,
            next_step_s=one.next_step_s,
        )
        for one in found[:most]
    ]
    return wire.CommandReply(waiting=shown, more=len(found) > most)


def _reasons(reasons: Iterable[Reason]) -> list[wire.WaitReason]:
    return [
        wire.WaitReason(
            because=one.because.value,
            agents=one.agents,
            skill=one.skill,
            least=one.least,
            calls=one.calls,
            agent_id=one.agent_id,
        )
        for one in reasons
    ]
