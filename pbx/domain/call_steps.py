"""One step of a call for each kind of flow node. A step is entered once and fed what concerns it until it says
where to go next (``Go``) or that the call is to end (``End``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.consent import ConsentEvidence, Regime
from pbx.domain.flow import AskConsent, ChooseLanguage, HangUp, Menu, Say
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.seat import Seat


@dataclass(frozen=True, slots=True)
class Go:
    node: str


@dataclass(frozen=True, slots=True)
class End:
    cause: HangupCause
    reason: ev.EndReason


@dataclass(frozen=True, slots=True)
class ToStep:
    """On in a step that is no node's, or back in one that was left."""

    step: Step


@dataclass(frozen=True, slots=True)
class Connected:
    """The caller talks to an agent."""

    seat: Seat


Outcome = Go | End | ToStep | Connected | None
"""None: stay in this step."""


class Step(Protocol):
    """Inputs of a step. ``played`` is only called for the play the step began last, ``timer`` for live timers."""

    def enter(self, now: float) -> Outcome: ...
    def digit(self, digit: str, now: float) -> Outcome: ...
    def played(self, played_ms: int, completed: bool, now: float) -> Outcome: ...
    def timer(self, purpose: str, now: float) -> Outcome: ...
    def abandon(self, now: float) -> None:
        """The caller is gone, or the call ends: undo what the step has under way outside of the caller's leg."""


class BaseStep:
    """A step that waits for nothing in particular; kinds of steps override what they react to."""

    def __init__(self, context: CallContext) -> None:
        self.context = context

    def digit(self, digit: str, now: float) -> Outcome:
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        return None

    def timer(self, purpose: str, now: float) -> Outcome:
        return None

    def abandon(self, now: float) -> None:
        self.context.playing = None
        self.context.music = False
        self.context.cancel_timers()


class SayStep(BaseStep):
    def __init__(self, context: CallContext, node: Say) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        said = ((one,) if isinstance(one, str) else one.prompts(self.context.read) for one in self.node.prompts)
        prompts = [prompt for one in said for prompt in one]
        if not prompts:
            return Go(self.node.next)
        self.context.play(*map(self.context.prompt, prompts))
        return None

    def digit(self, digit: str, now: float) -> Outcome:
        if not self.node.barge_in:
            return None
        self.context.silence()
        self.context.typed_ahead = digit
        return Go(self.node.next)

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        return Go(self.node.next)


class HangUpStep(BaseStep):
    def __init__(self, context: CallContext, node: HangUp) -> None:
        super().__init__(context)
        self.node = node

    def enter(self, now: float) -> Outcome:
        if not self.node.prompts:
            return self._end()
        self.context.play(*map(self.context.prompt, self.node.prompts))
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        return self._end()

    def _end(self) -> End:
        return End(self.node.cause, ev.EndReason.FLOW_ENDED)


class ChoiceStep(BaseStep):
    """A prompt, then one digit; wrong digits and silence count against ``tries``. A digit cuts the prompt short."""

    tries: int
    timeout_s: float

    def __init__(self, context: CallContext) -> None:
        super().__init__(context)
        self.failed = 0

    def ask(self, *before: str) -> None:
        raise NotImplementedError

    def choose(self, digit: str, now: float) -> Outcome:
        """The outcome of a valid digit; None for one that is not offered."""
        raise NotImplementedError

    def give_up(self, now: float) -> Outcome:
        raise NotImplementedError

    def enter(self, now: float) -> Outcome:
        ahead, self.context.typed_ahead = self.context.typed_ahead, None
        if ahead is not None:
            return self.digit(ahead, now)
        self.ask()
        return None

    def digit(self, digit: str, now: float) -> Outcome:
        self.context.cancel_timer("input")
        self.context.silence()
        outcome = self.choose(digit, now)
        return outcome if outcome is not None else self._again(now, invalid=True)

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        self.context.set_timer("input", self.timeout_s)
        return None

    def timer(self, purpose: str, now: float) -> Outcome:
        return self._again(now, invalid=False) if purpose == "input" else None

    def _again(self, now: float, invalid: bool) -> Outcome:
        self.failed += 1
        if self.failed >= self.tries:
            return self.give_up(now)
        self.ask(self.invalid_prompt if invalid else self.no_input_prompt)
        return None

    invalid_prompt = "invalid-choice"
    no_input_prompt = "no-input"


class MenuStep(ChoiceStep):
    def __init__(self, context: CallContext, node: Menu, name: str) -> None:
        super().__init__(context)
        self.node, self.name = node, name
        self.tries, self.timeout_s = node.tries, node.timeout_s
        self.invalid_prompt, self.no_input_prompt = node.invalid_prompt, node.no_input_prompt

    def ask(self, *before: str) -> None:
        self.context.play(*map(self.context.prompt, (*before, self.node.prompt)))

    def choose(self, digit: str, now: float) -> Outcome:
        target = self.node.choices.get(digit)
        if target is None:
            return None
        self.context.record(ev.MenuChosen(at=now, node=self.name, digit=digit))
        return Go(target)

    def give_up(self, now: float) -> Outcome:
        self.context.record(ev.MenuFailed(at=now, node=self.name))
        return Go(self.node.on_failure)


