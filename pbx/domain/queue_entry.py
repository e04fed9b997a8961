"""What a call enters a queue with, worked out from what the flow's node says."""

from __future__ import annotations

from pbx.domain.flow_nodes import SkillNeed
from pbx.domain.queue_rules import MAX_VALUE, Need
from pbx.domain.variables import Read, Value, evaluate, fill, number_of


def needs_of(asked: tuple[SkillNeed, ...], read: Read) -> tuple[Need, ...]:
    """A skill whose name comes out empty, because a variable is not set, is not asked for."""
    needs: dict[str, Need] = {}
    for need in asked:
        others = ((after_s, fill(skill, read), least) for after_s, skill, least in need.fallbacks)
        if skill := fill(need.skill, read):
            needs[skill] = Need(skill, need.least, tuple(other for other in others if other[1]))
    return tuple(needs.values())


def value_of(said: Value | None, read: Read) -> float | None:
    """The customer's, 0 to 10; nothing set is 0. None: what comes out is no such number."""
    value = None if said is None else evaluate(said, read)
    if value is None or value == "":
        return 0.0
    number = number_of(value)
    return number if number is not None and 0 <= number <= MAX_VALUE else None
