"""What the demo knows: rows of calls and agents, made of the centre's live event stream and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tests.lab.api import Api
from tests.lab.errors import LabTimeoutError

T = TypeVar("T")
WITHHELD = "withheld"


@dataclass(slots=True)
class CallRow:
    """One call as the events up to now tell it. Times are seconds since the epoch."""

    call_id: str
    cli: str
    offered_at: float
    node: str = "arriving"
    language: str = ""
    agent: str = ""
    consent: str = ""
    recording: str = ""
    queued_at: float | None = None
    talk_at: float | None = None
    ended_at: float | None = None
    end: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    def wait_s(self, now: float) -> float | None:
        if self.queued_at is None:
            return None
        return (self.talk_at or self.ended_at or now) - self.queued_at

    def duration_s(self, now: float) -> float:
        return (self.ended_at or now) - self.offered_at

    def facts(self) -> tuple[str, ...]:
        """What a line of text says of it; another value is a change worth a line."""
        return (self.node, self.language, self.agent, self.consent, self.recording, self.end)

    def heard(self, kind: str, after: str | None = None, **fields: Any) -> dict[str, Any] | None:
        """The first event of ``kind`` with these fields, behind the entry of node ``after`` if one is named."""
        behind = after is None
        for event in self.events:
            data = event["data"]
            if behind and event["kind"] == kind and all(data.get(k) == v for k, v in fields.items()):
                return event
            behind = behind or (event["kind"] == "NodeEntered" and data["node"] == after)
        return None


@dataclass(slots=True)
class AgentRow:
    name: str
    status: str = "LOGGED_OUT"
    reason: str | None = None
    state: str = "IDLE"

    def __str__(self) -> str:
        if self.status == "AVAILABLE":
            return f"{self.name} {self.state}"
        state = "" if self.state == "IDLE" else f" {self.state}"
        return f"{self.name} {self.status}{f'({self.reason})' if self.reason else ''}{state}"


class Board:
    """The demo's picture of the contact centre. ``follow`` keeps it up to date until it is cancelled."""

    def __init__(self, api: Api, changed: Callable[[CallRow | AgentRow], None]) -> None:
        self.calls: dict[str, CallRow] = {}
        self.agents: dict[str, AgentRow] = {}
        self._api = api
        self._told = changed
        self._pulse = asyncio.Event()

    async def know_agents(self) -> None:
        """Learn the agents' names."""
        for agent in await self._api.items("agents"):
            self.agents.setdefault(agent["agent_id"], AgentRow(agent["phone_id"]))

    async def follow(self) -> None:
        async for event in self._api.events():
            row = self._apply(event)
            if row is not None:
                self._told(row)
            self._pulse.set()
            self._pulse = asyncio.Event()

    def call(self, cli: str) -> CallRow | None:
        """The latest call from ``cli``."""
        return next((row for row in reversed(self.calls.values()) if row.cli == cli), None)

    async def until(self, what: str, ready: Callable[[], T | None], deadline_s: float = 30) -> T:
        """The first true value of ``ready()``, asked after every event. Raises LabTimeoutError naming ``what``."""
        try:
            async with asyncio.timeout(deadline_s):
                while not (value := ready()):
                    await self._pulse.wait()
                return value
        except TimeoutError as error:
            rows = "\n".join(f"{row.cli}: {' | '.join(row.facts())}" for row in self.calls.values())
            raise LabTimeoutError(f"not within {deadline_s:g} s on the event stream: {what}\n{rows}") from error

    def _apply(self, event: dict[str, Any]) -> CallRow | AgentRow | None:
        kind, data, call_id = event["kind"], event["data"], event["call_id"]
        if kind == "AgentChanged":
            agent = self.agents.setdefault(data["agent_id"], AgentRow(data["agent_id"]))
            agent.status, agent.reason, agent.state = data["status"], data["reason"], data["state"]
            return agent
        at = datetime.fromisoformat(event["at"]).timestamp()
        if kind == "LegOffered":
            cli = data["cli"]["number"] or data["cli"]["kind"]
            self.calls[call_id] = CallRow(call_id, cli, at)
        row = self.calls.get(call_id)
        if row is None:
            return None
        row.events.append(event)
        self._update(row, kind, data, at)
        return row

    def _update(self, row: CallRow, kind: str, data: dict[str, Any], at: float) -> None:
        match kind:
            case "FlowStarted" | "LanguageChosen":
                row.language = data["language"]
            case "NodeEntered":
                row.node = data["node"]
                if data["node"] == "consent":
                    row.consent = "asked"
            case "ConsentGranted":
                row.consent = f"yes ({data['digit']})" if data["digit"] else f"yes ({data['regime']})"
            case "ConsentRefused":
                row.consent = f"no ({data['digit'] or data['reason']})"
            case "QueueJoined":
                row.queued_at = at
            case "OfferMade":
                row.agent = f"{self._name(data['agent_id'])} rings"
            case "OfferEnded":
                name, outcome = self._name(data["agent_id"]), data["outcome"]
                row.agent = name if outcome == "answered" else f"({name}: {outcome})"
            case "TalkStarted":
                row.talk_at, row.node, row.agent = at, "talking", self._name(data["agent_id"])
            case "RecordingStarted":
                row.recording = "running"
            case "RecordingEnded":
                row.recording = "destroyed" if data["discarded"] else f"{data['duration_ms'] / 1000:.1f} s"
            case "CallEnded":
                row.ended_at, row.end = data["ended_at"], data["reason"]
            case _:
                return

    def _name(self, agent_id: str) -> str:
        found = self.agents.get(agent_id)
        return found.name if found is not None else agent_id
