"""A short slice of ``make chaos``: each of the gravest faults once, under calls; afterwards the independent checker."""

from __future__ import annotations

from dialplans.schema import Engine
from tests.chaos.load import SHORT
from tests.chaos.runner import Outcome, run
from tests.lab.lab import Lab

PLAN = [
    ("controller killed", 0.5),
    ("bus killed", 0.0),
    ("media server killed", 0.5),
    ("link cut one way", 1.5),
    ("database killed", 0.5),
    ("controller killed", 0.5),
]


async def test_nothing_is_lost_or_doubled(lab: Lab, engine: Engine) -> None:
    outcome = await run(lab, Outcome(7, engine), PLAN, 4.0, course=SHORT)
    assert outcome.wrong == []
    assert outcome.adopted > 0
    assert outcome.calls > 60
