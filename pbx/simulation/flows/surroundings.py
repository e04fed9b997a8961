"""What surrounds the calls of a case file: the time at which they come, services that answer lookups, other flows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pbx.domain.commands import Lookup
from pbx.domain.errors import LookupFailed
from pbx.domain.flow import Flow, LookUp
from pbx.domain.flow_check import examine
from pbx.ports.lookups import Answer
from pbx.simulation.flows.files import Unusable, graph_in, read

TAKES_S = 0.1
FAILURES = ("deadline", "unreachable", "not_allowed", "certificate", "too_big", "not_json")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Scripted:
    """What one lookup comes to, after ``after_s``."""

    status: int = 200
    document: Any = None
    after_s: float = TAKES_S
    fails: str | None = None


Script = Mapping[str, tuple[Scripted, ...]]
"""Node -> the answers to its lookups in turn; the last one stays."""


class ScriptedLookups:
    """``node``: where the call is. A lookup that no case speaks of finds nobody."""

    def __init__(self, script: Script, node: Callable[[], str | None]) -> None:
        self._script, self._node = script, node
        self._asked: dict[str, int] = {}

    async def ask(self, lookup: Lookup) -> Answer:
        node = self._node() or ""
        answers = self._script.get(node, (Scripted(fails="unreachable"),))
        asked = self._asked.get(node, 0)
        self._asked[node] = asked + 1
        answer = answers[min(asked, len(answers) - 1)]
        await asyncio.sleep(min(answer.after_s, lookup.deadline_s))
        if answer.after_s >= lookup.deadline_s:
            raise LookupFailed("deadline")
        if answer.fails is not None:
            raise LookupFailed(answer.fails)
        if not 200 <= answer.status < 300:
            raise LookupFailed("status", answer.status)
        return Answer(answer.status, answer.document)

    async def close(self) -> None:
        return


def usable(graph: Any, place: str) -> Flow:
    """The flow of a graph without faults. Raises Unusable."""
    examined = examine(graph)
    if examined.problems or examined.flow is None:
        first, *more = (str(problem) for problem in examined.problems)
        raise Unusable(place, f"{first}" + (f"; and {len(more)} more, see 'callplane flow check'" if more else ""))
    return examined.flow


def graph_of(value: Any, place: str, folder: Path) -> Any:
    if value is None:
        raise Unusable(place, "is missing; give a path or the graph itself")
    return graph_in(read(folder / value) if isinstance(value, str) else value)


def other_flows(value: Any, folder: Path, main: Flow) -> tuple[dict[str, Any], list[Flow]]:
    """Graphs by flow id, and the flows of all, ``main`` first; every flow that one of them runs must be there."""
    if not isinstance(value, dict):
        raise Unusable("flows", "must be an object of flow id to path or graph")
    graphs, flows = {}, [main]
    for flow_id, graph in value.items():
        place = f"flows.{flow_id}"
        if not SLUG.fullmatch(flow_id):
            raise Unusable(place, "is no flow id: lower case letters, digits and dashes")
        graphs[flow_id] = graph_of(graph, place, folder)
        flows.append(usable(graphs[flow_id], place))
    for flow in flows:
        if lost := sorted(flow.flow_ids() - graphs.keys()):
            raise Unusable("flows", f"lacks flow {lost[0]}, which a node runs; give its path or graph")
    return graphs, flows


def moment(value: Any, zone: ZoneInfo | None, place: str) -> float | None:
    """``2026-11-21 17:30`` in the DID's time zone, as seconds since the epoch."""
    if value is None:
        return None
    if zone is None:
        raise Unusable("did.time_zone", "is missing; a case with 'at' needs it, such as Europe/Berlin")
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M").replace(tzinfo=zone).timestamp()
    except (TypeError, ValueError):
        raise Unusable(place, "must be a local time such as 2026-11-21 17:30") from None


def time_zone(value: Any) -> ZoneInfo | None:
    try:
        return None if value is None else ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise Unusable("did.time_zone", "is not a time zone of the IANA database") from None


def script(value: Any, flows: list[Flow], place: str) -> dict[str, tuple[Scripted, ...]]:
    if not isinstance(value, dict):
        raise Unusable(place, "must be an object of node to answer, or to a list of answers")
    nodes = {name for flow in flows for name, node in flow.nodes.items() if isinstance(node, LookUp)}
    made = {}
    for name, answers in value.items():
        where = f"{place}.{name}"
        if name not in nodes:
            raise Unusable(where, f"names no lookup node; there are {', '.join(sorted(nodes)) or 'none'}")
        several = answers if isinstance(answers, list) else [answers]
        if not several:
            raise Unusable(where, "must have at least one answer")
        made[name] = tuple(_scripted(answer, where) for answer in several)
    return made


def _scripted(value: Any, place: str) -> Scripted:
    known = {"status", "json", "after", "fails"}
    if not isinstance(value, dict) or not value or value.keys() - known:
        raise Unusable(place, f"must be an object with some of {', '.join(sorted(known))}")
    fails, status = value.get("fails"), value.get("status", 200)
    if fails is not None and (fails not in FAILURES or value.keys() & {"status", "json"}):
        raise Unusable(f"{place}.fails", f"must be one of {', '.join(FAILURES)}, and stands without status and json")
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise Unusable(f"{place}.status", "must be a status of HTTP")
    after_s = TAKES_S if "after" not in value else seconds(value["after"], f"{place}.after", 3600, "an hour")
    return Scripted(status, value.get("json"), after_s, fails)


def seconds(value: Any, place: str, most_s: float, longest: str) -> float:
    """``500ms``, ``5s`` or ``2min``; ``longest``: ``most_s`` in words."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|min)", value) if isinstance(value, str) else None
    amount = float(found[1]) * {"ms": 0.001, "s": 1, "min": 60}[found[2]] if found else 0.0
    if not 0 < amount <= most_s:
        raise Unusable(place, f"must be a time such as 5s, 2min or 500ms, at most {longest}")
    return amount
