"""Where a call goes on that another controller has taken up: at the step it was at.

What was being played may have been heard or not, and what was keyed in meanwhile may be lost: the caller is told, or
asked, again. Nothing is assumed, least of all consent. Music and conversations go on; nobody hears anything of it.
"""

from __future__ import annotations

from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import ChoiceStep, ConsentStep, End, Go, HangUpStep, Outcome, SayStep, Step
from pbx.domain.callback_step import CallbackStep
from pbx.domain.collect_step import CollectStep
from pbx.domain.events import EndReason
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.lookup_step import LookupStep
from pbx.domain.queue_step import Phase, QueueStep
from pbx.domain.survey_step import SurveyStep
from pbx.domain.voicemail_step import Stage, VoicemailStep


def resume(step: Step, context: CallContext, now: float) -> Outcome:
    """What ``step`` does again; its timers go on for the rest of their time."""
    context.cancel_timer("cut")
    match step:
        case SayStep() | HangUpStep():
            return step.enter(now)
        case SurveyStep() if step.thanking:
            context.play(*map(context.prompt, step.node.thanks))
        case ChoiceStep():
            context.cancel_timer("input")
            step.ask()
        case ConsentStep():
            return _consent(step, context, now)
        case CollectStep():
            context.cancel_timer("input")
            context.silence()
            step.again()
        case LookupStep():
            # A request that changes something may have done so: it is not sent twice.
            context.cancel_timer("lookup")
            return step.enter(now) if step.node.method == "GET" else Go(step.node.on_failure)
        case CallbackStep() if step.is_promised:
            return step.promised()
        case QueueStep():
            return _queue(step, context)
        case VoicemailStep():
            return _voicemail(step, context)
        case _:
            pass  # a second leg is rung or talked to, with music meanwhile
    return None


def _consent(step: ConsentStep, context: CallContext, now: float) -> Outcome:
    if step.stage == "answer":  # recorded already; only its confirmation was cut
        context.silence()
        return Go(step.node.next)
    context.cancel_timer("input")
    return step.ask_again(now)


def _queue(step: QueueStep, context: CallContext) -> Outcome:
    match step.phase:
        case Phase.WAITING | Phase.OFFERED:
            if context.playing is not None or not context.music:
                step.music_again()
        case Phase.LEAVING:
            context.silence()
            return Go(step.node.on_timeout or step.node.on_refused)
        case Phase.PROMISED:
            context.silence()
            return End(HangupCause.NORMAL_CLEARING, EndReason.FLOW_ENDED)
        case _:
            pass  # the router or the media server is asked again for what is under way
    return None


def _voicemail(step: VoicemailStep, context: CallContext) -> Outcome:
    if step.stage in (Stage.GREETING, Stage.CUT, Stage.TONE):
        context.cancel_timer("told")
        step.greet_again()
    return None
