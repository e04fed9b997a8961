"""Case files: a flow, what surrounds it, and what callers do and expect. Read whole, or refused with the place."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from pbx.controller.config_store import consent_floor
from pbx.domain.e164 import e164
from pbx.domain.errors import BadValue
from pbx.domain.flow import DIGITS, Flow
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import QueueId
from pbx.domain.variables import Value, plain, variable_name
from pbx.simulation.flows import surroundings
from pbx.simulation.flows.files import Unusable, read
from pbx.simulation.flows.surroundings import Script
from pbx.wire.messages import DidConfig, QueueConfig

FLOW_ID = "(tested)"
LONGEST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Hears:
    """These prompts come next, none other between them; ``en/menu`` says the language too."""

    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Presses:
    digits: str


@dataclass(frozen=True, slots=True)
class Waits:
    seconds: float


@dataclass(frozen=True, slots=True)
class AgentAnswers:
    """The first agent there is becomes available and answers."""


@dataclass(frozen=True, slots=True)
class NumberAnswers:
    """The outside number that is being rung."""

    number: str


@dataclass(frozen=True, slots=True)
class AgentHangsUp:
    """The agent who talks to the caller does."""


@dataclass(frozen=True, slots=True)
class HangsUp:
    """The caller does."""


@dataclass(frozen=True, slots=True)
class AtNode:
    node: str


@dataclass(frozen=True, slots=True)
class InQueue:
    queue_id: str


@dataclass(frozen=True, slots=True)
class HungUp:
    cause: HangupCause


@dataclass(frozen=True, slots=True)
class HasVariables:
    """The call has these variables now; None: it has none of that name."""

    values: Mapping[str, Value | None]


Action = (
    Hears
    | Presses
    | Waits
    | AgentAnswers
    | AgentHangsUp
    | NumberAnswers
    | HangsUp
    | AtNode
    | InQueue
    | HungUp
    | HasVariables
)


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    text: str
    """As it stands in the file, for reports."""
    number: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    steps: tuple[Step, ...]
    at: float | None = None
    """When the call comes, seconds since the epoch; None: it does not matter."""
    lookups: Script = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """``cli``: the caller's number, ``withheld``, or ``unknown``; ``country``: the caller's, None when not known;
    ``flows``: graphs of other flows, by id."""

    graph: Mapping[str, Any]
    flows: Mapping[str, Any]
    queues: tuple[QueueConfig, ...]
    did: DidConfig
    cli: str
    country: str | None
    numbers: Mapping[str, HangupCause | None]
    """Outside numbers there are: the cause with which the carrier refuses each, None for one that rings."""
    cases: tuple[Case, ...]


def read_suite(path: Path) -> Suite:
    """The cases in a file; a flow's path counts from the file's folder. Raises Unusable, naming the place."""
    data = _object(read(path), "file", {"flow", "flows", "queues", "did", "caller", "numbers", "cases"})
    graph = surroundings.graph_of(data.get("flow"), "flow", path.parent)
    flow = surroundings.usable(graph, "flow")
    graphs, flows = surroundings.other_flows(data.get("flows", {}), path.parent, flow)
    did = _did(data.get("did", {}), flow.languages)
    caller = _object(data.get("caller", {}), "caller", {"number", "country"})
    named = frozenset[str]().union(*(one.numbers() for one in flows))
    numbers = _numbers(data.get("numbers", {}), named)
    cases = data.get("cases")
    if not isinstance(cases, list) or not cases:
        raise Unusable("cases", "must be a list of at least one case")
    queues, rung = frozenset[QueueId]().union(*(one.queue_ids() for one in flows)), set(numbers)
    zone = surroundings.time_zone(data.get("did", {}).get("time_zone"))
    read_cases = tuple(_case(case, f"cases.{at}", flows, queues, rung, zone) for at, case in enumerate(cases))
    cli = _text(caller.get("number", "+4917012345678"), "caller.number")
    country = caller.get("country", "DE")
    if country is not None:
        country = _country(country, "caller.country")
    if cli not in ("withheld", "unknown"):
        cli = _value(lambda: e164(cli), "caller.number")
    return Suite(graph, graphs, _queues(data.get("queues", {}), queues), did, cli, country, numbers, read_cases)


def _object(value: Any, place: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(place, f"must be an object with {', '.join(sorted(known))}")
    for key in value:
        if key not in known:
            raise Unusable(f"{place}.{key}", f"is not known here; known are {', '.join(sorted(known))}")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise Unusable(place, "must be a text")
    return value


def _country(value: Any, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{2}", value):
        raise Unusable(place, "must be a country code such as DE")
    return value


def _value(make: Callable[[], str], place: str) -> str:
    try:
        return make()
    except BadValue as error:
        raise Unusable(place, error.reason) from error


def _did(value: Any, languages: tuple[str, ...]) -> DidConfig:
    did = _object(value, "did", {"number", "country", "language", "time_zone"})
    language = _text(did.get("language", languages[0]), "did.language")
    if language not in languages:
        raise Unusable("did.language", f"is not among the flow's languages {', '.join(languages)}")
    number = _text(did.get("number", "+49305550100"), "did.number")
    return DidConfig(
        number=_value(lambda: e164(number), "did.number"),
        flow_id=FLOW_ID,
        country=_country(did.get("country", "DE"), "did.country"),
        language=language,
        time_zone=str(surroundings.time_zone(did.get("time_zone")) or "UTC"),
        region="simulated",
    )


_REFUSALS = {
    "rings": None,
    "busy": HangupCause.USER_BUSY,
    "rejects": HangupCause.CALL_REJECTED,
    "unreachable": HangupCause.NO_ROUTE,
}


def _numbers(value: Any, named: frozenset[str]) -> dict[str, HangupCause | None]:
    """What outside numbers do; those that the flow names and nobody else does ring."""
    if not isinstance(value, dict):
        raise Unusable("numbers", "must be an object of number to what it does")
    found: dict[str, HangupCause | None] = dict.fromkeys(sorted(named))
    for number, does in value.items():
        _value(lambda number=number: e164(str(number)), f"numbers.{number}")  # type: ignore[misc]
        if does not in _REFUSALS:
            raise Unusable(f"numbers.{number}", f"must be one of {', '.join(_REFUSALS)}")
        found[number] = _REFUSALS[does]
    return found


def _queues(value: Any, needed: frozenset[QueueId]) -> tuple[QueueConfig, ...]:
    """Queues as the REST API takes them, all settings optional; each queue of the flow that is not named is usual."""
    known = set(QueueConfig.__struct_fields__) - {"queue_id", "skills"}
    if not isinstance(value, dict):
        raise Unusable("queues", "must be an object of queue to settings")
    made = []
    for queue_id in sorted(needed | value.keys()):
        place = f"queues.{queue_id}"
        if queue_id not in needed:
            raise Unusable(place, f"is no queue of the flow; there are {', '.join(sorted(needed)) or 'none'}")
        settings = {"name": queue_id} | _object(value.get(queue_id) or {}, place, known)
        try:
            queue = msgspec.convert(settings | {"queue_id": queue_id, "skills": {}, "type": "queue"}, QueueConfig)
            consent_floor(queue)
        except (msgspec.ValidationError, BadValue) as error:
            raise Unusable(place, str(error)) from error
        made.append(queue)
    return tuple(made)


def _case(
    value: Any, place: str, flows: list[Flow], queues: frozenset[QueueId], numbers: set[str], zone: ZoneInfo | None
) -> Case:
    case = _object(value, place, {"name", "steps", "at", "lookups"})
    nodes = {name for flow in flows for name in flow.nodes}
    name, steps = _text(case.get("name"), f"{place}.name"), case.get("steps")
    if not isinstance(steps, list) or not steps:
        raise Unusable(f"{place}.steps", "must be a list of at least one step")
    made = []
    for number, step in enumerate(steps, 1):
        where = f"{place}.steps.{number - 1}"
        action = _step(step, where, nodes, queues, numbers)
        made.append(Step(action, _shown(step), number))
        ends = isinstance(step, dict) and "ends" in step
        if ends and number < len(steps):
            raise Unusable(f"{place}.steps.{number}", "comes after 'ends', which must be the last step")
    at = surroundings.moment(case.get("at"), zone, f"{place}.at")
    return Case(name, tuple(made), at, surroundings.script(case.get("lookups", {}), flows, f"{place}.lookups"))


def _shown(step: Any) -> str:
    if isinstance(step, str):
        return step
    ((word, value),) = step.items()
    if isinstance(value, dict):
        value = " ".join(f"{key} {item}" for key, item in value.items())
    return f"{word} {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _step(step: Any, place: str, nodes: set[str], queues: frozenset[QueueId], numbers: set[str]) -> Action:
    if step == "agent_answers":
        return AgentAnswers()
    if step == "agent_hangs_up":
        return AgentHangsUp()
    if step == "hangs_up":
        return HangsUp()
    if isinstance(step, dict) and len(step) == 1:
        ((word, value),) = step.items()
        where = f"{place}.{word}"
        match word:
            case "hears":
                return _hears(value, where)
            case "presses":
                # `presses: 1` is a number in YAML; 012 would not be, so nothing is lost by taking it as digits.
                digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
                if not isinstance(digits, str) or not digits or not DIGITS.issuperset(digits):
                    raise Unusable(where, "must be digits: 0-9, * and #")
                return Presses(digits)
            case "waits":
                return Waits(surroundings.seconds(value, where, LONGEST_WAIT_S, "a day"))
            case "variables":
                return _variables(value, where)
            case "at":
                return AtNode(_one_of(value, nodes, "node", where))
            case "number_answers":
                return NumberAnswers(_one_of(value, numbers, "number", where))
            case "ends":
                return _ends(value, where, nodes, queues)
            case _:
                pass
    known = (
        "hears, presses, waits, number_answers, at, variables, ends (each with a value), "
        "agent_answers, agent_hangs_up and hangs_up"
    )
    raise Unusable(place, f"is not a step; known are {known}")


def _one_of(value: Any, known: Collection[str], what: str, place: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise Unusable(place, f"names no {what} of the flow; there are {', '.join(sorted(known)) or 'none'}")
    return value


def _hears(value: Any, place: str) -> Hears:
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or not prompts or not all(isinstance(item, str) and item for item in prompts):
        raise Unusable(place, "must be a list of prompt ids")
    return Hears(tuple(prompts))


def _variables(value: Any, place: str) -> HasVariables:
    if not isinstance(value, dict) or not value:
        raise Unusable(place, "must be an object of variable to value, null for one that is not set")
    for name, wanted in value.items():
        try:
            variable_name(name, place, writable=False)
        except BadValue as error:
            raise Unusable(f"{place}.{name}", error.reason) from error
        if wanted is not None and plain(wanted) is None:
            raise Unusable(f"{place}.{name}", "must be a text, a number, true, false or null")
    return HasVariables(value)


def _ends(value: Any, place: str, nodes: set[str], queues: frozenset[QueueId]) -> Action:
    if isinstance(value, dict) and len(value) == 1:
        ((word, what),) = value.items()
        if word == "queue":
            return InQueue(_one_of(what, queues, "queue", f"{place}.queue"))
        if word == "at":
            return AtNode(_one_of(what, nodes, "node", f"{place}.at"))
        if word == "hung_up":
            if not isinstance(what, str) or what not in HangupCause.__members__:
                raise Unusable(f"{place}.hung_up", "is not a hangup cause of Q.850, such as NORMAL_CLEARING")
            return HungUp(HangupCause[what])
    raise Unusable(place, "must be one of {queue: ID}, {hung_up: CAUSE} and {at: NODE}")
