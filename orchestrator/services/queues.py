"""Queues. Every POP has all of them, because any flow may lead a call into any queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from dialplans import dialling
from orchestrator.adapters.db.models import AgentRow, QueueRow
from orchestrator.domain.problems import Exists, FieldError, InUse, Invalid, NotFound
from orchestrator.domain.resources import (
    EndWithPrompt,
    OfferCallback,
    OverflowToNumber,
    OverflowToQueue,
    QueueChange,
    QueueSpec,
    ToVoicemail,
)
from orchestrator.services import catalogue, consent_policies, flows, prompt_catalogue, schedules, scope, units
from orchestrator.services.flows import PromptCatalogue
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork, queue_config


async def get(session: AsyncSession, queue_id: str) -> QueueRow:
    row = await scope.get(session, QueueRow, queue_id)
    if row is None:
        raise NotFound("queue", queue_id)
    return row


async def _check(session: AsyncSession, queue_id: str, spec: QueueChange, there: Mapping[str, frozenset[str]]) -> None:
    """Refuse, all at once, what names what nobody has. A prompt must exist in every language: callers of
    any flow, and so of any language, may wait in the queue."""
    await units.require(session, spec.unit_id)
    errors: list[FieldError] = []
    for at, step in enumerate(spec.steps):
        place = f"steps.{at}.action"
        match step.action:
            case OverflowToQueue(queue_id=target):
                if target == queue_id:
                    errors.append(FieldError(f"{place}.queue_id", "is this queue itself"))
                elif await scope.get(session, QueueRow, target) is None:
                    errors.append(FieldError(f"{place}.queue_id", f"there is no queue {target}"))
            case OverflowToNumber(number=number):
                try:
                    dialling.check(number)
                except dialling.MayNotDial as error:
                    errors.append(FieldError(f"{place}.number", error.reason))
            case (
                EndWithPrompt(prompt_id=prompt)
                | OfferCallback(prompt_id=prompt)
                | ToVoicemail(prompt_id=str() as prompt)
            ):
                _check_prompt(prompt, f"{place}.prompt_id", there, errors)
            case _:
                pass
    if spec.extension is not None and await _extension_is_taken(session, spec.extension, queue_id):
        errors.append(FieldError("extension", "is another queue's, or an agent's"))
    if spec.closing_prompt is not None:
        _check_prompt(spec.closing_prompt, "closing_prompt", there, errors)
    if spec.hours is not None and spec.hours_id is None:
        errors += schedules.unknown_place(spec.hours, "hours.country")
    errors += catalogue.undeclared_skills(spec.skills, await catalogue.skills(session))
    if errors:
        raise Invalid(errors)


async def _spoken(session: AsyncSession, packaged: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The prompts of the languages in which callers may come: the package's, and those of published flows. A language
    of which somebody has only begun to upload prompts is none of them."""
    found = await prompt_catalogue.there(session, packaged)
    wanted = packaged.keys() | await flows.languages(session)
    return {language: found.get(language, frozenset()) for language in wanted}


def _check_prompt(prompt: str, field: str, prompts: Mapping[str, frozenset[str]], errors: list[FieldError]) -> None:
    if lacking := sorted(language for language, there in prompts.items() if prompt not in there):
        shown = ", ".join(lacking[:5]) + (" and others" if len(lacking) > 5 else "")
        errors.append(FieldError(field, f"there is no prompt {prompt} in {shown}"))


async def _extension_is_taken(session: AsyncSession, extension: str, queue_id: str) -> bool:
    """A queue is everywhere: no agent of any POP may have it."""
    if await session.scalar(select(AgentRow.agent_id).where(AgentRow.extension == extension).limit(1)) is not None:
        return True
    return await at_extension(session, extension) not in (None, queue_id)


async def at_extension(session: AsyncSession, extension: str) -> str | None:
    rows = await session.scalars(select(QueueRow).order_by(QueueRow.queue_id))
    return next((row.queue_id for row in rows if row.config.get("extension") == extension), None)


async def _overflowing_to(session: AsyncSession, queue_id: str) -> list[str]:
    rows = await session.scalars(select(QueueRow).order_by(QueueRow.queue_id))
    return [
        row.queue_id
        for row in rows
        if any(step["action"].get("queue_id") == queue_id for step in row.config.get("steps", ()))
    ]


async def _config(session: AsyncSession, spec: QueueChange) -> dict[str, Any]:
    config = spec.model_dump(mode="json", exclude={"queue_id", "unit_id"})
    if spec.hours_id is None:
        del config["hours_id"]  # the version before this one does not know it
    else:
        config["hours"] = await schedules.hours(session, spec.hours_id)
    if spec.consent_policy_id is None:
        del config["consent_policy_id"]
    else:
        config["consent_policy"] = await consent_policies.said(session, spec.consent_policy_id)
    return config


async def create(unit: UnitOfWork, spec: QueueSpec, prompts: PromptCatalogue) -> QueueRow:
    if await unit.session.get(QueueRow, spec.queue_id) is not None:
        raise Exists("queue", "queue_id")
    await _check(unit.session, spec.queue_id, spec, await _spoken(unit.session, prompts()))
    config = await _config(unit.session, spec)
    row = QueueRow(queue_id=spec.queue_id, config=config, unit_id=spec.unit_id, created_at=unit.now)
    unit.session.add(row)
    await unit.publish(queue_config(row), EVERYWHERE)
    return row


async def change(unit: UnitOfWork, queue_id: str, spec: QueueChange, prompts: PromptCatalogue) -> QueueRow:
    row = await get(unit.session, queue_id)
    await _check(unit.session, queue_id, spec, await _spoken(unit.session, prompts()))
    row.config, row.unit_id = await _config(unit.session, spec), spec.unit_id
    await unit.publish(queue_config(row), EVERYWHERE)
    return row


async def delete(unit: UnitOfWork, queue_id: str) -> None:
    row = await get(unit.session, queue_id)
    users = [f"flow {flow_id}" for flow_id in await flows.using_queue(unit.session, queue_id)]
    users += [f"queue {other}" for other in await _overflowing_to(unit.session, queue_id)]
    if users:
        raise InUse("queue", queue_id, users)
    await unit.session.delete(row)
    await unit.withdraw(f"queue.{queue_id}", EVERYWHERE)
