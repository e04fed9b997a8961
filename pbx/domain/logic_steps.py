"""Steps that are over as soon as they are entered: variables, branches, opening hours, flows in flows."""

from __future__ import annotations

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, End, Go, Outcome
from pbx.domain.flow_nodes import Branch, CheckHours, Comparison, Condition, Return, RunFlow, SetVariables
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.opening_hours import State
from pbx.domain.variables import Read, Value, evaluate, number_of, text_of

MAX_DEPTH = 8
"""Flows within flows; a call that goes deeper is in a loop and is ended."""


class SetStep(BaseStep):
    def __init__(self, context: CallContext, node: SetVariables) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        values = {name: evaluate(value, self.context.read) for name, value in self.node.values.items()}
        for name, value in values.items():
            if value is None:
                self.context.variables.pop(name, None)
            else:
                self.context.variables[name] = value
        return Go(self.node.next)


def _same(one: Value, other: Value) -> bool:
    """Equal as texts, or as numbers where one of them is a number: an account may be keyed in, or looked up."""
    if text_of(one) == text_of(other):
        return True
    numbers = any(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    return numbers and (a := number_of(one)) is not None and a == number_of(other)


def holds(condition: Condition, read: Read) -> bool:
    value, operand = read(condition.variable), condition.operand
    if condition.test is Comparison.PRESENT:
        return (value is not None and value != "") is operand
    if value is None:
        return False
    if isinstance(operand, tuple):
        return any(_same(value, one) for one in operand)
    match condition.test:
        case Comparison.PREFIX:
            return text_of(value).startswith(text_of(operand))
        case Comparison.LESS | Comparison.GREATER:
            number, limit = number_of(value), number_of(operand)
            if number is None or limit is None:
                return False
            return number < limit if condition.test is Comparison.LESS else number > limit
        case _:
            return _same(value, operand)


class BranchStep(BaseStep):
    def __init__(self, context: CallContext, node: Branch) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        for condition in self.node.conditions:
            if holds(condition, self.context.read):
                return Go(condition.next)
        return Go(self.node.otherwise)


class HoursStep(BaseStep):
    def __init__(self, context: CallContext, node: CheckHours) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        public = self.context.config.holidays.get(self.node.country, ()) if self.node.country else ()
        match self.node.hours.state(now, public):
            case State.OPEN:
                return Go(self.node.open)
            case State.HOLIDAY if self.node.holiday is not None:
                return Go(self.node.holiday)
            case _:
                return Go(self.node.closed)


class RunFlowStep(BaseStep):
    def __init__(self, context: CallContext, node: RunFlow) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        """A flow that this POP did not have when the call began is passed over."""
        context = self.context
        flow = context.config.flows.get(self.node.flow_id)
        if flow is None:
            return Go(self.node.next)
        if len(context.callers) >= MAX_DEPTH:
            return End(HangupCause.NORMAL_UNSPECIFIED, ev.EndReason.FLOW_ENDED)
        context.callers.append((context.flow, self.node.next))
        context.flow = flow
        context.record(ev.SubFlowEntered(at=now, flow_id=flow.flow_id, version=flow.version))
        return Go(flow.start)


class ReturnStep(BaseStep):
    def __init__(self, context: CallContext, node: Return) -> None:
        super().__init__(context)

    def enter(self, now: float) -> Outcome:
        context = self.context
        if not context.callers:
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.FLOW_ENDED)
        context.record(ev.SubFlowLeft(at=now, flow_id=context.flow.flow_id))
        context.flow, following = context.callers.pop()
        return Go(following)
