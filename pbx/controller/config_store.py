"""The POP's configuration: wire entries turned into what the core works with, or refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from datetime import date
from enum import Enum
from typing import TypeVar

from pbx.domain.call_context import CallConfig
from pbx.domain.consent import Floor, RegimeTable, regime_of
from pbx.domain.dialling import Dialling
from pbx.domain.e164 import E164, e164
from pbx.domain.errors import BadValue
from pbx.domain.events import CallPlaced
from pbx.domain.flow import Flow, parse
from pbx.domain.hours_parse import opening_hours, place, shifts
from pbx.domain.ids import AgentId, FlowId, PhoneId, PopId, QueueId
from pbx.domain.queue import Did, Queue
from pbx.domain.queue_rules import (
    Action,
    Closing,
    EndWithPrompt,
    NoAgent,
    OfferCallback,
    OverflowToNumber,
    OverflowToQueue,
    RaisePriority,
    RelaxSkill,
    ShiftRule,
    Strategy,
    ToVoicemail,
    WaitStep,
    WidenSites,
)
from pbx.domain.timetable import Hours
from pbx.ports.media_engine import PhoneAccount
from pbx.wire.messages import (
    AgentConfig,
    ConfigEntry,
    DidConfig,
    EndWithPromptStep,
    FlowConfig,
    HoursConfig,
    OfferCallbackStep,
    OverflowToNumberStep,
    OverflowToQueueStep,
    PopConfig,
    PromptConfig,
    QueueConfig,
    QueueStepConfig,
    RaisePriorityStep,
    RelaxSkillStep,
    ToVoicemailStep,
    WidenSitesStep,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A path is made of them."""
_HASH = re.compile(r"[0-9a-f]{64}")
Member = TypeVar("Member", bound=Enum)


def _member(kind: type[Member], value: str, field: str) -> Member:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise BadValue(field, f"is not one of {known}: the centre is newer than this POP") from None


def _step(step: QueueStepConfig) -> WaitStep:
    action: Action
    match step.action:
        case RelaxSkillStep(skill=skill, least=least):
            action = RelaxSkill(skill, least)
        case RaisePriorityStep(by=by):
            action = RaisePriority(by)
        case OverflowToQueueStep(queue_id=queue_id):
            action = OverflowToQueue(QueueId(queue_id))
        case OverflowToNumberStep(number=number, ring_s=ring_s, show_caller=show_caller):
            action = OverflowToNumber(e164(number, "steps.number"), ring_s, show_caller)
        case EndWithPromptStep(prompt_id=prompt_id):
            action = EndWithPrompt(prompt_id)
        case WidenSitesStep(sites=sites):
            action = WidenSites(sites)
        case OfferCallbackStep(digit=digit, prompt_id=prompt_id):
            action = OfferCallback(digit, prompt_id)
        case ToVoicemailStep(mailbox=mailbox, prompt_id=prompt_id):
            action = ToVoicemail(mailbox, prompt_id)
    return WaitStep(step.after_s, action)


def consent_floor(config: QueueConfig) -> Floor:
    """What the queue asks besides the law. Raises BadValue naming the field."""
    own = Floor(regime_of(config.consent_floor, "consent_floor"))
    policy = config.consent_policy
    if policy is None:
        return own
    places = {place: regime_of(word, f"consent_policy.places.{place}") for place, word in policy.places.items()}
    least = regime_of(policy.floor, "consent_policy.floor")
    return own.stricter(Floor(least, places, regime_of(policy.unknown, "consent_policy.unknown")))


def _queue(config: QueueConfig, hours: Hours | None) -> Queue:
    return Queue(
        queue_id=QueueId(config.queue_id),
        requirement=frozenset(config.skills.items()),
        ring_timeout_s=config.ring_timeout_s,
        wrap_up_s=config.wrap_up_s,
        music_class=config.music_class,
        announce_every_s=config.announce_every_s,
        recorded=config.recorded,
        consent_floor=consent_floor(config),
        max_waiting=config.max_waiting,
        max_wait_s=config.max_wait_s,
        wrap_up_max_s=config.wrap_up_max_s,
        strategy=_member(Strategy, config.strategy, "strategy"),
        priority=config.priority,
        no_agent=_member(NoAgent, config.no_agent, "no_agent"),
        steps=tuple(map(_step, config.steps)),
        shift=_member(ShiftRule, config.shift, "shift"),
        sites=config.sites,
        hours=hours,
        closing=_member(Closing, config.closing, "closing"),
        closing_prompt=config.closing_prompt,
        last_agent_s=config.last_agent_s,
        last_agent_days=config.last_agent_days,
        redial_s=config.redial_s,
        value_weight=config.value_weight,
        callback_attempts=config.callback_attempts,
        callback_retry_s=config.callback_retry_s,
        extension=config.extension,
        pops=tuple(map(PopId, config.pops)),
    )


