"""What the API answers about flows, their versions and drafts."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.adapters.db.models import FlowDraftRow, FlowVersionRow
from orchestrator.api.answer import Answer
from orchestrator.api.schemas import At
from pbx.domain.flow_check import Problem


class FlowVersion(Answer):
    flow_id: str
    version: int
    published_at: At
    published_by: str | None
    """Name of the token; null where the version is older than this field."""
    copy_of: int | None
    """The earlier version that this one put back."""
    unit_id: str | None
    """The flow's business unit when this was published."""


class Flow(FlowVersion):
    graph: dict[str, Any]


def flow_version_of(row: FlowVersionRow) -> FlowVersion:
    return FlowVersion.model_validate(_published(row))


def flow_of(row: FlowVersionRow) -> Flow:
    return Flow.model_validate({**_published(row), "graph": row.graph})


def _published(row: FlowVersionRow) -> dict[str, Any]:
    return {
        "flow_id": row.flow_id,
        "version": row.version,
        "published_at": row.created_at,
        "published_by": row.created_by,
        "copy_of": row.copy_of,
        "unit_id": row.unit_id,
    }


class FlowProblem(Answer):
    place: str
    """``graph.nodes.menu.choices.1``"""
    reason: str
    advice: str
    """What to do about it; empty when the reason says it."""


class FlowCheck(Answer):
    problems: list[FlowProblem]
    """Empty: the graph can be published."""


def flow_problems(problems: list[Problem]) -> list[FlowProblem]:
    return [FlowProblem(place=p.place, reason=p.reason, advice=p.advice) for p in problems]


class DraftSummary(Answer):
    flow_id: str
    draft_revision: int
    base_version: int
    """What was published when the draft was saved; 0: nothing."""
    saved_at: At
    saved_by: str
    """Name of the token."""
    unit_id: str | None


class Draft(DraftSummary):
    volatile: ClassVar[frozenset[str]] = frozenset({"problems"})
    graph: dict[str, Any]
    problems: list[FlowProblem]
    """What keeps it from being published now."""


def draft_summary_of(row: FlowDraftRow) -> DraftSummary:
    return DraftSummary.model_validate(_saved(row))


def draft_of(row: FlowDraftRow, problems: list[Problem]) -> Draft:
    return Draft.model_validate({**_saved(row), "graph": row.graph, "problems": flow_problems(problems)})


def _saved(row: FlowDraftRow) -> dict[str, Any]:
    return {
        "flow_id": row.flow_id,
        "draft_revision": row.revision,
        "base_version": row.base_version,
        "saved_at": row.saved_at,
        "saved_by": row.saved_by,
        "unit_id": row.unit_id,
    }
