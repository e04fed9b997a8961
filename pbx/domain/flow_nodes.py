"""The nodes of a flow: values only. ``flow_parse`` makes them from JSON, ``step_makers`` gives each its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pbx.domain.consent import Regime
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import FlowId, QueueId
from pbx.domain.opening_hours import OpeningHours
from pbx.domain.spoken import Spoken
from pbx.domain.variables import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Play prompts and say values, go on. A digit cuts them short (``barge_in``) and is handed to the next node."""

    prompts: tuple[str | Spoken, ...]
    next: str
    barge_in: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    prompt: str
    choices: Mapping[str, str]
    """Digit -> node."""
    on_failure: str
    timeout_s: float = 5.0
    tries: int = 3
    invalid_prompt: str = "invalid-choice"
    no_input_prompt: str = "no-input"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseLanguage:
    """Plays ``prompt`` once in each language offered; without a choice the call keeps the DID's language."""

    choices: Mapping[str, str]
    """Digit -> language."""
    next: str
    prompt: str = "choose-language"
    timeout_s: float = 5.0
    tries: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConsent:
    """Tells and asks what the call's regime demands. The call goes on to ``next`` whatever the answer is."""

    next: str
    ask_prompt: str = "consent-ask"
    """What is told under opt-in, where nothing is recorded without an act."""
    notice_prompt: str = "consent-notice"
    """What is told under notice and opt-out."""
    opt_in_prompt: str = "consent-keys-opt-in"
    opt_out_prompt: str = "consent-keys-opt-out"
    granted_prompt: str = "consent-granted"
    refused_prompt: str = "consent-refused"
    yes: str = "1"
    no: str = "2"
    timeout_s: float = 6.0
    tries: int = 2
    at_least: Regime = Regime.NONE
    """Asked as strictly as this, or as the regime of caller and DID if that is stricter: an answer does not hold for an
    agent or a queue under a stricter rule than it was asked by."""
    queue_id: QueueId | None = None
    """Asked as this queue's policy demands, too."""


@dataclass(frozen=True, slots=True)
class SkillNeed:
    """``queue_rules.Need`` before its templates are filled in: a skill may be ``lang:{language}``."""

    skill: str
    least: int
    fallbacks: tuple[tuple[float, str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterQueue:
    """Wait with music and announcements until an agent answers; after the conversation the call ends, or goes on at
    ``after`` when it was the agent who hung up."""

    queue_id: QueueId
    on_refused: str
    """Where to go when the queue is full or has nobody who could ever answer."""
    on_timeout: str | None = None
    max_wait_s: float | None = None
    welcome_prompt: str | None = "queue-welcome"
    announce_position: bool = True
    announce_wait: bool = False
    priority: int = 0
    needs: tuple[SkillNeed, ...] = ()
    preferred: str | None = None
    """The variable that holds the id of the agent who is to be waited for first."""
    preferred_s: float = 0.0
    value: Value | None = None
    """Of the customer, 0 to 10, or a template that comes to that."""
    after: str | None = None

    @property
    def announces(self) -> bool:
        return self.announce_position or self.announce_wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Promise to call back, at the place of a call that enters the queue now; then go on."""

    queue_id: QueueId
    next: str
    on_failure: str
    """Where to go when there is no number, or none that may be called."""
    number: str = "caller"
    """The variable that holds it."""
    prompt: str = "callback-promised"
    priority: int = 0
    needs: tuple[SkillNeed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    prompts: tuple[str, ...] = ()
    cause: HangupCause = HangupCause.NORMAL_CLEARING


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Play prompts, then take digits into a variable, until ``terminator``, ``max_digits`` or a pause."""

    prompts: tuple[str, ...]
    variable: str
    next: str
    on_failure: str
    min_digits: int = 1
    max_digits: int = 20
    terminator: str | None = "#"
    timeout_s: float = 5.0
    """Until the first digit, counted from the end of the prompts."""
    digit_timeout_s: float = 3.0
    """Between two digits."""
    tries: int = 3
    barge_in: bool = True
    keep: bool = False
    """Whether the journal may hold the digits."""
    invalid_prompt: str = "invalid-choice"
    no_input_prompt: str = "no-input"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariables:
    """All values are worked out before the first is set, so that their order does not matter."""

    values: Mapping[str, Value]
    next: str


class Comparison(Enum):
    EQUALS = "equals"
    IN = "in"
    PREFIX = "prefix"
    LESS = "less"
    GREATER = "greater"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Condition:
    variable: str
    test: Comparison
    operand: Value | tuple[Value, ...]
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The first condition that holds decides. Of a variable that is not set only its absence holds."""

    conditions: tuple[Condition, ...]
    otherwise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHours:
    hours: OpeningHours
    open: str
    closed: str
    holiday: str | None = None
    """None: as ``closed``."""
    country: str | None = None
    """Whose public holidays count besides those named: ``DE`` or ``DE-BY``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Ask an HTTP service. The caller hears nothing meanwhile, so ``deadline_s`` is short."""

    url: str
    """A template; scheme, host and port hold no variables."""
    next: str
    on_failure: str
    method: str = "GET"
    headers: Mapping[str, str]
    send: Mapping[str, str]
    """Field of the JSON body -> template."""
    take: Mapping[str, str]
    """Variable -> path in the JSON answer: ``customer.phones.0``."""
    deadline_s: float = 3.0
    keep: bool = False
    """Whether the journal may hold what was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlow:
    """Walk through another flow; the call goes on at ``next`` when that comes to a ``return``."""

    flow_id: FlowId
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Where messages are left, and how."""

    name: str
    """A queue's id, or any other name."""
    prompts: tuple[str, ...] = ("voicemail-greeting",)
    max_s: float = 180.0
    min_s: float = 1.0
    """What is shorter is discarded."""
    terminator: str | None = "#"
    silence_s: float | None = None
    """The message ends when nothing was said for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voicemail:
    """Tell the caller to leave a message, play the tone, record until the terminator, ``silence_s`` of silence,
    ``max_s`` or hang-up."""

    mailbox: Mailbox
    next: str
    on_failure: str
    """Where to go when nothing may or can be recorded."""


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    prompts: tuple[str, ...]
    digits: str
    """Those that are answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One digit for each question. Who does not answer one is asked no further ones."""

    questions: tuple[Question, ...]
    next: str
    thanks: tuple[str, ...] = ("survey-thanks",)
    timeout_s: float = 5.0
    tries: int = 2
    """For each question."""
    invalid_prompt: str = "invalid-choice"
    no_input_prompt: str = "no-input"


@dataclass(frozen=True, slots=True)
class Return:
    """Back to the flow that ran this one; a call that was not in another flow before ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """On to exactly one of an outside number, a queue and an agent. Music until somebody answers; where the caller does
    not get through, the flow goes on at ``on_failure``."""

    on_failure: str
    number: str | None = None
    """A template: E.164, or as it is dialled in the POP's country."""
    queue_id: QueueId | None = None
    agent: str | None = None
    """A template for the agent's id."""
    ring_s: float = 30.0
    """Of a number and of an agent."""
    show_caller: bool = False
    """Show a number the caller's own instead of the DID."""


Node = (
    Say
    | Menu
    | ChooseLanguage
    | AskConsent
    | EnterQueue
    | Callback
    | HangUp
    | Collect
    | SetVariables
    | Branch
    | CheckHours
    | LookUp
    | RunFlow
    | Return
    | Transfer
    | Voicemail
    | Survey
)
