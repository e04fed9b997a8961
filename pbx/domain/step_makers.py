"""Which step a call takes at each type of node."""

from __future__ import annotations

from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import ConsentStep, Go, HangUpStep, LanguageStep, MenuStep, SayStep, Step
from pbx.domain.callback_step import CallbackStep
from pbx.domain.collect_step import CollectStep
from pbx.domain.flow_nodes import (
    AskConsent,
    Branch,
    Callback,
    CheckHours,
    ChooseLanguage,
    Collect,
    EnterQueue,
    HangUp,
    LookUp,
    Menu,
    Return,
    RunFlow,
    Say,
    SetVariables,
    Survey,
    Transfer,
    Voicemail,
)
from pbx.domain.logic_steps import BranchStep, HoursStep, ReturnStep, RunFlowStep, SetStep
from pbx.domain.lookup_step import LookupStep
from pbx.domain.queue_step import QueueStep
from pbx.domain.survey_step import SurveyStep
from pbx.domain.transfer_step import transfer_step
from pbx.domain.voicemail_step import VoicemailStep


def make_step(context: CallContext, name: str) -> Step:
    """The step for the node ``name`` of the flow that the call walks now."""
    node = context.flow.nodes[name]
    match node:
        case Say():
            return SayStep(context, node)
        case Menu():
            return MenuStep(context, node, name)
        case ChooseLanguage():
            return LanguageStep(context, node)
        case AskConsent():
            return ConsentStep(context, node)
        case EnterQueue():
            return QueueStep(context, node, context.cli)
        case Callback():
            return CallbackStep(context, node)
        case HangUp():
            return HangUpStep(context, node)
        case Collect():
            return CollectStep(context, node, name)
        case SetVariables():
            return SetStep(context, node)
        case Branch():
            return BranchStep(context, node)
        case CheckHours():
            return HoursStep(context, node)
        case LookUp():
            return LookupStep(context, node)
        case RunFlow():
            return RunFlowStep(context, node)
        case Transfer():
            return transfer_step(context, node)
        case Return():
            return ReturnStep(context, node)
        case Voicemail():
            return VoicemailStep(context, node.mailbox, Go(node.next), Go(node.on_failure))
        case Survey():
            return SurveyStep(context, node, name)
