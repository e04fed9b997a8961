"""Flows: versioned IVR graphs. A version is checked whole before it is stored, and is published with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import delete as delete_rows
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from dialplans import dialling
from dialplans.days_off import public_holidays
from orchestrator.adapters.db.models import DidRow, FlowDraftRow, FlowRow, FlowVersionRow, QueueRow
from orchestrator.domain.problems import Exists, FieldError, InUse, Invalid, NotFound
from orchestrator.domain.resources import FlowChange, FlowSpec
from orchestrator.services import prompt_catalogue, scope, units
from orchestrator.services.paging import Page, PageRequest, newest_versions
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork
from pbx.domain.errors import BadValue
from pbx.domain.flow import Flow, parse
from pbx.domain.flow_check import loops
from pbx.domain.ids import FlowId
from pbx.wire.messages import FlowConfig

PromptCatalogue = Callable[[], Mapping[str, frozenset[str]]]
"""Language -> ids of the prompts there are in it."""


async def get(session: AsyncSession, flow_id: str) -> FlowVersionRow:
    """The published version."""
    flow = await scope.get(session, FlowRow, flow_id)
    version = None if flow is None else await session.get(FlowVersionRow, (flow_id, flow.published_version))
    if version is None:
        raise NotFound("flow", flow_id)
    return version


def published() -> Any:
    """All published versions."""
    same = (FlowRow.flow_id == FlowVersionRow.flow_id) & (FlowRow.published_version == FlowVersionRow.version)
    return select(FlowVersionRow).join(FlowRow, same)


async def published_graph(session: AsyncSession, flow_id: str) -> dict[str, Any] | None:
    row: FlowVersionRow | None = await session.scalar(
        scope.limited(published().where(FlowVersionRow.flow_id == flow_id))
    )
    return None if row is None else row.graph


async def using_queue(session: AsyncSession, queue_id: str) -> list[str]:
    """Ids of the flows whose published version enters the queue."""
    rows = await session.scalars(published().order_by(FlowVersionRow.flow_id))
    return [row.flow_id for row in rows if queue_id in _parse(row.flow_id, row.version, row.graph).queue_ids()]


async def queue_ids(session: AsyncSession) -> set[str]:
    """Queues that a flow may name."""
    return {row.queue_id for row in await session.scalars(scope.limited(select(QueueRow)))}


async def saying(session: AsyncSession, language: str, prompt_id: str) -> list[str]:
    """Ids of the flows whose published version says the prompt in this language."""
    found = await _published_flows(session)
    return sorted(
        flow_id for flow_id, flow in found.items() if language in flow.languages and prompt_id in flow.prompt_ids()
    )


async def languages(session: AsyncSession) -> set[str]:
    """In which callers of any published flow may be spoken to."""
    return {language for row in await session.scalars(published()) for language in row.graph["languages"]}


def prompts_of(queue: QueueRow) -> set[str]:
    """Ids of the prompts that the queue itself names."""
    named = {step["action"].get("prompt_id") for step in queue.config.get("steps", ())}
    return {prompt for prompt in (*named, queue.config.get("closing_prompt")) if prompt is not None}


def _parse(flow_id: str, version: int, graph: dict[str, Any]) -> Flow:
    try:
        return parse(FlowId(flow_id), version, graph)
    except BadValue as error:
        raise Invalid([FieldError(error.field, error.reason)]) from None


async def _check(session: AsyncSession, flow: Flow, catalogue: Mapping[str, frozenset[str]]) -> None:
    """Refuse, all at once, what the flow names and nobody has."""
    rows = {row.queue_id: row for row in await session.scalars(scope.limited(select(QueueRow)))}
    queues = set(rows)
    anywhere = frozenset[str]().union(*catalogue.values())
    # Here and not in ``parse``: a POP must go on with a flow that was published before loops were refused.
    errors = [FieldError(problem.place, problem.reason) for problem in loops(flow)]
    for at, language in enumerate(flow.languages):
        if language not in catalogue:
            errors.append(FieldError(f"graph.languages.{at}", f"there are no prompts in language {language}"))
    errors += await outside(session, flow)
    for name, node in flow.nodes.items():
        alone = replace(flow, nodes={name: node})
        place = f"graph.nodes.{name}"
        for queue_id in sorted(alone.queue_ids() - queues):
            errors.append(FieldError(f"{place}.queue", f"there is no queue {queue_id}"))
        for queue_id in sorted(alone.queue_ids() & queues):
            for prompt in sorted(prompts_of(rows[queue_id])):
                for language in flow.languages:
                    if language in catalogue and prompt not in catalogue[language]:
                        reason = f"queue {queue_id} says prompt {prompt}, which is missing in language {language}"
                        errors.append(FieldError(f"{place}.queue", reason))
        for number in sorted(alone.numbers()):
            try:
                dialling.check(number)
            except dialling.MayNotDial as error:
                errors.append(FieldError(f"{place}.number", error.reason))
        for prompt in sorted(alone.prompt_ids()):
            if prompt not in anywhere:
                errors.append(FieldError(place, f"there is no prompt {prompt} in any language"))
                continue
            for language in flow.languages:
                if language in catalogue and prompt not in catalogue[language]:
                    errors.append(FieldError(place, f"prompt {prompt} is missing in language {language}"))
    if errors:
        raise Invalid(errors)


async def outside(session: AsyncSession, flow: Flow) -> list[FieldError]:
    """Public holidays that nobody knows, flows that cannot be run, and languages that others start this flow in."""
    others = await _published_flows(session)
    seen = {row.flow_id for row in await session.scalars(scope.limited(published()))}
    errors = []
    for name, node in flow.nodes.items():
        alone = replace(flow, nodes={name: node})
        for country in alone.countries():
            try:
                public_holidays(country)
            except KeyError:
                errors.append(FieldError(f"graph.nodes.{name}.country", f"no public holidays of {country} are known"))
        for other in alone.flow_ids():
            there = others if other in seen else {}
            if problem := _cannot_run(flow, other, there):
                errors.append(FieldError(f"graph.nodes.{name}.flow", problem))
    dids = await session.scalars(select(DidRow).where(DidRow.flow_id == flow.flow_id).order_by(DidRow.number))
    if lost := sorted({did.language for did in dids} - set(flow.languages)):
        errors.append(FieldError("graph.languages", f"lacks {lost[0]}, in which a DID starts this flow"))
    for runner in _running(flow.flow_id, others):
        if lost := sorted(set(runner.languages) - set(flow.languages)):
            errors.append(FieldError("graph.languages", f"lacks {lost[0]}, in which flow {runner.flow_id} runs it"))
    return errors


async def _published_flows(session: AsyncSession) -> dict[FlowId, Flow]:
    rows = await session.scalars(published())
    return {FlowId(row.flow_id): _parse(row.flow_id, row.version, row.graph) for row in rows}


def _cannot_run(flow: Flow, other: FlowId, others: Mapping[FlowId, Flow]) -> str | None:
    """Why ``flow`` cannot run the flow ``other``."""
    if other == flow.flow_id:
        return "runs the flow it is in"
    if other not in others:
        return f"there is no flow {other}"
    if lost := sorted(set(flow.languages) - set(others[other].languages)):
        return f"flow {other} lacks language {lost[0]}"
    reached, todo = {other}, [other]
    while todo:
        for next_one in others[todo.pop()].flow_ids() & (others.keys() | {flow.flow_id}):
            if next_one == flow.flow_id:
                return f"flow {other} runs this one"
            if next_one not in reached:
                reached.add(next_one)
                todo.append(next_one)
    return None


def _running(flow_id: FlowId, others: Mapping[FlowId, Flow]) -> list[Flow]:
    """The flows that run this one, by id."""
    return [others[other] for other in sorted(others) if flow_id in others[other].flow_ids()]


async def create(unit: UnitOfWork, spec: FlowSpec, prompts: PromptCatalogue, by: str) -> FlowVersionRow:
    """``by``, here and below: who publishes it."""
    if await unit.session.get(FlowRow, spec.flow_id) is not None:
        raise Exists("flow", "flow_id")
    await _check(
        unit.session, _parse(spec.flow_id, 1, spec.graph), await prompt_catalogue.there(unit.session, prompts())
    )
    await units.require(unit.session, spec.unit_id)
    unit.session.add(FlowRow(flow_id=spec.flow_id, published_version=1, unit_id=spec.unit_id, created_at=unit.now))
    await unit.session.flush()
    return await _publish(unit, spec.flow_id, 1, spec.graph, by)


async def change(
    unit: UnitOfWork,
    flow_id: str,
    spec: FlowChange,
    prompts: PromptCatalogue,
    by: str,
    copy_of: int | None = None,
) -> FlowVersionRow:
    """A new version, published at once. Calls that are in the flow keep the version they started with."""
    flow = await scope.get(unit.session, FlowRow, flow_id)
    if flow is None:
        raise NotFound("flow", flow_id)
    parsed = _parse(flow_id, flow.published_version + 1, spec.graph)
    await _check(unit.session, parsed, await prompt_catalogue.there(unit.session, prompts()))
    if spec.unit_id is not None:
        await units.require(unit.session, spec.unit_id)
        flow.unit_id = spec.unit_id
        if (draft := await unit.session.get(FlowDraftRow, flow_id)) is not None:
            draft.unit_id = spec.unit_id
    flow.published_version = parsed.version
    return await _publish(unit, flow_id, parsed.version, spec.graph, by, copy_of)


async def roll_back(unit: UnitOfWork, flow_id: str, version: int, prompts: PromptCatalogue, by: str) -> FlowVersionRow:
    """Publishes the graph of an earlier version anew, checked like any other: what it names may be gone."""
    earlier = await version_of(unit.session, flow_id, version)
    return await change(unit, flow_id, FlowChange(graph=earlier.graph), prompts, by, copy_of=version)


async def version_of(session: AsyncSession, flow_id: str, version: int) -> FlowVersionRow:
    row = await scope.get(session, FlowVersionRow, (flow_id, version)) if version < 1 << 31 else None
    if row is None:
        raise NotFound("flow_version", f"{version} of flow {flow_id}")
    return row


async def versions(session: AsyncSession, flow_id: str, asked: PageRequest) -> Page[FlowVersionRow]:
    """Newest first."""
    await get(session, flow_id)
    statement = select(FlowVersionRow).where(FlowVersionRow.flow_id == flow_id)
    return await newest_versions(session, statement, FlowVersionRow.version, asked)


async def _publish(
    unit: UnitOfWork, flow_id: str, version: int, graph: dict[str, Any], by: str, copy_of: int | None = None
) -> FlowVersionRow:
    flow = await unit.session.get_one(FlowRow, flow_id)
    row = FlowVersionRow(
        flow_id=flow_id,
        version=version,
        graph=graph,
        created_at=unit.now,
        created_by=by,
        copy_of=copy_of,
        unit_id=flow.unit_id,
    )
    unit.session.add(row)
    await unit.publish(FlowConfig(flow_id=flow_id, version=version, graph=graph), EVERYWHERE)
    return row


async def delete(unit: UnitOfWork, flow_id: str) -> None:
    flow = await scope.get(unit.session, FlowRow, flow_id)
    if flow is None:
        raise NotFound("flow", flow_id)
    users = (await unit.session.scalars(select(DidRow.number).where(DidRow.flow_id == flow_id))).all()
    if users:
        raise InUse("flow", flow_id, [f"DID {number}" for number in users])
    if runners := _running(FlowId(flow_id), await _published_flows(unit.session)):
        raise InUse("flow", flow_id, [f"flow {runner.flow_id}" for runner in runners])
    await unit.session.execute(delete_rows(FlowDraftRow).where(FlowDraftRow.flow_id == flow_id))
    await unit.session.delete(flow)
    await unit.withdraw(f"flow.{flow_id}", EVERYWHERE)
