"""Leaving a message: the caller is told, hears the tone, and is recorded alone.

Nothing is captured before the tone is over, so who hangs up earlier leaves no file. What was captured is a message only
when the recorder has placed it; until then the call waits, also one whose caller is gone.
"""

from __future__ import annotations

import math
from enum import Enum

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import BaseStep, Outcome
from pbx.domain.consent import MessageEvidence, Regime, grant_message
from pbx.domain.flow import TONE
from pbx.domain.flow_nodes import Mailbox
from pbx.domain.ids import QueueId, RecordingId, derive

CUT_S = 1.0
"""How long the media server may take to say how much of a greeting was sent before it was cut short."""


class Stage(Enum):
    GREETING = "greeting"
    CUT = "cut"
    """A key was pressed; the news of how much was played is on its way."""
    TONE = "tone"
    RECORDING = "recording"
    STORING = "storing"
    OVER = "over"


class VoicemailStep(BaseStep):
    def __init__(self, context: CallContext, mailbox: Mailbox, then: Outcome, otherwise: Outcome) -> None:
        """``then``: how the call goes on after the message; ``otherwise``: when it cannot be recorded."""
        super().__init__(context)
        self.mailbox, self._then, self._otherwise = mailbox, then, otherwise
        self.stage = Stage.GREETING
        self.running: RecordingId | None = None
        """The message, until the recorder has placed or destroyed it."""
        self._key: str | None = None
        self._evidence: MessageEvidence | None = None
        self._since: float | None = None
        self._said_s = math.inf
        """What of the message was speech, where it ended by silence."""
        self._ended_by = ""
        self._discarding = False
        self._gone = False
        """The call has left this step."""

    @property
    def waits_for_cut(self) -> bool:
        """A play that did not complete was cut by the caller's own key."""
        return self.stage is Stage.CUT

    def _regime(self) -> Regime:
        queue = self.context.config.queues.get(QueueId(self.mailbox.name))
        places = self.context.places
        floor = queue.consent_floor.of(places) if queue is not None else Regime.NONE
        return self.context.config.regimes.strictest(places, floor)

    # --- before the tone is over --------------------------------------------------------------------------------

    def enter(self, now: float) -> Outcome:
        self.context.typed_ahead = None
        if self._regime() is Regime.PROHIBITED:
            return self._failed("prohibited", now)
        self.greet_again()
        return None

    def greet_again(self) -> None:
        self.stage, self._key, self._evidence = Stage.GREETING, None, None
        self.context.play(*map(self.context.prompt, self.mailbox.prompts))

    def digit(self, digit: str, now: float) -> Outcome:
        if self.stage is Stage.GREETING and self.context.playing is not None:
            self.stage, self._key = Stage.CUT, digit
            self.context.do(cmd.StopPlay(self.context.playing))
            self.context.set_timer("told", CUT_S)
        elif self.stage is Stage.RECORDING and digit == self.mailbox.terminator:
            self._stop("terminator", now)
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        if self.stage is Stage.TONE:
            return self._record(now) if completed else self._failed("prompt_cut", now)
        if self.stage not in (Stage.GREETING, Stage.CUT):
            return None
        self.context.cancel_timer("told")
        prompts = tuple((prompt, self.context.prompt(prompt).sha256) for prompt in self.mailbox.prompts)
        self._evidence = MessageEvidence(prompts, self.context.language, played_ms, completed, self._key, now)
        if not completed and self._key is None:
            return self._failed("prompt_cut", now)
        self.stage = Stage.TONE
        self.context.play(self.context.prompt(TONE))
        return None

    def timer(self, purpose: str, now: float) -> Outcome:
        if purpose == "told" and self.stage is Stage.CUT:
            return self.played(0, False, now)
        if purpose == "max" and self.stage is Stage.RECORDING:
            self._stop("max_s", now)
        return None

    # --- the message ----------------------------------------------------------------------------------------------

    def _record(self, now: float) -> Outcome:
        context, evidence, regime = self.context, self._evidence, self._regime()
        if evidence is None:
            return self._failed("prompt_cut", now)
        permission = grant_message(context.call_id, context.leg_id, regime, evidence, now)
        if permission is None:
            return self._failed("prompt_cut", now)
        self.stage = Stage.RECORDING
        self.running = recording_id = RecordingId(derive(now, "voicemail", context.call_id, context.plays))
        context.record(
            ev.VoicemailGranted(
                at=now,
                mailbox=self.mailbox.name,
                recording_id=recording_id,
                regime=regime.word,
                jurisdictions=tuple(place or "unknown" for place in self.context.places),
                prompt_ids=tuple(prompt for prompt, _ in evidence.prompts),
                prompt_sha256s=tuple(sha256 for _, sha256 in evidence.prompts),
                language=evidence.language,
                played_ms=evidence.played_ms,
                digit=evidence.digit,
            )
        )
        region, silence_s = context.config.did.region, self.mailbox.silence_s
        context.do(cmd.StartRecording(recording_id, context.leg_id, permission, region, silence_s))
        context.set_timer("max", self.mailbox.max_s)
        return None

    def started(self, recording_id: RecordingId, now: float) -> None:
        if recording_id == self.running:
            self._since = now

    def not_started(self, unknown: bool, now: float) -> Outcome:
        """The media server, or the journal, refused. ``unknown``: perhaps it records all the same."""
        if unknown and self.running is not None:
            self.context.do(cmd.StopRecording(self.running, self.context.leg_id, discard=True))
        return self._failed("not_recorded", now)

    def silent(self, event: ev.RecordingSilent, now: float) -> None:
        """Whoever has hardly said anything has left no message, however long the silence was."""
        if self.stage is Stage.RECORDING and event.recording_id == self.running:
            self._said_s = event.said_s
            self._stop("silence", now)

    def stop_asked(self, now: float) -> None:
        if self.stage is Stage.RECORDING:
            self._stop("asked", now)

    def _stop(self, by: str, now: float) -> None:
        if self.running is None:
            return
        self.stage, self._ended_by = Stage.STORING, by
        self.context.cancel_timer("max")
        captured_s = 0.0 if self._since is None else now - self._since
        self._discarding = min(captured_s, self._said_s) < self.mailbox.min_s or self._since is None
        self.context.do(cmd.StopRecording(self.running, self.context.leg_id, self._discarding))

    def stored(self, ended: ev.RecordingEnded, now: float) -> Outcome:
        """The recorder has placed the message, or destroyed it, or could do neither."""
        if self._discarding:
            self._over("too_short", now)
            return None if self._gone else self._then
        if ended.discarded or not ended.size_bytes:
            return self._failed("not_recorded" if ended.discarded else "not_stored", now)
        name, recording_id = self.mailbox.name, ended.recording_id
        self.context.record(ev.VoicemailLeft(at=now, mailbox=name, recording_id=recording_id, ended_by=self._ended_by))
        self.stage, self.running = Stage.OVER, None
        return None if self._gone else self._then

    def _over(self, reason: str, now: float) -> None:
        failed = ev.VoicemailFailed(at=now, mailbox=self.mailbox.name, reason=reason, recording_id=self.running)
        self.context.record(failed)
        self.stage, self.running = Stage.OVER, None

    def _failed(self, reason: str, now: float) -> Outcome:
        self._over(reason, now)
        return None if self._gone else self._otherwise

    def abandon(self, now: float) -> None:
        self._gone = True
        if self.stage is Stage.RECORDING:
            self._stop("hang_up", now)
        super().abandon(now)
