"""What the ACD decides, for the router to carry out in order."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.ids import AgentId, CallId
from pbx.domain.maker import maker


@dataclass(frozen=True, slots=True)
class ToCall:
    """Tell the call's actor."""

    call_id: CallId
    event: ev.Event


@dataclass(frozen=True, slots=True)
class Changed:
    """An agent's status or state is another than before; goes to the journal."""

    event: ev.AgentChanged


@dataclass(frozen=True, slots=True)
class Remembered:
    """Who served a caller last, for the next run; see ``last_agent``."""

    key: str
    agent_id: AgentId | None
    """None: forget it."""
    at: float


to_call = maker(ToCall)
changed = maker(Changed)

Decision = ToCall | Changed | Remembered | cmd.SetTimer | cmd.CancelTimer
