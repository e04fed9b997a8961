"""IVR call flows: a versioned graph of nodes, parsed once, never changed afterwards.

``parse`` turns the JSON form into typed nodes or refuses it with the place and the reason. A running call keeps
the ``Flow`` object it started with, whatever is published later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import FlowId, QueueId

DIGITS = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Play prompts, go on. A digit cuts them short (``barge_in``) and is handed to the next node."""

    prompts: tuple[str, ...]
    next: str
    barge_in: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    prompt: str
    choices: Mapping[str, str]
    """Digit -> node."""
    on_failure: str
    timeout_s: float = 5.0
    tries: int = 3
    invalid_prompt: str = "invalid-choice"
    no_input_prompt: str = "no-input"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseLanguage:
    """Plays ``prompt`` once in each language offered; without a choice the call keeps the DID's language."""

    choices: Mapping[str, str]
    """Digit -> language."""
    next: str
    prompt: str = "choose-language"
    timeout_s: float = 5.0
    tries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConsent:
    """Tells and asks what the call's regime demands. The call goes on to ``next`` whatever the answer is."""

    next: str
    ask_prompt: str = "consent-ask"
    """What is told under opt-in, where nothing is recorded without an act."""
    notice_prompt: str = "consent-notice"
    """What is told under notice and opt-out."""
    opt_in_prompt: str = "consent-keys-opt-in"
    opt_out_prompt: str = "consent-keys-opt-out"
    granted_prompt: str = "consent-granted"
    refused_prompt: str = "consent-refused"
    yes: str = "1"
    no: str = "2"
    timeout_s: float = 6.0
    tries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterQueue:
    """Wait with music and announcements until an agent answers; after the conversation the call ends."""

    queue_id: QueueId
    on_refused: str
    """Where to go when the queue is full or has nobody who could ever answer."""
    on_timeout: str | None = None
    max_wait_s: float | None = None
    welcome_prompt: str | None = "queue-welcome"
    announce_position: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    prompts: tuple[str, ...] = ()
    cause: HangupCause = HangupCause.NORMAL_CLEARING


Node = Say | Menu | ChooseLanguage | AskConsent | EnterQueue | HangUp

POSITION_PROMPTS = 20
"""Positions up to here have a sentence of their own; beyond, callers hear ``position-more``."""


def position_prompt(position: int) -> str:
    return f"position-{position}" if position <= POSITION_PROMPTS else "position-more"


@dataclass(frozen=True, slots=True)
class Flow:
    flow_id: FlowId
    version: int
    start: str
    nodes: Mapping[str, Node]
    languages: tuple[str, ...]
    """Every prompt of the flow must exist in each of them."""

    def queue_ids(self) -> frozenset[QueueId]:
        return frozenset(node.queue_id for node in self.nodes.values() if isinstance(node, EnterQueue))

    def prompt_ids(self) -> frozenset[str]:
        return frozenset(prompt for node in self.nodes.values() for prompt in _prompts(node))

    def edges(self) -> dict[str, dict[str, str]]:
        """Node -> field that leads on -> node it leads to."""
        leads = {name: _targets(node) for name, node in self.nodes.items()}
        return {name: {label: to for label, to in found.items() if to is not None} for name, found in leads.items()}


def _prompts(node: Node) -> tuple[str, ...]:
    match node:
        case Say(prompts=prompts) | HangUp(prompts=prompts):
            return prompts
        case Menu():
            return (node.prompt, node.invalid_prompt, node.no_input_prompt)
        case ChooseLanguage():
            return (node.prompt,)
        case AskConsent():
            asked = (node.ask_prompt, node.notice_prompt, node.opt_in_prompt, node.opt_out_prompt)
            return (*asked, node.granted_prompt, node.refused_prompt)
        case EnterQueue():
            welcome = (node.welcome_prompt,) if node.welcome_prompt else ()
            positions = tuple(position_prompt(n) for n in range(1, POSITION_PROMPTS + 2))
            return (*welcome, *(positions if node.announce_position else ()))