class LanguageStep(ChoiceStep):
    def __init__(self, context: CallContext, node: ChooseLanguage) -> None:
        super().__init__(context)
        self.node = node
        self.tries, self.timeout_s = node.tries, node.timeout_s

    def ask(self, *before: str) -> None:
        languages = dict.fromkeys(self.node.choices.values())
        self.context.play(*(self.context.prompt(self.node.prompt, language) for language in languages))

    def choose(self, digit: str, now: float) -> Outcome:
        language = self.node.choices.get(digit)
        if language is None:
            return None
        self.context.language = language
        self.context.record(ev.LanguageChosen(at=now, language=language))
        return Go(self.node.next)

    def give_up(self, now: float) -> Outcome:
        return Go(self.node.next)


class ConsentStep(BaseStep):
    """Asks for consent to recording as the regime of caller and DID demands.

    The notice cannot be cut short: until it has run to its last sample only a refusal counts. The keys are named in
    a second prompt, during which a digit counts at once. Silence under opt-in is no.
    """

    def __init__(self, context: CallContext, node: AskConsent) -> None:
        super().__init__(context)
        self.node = node
        self.places = context.places
        queue = context.config.queues.get(node.queue_id) if node.queue_id is not None else None
        floor = queue.consent_floor.of(self.places) if queue is not None else Regime.NONE
        self.regime = context.config.regimes.strictest(self.places, max(node.at_least, floor))
        self.told = node.ask_prompt if self.regime is Regime.OPT_IN else node.notice_prompt
        self.stage = "notice"
        self.notice_ms = 0
        self.asked = 0
        self.named = False
        """The keys have been named to the end."""
        self.refused_by_key = False

    def enter(self, now: float) -> Outcome:
        self.context.typed_ahead = None  # pressed before the question was heard
        self.context.asked_for_consent = True
        if self.regime is Regime.PROHIBITED:
            return self._refuse("prohibited", None, now)
        if self.regime is Regime.NONE:
            return self._grant(None, now)
        self._play_notice()
        return None

    def _play_notice(self) -> None:
        self.stage, self.named = "notice", False
        self.asked += 1
        self.context.play(self.context.prompt(self.told))

    def ask_again(self, now: float) -> Outcome:
        """From the beginning, because the controller was away; that is not the caller's silence."""
        self.asked -= 1
        self._play_notice()
        return None

    def digit(self, digit: str, now: float) -> Outcome:
        if self.stage == "answer":
            return None
        if digit == self.node.no:
            self.refused_by_key = True
            return self._refuse("digit", digit, now)
        # Under opt-out a yes cuts nothing short: how to refuse has to be said to its end.
        if digit == self.node.yes and self.stage == "keys" and (self.regime is Regime.OPT_IN or self.named):
            return self._grant(digit, now)
        return None

    def played(self, played_ms: int, completed: bool, now: float) -> Outcome:
        if self.stage == "answer":
            return Go(self.node.next)
        if self.stage == "keys":
            if not completed:  # nobody has been told how to refuse, or to agree
                return self._refuse("prompt_cut", None, now)
            self.named = True
            self.context.set_timer("input", self.node.timeout_s)
            return None
        self.notice_ms = played_ms
        if not completed:
            return self._refuse("prompt_cut", None, now)
        if self.regime is Regime.NOTICE:
            return self._grant(None, now)
        self.stage = "keys"
        opt_in = self.regime is Regime.OPT_IN
        self.context.play(self.context.prompt(self.node.opt_in_prompt if opt_in else self.node.opt_out_prompt))
        return None

    def timer(self, purpose: str, now: float) -> Outcome:
        if purpose != "input":
            return None
        if self.regime is Regime.OPT_OUT:
            return self._grant(None, now)
        if self.asked < self.node.tries:
            self._play_notice()
            return None
        return self._refuse("silence", None, now)

    def _grant(self, digit: str | None, now: float) -> Outcome:
        prompt = self.context.prompt(self.told)
        was_told = self.regime is not Regime.NONE
        self.context.refused = False
        if was_told:
            self.context.evidence = ConsentEvidence(
                prompt.prompt_id, prompt.sha256, prompt.language, self.notice_ms, True, digit, now, self.regime
            )
        self.context.record(
            ev.ConsentGranted(
                at=now,
                regime=self.regime.word,
                jurisdictions=self._jurisdictions(),
                prompt_id=prompt.prompt_id if was_told else "",
                prompt_sha256=prompt.sha256 if was_told else "",
                language=prompt.language,
                played_ms=self.notice_ms,
                digit=digit,
            )
        )
        return self._answer(self.node.granted_prompt) if digit is not None else Go(self.node.next)

    def _refuse(self, reason: str, digit: str | None, now: float) -> Outcome:
        self._record_refusal(reason, digit, now)
        return Go(self.node.next) if reason == "prohibited" else self._answer(self.node.refused_prompt)

    def _record_refusal(self, reason: str, digit: str | None, now: float) -> None:
        prompt = self.context.prompt(self.told)
        self.context.evidence, self.context.refused = None, True
        self.context.record(
            ev.ConsentRefused(
                at=now,
                regime=self.regime.word,
                jurisdictions=self._jurisdictions(),
                reason=reason,
                prompt_id=prompt.prompt_id,
                prompt_sha256=prompt.sha256,
                language=prompt.language,
                played_ms=self.notice_ms,
                digit=digit,
            )
        )

    def _answer(self, prompt_id: str) -> Outcome:
        self.stage = "answer"
        self.context.cancel_timer("input")
        self.context.play(self.context.prompt(prompt_id))
        return None

    def abandon(self, now: float) -> None:
        if self.stage != "answer":
            self._record_refusal("hangup", None, now)
        super().abandon(now)

    def _jurisdictions(self) -> tuple[str, ...]:
        return tuple(place or "unknown" for place in self.places)
