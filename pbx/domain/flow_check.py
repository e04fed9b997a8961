"""Everything that is wrong with a flow, all at once: for whoever writes one.

``parse`` stops at the first fault. ``examine`` notes the fault, mends a copy of the graph at that place so that the
parser gets past it, and goes on. So it knows nothing of what kinds of node there are and which fields they have.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pbx.domain import flow_graph
from pbx.domain.errors import BadValue
from pbx.domain.flow import AskConsent, Callback, EnterQueue, Flow, Say, Transfer, Voicemail, parse
from pbx.domain.flow_schema import fields_of
from pbx.domain.ids import FlowId

_STUB = "\0stub"
"""Where what cannot be read leads to; no file can hold this name by accident."""
_ENTRY = "\0entry"
_MOST_FAULTS = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    place: str
    """``graph.nodes.menu.choices.1``"""
    reason: str
    advice: str = ""
    """What to do about it; empty when the reason says it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True)
class Examined:
    """``flow`` is what could be read, None when nothing could; it is the whole flow when there are no problems."""

    problems: tuple[Problem, ...]
    flow: Flow | None


def examine(graph: Any) -> Examined:
    """All faults of fields, targets, reachability and loops."""
    if not isinstance(graph, Mapping):
        return Examined((Problem("graph", "must be an object", "it holds start, languages and nodes"),), None)
    if not isinstance(graph.get("nodes"), Mapping):
        reason = "must be an object of nodes" if "nodes" in graph else "is missing"
        first = Problem("graph.nodes", reason, "give each node a name and a type")
        rest = _Examiner({**graph, "nodes": {}}).run().problems
        return Examined((first, *(p for p in rest if not p.reason.startswith("names no node"))), None)
    return _Examiner(graph).run()


def loops(flow: Flow) -> list[Problem]:
    """Loops without a way out, and loops that neither play anything nor wait for the caller."""
    edges = flow.edges()
    ends = {name for name, node in flow.nodes.items() if not edges[name] or isinstance(node, EnterQueue | Transfer)}
    ends |= {to for targets in edges.values() for to in targets.values()} - edges.keys()
    found = []
    for loop in flow_graph.dead_ends(edges, ends):
        reason = f"is in a loop without a way out: {', '.join(loop)}"
        advice = "let one of them lead to a node that ends the call, such as a queue or hang_up"
        found.append(Problem(f"graph.nodes.{loop[0]}", reason, advice))
    at_once = {name: {at: to for at, to in edges[name].items() if _at_once(flow, name, at)} for name in edges}
    for loop in flow_graph.loops(at_once):
        reason = f"is in a loop that can spin, playing nothing and waiting for nobody: {', '.join(loop)}"
        advice = "put a node between them that plays a prompt or waits for a digit"
        found.append(Problem(f"graph.nodes.{loop[0]}", reason, advice))
    return found


def _at_once(flow: Flow, name: str, label: str) -> bool:
    """Whether a call can leave a node by this edge the moment it comes to it."""
    node = flow.nodes[name]
    if isinstance(node, EnterQueue):
        return label == "on_refused"
    if isinstance(node, Callback):
        return label == "on_failure"
    if isinstance(node, AskConsent):
        return True  # where nothing need be asked, nothing is
    if isinstance(node, Voicemail):
        return label == "on_failure"  # where nothing may be recorded, nothing is said
    if isinstance(node, Say):
        return not any(isinstance(one, str) for one in node.prompts)  # of a value that is not set nothing is said
    return not replace(flow, nodes={name: node}).prompt_ids()


def references(
    flow: Flow, graph: Any, queues: Collection[str] | None, catalogue: Mapping[str, Collection[str]] | None
) -> list[Problem]:
    """Queues and prompts that the flow names and nobody has. None: not known, so not checked.

    ``graph`` is what the flow was read from; ``catalogue``: language -> ids of its prompts.
    """
    found = []
    for at, language in enumerate(flow.languages):
        if catalogue is not None and language not in catalogue:
            advice = f"there are {', '.join(sorted(catalogue))}"
            found.append(Problem(f"graph.languages.{at}", f"there are no prompts in language {language}", advice))
    for name, node in flow.nodes.items():
        alone = replace(flow, nodes={name: node})
        for queue_id in sorted(alone.queue_ids() - {_STUB}):
            if queues is not None and queue_id not in queues:
                advice = _instead(queue_id, queues) or "make the queue first"
                found.append(Problem(_place_of(graph, name, queue_id), f"there is no queue {queue_id}", advice))
        for prompt in sorted(alone.prompt_ids() - {_STUB}):
            for language in flow.languages:
                if catalogue is not None and language in catalogue and prompt not in catalogue[language]:
                    advice = _instead(prompt, catalogue[language]) or "'callplane prompts list' names those there are"
                    reason = f"prompt {prompt} is missing in language {language}"
                    found.append(Problem(_place_of(graph, name, prompt), reason, advice))
    return found