class _Reader:
    """Takes fields out of one JSON object; what is left over at the end is refused."""

    def __init__(self, data: Any, field: str) -> None:
        if not isinstance(data, Mapping):
            raise BadValue(field, "must be an object")
        self.data = dict(data)
        self.field = field

    def take(self, name: str, kind: type | tuple[type, ...], what: str, default: Any) -> Any:
        if name not in self.data:
            if default is ...:
                raise BadValue(f"{self.field}.{name}", "is missing")
            return default
        value = self.data.pop(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadValue(f"{self.field}.{name}", f"must be {what}")
        return value

    def text(self, name: str, default: Any = ...) -> Any:
        value = self.take(name, str, "a text", default)
        if value == "":
            raise BadValue(f"{self.field}.{name}", "must not be empty")
        return value

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.take(name, bool, "true or false", default))

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self.take(name, int, "a whole number", default)
        if not low <= value <= high:
            raise BadValue(f"{self.field}.{name}", f"must be from {low} to {high}")
        return int(value)

    def seconds(self, name: str, default: Any, low: float, high: float) -> Any:
        value = self.take(name, (int, float), "a number of seconds", default)
        if value is not None and not low <= value <= high:
            raise BadValue(f"{self.field}.{name}", f"must be from {low} to {high} seconds")
        return value

    def texts(self, name: str, default: Any = ...) -> tuple[str, ...]:
        value = self.take(name, list, "a list of texts", default)
        for at, item in enumerate(value):
            if not isinstance(item, str) or not item:
                raise BadValue(f"{self.field}.{name}.{at}", "must be a text")
        return tuple(value)

    def digit(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if value not in DIGITS:
            raise BadValue(f"{self.field}.{name}", "must be one of 0-9, * and #")
        return str(value)

    def choices(self, name: str) -> dict[str, str]:
        value = self.take(name, Mapping, "an object of digit to target", ...)
        if not value:
            raise BadValue(f"{self.field}.{name}", "must offer at least one digit")
        for digit, target in value.items():
            if digit not in DIGITS:
                raise BadValue(f"{self.field}.{name}.{digit}", "is not one of 0-9, * and #")
            if not isinstance(target, str) or not target:
                raise BadValue(f"{self.field}.{name}.{digit}", "must be a text")
        return dict(value)

    def done(self) -> None:
        if self.data:
            raise BadValue(f"{self.field}.{min(self.data)}", "is not known here")


def _say(r: _Reader) -> Node:
    return Say(prompts=r.texts("prompts"), next=r.text("next"), barge_in=r.flag("barge_in", True))


def _menu(r: _Reader) -> Node:
    return Menu(
        prompt=r.text("prompt"),
        choices=r.choices("choices"),
        on_failure=r.text("on_failure"),
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        tries=r.whole("tries", 3, 1, 9),
        invalid_prompt=r.text("invalid_prompt", "invalid-choice"),
        no_input_prompt=r.text("no_input_prompt", "no-input"),
    )


def _language(r: _Reader) -> Node:
    return ChooseLanguage(
        choices=r.choices("choices"),
        next=r.text("next"),
        prompt=r.text("prompt", "choose-language"),
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        tries=r.whole("tries", 2, 1, 9),
    )


def _consent(r: _Reader) -> Node:
    node = AskConsent(
        next=r.text("next"),
        ask_prompt=r.text("ask_prompt", "consent-ask"),
        notice_prompt=r.text("notice_prompt", "consent-notice"),
        opt_in_prompt=r.text("opt_in_prompt", "consent-keys-opt-in"),
        opt_out_prompt=r.text("opt_out_prompt", "consent-keys-opt-out"),
        granted_prompt=r.text("granted_prompt", "consent-granted"),
        refused_prompt=r.text("refused_prompt", "consent-refused"),
        yes=r.digit("yes", "1"),
        no=r.digit("no", "2"),
        timeout_s=r.seconds("timeout_s", 6.0, 1, 60),
        tries=r.whole("tries", 2, 1, 9),
    )
    if node.yes == node.no:
        raise BadValue(f"{r.field}.no", "must be another digit than yes")
    return node


def _queue(r: _Reader) -> Node:
    node = EnterQueue(
        queue_id=QueueId(r.text("queue")),
        on_refused=r.text("on_refused"),
        on_timeout=r.text("on_timeout", None),
        max_wait_s=r.seconds("max_wait_s", None, 1, 86_400),
        welcome_prompt=r.text("welcome_prompt", "queue-welcome") if r.flag("welcome", True) else None,
        announce_position=r.flag("announce_position", True),
    )
    if (node.on_timeout is None) != (node.max_wait_s is None):
        raise BadValue(f"{r.field}.on_timeout", "goes together with max_wait_s")
    return node


def _hang_up(r: _Reader) -> Node:
    cause = r.text("cause", "NORMAL_CLEARING")
    if cause not in HangupCause.__members__:
        raise BadValue(f"{r.field}.cause", "is not a hangup cause of Q.850")
    return HangUp(prompts=r.texts("prompts", []), cause=HangupCause[cause])


_NODES: dict[str, Callable[[_Reader], Node]] = {
    "say": _say,
    "menu": _menu,
    "language": _language,
    "consent": _consent,
    "queue": _queue,
    "hang_up": _hang_up,
}


def _targets(node: Node) -> dict[str, str | None]:
    """Field -> node it leads to."""
    match node:
        case Say() | ChooseLanguage() | AskConsent():
            return {"next": node.next}
        case Menu():
            return {**{f"choices.{d}": t for d, t in node.choices.items()}, "on_failure": node.on_failure}
        case EnterQueue():
            return {"on_refused": node.on_refused, "on_timeout": node.on_timeout}
        case HangUp():
            return {}


def parse(flow_id: FlowId, version: int, graph: Any, field: str = "graph") -> Flow:
    """The flow of a JSON graph: ``{"start", "languages", "nodes": {name: {"type", ...}}}``.

    Raises BadValue with the path of the first thing that is wrong: an unknown field, a target that is no node, a
    node that no path from the start reaches.
    """
    reader = _Reader(graph, field)
    start = reader.text("start")
    languages = reader.texts("languages")
    raw = reader.take("nodes", Mapping, "an object of nodes", ...)
    reader.done()
    if not languages:
        raise BadValue(f"{field}.languages", "must name at least one language")
    nodes: dict[str, Node] = {}
    for name, data in raw.items():
        place = f"{field}.nodes.{name}"
        node_reader = _Reader(data, place)
        kind = node_reader.text("type")
        if kind not in _NODES:
            raise BadValue(f"{place}.type", f"is not a node type; known are {', '.join(sorted(_NODES))}")
        nodes[name] = _NODES[kind](node_reader)
        node_reader.done()
        if isinstance(node := nodes[name], ChooseLanguage):
            for digit, language in node.choices.items():
                if language not in languages:
                    raise BadValue(f"{place}.choices.{digit}", "is not among the flow's languages")
    if start not in nodes:
        raise BadValue(f"{field}.start", "names no node of this flow")
    for name, node in nodes.items():
        for where, target in _targets(node).items():
            if target is not None and target not in nodes:
                raise BadValue(f"{field}.nodes.{name}.{where}", "names no node of this flow")
    reached, todo = {start}, [start]
    while todo:
        for target in _targets(nodes[todo.pop()]).values():
            if target is not None and target not in reached:
                reached.add(target)
                todo.append(target)
    if lost := sorted(nodes.keys() - reached):
        raise BadValue(f"{field}.nodes.{lost[0]}", "is not reached from the start")
    return Flow(flow_id, version, start, nodes, languages)
