"""Why a call waited and who got it, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pbx.domain.agent_classes import shown, skills_of
from pbx.domain.explain import Reason
from pbx.domain.matching import Choice
from pbx.domain.queue_rules import Requirement
from pbx.simulation.replay import Explained


def explained(report: Iterable[Explained]) -> Iterator[str]:
    """Lines."""
    for one in report:
        at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds")
        yield f"{at} {one.what}"
        if one.choice is not None:
            yield f"  {_chosen(one.choice)}"
        if one.wait is not None:
            yield f"  place {one.wait.position}, effective priority {one.wait.effective_priority:.2f}"
            for group in one.wait.groups:
                reasons = ", ".join(map(_reason, group.reasons))
                yield f"  {_needed(group.requirement)}: {reasons}"


def _chosen(choice: Choice) -> str:
    idle_s = choice.at - choice.idle_since
    who = f"agent {choice.agent_id}, idle for {idle_s:.1f} s"
    if choice.requirement is None:
        return f"{who}: the call waited for this agent alone"
    if choice.asked_by == "agent":
        return f"{who}: became free, and the call was the first of those with {_needed(choice.requirement)}"
    return f"{who}: chosen by {choice.strategy.value} among the idle with {_needed(choice.requirement)}"


def _needed(requirement: Requirement | None) -> str:
    if requirement is None:
        return "the agent the call waits for"
    skills = [f"{skill} {least}" for skill, least in skills_of(requirement).items()]
    return " and ".join((*skills, *shown(requirement))) or "any skills"


def _reason(reason: Reason) -> str:
    of = f" {reason.skill} {reason.least}" if reason.skill is not None else ""
    who = f" ({reason.agent_id})" if reason.agent_id is not None else ""
    number = reason.calls or reason.agents
    return f"{number} {reason.because.value}{of}{who}"


def why_json(one: Explained) -> dict[str, Any]:
    choice, wait = one.choice, one.wait
    told: dict[str, Any] = {"at": one.at, "what": one.what}
    if choice is not None:
        told["choice"] = {
            "offer_id": choice.offer_id,
            "agent_id": choice.agent_id,
            "asked_by": choice.asked_by,
            "strategy": choice.strategy.value,
            "requirement": None if choice.requirement is None else skills_of(choice.requirement),
            "idle_s": choice.at - choice.idle_since,
        }
    if wait is not None:
        told["wait"] = {
            "position": wait.position,
            "effective_priority": wait.effective_priority,
            "reasons": [
                {"because": r.because.value, "agents": r.agents, "calls": r.calls, "skill": r.skill, "least": r.least}
                for group in wait.groups
                for r in group.reasons
            ],
        }
    return told
