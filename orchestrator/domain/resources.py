"""The configuration nouns as users write them: shape and limits of every field. Rules between nouns (does the flow
exist?) are in the services, inside the transaction that writes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from orchestrator.domain.hours import OpeningHours, Shifts
from orchestrator.domain.strict import Strict as Strict
from pbx.domain.consent import Regime as LegalRegime
from pbx.domain.consent import regime_of
from pbx.domain.e164 import e164
from pbx.domain.errors import BadValue
from pbx.domain.queue_rules import MAX_SITES, MAX_STEPS, Closing, NoAgent, ShiftRule, Strategy

E164_PATTERN = r"^\+[1-9][0-9]{6,14}$"
MAX_GRAPH_DEPTH = 50
_DAY, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
_RFC3339 = re.compile(f"{_DAY}[Tt ]{_CLOCK}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})")
_SKILL = re.compile(r"[a-z0-9][a-z0-9:_-]{0,62}")


def _checked(check: Any) -> AfterValidator:
    """A rule of the core as a validator: its BadValue becomes the field's error."""

    def validate(value: str) -> str:
        try:
            check(value)
        except BadValue as error:
            raise PydanticCustomError("refused", "{reason}", {"reason": error.reason}) from None
        return value

    return AfterValidator(validate)


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("time_zone", "is not a time zone of the IANA database") from None
    return value


