"""Prompts that were uploaded: kept here as A-law, in versions; every POP is told of the one in force and fetches it.

POPs ask over the bus for what they lack, by its hash: the centre's database holds the sound once, and a bus that loses
its disk loses none of it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from dialplans.uploads import Recorded
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import PromptRow, PromptVersionRow, QueueRow
from orchestrator.domain.problems import InUse, NotFound
from orchestrator.services import flows
from orchestrator.services.paging import Page, PageRequest, newest_versions
from orchestrator.services.unit_of_work import EVERYWHERE, UnitOfWork, prompt_config
from pbx.wire.messages import PromptChunk, PromptRequest

CHUNK = 256 * 1024
_NO_SOUND = defer(PromptVersionRow.alaw)


def key_of(language: str, prompt_id: str) -> str:
    return f"{language}/{prompt_id}"


async def get(session: AsyncSession, language: str, prompt_id: str) -> PromptVersionRow:
    """The version in force, without its sound."""
    row = await session.get(PromptRow, key_of(language, prompt_id))
    if row is None:
        raise NotFound("prompt", key_of(language, prompt_id))
    return await session.get_one(PromptVersionRow, (row.prompt_key, row.version), options=[_NO_SOUND])


async def version_of(session: AsyncSession, language: str, prompt_id: str, version: int) -> PromptVersionRow:
    """Without its sound, too."""
    await get(session, language, prompt_id)
    row = await session.get(PromptVersionRow, (key_of(language, prompt_id), version), options=[_NO_SOUND])
    if row is None:
        raise NotFound("prompt_version", f"{version} of prompt {key_of(language, prompt_id)}")
    return row


async def sound_of(session: AsyncSession, language: str, prompt_id: str, version: int | None) -> bytes:
    """A-law; of the version in force where none is named."""
    if version is None:
        row = await get(session, language, prompt_id)
    else:
        row = await version_of(session, language, prompt_id, version)
    one = (PromptVersionRow.prompt_key == row.prompt_key) & (PromptVersionRow.version == row.version)
    return (await session.scalars(select(PromptVersionRow.alaw).where(one))).one()


async def versions(session: AsyncSession, language: str, prompt_id: str, asked: PageRequest) -> Page[PromptVersionRow]:
    """Newest first."""
    await get(session, language, prompt_id)
    every = PromptVersionRow.prompt_key == key_of(language, prompt_id)
    statement = select(PromptVersionRow).where(every).options(_NO_SOUND)
    return await newest_versions(session, statement, PromptVersionRow.version, asked)


async def upload(
    unit: UnitOfWork, language: str, prompt_id: str, sound: Recorded, text: str, by: str
) -> PromptVersionRow:
    """A new version, in force at once. The same sound and text again makes none."""
    key = key_of(language, prompt_id)
    row = await unit.session.get(PromptRow, key)
    if row is None:
        row = PromptRow(prompt_key=key, language=language, prompt_id=prompt_id, version=0, created_at=unit.now)
        unit.session.add(row)
    else:
        former = await unit.session.get_one(PromptVersionRow, (key, row.version), options=[_NO_SOUND])
        if (former.sha256, former.text) == (sound.sha256, text):
            return former
    newest = await unit.session.scalar(
        select(func.max(PromptVersionRow.version)).where(PromptVersionRow.prompt_key == key)
    )
    row.version = (newest or 0) + 1
    await unit.session.flush()
    version = PromptVersionRow(
        prompt_key=key,
        version=row.version,
        sha256=sound.sha256,
        duration_ms=sound.duration_ms,
        text=text,
        alaw=sound.alaw,
        created_at=unit.now,
        created_by=by,
    )
    unit.session.add(version)
    await unit.publish(prompt_config(version), EVERYWHERE)
    return version


async def roll_back(unit: UnitOfWork, language: str, prompt_id: str, version: int) -> PromptVersionRow:
    """Put an earlier version in force again."""
    earlier = await version_of(unit.session, language, prompt_id, version)
    row = await unit.session.get_one(PromptRow, earlier.prompt_key)
    row.version = version
    await unit.publish(prompt_config(earlier), EVERYWHERE)
    return earlier


async def delete(unit: UnitOfWork, language: str, prompt_id: str, packaged: Mapping[str, frozenset[str]]) -> None:
    """With all versions. One that a flow or a queue names goes only where the package has it too."""
    await get(unit.session, language, prompt_id)
    if prompt_id not in packaged.get(language, frozenset()):
        users = [f"flow {flow_id}" for flow_id in await flows.saying(unit.session, language, prompt_id)]
        users += [f"queue {queue_id}" for queue_id in await _queues_saying(unit.session, prompt_id)]
        if users:
            raise InUse("prompt", key_of(language, prompt_id), users)
    key = key_of(language, prompt_id)
    await unit.session.execute(delete_rows(PromptVersionRow).where(PromptVersionRow.prompt_key == key))
    await unit.session.execute(delete_rows(PromptRow).where(PromptRow.prompt_key == key))
    await unit.withdraw(f"prompt.{language}.{prompt_id}", EVERYWHERE)


async def _queues_saying(session: AsyncSession, prompt_id: str) -> list[str]:
    rows = await session.scalars(select(QueueRow).order_by(QueueRow.queue_id))
    return [row.queue_id for row in rows if prompt_id in flows.prompts_of(row)]


async def chunk(database: Database, asked: PromptRequest) -> PromptChunk:
    """What a POP asked for; of size 0 where there is no such prompt."""
    async with database.read() as session:
        statement = select(PromptVersionRow.alaw).where(PromptVersionRow.sha256 == asked.sha256).limit(1)
        alaw = await session.scalar(statement) or b""
    return PromptChunk(total_size=len(alaw), blob=alaw[asked.offset : asked.offset + CHUNK])
