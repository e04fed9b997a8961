"""Queues and DIDs as the POP's core sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pbx.domain.consent import Regime
from pbx.domain.e164 import E164
from pbx.domain.ids import FlowId, QueueId

Requirement = frozenset[tuple[str, int]]
"""Skill and least proficiency 1-5; queues with the same requirement share one index of idle agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    queue_id: QueueId
    requirement: Requirement
    ring_timeout_s: float = 20.0
    wrap_up_s: float = 10.0
    music_class: str = "default"
    announce_every_s: float = 30.0
    recorded: bool = True
    consent_floor: Regime = Regime.NONE
    max_waiting: int = 1000

    def accepts(self, skills: Mapping[str, int]) -> bool:
        return all(skills.get(skill, 0) >= least for skill, least in self.requirement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    number: E164
    flow_id: FlowId
    country: str
    language: str
    region: str
    """Where recordings of this DID's calls may rest."""
