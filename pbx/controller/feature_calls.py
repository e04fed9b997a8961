"""Calls of agents' phones to feature codes: done, said in one prompt, hung up. No customer, and so no record.

What needs the phone itself, being ready and supervising, is done when the phone is free again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

from pbx.controller.phone_codes import PhoneCodes
from pbx.controller.router import Router
from pbx.domain import events as ev
from pbx.domain.agent import Status
from pbx.domain.commands import Prompt
from pbx.domain.errors import EngineError, IllegalTransition, LegGone
from pbx.domain.feature_codes import EXTENSION_S, Dialled, Feature, read
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId, PlayId
from pbx.ports.media_engine import MediaEngine
from pbx.wire.messages import SuperviseCall

log = logging.getLogger(__name__)

LONGEST_S = 20.0
"""After this a feature call is hung up, whatever it is doing."""


@dataclass(slots=True)
class _FeatureCall:
    agent_id: AgentId
    prompt_id: str
    then: Status | SuperviseCall | None
    """What follows when the phone is free again, not while it is still in this call."""
    limit: asyncio.TimerHandle


class FeatureCalls:
    """``prompts`` and ``languages`` (the first that has the prompt is spoken) are of the POP; ``codes`` knows who may
    supervise whom, ``supervise`` has it done; ``spawn`` runs a job in the background."""

    def __init__(
        self,
        engine: MediaEngine,
        router: Router,
        codes: PhoneCodes,
        supervise: Callable[[SuperviseCall], None],
        prompts: Mapping[tuple[str, str], str],
        languages: Sequence[str],
        spawn: Callable[[Coroutine[None, None, None], str], None],
        retrieve: Callable[[LegId, AgentId, int], bool],
    ) -> None:
        """``retrieve`` hands the leg to the call parked in a slot; False where there is none."""
        self._retrieve = retrieve
        self._engine, self._router, self._codes, self._supervise = engine, router, codes, supervise
        self._prompts, self._languages, self._spawn = prompts, tuple(languages), spawn
        self._calls: dict[LegId, _FeatureCall] = {}

    def dialled(self, event: ev.FeatureDialled) -> None:
        if event.leg_id in self._calls:
            return  # handed over twice
        agent_id = self._router.agent_of(event.phone_id)
        dialled = read(event.code)
        if agent_id is None or dialled is None:
            log.info("phone %s dialled a code that means nothing here", event.phone_id)
            self._do(self._engine.hang_up(event.leg_id, HangupCause.UNALLOCATED_NUMBER), event.leg_id)
            return
        if dialled.slot is not None and self._retrieve(event.leg_id, agent_id, dialled.slot):
            return  # the leg is the call's now
        prompt_id, then = self._carry_out(agent_id, dialled)
        limit = asyncio.get_running_loop().call_later(LONGEST_S, self._hang_up, event.leg_id)
        self._calls[event.leg_id] = _FeatureCall(agent_id, prompt_id, then, limit)
        self._do(self._engine.answer(event.leg_id), event.leg_id)

    def _carry_out(self, agent_id: AgentId, dialled: Dialled) -> tuple[str, Status | SuperviseCall | None]:
        """At once, or when the phone is free. Returns the prompt that says what was done, and what is still to do."""
        try:
            match dialled.feature:
                case Feature.READY:
                    return "agent-available", Status.AVAILABLE
                case Feature.LOG_OUT:
                    self._router.set_status(agent_id, Status.LOGGED_OUT, None)
                    return "agent-logged-out", None
                case Feature.NOT_READY:
                    self._router.set_status(agent_id, Status.NOT_READY, dialled.reason)
                    return "agent-not-ready", None
                case Feature.END_WRAP_UP:
                    self._router.end_wrap_up(agent_id)
                    return "agent-wrap-up-ended", None
                case Feature.EXTEND_WRAP_UP:
                    self._router.extend_wrap_up(agent_id, EXTENSION_S)
                    return "agent-wrap-up-extended", None
                case Feature.RETRIEVE:
                    return "agent-code-refused", None
                case _:
                    supervision = self._codes.supervision(agent_id, dialled)
                    return "agent-code-refused" if supervision is None else "agent-will-be-rung", supervision
        except IllegalTransition:
            return "agent-code-refused", None

    def event(self, leg_id: LegId, event: ev.Event) -> bool:
        """Whether the leg is one of a feature call; then the event has been seen to."""
        call = self._calls.get(leg_id)
        if call is None:
            return False
        match event:
            case ev.LegAnswered():
                self._say(leg_id, call)
            case ev.PlayEnded():
                self._hang_up(leg_id)
            case ev.LegEnded():
                self._over(leg_id)
            case _:
                pass  # digits, ringing: nothing here waits for them
        return True

    def lost(self, live: frozenset[LegId]) -> None:
        """A snapshot has only ``live`` legs."""
        for leg_id in [leg_id for leg_id in self._calls if leg_id not in live]:
            self._over(leg_id)

    def owns(self, leg_id: LegId) -> bool:
        return leg_id in self._calls

    def stop(self) -> None:
        for call in self._calls.values():
            call.limit.cancel()
        self._calls.clear()

    def _say(self, leg_id: LegId, call: _FeatureCall) -> None:
        name = call.prompt_id
        language = next((one for one in self._languages if (name, one) in self._prompts), None)
        if language is None:
            self._hang_up(leg_id)
            return
        prompt = Prompt(name, language, self._prompts[name, language])
        self._do(self._engine.play(leg_id, PlayId(f"feature-{leg_id}"), (prompt,)), leg_id)

    def _hang_up(self, leg_id: LegId) -> None:
        self._do(self._engine.hang_up(leg_id, HangupCause.NORMAL_CLEARING), leg_id)

    def _over(self, leg_id: LegId) -> None:
        call = self._calls.pop(leg_id)
        call.limit.cancel()
        if isinstance(call.then, SuperviseCall):
            self._supervise(call.then)
        elif call.then is not None and self._router.agent(call.agent_id) is not None:
            self._router.set_status(call.agent_id, call.then, None)

    def _do(self, job: Coroutine[None, None, None], leg_id: LegId) -> None:
        self._spawn(self._tried(job, leg_id), f"feature-{leg_id}")

    async def _tried(self, job: Coroutine[None, None, None], leg_id: LegId) -> None:
        try:
            await job
        except LegGone:
            return  # its end has been said, or will be
        except EngineError as error:
            log.warning("a feature call failed: %s", error)
            call = self._calls.get(leg_id)
            if call is not None and not call.limit.cancelled():
                # Hung up by its limit, soon: asking the media server again at once would fail as well.
                call.limit.cancel()
                call.limit = asyncio.get_running_loop().call_later(1.0, self._hang_up, leg_id)
