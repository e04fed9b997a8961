"""What happens to a call while it waits, worked out once per queue and needs: the queue's steps, the fallbacks of the
call's own needs and the longest wait, in the order of time, each with whom the call may go to from then on.

Because of fallbacks a call may go to agents who meet *any* of several requirements; ``alternatives`` holds them, the
preferred first. One that another one makes superfluous is left out. Whom the queue prefers (agents on shift, at the
call's POP) have pools of their own before those of all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pbx.domain.agent_classes import ON_SHIFT, Class, of_pop, of_site
from pbx.domain.errors import BadValue
from pbx.domain.ids import PopId
from pbx.domain.pools import Pool, Pools, normal
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import (
    Action,
    EndWithPrompt,
    Need,
    RelaxSkill,
    Requirement,
    ShiftRule,
    Strategy,
    ToVoicemail,
    WidenSites,
)

MAX_ALTERNATIVES = 16


@dataclass(frozen=True, slots=True)
class Widen:
    """A fallback of one of the call's needs is good enough from now on."""

    need: int
    skill: str
    least: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The queue's longest wait is over."""


Change = Action | Widen | GiveUp
ENDS = (EndWithPrompt, GiveUp, ToVoicemail)


@dataclass(frozen=True, slots=True)
class Stage:
    after_s: float
    change: Change
    pools: tuple[Pool, ...]
    """Where the call waits once this stage is reached."""


@dataclass(frozen=True, slots=True)
class Plan:
    pools: tuple[Pool, ...]
    stages: tuple[Stage, ...]


def make(queue: Queue, needs: tuple[Need, ...], pools: Pools, pop_id: PopId | None = None) -> Plan:
    """``pop_id``: where the call is, for the strategy SAME_POP_FIRST. Raises BadValue where the needs have more than
    MAX_ALTERNATIVES combinations."""
    if math.prod(1 + len(need.fallbacks) for need in needs) > MAX_ALTERNATIVES:
        raise BadValue("needs", f"have more than {MAX_ALTERNATIVES} combinations")
    changes: list[tuple[float, Change]] = [(step.after_s, step.action) for step in queue.steps]
    for number, need in enumerate(needs):
        changes += [(after_s, Widen(number, skill, least)) for after_s, skill, least in need.fallbacks]
    if queue.max_wait_s is not None:
        changes.append((queue.max_wait_s, GiveUp()))
    changes.sort(key=lambda change: change[0])
    base = dict(queue.requirement)
    if queue.shift is ShiftRule.ONLY:
        base[ON_SHIFT] = 1
    first = _preferred(queue, pop_id)
    sites = queue.sites
    options = [[(need.skill, need.least)] for need in needs]
    here = start = _pools(base, options, sites, first, queue, pools)
    stages = []
    for after_s, change in changes:
        if isinstance(change, RelaxSkill):
            base[change.skill] = min(change.least, base.get(change.skill, 0))
            options = [[_relaxed(option, change) for option in need] for need in options]
            here = _pools(base, options, sites, first, queue, pools)
        elif isinstance(change, Widen):
            options[change.need].append((change.skill, change.least))
            here = _pools(base, options, sites, first, queue, pools)
        elif isinstance(change, WidenSites):
            sites = (*sites, *change.sites) if sites and change.sites else ()
            here = _pools(base, options, sites, first, queue, pools)
        stages.append(Stage(after_s, change, here))
        if isinstance(change, ENDS):
            break
    return Plan(start, tuple(stages))


def _relaxed(option: tuple[str, int], change: RelaxSkill) -> tuple[str, int]:
    skill, least = option
    return (skill, min(least, change.least)) if skill == change.skill else option


def _preferred(queue: Queue, pop_id: PopId | None) -> tuple[Class, ...]:
    """The classes of agents who come first."""
    first = (ON_SHIFT,) if queue.shift is ShiftRule.FIRST else ()
    here = (of_pop(pop_id),) if queue.strategy is Strategy.SAME_POP_FIRST and pop_id is not None else ()
    return (*first, *here)


def _pools(
    base: Mapping[str, int],
    options: list[list[tuple[str, int]]],
    sites: tuple[str, ...],
    first: tuple[Class, ...],
    queue: Queue,
    pools: Pools,
) -> tuple[Pool, ...]:
    at_sites = [[(of_site(site), 1) for site in sites]] if sites else []
    alternatives = _alternatives(base, [*options, *at_sites])
    found: dict[Pool, None] = {}
    for one_each in itertools.product(*(((name,), ()) for name in first)):
        classes = [(name, 1) for names in one_each for name in names]
        for one in alternatives:
            found[pools.pool((*one, *classes), queue.strategy)] = None
    return tuple(found)


def _alternatives(base: Mapping[str, int], options: list[list[tuple[str, int]]]) -> list[Requirement]:
    combined = list(dict.fromkeys(normal((*base.items(), *chosen)) for chosen in itertools.product(*options)))
    return [one for one in combined if not any(other != one and _covers(other, one) for other in combined)]


def _covers(wide: Requirement, narrow: Requirement) -> bool:
    """Whoever meets ``narrow`` meets ``wide``."""
    least = dict(narrow)
    return all(least.get(skill, 0) >= value for skill, value in wide)
