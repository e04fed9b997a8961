"""Where a step of a queue takes a caller who has no agent yet: out to a number, to a mailbox."""

from __future__ import annotations

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import Go, HangUpStep, ToStep
from pbx.domain.flow_nodes import HangUp, Mailbox
from pbx.domain.forwarding import ForwardStep, Outside
from pbx.domain.queue import Queue
from pbx.domain.voicemail_step import VoicemailStep


def to_number(context: CallContext, event: ev.WaitEnded, queue: Queue | None, back: ToStep) -> ToStep:
    """``back``: where the caller goes on when nobody answers."""
    music = queue.music_class if queue is not None else "default"
    outside = Outside(
        number=event.target, why="queue", ring_s=event.ring_s, show_caller=event.show_caller, music_class=music
    )
    return ToStep(ForwardStep(context, outside, back))


def to_mailbox(context: CallContext, event: ev.WaitEnded, failed: Go) -> ToStep:
    """The call ends after the message; ``failed``: where it goes on when none can be recorded."""
    mailbox = Mailbox(name=event.target, prompts=(event.prompt_id or "voicemail-greeting",))
    thanked = ToStep(HangUpStep(context, HangUp(prompts=("voicemail-thanks",))))
    return ToStep(VoicemailStep(context, mailbox, thanked, failed))
