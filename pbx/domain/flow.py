"""IVR call flows: a versioned graph of nodes, parsed once, never changed afterwards.

``parse`` turns the JSON form into typed nodes or refuses it with the place and the reason. A running call keeps
the ``Flow`` object it started with, whatever is published later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbx.domain.errors import BadValue
from pbx.domain.flow_nodes import (
    AskConsent,
    Branch,
    Callback,
    CheckHours,
    ChooseLanguage,
    Collect,
    Comparison,
    Condition,
    EnterQueue,
    HangUp,
    LookUp,
    Menu,
    Node,
    Return,
    RunFlow,
    Say,
    SetVariables,
    SkillNeed,
    Survey,
    Transfer,
    Voicemail,
)
from pbx.domain.flow_parse import NODES
from pbx.domain.flow_reader import DIGITS, Reader
from pbx.domain.ids import FlowId, QueueId
from pbx.domain.wait_announcement import WAIT_PROMPTS

__all__ = [
    "DIGITS",
    "POSITION_PROMPTS",
    "AskConsent",
    "Branch",
    "Callback",
    "CheckHours",
    "ChooseLanguage",
    "Collect",
    "Comparison",
    "Condition",
    "EnterQueue",
    "Flow",
    "HangUp",
    "LookUp",
    "Menu",
    "Node",
    "Return",
    "RunFlow",
    "Say",
    "SetVariables",
    "SkillNeed",
    "Survey",
    "Transfer",
    "Voicemail",
    "parse",
    "position_prompt",
]

TONE = "voicemail-tone"
"""After it the caller speaks."""

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
        found = (
            node.queue_id
            for node in self.nodes.values()
            if isinstance(node, AskConsent | EnterQueue | Callback | Transfer)
        )
        return frozenset(queue_id for queue_id in found if queue_id is not None)

    def numbers(self) -> frozenset[str]:
        """The outside numbers that the flow names; those that come out of variables nobody knows before."""
        found = (node.number for node in self.nodes.values() if isinstance(node, Transfer))
        return frozenset(number for number in found if number is not None and "{" not in number)

    def prompt_ids(self) -> frozenset[str]:
        return frozenset(prompt for node in self.nodes.values() for prompt in _prompts(node))

    def flow_ids(self) -> frozenset[FlowId]:
        """The flows that this one runs."""
        return frozenset(node.flow_id for node in self.nodes.values() if isinstance(node, RunFlow))

    def countries(self) -> frozenset[str]:
        """The places whose public holidays the flow asks for."""
        nodes = self.nodes.values()
        return frozenset(node.country for node in nodes if isinstance(node, CheckHours) and node.country is not None)

    def has_secrets(self) -> bool:
        """Whether callers key in what the journal must not hold."""
        return any(isinstance(node, Collect) and not node.keep for node in self.nodes.values())

    def edges(self) -> dict[str, dict[str, str]]:
        """Node -> field that leads on -> node it leads to."""
        leads = {name: _targets(node) for name, node in self.nodes.items()}
        return {name: {label: to for label, to in found.items() if to is not None} for name, found in leads.items()}


def _prompts(node: Node) -> tuple[str, ...]:
    match node:
        case HangUp(prompts=prompts):
            return prompts
        case Say():
            said = ((one,) if isinstance(one, str) else one.prompt_ids for one in node.prompts)
            return tuple(prompt for prompts in said for prompt in prompts)
        case Menu():
            return (node.prompt, node.invalid_prompt, node.no_input_prompt)
        case Collect():
            return (*node.prompts, node.invalid_prompt, node.no_input_prompt)
        case ChooseLanguage() | Callback():
            return (node.prompt,)
        case AskConsent():
            asked = (node.ask_prompt, node.notice_prompt, node.opt_in_prompt, node.opt_out_prompt)
            return (*asked, node.granted_prompt, node.refused_prompt)
        case EnterQueue():
            welcome = (node.welcome_prompt,) if node.welcome_prompt else ()
            positions = tuple(position_prompt(n) for n in range(1, POSITION_PROMPTS + 2))
            waits = WAIT_PROMPTS if node.announce_wait else ()
            return (*welcome, *(positions if node.announce_position else ()), *waits)
        case Voicemail(mailbox=mailbox):
            return (*mailbox.prompts, TONE)
        case Survey():
            questions = tuple(prompt for question in node.questions for prompt in question.prompts)
            return (*questions, *node.thanks, node.invalid_prompt, node.no_input_prompt)
        case SetVariables() | Branch() | CheckHours() | LookUp() | RunFlow() | Return() | Transfer():
            return ()


def _targets(node: Node) -> dict[str, str | None]:
    """Field -> node it leads to."""
    match node:
        case Say() | ChooseLanguage() | AskConsent() | SetVariables() | RunFlow() | Survey():
            return {"next": node.next}
        case Menu():
            return {**{f"choices.{d}": t for d, t in node.choices.items()}, "on_failure": node.on_failure}
        case Collect() | LookUp() | Callback() | Voicemail():
            return {"next": node.next, "on_failure": node.on_failure}
        case Branch():
            conditions = {f"conditions.{at}.next": c.next for at, c in enumerate(node.conditions)}
            return {**conditions, "otherwise": node.otherwise}
        case CheckHours():
            return {"open": node.open, "closed": node.closed, "holiday": node.holiday}
        case EnterQueue():
            return {"on_refused": node.on_refused, "on_timeout": node.on_timeout, "after": node.after}
        case Transfer():
            return {"on_failure": node.on_failure}
        case HangUp() | Return():
            return {}


def parse(flow_id: FlowId, version: int, graph: Any, field: str = "graph") -> Flow:
    """The flow of a JSON graph: ``{"start", "languages", "nodes": {name: {"type", ...}}}``.

    Raises BadValue with the path of the first thing that is wrong: an unknown field, a target that is no node, a
    node that no path from the start reaches.
    """
    reader = Reader(graph, field)
    start = reader.text("start")
    languages = reader.texts("languages")
    raw = reader.take("nodes", Mapping, "an object of nodes", ...)
    reader.done()
    if not languages:
        raise BadValue(f"{field}.languages", "must name at least one language")
    nodes: dict[str, Node] = {}
    for name, data in raw.items():
        place = f"{field}.nodes.{name}"
        node_reader = Reader(data, place)
        kind = node_reader.text("type")
        if kind not in NODES:
            raise BadValue(f"{place}.type", f"is not a node type; known are {', '.join(sorted(NODES))}")
        nodes[name] = NODES[kind](node_reader)
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
