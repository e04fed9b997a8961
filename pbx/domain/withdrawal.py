"""Where in the flow a caller may take the recording back by keys: at every node but those that ask for a star."""

from __future__ import annotations

from pbx.domain.call_steps import ConsentStep, LanguageStep, MenuStep, Step
from pbx.domain.collect_step import CollectStep
from pbx.domain.survey_step import SurveyStep
from pbx.domain.voicemail_step import VoicemailStep

STAR = "*"


def asks_for_star(step: Step) -> bool:
    """Whether the star means something of its own at this step."""
    match step:
        case MenuStep() | LanguageStep():
            return STAR in step.node.choices
        case ConsentStep():
            return STAR in (step.node.yes, step.node.no)
        case CollectStep():
            return step.node.terminator == STAR
        case SurveyStep():
            return any(STAR in question.digits for question in step.node.questions)
        case VoicemailStep():
            return step.mailbox.terminator == STAR
        case _:
            return False
