"""Asking an HTTP service about the caller. The core says what to ask and takes out of the answer what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Go, Outcome
from pbx.domain.flow_nodes import LookUp
from pbx.domain.ids import derive
from pbx.domain.variables import Value, fill, plain

GRACE_S = 1.0
"""After the deadline the controller has this long to say so; then the call goes on without its word."""


MAX_URL = 4000


def taken(document: Any, take: Mapping[str, str]) -> dict[str, Value]:
    """The variables that ``take`` finds in an answer; what is not there, or is no single value, is left out."""
    values: dict[str, Value] = {}
    for name, path in take.items():
        place = document
        for part in path.split("."):
            if isinstance(place, Mapping):
                place = place.get(part)
            elif isinstance(place, list) and part.isascii() and part.isdecimal() and len(part) < 6:
                place = place[int(part)] if int(part) < len(place) else None
            else:
                place = None
        if (value := plain(place)) is not None:
            values[name] = value
    return values


def _escaped(text: str) -> str:
    """A value as one piece of a path or a query: it cannot add a segment, a parameter or a step upwards."""
    return "%2E" * len(text) if text in (".", "..") else quote(text, safe="")


def _one_line(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


class LookupStep(BaseStep):
    def __init__(self, context: CallContext, node: LookUp) -> None:
        super().__init__(context)
        self.node = node
        self.lookup_id = ""

    def keeps(self, lookup_id: str) -> bool:
        """Whether the journal may hold what this lookup brought."""
        return self.node.keep and lookup_id == self.lookup_id

    def enter(self, now: float) -> Outcome:
        node, read = self.node, self.context.read
        url = fill(node.url, read, _escaped, MAX_URL + 1)
        if len(url) > MAX_URL:
            return Go(node.on_failure)
        self.context.lookups += 1
        self.lookup_id = derive(now, "lookup", self.context.call_id, self.context.lookups)
        self.context.do(
            cmd.Lookup(
                lookup_id=self.lookup_id,
                method=node.method,
                url=url,
                headers=tuple((name, fill(text, read, _one_line)) for name, text in node.headers.items()),
                body={name: fill(text, read) for name, text in node.send.items()} if node.method != "GET" else None,
                take=node.take,
                deadline_s=node.deadline_s,
            )
        )
        self.context.set_timer("lookup", node.deadline_s + GRACE_S)
        return None

    def ended(self, event: ev.LookupEnded) -> Outcome:
        """What was not in the answer is not set afterwards, whatever it was before."""
        if event.lookup_id != self.lookup_id:
            return None
        if event.error:
            return Go(self.node.on_failure)
        for name in self.node.take:
            self.context.variables.pop(name, None)
        self.context.variables.update(event.values)
        return Go(self.node.next)

    def timer(self, purpose: str, now: float) -> Outcome:
        return Go(self.node.on_failure) if purpose == "lookup" else None
