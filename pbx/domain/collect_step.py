"""Digits into a variable."""

from __future__ import annotations

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Go, Outcome
from pbx.domain.flow_nodes import Collect

LATE_S = 2.0
"""So long after the last possible digit the terminator is still taken for the end of the number."""

_DIGITS = frozenset("0123456789")


class CollectStep(BaseStep):
    def __init__(self, context: CallContext, node: Collect, name: str) -> None:
        super().__init__(context)
        self.node, self.name = node, name
        self.failed = 0
        self.digits = ""
        self.wrong = False
        """A key was pressed that is no digit."""

    @property
    def hides_digits(self) -> bool:
        return not self.node.keep

    def enter(self, now: float) -> Outcome:
        ahead, self.context.typed_ahead = self.context.typed_ahead, None
        if ahead is not None and ahead in _DIGITS and self.node.barge_in:  # not the # that skipped an announcement
            return self.digit(ahead, now)
        self._ask()
        return None

    def again(self) -> None:
        """From the first digit, because the controller was away."""
        self._ask()

    def _ask(self, *before: str) -> None:
        self.digits, self.wrong = "", False
        if prompts := (*before, *self.node.prompts):
            self.context.play(*map(self.context.prompt, prompts))
        else:
            self.context.set_timer("input", self.node.timeout_s)

    def digit(self, digit: str, now: float) -> Outcome:
        if self.context.playing is not None and not self.node.barge_in:
            return None
        self.context.silence()
        self.context.cancel_timer("input")
        if digit == self.node.terminator:
            return self._entered(now)
        if digit in _DIGITS:
            self.digits += digit
        else:
            self.wrong = True
        if len(self.digits) >= self.node.max_digits:
            if self.node.terminator is not None:
                self.context.late_key = (self.node.terminator, now + LATE_S)
            return self._entered(now)
        self.context.set_timer("input", self.node.digit_timeout_s)
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        if not self.digits and not self.wrong:
            self.context.set_timer("input", self.node.timeout_s)
        return None

    def timer(self, purpose: str, now: float) -> Outcome:
        if purpose != "input":
            return None
        if not self.digits and not self.wrong:
            return self._again(self.node.no_input_prompt, now)
        return self._entered(now)

    def _entered(self, now: float) -> Outcome:
        if self.wrong or len(self.digits) < self.node.min_digits:
            return self._again(self.node.invalid_prompt, now)
        self.context.variables[self.node.variable] = self.digits
        kept = self.digits if self.node.keep else None
        self.context.record(ev.DigitsCollected(at=now, node=self.name, count=len(self.digits), digits=kept))
        return Go(self.node.next)

    def _again(self, prompt: str, now: float) -> Outcome:
        self.failed += 1
        if self.failed >= self.node.tries:
            self.context.record(ev.CollectFailed(at=now, node=self.name))
            return Go(self.node.on_failure)
        self._ask(prompt)
        return None