def _place_of(graph: Any, name: str, word: str) -> str:
    """The field of a node that holds ``word``; the node itself when it is a default or made up."""
    place = f"graph.nodes.{name}"
    for key, value in graph["nodes"][name].items():
        if value == word and key != "type":
            return f"{place}.{key}"
        if isinstance(value, list) and word in value:
            return f"{place}.{key}.{value.index(word)}"
    return place


def _instead(word: Any, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(word), sorted(known), 1)
    return f"did you mean {close[0]}?" if close else ""


class _Examiner:
    """``self.graph`` is the mended copy. Two nodes of our own lead to every node, so that the parser reaches all."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.original = graph
        self.graph: dict[str, Any] = copy.deepcopy(dict(graph))
        self.problems: list[Problem] = []
        self.broken: set[str] = set()
        """Nodes whose ways on are not all known: they are believed to lead to an end."""
        self.names: list[str] = [name for name in graph["nodes"] if isinstance(name, str)]

    def run(self) -> Examined:
        start = self._mend_start()
        flow = self._mend_until_parsed()
        if flow is None:
            return Examined(tuple(self.problems), None)
        nodes = {name: flow.nodes[name] for name in self.names if name in flow.nodes}
        misread = any(_within(problem.place, "graph.languages") for problem in self.problems)
        flow = replace(flow, start=start or "", nodes=nodes, languages=() if misread else flow.languages)
        edges = flow.edges()
        if start is not None:
            lost = [name for name in nodes if name not in flow_graph.reached(self._believed(edges), start)]
            for name in lost:
                self._note(f"graph.nodes.{name}", "is not reached from the start", "lead a node to it, or remove it")
        # A node that could not be read is left out here: it leads nowhere, so nothing is said of loops through it.
        whole = replace(flow, nodes={name: node for name, node in nodes.items() if name not in self.broken})
        self.problems += loops(whole)
        return Examined(tuple(self.problems), flow)

    def _believed(self, edges: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """With every node that a broken one names anywhere."""
        believed = {name: dict(targets) for name, targets in edges.items()}
        for name in self.broken & believed.keys():
            words = _words(self.original["nodes"][name])
            believed[name] |= {f"?{word}": word for word in words if word in self.names}
        return believed

    def _note(self, place: str, reason: str, advice: str = "") -> None:
        self.problems.append(Problem(place, reason, advice))

    def _mend_start(self) -> str | None:
        """The start, if it is a node; the mended graph starts at the first node of our own."""
        start = self.graph.get("start")
        if "start" not in self.graph:
            self._note("graph.start", "is missing", "name the node with which a call begins")
        elif not isinstance(start, str):
            self._note("graph.start", "must be a text", "name the node with which a call begins")
        elif not start:
            self._note("graph.start", "must not be empty", "name the node with which a call begins")
        elif start not in self.graph["nodes"]:
            advice = _instead(start, self.names) or "name the node with which a call begins"
            self._note("graph.start", "names no node of this flow", advice)
        nodes = self.graph["nodes"]
        nodes[_STUB] = {"type": "hang_up"}
        before = _STUB
        for at, name in enumerate([name for name in nodes if name != _STUB]):
            if isinstance(name, str) and name:
                entry = f"{_ENTRY}{at}"
                nodes[entry] = {"type": "menu", "prompt": "-", "choices": {"1": name}, "on_failure": before}
                before = entry
        nodes[f"{_ENTRY}"] = {"type": "menu", "prompt": "-", "choices": {"1": before}, "on_failure": _STUB}
        self.graph["start"] = _ENTRY
        known = isinstance(start, str) and start in self.names
        return start if known else None

    def _mend_until_parsed(self) -> Flow | None:
        mended: list[str] = []
        for _ in range(_MOST_FAULTS):
            fault = _fault(self.graph)
            if fault is None:
                return parse(FlowId("examined"), 1, self.graph)
            if not any(_within(fault.field, place) for place in mended):
                self._note(fault.field, fault.reason, self._advice(fault))
            mended.append(fault.field)
            if not self._mend(fault):
                return None
        return None

    def _mend(self, fault: BadValue) -> bool:
        """Take the first change that gets the parser past this place."""
        owner = self._owner(fault.field)
        if owner is not None:
            self.broken.add(owner)
        for changed in self._changes(fault):
            after = _fault(changed)
            if after is None or not (_within(after.field, fault.field) or _within(fault.field, after.field)):
                self.graph = changed
                return True
        if owner is None:
            return False
        self.graph["nodes"][owner] = {"type": "hang_up"}
        return True

    def _changes(self, fault: BadValue) -> Iterator[dict[str, Any]]:
        keys = _path(self.graph, fault.field)
        value = _at(self.graph, keys)
        if isinstance(value, str) and value and value not in self.graph["nodes"]:
            changed = copy.deepcopy(self.graph)
            changed["nodes"][value] = {"type": "hang_up"}
            yield changed
        parent = _at(self.graph, keys[:-1])
        if not isinstance(parent, dict if isinstance(keys[-1], str) else list):
            return
        stand_ins: list[Any] = [_STUB, "1", 1, True, [_STUB], {"1": _STUB}]
        if keys == ["languages"]:  # of a flow that does not say them: whatever a choice may mean
            stand_ins = [sorted(_words(self.graph))]
        elif isinstance(parent, list):  # taking an item out would move those after it: one of the others stands in
            stand_ins = [*(item for item in parent if item != value), *stand_ins]
        elif keys[-1] in parent:
            changed = copy.deepcopy(self.graph)
            del _at(changed, keys[:-1])[keys[-1]]
            yield changed
        for stand_in in stand_ins:
            changed = copy.deepcopy(self.graph)
            _at(changed, keys[:-1])[keys[-1]] = copy.deepcopy(stand_in)
            yield changed

    def _owner(self, place: str) -> str | None:
        keys = _path(self.graph, place)
        return keys[1] if len(keys) > 1 and keys[0] == "nodes" and keys[1] in self.names else None

    def _advice(self, fault: BadValue) -> str:
        keys = _path(self.graph, fault.field)
        value, owner = _at(self.graph, keys), self._owner(fault.field)
        if fault.reason == "is missing":
            return "add it"
        if fault.reason == "is not known here":
            kind = self.graph["nodes"][owner].get("type") if owner is not None else None
            known = fields_of(kind) if len(keys) == 3 else fields_of(None) if len(keys) == 1 else ()
            others = f"there are {', '.join(known)}" if known else ""
            return _instead(keys[-1], known) or "; ".join(filter(None, ("remove it", others)))
        if fault.reason.startswith("names no node"):
            return _instead(value, self.names) or f"add a node {value}, or lead elsewhere"
        return f"it is {value!r}" if isinstance(value, (str, int, float)) and value != "" else ""


def _fault(graph: Any) -> BadValue | None:
    try:
        parse(FlowId("examined"), 1, graph)
    except BadValue as fault:
        return fault
    return None


def _within(place: str, outer: str) -> bool:
    return place == outer or place.startswith(f"{outer}.")


def _words(value: Any) -> set[str]:
    """Every text in a piece of JSON, keys aside."""
    if isinstance(value, str):
        return {value} - {""}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {word for item in inner for word in _words(item)}


def _path(graph: Any, place: str) -> list[Any]:
    """The keys of a place. Names may hold dots, so the longest key that is there wins; what is not there is last."""
    keys: list[Any] = []
    value, rest = graph, place.removeprefix("graph")
    while rest:
        rest = rest.removeprefix(".")
        if isinstance(value, Mapping):
            fits = [key for key in value if isinstance(key, str) and _within(rest, key)]
            key: Any = max(fits, key=len) if fits else None
        elif isinstance(value, list) and (first := rest.partition(".")[0]).isdecimal() and int(first) < len(value):
            key = int(first)
        else:
            key = None
        if key is None:
            return [*keys, rest]
        keys.append(key)
        value, rest = value[key], rest[len(str(key)) :]
    return keys


def _at(graph: Any, keys: list[Any]) -> Any:
    """What is there; None when nothing is."""
    value = graph
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value
