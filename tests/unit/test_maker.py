"""What a maker makes is what the class itself makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from pbx.domain import events as ev
from pbx.domain.decisions import Changed, ToCall
from pbx.domain.ids import AgentId
from pbx.domain.maker import maker
from pbx.domain.queue_rules import Asked
from pbx.domain.waiting_line import Waiting

MADE: tuple[Any, ...] = (*ev.FACTS, *ev.FINDINGS, Asked, ToCall, Changed, Waiting)


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("whole", [True, False], ids=["all fields", "what has no default"])
def test_the_same_value_as_the_class_makes(kind: Any, whole: bool) -> None:
    wanted = [f for f in dataclasses.fields(kind) if whole or f.default is dataclasses.MISSING]
    values = {f.name: f"{f.name} {n}" for n, f in enumerate(wanted)}
    made, plain = maker(kind)(**values), kind(**values)
    assert type(made) is kind
    assert made == plain
    assert repr(made) == repr(plain)
    assert copy.copy(made) == pickle.loads(pickle.dumps(made)) == plain  # noqa: S301
    if kind.__dataclass_params__.frozen:
        assert hash(made) == hash(plain)
        assert dataclasses.replace(made) == plain
        name = wanted[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, "other")
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(made, name)
        assert getattr(made, name) == values[name]


def test_it_takes_what_the_class_takes() -> None:
    make = maker(Changed)
    event = ev.AgentChanged(at=1.0, agent_id=AgentId("a"), status="AVAILABLE", reason=None, state="IDLE")
    assert make(event) == make(event=event) == Changed(event)
    for wrong in ({}, {"event": event, "more": 1}):
        with pytest.raises(TypeError):
            make(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        maker(ev.AgentChanged)(1.0)  # type: ignore[call-arg]


@dataclass(frozen=True)
class WithoutSlots:
    a: int


@dataclass(frozen=True, slots=True)
class Checked:
    a: int

    def __post_init__(self) -> None:
        raise ValueError


@dataclass(frozen=True, slots=True)
class Computed:
    a: list[int] = field(default_factory=list)


class More(Changed):
    """No dataclass of its own, and has a ``__dict__``."""


@pytest.mark.parametrize("kind", [WithoutSlots, Checked, Computed, More, int])
def test_what_is_more_than_its_fields_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        maker(kind)
