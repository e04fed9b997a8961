"""Drafts of flows: saved with whatever faults they have, published when they have none. No POP gets a draft."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import FlowDraftRow, FlowRow, FlowVersionRow
from orchestrator.domain.problems import Conflict, NotFound, one
from orchestrator.domain.resources import SLUG_PATTERN, DraftChange, FlowChange, FlowSpec
from orchestrator.services import flows, prompt_catalogue, scope, units
from orchestrator.services.flows import PromptCatalogue
from orchestrator.services.unit_of_work import UnitOfWork
from pbx.domain.flow_check import Examined, Problem, examine, references
from pbx.domain.ids import FlowId


async def examined(graph: dict[str, Any]) -> Examined:
    """In a thread, and before a transaction begins: a graph with hundreds of faults takes seconds."""
    return await asyncio.to_thread(examine, graph)


async def problems_of(
    session: AsyncSession, flow_id: str, graph: dict[str, Any], found: Examined, prompts: PromptCatalogue
) -> list[Problem]:
    """Everything that keeps ``graph`` from being published as this flow, as far as it could be read."""
    await _must_be_seen(session, flow_id, None, await session.get(FlowRow, flow_id))
    problems = list(found.problems)
    if found.flow is None:
        return problems
    queues = await flows.queue_ids(session)
    problems += references(found.flow, graph, queues, await prompt_catalogue.there(session, prompts()))
    if not found.flow.languages:  # could not be read: nothing can be said of who lacks one
        return problems
    for error in await flows.outside(session, replace(found.flow, flow_id=FlowId(flow_id))):
        if "\0" not in error.reason:  # not of what stands for a name that could not be read
            problems.append(Problem(error.field, error.reason))
    return problems


async def get(session: AsyncSession, flow_id: str) -> FlowDraftRow:
    row = await scope.get(session, FlowDraftRow, flow_id)
    if row is None or row.graph is None:
        raise NotFound("draft", f"of flow {flow_id}")
    return row


def drafts() -> Any:
    """All drafts."""
    return select(FlowDraftRow).where(FlowDraftRow.graph.is_not(None))


async def save(unit: UnitOfWork, flow_id: str, change: DraftChange, by: str) -> FlowDraftRow:
    """Replaces the draft of revision ``change.draft_revision``, or makes the first one."""
    if not re.fullmatch(SLUG_PATTERN, flow_id):
        raise one("flow_id", "must be lower case letters, digits and dashes, at most 31")
    row = await unit.session.get(FlowDraftRow, flow_id)
    flow = await unit.session.get(FlowRow, flow_id)
    await _must_be_seen(unit.session, flow_id, row, flow)
    await units.require(unit.session, change.unit_id)
    _must_be_newest(flow_id, row, change.draft_revision)
    if row is None:
        row = FlowDraftRow(flow_id=flow_id, revision=0)
        unit.session.add(row)
    row.revision += 1
    row.base_version = 0 if flow is None else flow.published_version
    row.graph, row.saved_at, row.saved_by = change.graph, unit.now, by
    row.unit_id = change.unit_id or (row.unit_id if flow is None else flow.unit_id)
    return row


async def _must_be_seen(session: AsyncSession, flow_id: str, draft: FlowDraftRow | None, flow: FlowRow | None) -> None:
    """A flow, or a draft of one that is not published yet, that belongs to somebody else."""
    kind = FlowRow if flow is not None else FlowDraftRow if draft is not None and draft.graph is not None else None
    if kind is not None and not await scope.sees(session, kind, flow_id):
        raise NotFound("flow", flow_id)


def _must_be_newest(flow_id: str, row: FlowDraftRow | None, revision: int | None) -> None:
    newest = None if row is None or row.graph is None else row.revision
    if revision != newest:
        there = "there is no draft" if newest is None else f"the draft has revision {newest}"
        raise Conflict("draft_stale", f"{there} of flow {flow_id} now: read it again and save on top of it")


async def publish(unit: UnitOfWork, flow_id: str, revision: int, prompts: PromptCatalogue, by: str) -> FlowVersionRow:
    """Makes the draft the flow's next version, or its first one. The draft is gone then."""
    draft = await get(unit.session, flow_id)
    _must_be_newest(flow_id, draft, revision)
    flow = await unit.session.get(FlowRow, flow_id)
    published = 0 if flow is None else flow.published_version
    if draft.base_version != published:
        detail = f"version {published} was published after the draft was saved: look at it, then save the draft again"
        raise Conflict("draft_outdated", detail)
    graph = draft.graph or {}
    if flow is None:
        version = await flows.create(unit, FlowSpec(flow_id=flow_id, graph=graph, unit_id=draft.unit_id), prompts, by)
    else:
        version = await flows.change(unit, flow_id, FlowChange(graph=graph, unit_id=draft.unit_id), prompts, by)
    draft.graph = None
    return version


async def discard(unit: UnitOfWork, flow_id: str) -> None:
    (await get(unit.session, flow_id)).graph = None
