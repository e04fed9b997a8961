"""Questions after a conversation, one digit each."""

from __future__ import annotations

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import ChoiceStep, Go, Outcome
from pbx.domain.flow_nodes import Survey


class SurveyStep(ChoiceStep):
    """A digit counts as soon as its question is being asked."""

    def __init__(self, context: CallContext, node: Survey, name: str) -> None:
        super().__init__(context)
        self.node, self.name = node, name
        self.tries, self.timeout_s = node.tries, node.timeout_s
        self.invalid_prompt, self.no_input_prompt = node.invalid_prompt, node.no_input_prompt
        self.asking = 0
        """Which question."""
        self.thanking = False

    def enter(self, now: float) -> Outcome:
        self.context.typed_ahead = None  # pressed before the question was heard
        self.ask()
        return None

    def ask(self, *before: str) -> None:
        prompts = (*before, *self.node.questions[self.asking].prompts)
        self.context.play(*map(self.context.prompt, prompts))

    def digit(self, digit: str, now: float) -> Outcome:
        if self.thanking:
            return None
        self.context.cancel_timer("input")
        self.context.silence()
        question = self.node.questions[self.asking]
        if digit not in question.digits:
            return self._again(now, invalid=True)
        self.context.record(ev.SurveyAnswered(at=now, node=self.name, question=question.id, digit=digit))
        if self.asking + 1 < len(self.node.questions):
            self.asking, self.failed = self.asking + 1, 0
            self.ask()
            return None
        if not self.node.thanks:
            return Go(self.node.next)
        self.thanking = True
        self.context.play(*map(self.context.prompt, self.node.thanks))
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        return Go(self.node.next) if self.thanking else super().played(played_ms, completed, now)

    def give_up(self, now: float) -> Outcome:
        return Go(self.node.next)