def _rfc3339(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise PydanticCustomError("moment", "is not a time such as 2026-12-24T09:00:00Z")
    return value


def _skills(value: dict[str, int]) -> dict[str, int]:
    for name in value:
        if not _SKILL.fullmatch(name):
            raise PydanticCustomError("skill", "has a skill whose name is not lower case letters, digits, : _ -")
    return value


def _not_deep(graph: dict[str, Any]) -> dict[str, Any]:
    """A draft may hold anything, but not what cannot be copied or written again."""
    level: list[Any] = [graph]
    for _ in range(MAX_GRAPH_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in inner for item in items]
        if not level:
            return graph
    raise PydanticCustomError("deep", "is nested deeper than {depth} levels", {"depth": MAX_GRAPH_DEPTH})


SLUG_PATTERN = r"^[a-z0-9][a-z0-9-]{0,30}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
"""Lower case letters, digits, dashes; at most 31."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
UnitId = Slug | None
"""The business unit; null: none, and only grants for all units cover it."""
PhoneId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
E164Text = Annotated[str, Field(json_schema_extra={"pattern": E164_PATTERN}), _checked(e164)]
Regime = Annotated[str, Field(json_schema_extra={"enum": [one.word for one in LegalRegime]}), _checked(regime_of)]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_time_zone)]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
"""RFC 3339, and no number."""
Extension = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{1,5}$")]
Proficiency = Annotated[int, Field(ge=1, le=5, strict=True)]
SkillName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:_-]{0,62}$")]
Sites = Annotated[list[Slug], Field(max_length=MAX_SITES)]
Skills = Annotated[dict[str, Proficiency], Field(max_length=100), AfterValidator(_skills)]


class UnitChange(Strict):
    name: Name


class UnitSpec(UnitChange):
    unit_id: Slug


class PopChange(Strict):
    name: Name
    country: Country
    region: Slug | None = None
    """What grants for regions go by; null: only grants for all regions cover it."""
    backup_pop_id: Slug | None = None
    """Which POP has this one's DIDs and agents too, for the calls that carriers send there, and for the phones that
    register there, when this one is gone. null: none."""


class PopSpec(PopChange):
    pop_id: Slug


class DidChange(Strict):
    pop_id: Slug
    flow_id: Slug
    country: Country
    language: Language
    """In which the flow starts; one of the flow's languages."""
    time_zone: TimeZone
    region: Slug
    """Where recordings of this number's calls may rest."""
    unit_id: UnitId = None


class DidSpec(DidChange):
    number: E164Text


class RelaxSkill(Strict):
    """``least`` is enough from then on; 0: the skill is not asked for at all."""

    type: Literal["relax_skill"]
    skill: SkillName
    least: int = Field(default=0, ge=0, le=5, strict=True)


class RaisePriority(Strict):
    type: Literal["raise_priority"]
    by: int = Field(ge=-1000, le=1000, strict=True)


class OverflowToQueue(Strict):
    """The call leaves for the other queue and keeps its age; skipped while nobody there could ever take it."""

    type: Literal["overflow_queue"]
    queue_id: Slug


class OverflowToNumber(Strict):
    """The outside number is rung, once a wait; when nobody answers, the caller waits on at the same place. Meanwhile no
    agent is offered the call."""

    type: Literal["overflow_number"]
    number: E164Text
    ring_s: float = Field(default=30.0, ge=5, le=120)
    show_caller: bool = False
    """Show it the caller's own number instead of the DID; a caller who withholds the own one stays withheld."""


class EndWithPrompt(Strict):
    """The wait ends: the caller hears the prompt, and the flow goes on at the node's ``on_timeout``."""

    type: Literal["end_with_prompt"]
    prompt_id: Slug


class WidenSites(Strict):
    """Agents of these sites, too, may take the call from then on; the former are still chosen first."""

    type: Literal["widen_sites"]
    sites: Sites = Field(default_factory=list)
    """None named: agents of all sites."""


class OfferCallback(Strict):
    """The caller hears the prompt and may press the digit: called back at the turn, without holding the line."""

    type: Literal["offer_callback"]
    digit: str = Field(default="1", pattern=r"^[0-9*#]$")
    prompt_id: Slug = "callback-offer"


MailboxName = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class ToVoicemail(Strict):
    """The caller leaves the queue for a mailbox; after the message the call ends. Where nothing may be recorded the
    flow goes on at the node's ``on_timeout``. A callback is not led to one."""

    type: Literal["voicemail"]
    mailbox: MailboxName
    prompt_id: Slug | None = None
    """The greeting; without it the usual one."""


class QueueStep(Strict):
    after_s: float = Field(ge=0, le=86_400)
    """Since the call entered the queue."""
    action: Annotated[
        RelaxSkill
        | RaisePriority
        | OverflowToQueue
        | OverflowToNumber
        | EndWithPrompt
        | WidenSites
        | OfferCallback
        | ToVoicemail,
        Field(discriminator="type"),
    ]


class QueueChange(Strict):
    name: Name
    skills: Skills = Field(default_factory=dict)
    ring_timeout_s: float = Field(default=20.0, ge=1, le=120)
    wrap_up_s: float = Field(default=10.0, ge=0, le=3600)
    music_class: Slug = "default"
    announce_every_s: float = Field(default=30.0, ge=5, le=3600)
    recorded: bool = True
    consent_floor: Regime = "none"
    """What is asked of every call in this queue before it may be recorded, if the law asks less."""
    consent_policy_id: Slug | None = None
    """A consent policy that is asked, too: the strictest of the law, of it and of ``consent_floor`` holds."""
    max_waiting: int = Field(default=1000, ge=1, le=1_000_000)
    max_wait_s: float | None = Field(default=None, ge=1, le=86_400)
    """After it the flow goes on at the node's ``on_timeout``."""
    wrap_up_max_s: float = Field(default=600.0, ge=0, le=14_400)
    """Longest wrap-up that an agent may extend to."""
    strategy: Strategy = Strategy.LONGEST_IDLE
    priority: int = Field(default=0, ge=-1000, le=1000, strict=True)
    """One step is worth a minute of waiting."""
    no_agent: NoAgent = NoAgent.WAIT
    """What becomes of calls that nobody logged in could ever take."""
    steps: list[QueueStep] = Field(default_factory=list, max_length=MAX_STEPS)
    callback_attempts: int = Field(default=3, ge=1, le=20, strict=True)
    """How often a number that does not answer is called back."""
    callback_retry_s: float = Field(default=900.0, ge=30, le=86_400)
    """From one attempt to the next."""
    shift: ShiftRule = ShiftRule.ANY
    """Whether agents on shift come first, or no others are offered calls."""
    sites: Sites = Field(default_factory=list)
    """Only agents of these sites, those of the first chosen first; none: of all sites."""
    hours: OpeningHours | None = None
    """null: always open. Calls that come while it is closed go on at the node's ``on_refused``."""
    hours_id: Slug | None = None
    """Named hours, which then stand in ``hours`` whatever is given there."""
    closing: Closing = Closing.SERVE
    """What becomes of those who wait when it closes: they are served, or go on at the node's ``on_timeout``."""
    closing_prompt: Slug | None = None
    """What the latter hear before; goes with ``closing`` ``end``."""
    last_agent_s: float = Field(default=0.0, ge=0, le=3600)
    """A caller waits so long for the agent who served the last time before anybody may take the call."""
    last_agent_days: float = Field(default=30.0, gt=0, le=365)
    """How long that is remembered."""
    redial_s: float = Field(default=0.0, ge=0, le=3600)
    """A caller who was cut off and dials again from the same number within this time has the former place; 0: never."""
    value_weight: float = Field(default=1.0, ge=0, le=100)
    """A customer's value, 0 to 10, times this is added to the call's priority."""
    extension: Extension | None = None
    """What agents key in to hand a caller to this queue or to consult it; no other queue's, and no agent's."""
    pops: Annotated[list[Slug], Field(max_length=100)] = Field(default_factory=list)
    """POPs whose callers and agents share the queue: one line, and any agent of any of them. None: each POP has a
    line of its own."""
    unit_id: UnitId = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.closing_prompt is not None and self.closing is not Closing.END:
            raise PydanticCustomError("closing_prompt", "closing_prompt goes with closing end")
        if len(self.pops) == 1 or len(set(self.pops)) != len(self.pops):
            raise PydanticCustomError("pops", "pops must be two or more, each once, or none")
        widened = [step.action.sites for step in self.steps if isinstance(step.action, WidenSites)]
        if len({*self.sites, *(site for sites in widened for site in sites)}) > MAX_SITES:
            raise PydanticCustomError(
                "sites", "sites are more than {most}, those of the steps included", {"most": MAX_SITES}
            )
        return self


class QueueSpec(QueueChange):
    queue_id: Slug


class Capacity(Strict):
    """How many contacts at once, by medium."""

    voice: int = Field(default=1, strict=True)

    @field_validator("voice")
    @classmethod
    def _one(cls, value: int) -> int:
        if value != 1:
            raise PydanticCustomError("capacity", "must be 1: an agent talks to one caller at a time")
        return value


class AgentChange(Strict):
    name: Name
    skills: Skills = Field(default_factory=dict)
    country: Country
    pop_id: Slug
    cost: float = Field(default=0.0, ge=0, le=1_000_000)
    """Of an hour of this agent: queues of strategy ``lowest_cost`` prefer the least."""
    weight: float = Field(default=1.0, gt=0, le=1000)
    """Share of the calls in queues of strategy ``random``."""
    extension: Extension | None = None
    """Short number by which other agents of the POP name this one at their phones."""
    supervises: bool = Field(default=False, strict=True)
    """May listen to other agents' calls and take them over by feature code. REST asks the token's role instead."""
    shifts: Shifts | None = None
    """null: always on shift."""
    shifts_id: Slug | None = None
    """Named shifts, which then stand in ``shifts`` whatever is given there."""
    site: Slug | None = None
    """Where the agent sits, for queues that name sites."""
    phone_class: Slug | None = None
    """Settings of the agent's phone, by the name that the POP has for them: ``desk``, ``low-bandwidth``, ``browser``,
    or one of the POP's own. null: ``desk``. Where the POP has no such class its status says so, and a phone that was
    not there before cannot register."""
    capacity: Capacity = Field(default_factory=Capacity)
    unit_id: UnitId = None


class AgentSpec(AgentChange):
    phone_id: PhoneId | None = None
    """The SIP user name; made from the agent's id when left out. It cannot be changed afterwards."""


class FlowChange(Strict):
    graph: Annotated[dict[str, Any], AfterValidator(_not_deep)]
    unit_id: UnitId = None
    """null: as it is."""


class FlowSpec(FlowChange):
    flow_id: Slug


class DraftChange(FlowChange):
    """The graph may have any faults."""

    draft_revision: int | None = Field(default=None, ge=1, strict=True)
    """Of the draft that this one replaces; null: there is none yet."""


class DraftToPublish(Strict):
    draft_revision: int = Field(ge=1, strict=True)


class VersionToRestore(Strict):
    version: int = Field(ge=1, strict=True)


class MoreWrapUp(Strict):
    by_s: float = Field(gt=0, le=14_400)


AgentId = Annotated[str, StringConstraints(min_length=1, max_length=26)]


class SupervisionSpec(Strict):
    agent_id: AgentId
    """The supervisor: an agent with a phone at the call's POP, whatever the status."""
    mode: Literal["listen", "whisper", "barge"]
    """listen: heard by nobody; whisper: heard by the agent; barge: heard by both."""


class Consulted(Strict):
    """Exactly one of them."""

    agent_id: AgentId | None = None
    """An agent with a phone at the call's POP, whatever the status, who is not in a call."""
    queue_id: Slug | None = None
    """Whomever this queue offers; the call waits there like one that comes now."""
    number: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    """An outside number, E.164 or as it is dialled in the POP's country. Nothing said there is recorded."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(who is not None for who in (self.agent_id, self.queue_id, self.number)) != 1:
            raise PydanticCustomError("target", "exactly one of agent_id, queue_id and number is given")
        return self


class CallbackSpec(Strict):
    did: E164Text
    """What the customer sees as the caller's number; its POP calls."""
    queue_id: Slug
    number: E164Text
    not_before: Moment | None = None
    """Without it: as soon as it is this callback's turn and the country's hours permit it."""
    language: Language | None = None
    priority: int = Field(default=0, ge=-1000, le=1000, strict=True)


class PlacedCallSpec(Strict):
    agent_id: AgentId
    """Whose phone is rung first; whatever the status, and wrap-up ends for it."""
    number: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    """E.164, or as it is dialled in the country of the agent's POP."""
    queue_id: Slug | None = None
    """Whose recording, consent floor and wrap-up hold. Without one: those of the POP's setting ``outbound_queue``."""


class TransferTarget(Strict):
    """Exactly one of them."""

    queue_id: Slug | None = None
    """The caller waits there with the age it had."""
    agent_id: AgentId | None = None
    """The caller waits in the present queue, first for this agent alone."""
    number: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    """The caller is connected with this outside number, E.164 or as it is dialled in the POP's country; when nobody
    answers within 30 s, the caller waits in the present queue with the age it had, first for the agent who had it."""
    after: bool = Field(default=False, strict=True)
    """The caller goes on where the flow says for after the conversation: a survey, say."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        targets = (self.queue_id, self.agent_id, self.number, self.after or None)
        if sum(target is not None for target in targets) != 1:
            raise PydanticCustomError("target", "exactly one of queue_id, agent_id, number and after is given")
        return self


class ParkSpec(Strict):
    slot: int | None = Field(default=None, ge=100, le=9999)
    """Any that is free where none is given."""


class RetrievalSpec(Strict):
    agent_id: AgentId
    """An agent with a phone at the call's POP, whatever the status; wrap-up ends for it."""


class AgentStatus(Strict):
    status: Annotated[str, StringConstraints(pattern="^(LOGGED_OUT|AVAILABLE|NOT_READY)$")]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None

    @model_validator(mode="after")
    def _reason_goes_with_not_ready(self) -> Self:
        if (self.reason is not None) != (self.status == "NOT_READY"):
            raise PydanticCustomError("reason", "reason is given exactly when the status is NOT_READY")
        return self
