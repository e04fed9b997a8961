"""What the API answers about retention."""

from __future__ import annotations

from orchestrator.adapters.db.models import RetentionPolicyRow, RetentionRunRow
from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from orchestrator.domain.retention import PolicySpec


class RetentionPolicy(PolicySpec):
    created_at: At


def policy_of(row: RetentionPolicyRow) -> RetentionPolicy:
    return RetentionPolicy.model_validate({name: getattr(row, name) for name in RetentionPolicy.model_fields})


class LookedAt(Answer):
    days: float
    source: str
    """``policy ID``, ``law of FR``, ``default``."""
    why: str
    at_least: bool
    """A duty to keep, not a limit."""


class RetentionGroup(Answer):
    """Things of one kind, country and queue."""

    kind: str
    """Of a policy, or ``callback``: closed ones' numbers, by the policies of ``cdr``."""
    country: str | None
    """Of the number that was dialled."""
    queue_id: str | None
    days: float | None
    """The shortest that counts here."""
    decided_by: str | None
    why: str | None
    looked_at: list[LookedAt]
    kept: int
    """Their time is not over."""
    due: int
    gone: int
    """Erased by this run."""
    held: int
    """Past their time, kept by a legal hold."""
    failed: int
    """Their POP was away."""
    oldest_kept_at: At | None


class RetentionItem(Answer):
    kind: str
    id: str
    call_id: str | None
    """Null: of a callback that no call asked for."""
    at: At
    decided_by: str


class RetentionAlarm(Answer):
    alarm: str
    policy_id: str | None
    what: str
    """``unknown_queue``, ``matches_nothing``, ``overdue``, ``not_erasing``."""


class RetentionPlan(Answer):
    """What a run would do now. ``items``: the first thousand of what would go."""

    groups: list[RetentionGroup]
    items: list[RetentionItem]
    alarms: list[RetentionAlarm]
    matched: dict[str, int]
    """Policy -> things that it covers, due or not."""


class RetentionRun(Answer):
    run_id: str
    began_at: At
    ended_at: At
    erased: bool
    """False: it only looked."""
    alarms: list[RetentionAlarm]
    groups: list[RetentionGroup]
    matched: dict[str, int]


def run_of(row: RetentionRunRow) -> RetentionRun:
    fields = {name: getattr(row, name) for name in ("run_id", "began_at", "ended_at", "erased")}
    report = {name: row.report[name] for name in ("alarms", "groups", "matched")}
    return RetentionRun.model_validate({**fields, **report})
