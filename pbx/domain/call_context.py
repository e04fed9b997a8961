"""What all steps of a call share: the legs, the language, what is playing, the timers, the commands collected."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pbx.domain import commands as cmd
from pbx.domain.consent import ConsentEvidence, RegimeTable
from pbx.domain.dialling import Dialling
from pbx.domain.e164 import UNKNOWN, Cli
from pbx.domain.events import Event
from pbx.domain.flow import Flow
from pbx.domain.ids import CallId, FlowId, LegId, PlayId, QueueId
from pbx.domain.queue import Did, Queue
from pbx.domain.queue_rules import Need
from pbx.domain.variables import Value

if TYPE_CHECKING:
    from pbx.domain.called_back import CalledBack
    from pbx.domain.placed import Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """The configuration a call starts with and keeps, whatever is changed meanwhile."""

    did: Did
    flow: Flow
    queues: Mapping[QueueId, Queue]
    prompts: Mapping[tuple[str, str], str]
    """(prompt id, language) -> sha256 of the recording."""
    regimes: RegimeTable
    flows: Mapping[FlowId, Flow] = field(default_factory=dict)
    """The flows that ``flow`` runs, and those that they run, in the versions of the call's beginning."""
    holidays: Mapping[str, Container[date]] = field(default_factory=dict)
    """Country, or part of one -> its public holidays."""
    dialling: Dialling = field(default_factory=Dialling)


@dataclass(slots=True)
class CallContext:
    call_id: CallId
    leg_id: LegId
    config: CallConfig
    language: str
    caller_country: str | None
    cli: Cli = UNKNOWN
    trunk: str = ""
    """By which the caller came."""
    legs: set[LegId] = field(default_factory=set)
    """Legs that live, as far as we know."""
    rung: int = 0
    """Legs that were rung outside of a queue."""
    out: list[cmd.Command] = field(default_factory=list)
    evidence: ConsentEvidence | None = None
    asked_for_consent: bool = False
    refused: bool = False
    """The last asking ended with no: that holds also where the law would not have asked."""
    typed_ahead: str | None = None
    """A digit that cut a prompt short, for the next menu."""
    playing: PlayId | None = None
    music: bool = False
    plays: int = 0
    variables: dict[str, Value] = field(default_factory=dict)
    lookups: int = 0
    callers: list[tuple[Flow, str]] = field(default_factory=list)
    """Flows left for another one, and the node at which each goes on."""
    late_key: tuple[str, float] | None = None
    """A key that, pressed before that time, still belongs to what was collected last."""
    called_back: CalledBack | None = None
    """Of a call that keeps a promise to call back."""
    placed: Placed | None = None
    """Of a call that an agent placed."""
    _timers: dict[str, str] = field(default_factory=dict)
    _timer_count: int = 0
    _flow: Flow | None = None

    @property
    def flow(self) -> Flow:
        """The flow whose nodes the call walks now."""
        return self._flow or self.config.flow

    @flow.setter
    def flow(self, flow: Flow) -> None:
        self._flow = flow

    @property
    def places(self) -> tuple[str | None, str | None]:
        """Of caller and DID, for what may be recorded; None: nobody knows."""
        did, placed = self.config.did, self.config.regimes.placed
        return placed(self.cli.number, self.caller_country), placed(did.number, did.country)

    @property
    def outside_trunk(self) -> str:
        """Over which numbers are called for this caller."""
        return self.config.dialling.trunk or self.trunk

    def read(self, name: str) -> Value | None:
        """The value of a variable, or of what every call has; None where there is none."""
        match name:
            case "call_id":
                return self.call_id
            case "caller":
                return self.cli.number
            case "caller_country":
                return self.caller_country
            case "did":
                return self.config.did.number
            case "language":
                return self.language
            case _:
                return self.variables.get(name)

    def is_late_key(self, digit: str, now: float) -> bool:
        """Whether ``digit`` is what a caller presses who does not know that the last digit was enough."""
        late, self.late_key = self.late_key, None
        return late is not None and digit == late[0] and now < late[1]

    def do(self, *commands: cmd.Command) -> None:
        self.out.extend(commands)

    def callback_request(
        self, queue_id: QueueId, number: str, entered_at: float, priority: int, needs: tuple[Need, ...], by: str
    ) -> cmd.RequestCallback:
        """For a callback in this call's language, with its DID as CLI."""
        did = self.config.did
        return cmd.RequestCallback(
            queue_id=queue_id,
            number=number,
            did=did.number,
            country=did.country,
            trunk=self.outside_trunk,
            language=self.language,
            entered_at=entered_at,
            priority=priority,
            needs=needs,
            by=by,
        )

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
