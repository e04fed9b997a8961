"""Promising a caller to call back."""

from __future__ import annotations

from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Go, Outcome
from pbx.domain.flow_nodes import Callback
from pbx.domain.queue_entry import needs_of
from pbx.domain.variables import text_of


class CallbackStep(BaseStep):
    def __init__(self, context: CallContext, node: Callback) -> None:
        super().__init__(context)
        self.node = node
        self.is_promised = False

    def enter(self, now: float) -> Outcome:
        number = text_of(self.context.read(self.node.number))
        if not number:  # withheld, or nothing was keyed in
            return Go(self.node.on_failure)
        needs = needs_of(self.node.needs, self.context.read)
        node = self.node
        self.context.do(self.context.callback_request(node.queue_id, number, now, node.priority, needs, by="flow"))
        return None

    def promised(self) -> Outcome:
        self.is_promised = True
        self.context.play(self.context.prompt(self.node.prompt))
        return None

    def not_promised(self, now: float) -> Outcome:
        return Go(self.node.on_failure)

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        return Go(self.node.next) if self.is_promised else None
