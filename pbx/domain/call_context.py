"""What all steps of a call share: the legs, the language, what is playing, the timers, the commands collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pbx.domain import commands as cmd
from pbx.domain.consent import ConsentEvidence, RegimeTable
from pbx.domain.events import Event
from pbx.domain.flow import Flow
from pbx.domain.ids import CallId, LegId, PlayId, QueueId
from pbx.domain.queue import Did, Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """The configuration a call starts with and keeps, whatever is changed meanwhile."""

    did: Did
    flow: Flow
    queues: Mapping[QueueId, Queue]
    prompts: Mapping[tuple[str, str], str]
    """(prompt id, language) -> sha256 of the recording."""
    regimes: RegimeTable


@dataclass(slots=True)
class CallContext:
    call_id: CallId
    leg_id: LegId
    config: CallConfig
    language: str
    caller_country: str | None
    out: list[cmd.Command] = field(default_factory=list)
    evidence: ConsentEvidence | None = None
    asked_for_consent: bool = False
    typed_ahead: str | None = None
    """A digit that cut a prompt short, for the next menu."""
    playing: PlayId | None = None
    music: bool = False
    plays: int = 0
    _timers: dict[str, str] = field(default_factory=dict)
    _timer_count: int = 0

    def do(self, *commands: cmd.Command) -> None:
        self.out.extend(commands)

    def record(self, event: Event) -> None:
        self.out.append(cmd.Record(event))

    # --- sound --------------------------------------------------------------------------------------------------

    def prompt(self, prompt_id: str, language: str | None = None) -> cmd.Prompt:
        language = language or self.language
        return cmd.Prompt(prompt_id, language, self.config.prompts.get((prompt_id, language), ""))

    def play(self, *prompts: cmd.Prompt) -> None:
        """Play ``prompts`` one after the other to the caller; whatever played before is stopped."""
        self.silence()
        self.plays += 1
        self.playing = PlayId(f"{self.call_id}-{self.plays}")
        self.do(cmd.PlayPrompts(self.leg_id, self.playing, prompts))

    def start_music(self, music_class: str) -> None:
        if not self.music:
            self.music = True
            self.do(cmd.StartMusic(self.leg_id, music_class))

    def silence(self) -> None:
        """Stop prompts and music."""
        if self.playing is not None:
            self.do(cmd.StopPlay(self.playing))
            self.playing = None
        if self.music:
            self.do(cmd.StopMusic(self.leg_id))
            self.music = False

    # --- timers: each setting has a name of its own, so that one that fired while it was cancelled is known ------

    def set_timer(self, purpose: str, delay_s: float) -> None:
        self.cancel_timer(purpose)
        self._timer_count += 1
        name = f"{purpose}:{self._timer_count}"
        self._timers[purpose] = name
        self.do(cmd.SetTimer(name, delay_s))

    def cancel_timer(self, purpose: str) -> None:
        name = self._timers.pop(purpose, None)
        if name is not None:
            self.do(cmd.CancelTimer(name))

    def cancel_timers(self) -> None:
        for purpose in list(self._timers):
            self.cancel_timer(purpose)

    def timer_fired(self, name: str) -> str | None:
        """The purpose of a timer that fired, or None for one that was cancelled or replaced meanwhile."""
        purpose = name.partition(":")[0]
        if self._timers.get(purpose) != name:
            return None
        del self._timers[purpose]
        return purpose