def _did(config: DidConfig) -> Did:
    return Did(
        number=e164(config.number),
        flow_id=FlowId(config.flow_id),
        country=config.country,
        language=config.language,
        region=config.region,
    )


def no_holidays(place: str) -> Container[date]:
    raise BadValue("graph", f"no public holidays of {place} are known at this POP")


class ConfigStore:
    """What is in force. A value that cannot be applied leaves the former one in force and is named in ``errors``."""

    def __init__(
        self,
        regimes: RegimeTable,
        prompts: Mapping[tuple[str, str], str],
        public_holidays: Callable[[str], Container[date]] = no_holidays,
        dialling: Dialling | None = None,
    ) -> None:
        """``public_holidays`` gives those of a place or raises BadValue. Without ``dialling`` nothing is called from
        here."""
        self.regimes = regimes
        self.dialling = dialling or Dialling()
        self._public_holidays = public_holidays
        self._holidays: dict[str, Container[date]] = {}
        self.prompts = prompts
        self.dids: dict[E164, Did] = {}
        self.queues: Mapping[QueueId, Queue] = {}
        """Replaced, not changed, when a queue changes: running calls keep the mapping they started with."""
        self.flows: dict[FlowId, Flow] = {}
        self.agents: dict[AgentId, AgentConfig] = {}
        self.errors: dict[str, str] = {}
        self.revision = 0
        self._keys: dict[str, str] = {}
        self.uploaded: dict[str, PromptConfig] = {}
        """By key: the prompts that the centre has told of, here or still to come."""
        self.pop = PopConfig()

    def put(self, key: str, entry: ConfigEntry) -> Did | Queue | Flow | AgentConfig | PromptConfig | PopConfig | None:
        """Apply an entry; None when it was refused (see ``errors``)."""
        self.revision = max(self.revision, entry.revision)
        try:
            value = self._read(entry)
        except BadValue as error:
            self.errors[key] = str(error)
            return None
        self.errors.pop(key, None)
        match value:
            case Did():
                self.dids[value.number] = value
                self._keys[key] = value.number
            case Queue():
                self.queues = {**self.queues, value.queue_id: value}
                self._keys[key] = value.queue_id
            case Flow():
                self.flows[value.flow_id] = value
                self._keys[key] = value.flow_id
            case AgentConfig():
                self.agents[AgentId(value.agent_id)] = value
                self._keys[key] = value.agent_id
            case PromptConfig():
                self.uploaded[key] = value
            case PopConfig():
                self.pop = value
        return value

    def with_entries(self, entries: Mapping[str, ConfigEntry]) -> ConfigStore:
        """Another store of this POP; what cannot be applied is left out of it."""
        other = ConfigStore(self.regimes, self.prompts, self._public_holidays, self.dialling)
        for key, entry in entries.items():
            other.put(key, entry)
        return other

    def agent_at(self, extension: str) -> AgentConfig | None:
        found = (agent for agent in self.agents.values() if extension and agent.extension == extension)
        return next(found, None)

    def queue_at(self, extension: str) -> QueueId | None:
        found = (queue.queue_id for queue in self.queues.values() if extension and queue.extension == extension)
        return next(found, None)

    def _read(self, entry: ConfigEntry) -> Did | Queue | Flow | AgentConfig | PromptConfig | PopConfig:
        match entry.entity:
            case DidConfig() as config:
                return _did(config)
            case QueueConfig() as config:
                return _queue(config, self._hours(config.hours))
            case FlowConfig() as config:
                flow = parse(FlowId(config.flow_id), config.version, config.graph)
                for language in flow.languages:
                    for prompt in sorted(flow.prompt_ids()):
                        if (prompt, language) not in self.prompts:
                            raise BadValue("graph", f"prompt {prompt!r} does not exist in {language!r} at this POP")
                for country in flow.countries():
                    self._holidays_of(country)
                return flow
            case AgentConfig() as config:
                shifts_of(config)
                return config
            case PromptConfig() as config:
                for field, form in (("prompt_id", _NAME), ("language", _NAME), ("sha256", _HASH)):
                    if not form.fullmatch(getattr(config, field)):
                        raise BadValue(field, "is not of its form")
                return config
            case PopConfig() as config:
                return config

    def _holidays_of(self, country: str) -> Container[date]:
        if country not in self._holidays:
            self._holidays[country] = self._public_holidays(country)
        return self._holidays[country]

    def _hours(self, config: HoursConfig | None) -> Hours | None:
        if config is None:
            return None
        opening = opening_hours(config.time_zone, config.weekly, config.special, config.holidays)
        if config.country is None:
            return Hours(opening)
        return Hours(opening, config.country, self._holidays_of(place(config.country, "hours.country")))

    def remove(self, key: str) -> Did | Queue | Flow | AgentConfig | PromptConfig | PopConfig | None:
        """Take a key out of force; returns what it held."""
        self.errors.pop(key, None)
        kind, _, _ = key.partition(".")
        if kind == "prompt":
            return self.uploaded.pop(key, None)
        if kind == "pop":
            former, self.pop = self.pop, PopConfig()
            return former
        name = self._keys.pop(key, None)
        if name is None:
            return None
        match kind:
            case "did":
                return self.dids.pop(E164(name), None)
            case "flow":
                return self.flows.pop(FlowId(name), None)
            case "agent":
                return self.agents.pop(AgentId(name), None)
            case _:
                queues = dict(self.queues)
                gone = queues.pop(QueueId(name), None)
                self.queues = queues
                return gone

    def for_call(self, number: E164) -> CallConfig | None:
        """The configuration a call to ``number`` starts with; None when no such DID, or no flow for it, is known."""
        did = self.dids.get(number)
        flow = self.flows.get(did.flow_id) if did else None
        if did is None or flow is None:
            return None
        flows = self._run_by(flow)
        countries = frozenset[str]().union(*(one.countries() for one in (flow, *flows.values())))
        return CallConfig(
            did=did,
            flow=flow,
            queues=self.queues,
            prompts=self.prompts,
            regimes=self.regimes,
            flows=flows,
            holidays={country: self._holidays[country] for country in countries},
            dialling=self.dialling,
        )

    def for_placed(self, placed: CallPlaced) -> CallConfig:
        """The configuration of a call that an agent places. What the number is shown need not be a DID of this POP:
        then there is no region where a recording could rest, and nothing is recorded."""
        config = self.for_call(placed.did)
        if config is not None:
            return config
        flow_id = FlowId("")
        did = Did(number=placed.did, flow_id=flow_id, country="", language=placed.language, region="")
        return CallConfig(
            did=did,
            flow=Flow(flow_id, 0, "", {}, (placed.language,)),
            queues={name: replace(queue, recorded=False) for name, queue in self.queues.items()},
            prompts=self.prompts,
            regimes=self.regimes,
            dialling=self.dialling,
        )

    def _run_by(self, flow: Flow) -> dict[FlowId, Flow]:
        """The flows that ``flow`` runs, directly or not, as far as this POP has them."""
        found: dict[FlowId, Flow] = {}
        todo = list(flow.flow_ids())
        while todo:
            flow_id = todo.pop()
            other = self.flows.get(flow_id)
            if other is not None and flow_id not in found:
                found[flow_id] = other
                todo.extend(other.flow_ids())
        return found


def shifts_of(agent: AgentConfig) -> Hours | None:
    """Raises BadValue, unless ``put`` has taken the agent."""
    config = agent.shifts
    return None if config is None else Hours(shifts(config.time_zone, config.weekly, config.special))


def phone_of(agent: AgentConfig) -> PhoneAccount:
    return PhoneAccount(PhoneId(agent.phone_id), agent.ha1, agent.name, agent.site or "", agent.phone_class or "")
