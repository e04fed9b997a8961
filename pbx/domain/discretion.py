"""What of a fact the journal may hold. The call itself is told everything; its record is not."""

from __future__ import annotations

from dataclasses import replace

from pbx.domain import events as ev
from pbx.domain.call_context import CallConfig
from pbx.domain.call_steps import ConsentStep, LanguageStep, MenuStep, Step
from pbx.domain.collect_step import CollectStep
from pbx.domain.forwarding import ForwardStep
from pbx.domain.lookup_step import LookupStep
from pbx.domain.queue_step import QueueStep
from pbx.domain.survey_step import SurveyStep


def has_secrets(config: CallConfig) -> bool:
    return any(flow.has_secrets() for flow in (config.flow, *config.flows.values()))


def for_journal(event: ev.Event, step: Step | None, secrets: bool) -> ev.Event:
    """``event`` as it may be written, ``step`` being where the call stands when it happens.

    A call whose flow collects what must not be kept (``secrets``) writes only those digits that choose something:
    callers type ahead of the question and on after its answer, and read card numbers to agents with their keys.
    """
    match event:
        case ev.DigitPressed() if isinstance(step, ForwardStep):
            return replace(event, digit=ev.HIDDEN)  # keyed in for somebody else
        case ev.DigitPressed() if secrets:
            chooses = isinstance(step, MenuStep | LanguageStep | ConsentStep)
            chooses = chooses or (isinstance(step, QueueStep) and step.callback_digit == event.digit)
            chooses = chooses or (isinstance(step, SurveyStep) and not step.thanking)
            kept = chooses or (isinstance(step, CollectStep) and not step.hides_digits)
            return event if kept else replace(event, digit=ev.HIDDEN)
        case ev.LookupEnded():
            return event if isinstance(step, LookupStep) and step.keeps(event.lookup_id) else replace(event, values={})
        case _:
            return event
