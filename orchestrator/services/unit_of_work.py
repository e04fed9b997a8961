"""One transaction of the centre's configuration: the change and its messages to the POPs, or neither."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import (
    AgentRow,
    DidRow,
    FlowRow,
    FlowVersionRow,
    OutboxRow,
    PopRevisionRow,
    PopRow,
    PromptRow,
    PromptVersionRow,
    QueueRow,
)
from pbx.wire.config_bucket import COMPLETE_KEY
from pbx.wire.messages import (
    AgentConfig,
    ConfigEntry,
    DidConfig,
    EntityConfig,
    FlowConfig,
    HoursConfig,
    PopConfig,
    PromptConfig,
    QueueConfig,
)

_NO_SOUND = defer(PromptVersionRow.alaw)
POP_KEY = "pop"
"""What concerns the POP itself."""
EVERYWHERE: None = None
"""Instead of POP ids: the entity goes to every POP."""


def key_of(entity: EntityConfig) -> str:
    """The entity's key in a POP's bucket (``pbx.wire.subjects.config_bucket``)."""
    match entity:
        case DidConfig():
            return did_key(entity.number)
        case QueueConfig():
            return f"queue.{entity.queue_id}"
        case AgentConfig():
            return f"agent.{entity.agent_id}"
        case FlowConfig():
            return f"flow.{entity.flow_id}"
        case PromptConfig():
            return f"prompt.{entity.language}.{entity.prompt_id}"
        case PopConfig():
            return POP_KEY


def did_key(number: str) -> str:
    return f"did.{number.removeprefix('+')}"


class UnitOfWork:
    """Configuration changes are serialised (``Database.write(config=True)``): what was checked holds until the
    commit, and each POP's revisions are committed in the order in which they were counted."""

    def __init__(self, session: AsyncSession, now: float) -> None:
        self.session = session
        self.now = now
        self._revisions: dict[str, int] = {}

    async def publish(self, entity: EntityConfig, pop_ids: Collection[str] | None) -> None:
        """``pop_ids``: whose it is; a POP's DIDs and agents go to its backup too."""
        if isinstance(entity, AgentConfig):
            [entity], pop_ids = await self._shared([entity]), await self._with_backups(pop_ids)
        elif isinstance(entity, DidConfig):
            pop_ids = await self._with_backups(pop_ids)
        for pop_id, revision in await self._count(pop_ids):
            payload = msgspec.json.encode(ConfigEntry(revision=revision, entity=entity))
            self._add(pop_id, key_of(entity), revision, payload)

    async def _shared(self, agents: Collection[AgentConfig]) -> list[AgentConfig]:
        """With the backup of each one's home among the POPs that have the agent."""
        homes = {agent.pops[0] for agent in agents}
        rows = await self.session.execute(
            select(PopRow.pop_id, PopRow.backup_pop_id).where(
                PopRow.pop_id.in_(homes), PopRow.backup_pop_id.is_not(None)
            )
        )
        backups = {home: [home, backup] for home, backup in rows}
        return [msgspec.structs.replace(agent, pops=backups.get(agent.pops[0], agent.pops)) for agent in agents]

    async def _with_backups(self, pop_ids: Collection[str] | None) -> Collection[str] | None:
        if pop_ids is None:
            return None
        chosen = select(PopRow.backup_pop_id).where(PopRow.pop_id.in_(pop_ids), PopRow.backup_pop_id.is_not(None))
        return sorted({*pop_ids, *(backup for backup in await self.session.scalars(chosen) if backup)})

    async def back_up(self, pop_id: str, former: str | None, backup: str | None) -> None:
        """Another POP takes over for this one: what the former one had is withdrawn there."""
        agents = await self.session.scalars(select(AgentRow).where(AgentRow.pop_id == pop_id))
        dids = await self.session.scalars(select(DidRow).where(DidRow.pop_id == pop_id))
        entities: list[EntityConfig] = [*map(agent_config, agents), *map(did_config, dids)]
        if former is not None:
            for entity in entities:
                for _, revision in await self._count([former]):
                    self._add(former, key_of(entity), revision, None)
        if backup is not None and entities:
            await self.publish_many(entities, backup)
        changed = [entity for entity in entities if isinstance(entity, AgentConfig)]
        if changed:
            await self.publish_many(changed, pop_id)  # which POPs have them

    async def publish_many(self, entities: Collection[EntityConfig], pop_id: str) -> None:
        """As one ``publish`` for each of them, in their order."""
        shared = iter(await self._shared([one for one in entities if isinstance(one, AgentConfig)]))
        entities = [next(shared) if isinstance(one, AgentConfig) else one for one in entities]
        newest = (await self._count([pop_id], len(entities)))[0][1]
        for revision, entity in enumerate(entities, newest - len(entities) + 1):
            self._add(pop_id, key_of(entity), revision, msgspec.json.encode(ConfigEntry(revision, entity)))

    async def withdraw(self, key: str, pop_ids: Collection[str] | None) -> None:
        if key.startswith(("did.", "agent.")):
            pop_ids = await self._with_backups(pop_ids)
        for pop_id, revision in await self._count(pop_ids):
            self._add(pop_id, key, revision, None)

    async def publish_all(self, pop_id: str, there: Collection[str] = ()) -> None:
        """Everything the POP needs, from nothing: for a new POP, and for a bus that lost its bucket, or, where the keys
        in it (``there``) are not those of this database, has another one's. What was still waiting for this POP is part
        of it."""
        await self.session.execute(delete(OutboxRow).where(OutboxRow.pop_id == pop_id, OutboxRow.key != ""))
        entities = await self.entities_of(pop_id)
        for key in sorted(set(there) - {COMPLETE_KEY, *map(key_of, entities)}):
            await self.withdraw(key, [pop_id])
        for entity in entities:
            await self.publish(entity, [pop_id])
        for _, revision in await self._count([pop_id]):
            self._add(pop_id, COMPLETE_KEY, revision, b"{}")

    async def note_revisions(self) -> None:
        """Keep when the revisions counted here were written."""
        await self.session.flush()
        there = set(await self.session.scalars(select(PopRow.pop_id).where(PopRow.pop_id.in_(self._revisions))))
        for pop_id, revision in self._revisions.items():
            if pop_id in there:
                self.session.add(PopRevisionRow(pop_id=pop_id, revision=revision, at=self.now))

    async def drop(self, pop_id: str) -> None:
        """The POP is gone; so is what was on its way there."""
        await self.session.execute(delete(OutboxRow).where(OutboxRow.pop_id == pop_id))
        self._add(pop_id, "", 0, None)

    async def entities_of(self, pop_id: str) -> list[EntityConfig]:
        queues = (await self.session.scalars(select(QueueRow))).all()
        published = FlowVersionRow.version == FlowRow.published_version
        flows = await self.session.scalars(
            select(FlowVersionRow).join(FlowRow, (FlowRow.flow_id == FlowVersionRow.flow_id) & published)
        )
        homes = {pop_id, *await self.session.scalars(select(PopRow.pop_id).where(PopRow.backup_pop_id == pop_id))}
        agents = await self.session.scalars(select(AgentRow).where(AgentRow.pop_id.in_(homes)))
        dids = await self.session.scalars(select(DidRow).where(DidRow.pop_id.in_(homes)))
        in_force = (PromptVersionRow.prompt_key == PromptRow.prompt_key) & (
            PromptVersionRow.version == PromptRow.version
        )
        prompts = await self.session.scalars(select(PromptVersionRow).join(PromptRow, in_force).options(_NO_SOUND))
        drains = await self.session.scalar(select(PopRow.draining_since).where(PopRow.pop_id == pop_id)) is not None
        return [
            *((PopConfig(draining=True),) if drains else ()),
            *(prompt_config(row) for row in prompts),
            *(queue_config(row) for row in queues),
            *(FlowConfig(flow_id=row.flow_id, version=row.version, graph=row.graph) for row in flows),
            *await self._shared([agent_config(row) for row in agents]),
            *(did_config(row) for row in dids),
        ]

    async def _count(self, pop_ids: Collection[str] | None, by: int = 1) -> list[tuple[str, int]]:
        statement = update(PopRow).values(config_revision=PopRow.config_revision + by)
        if pop_ids is not None:
            statement = statement.where(PopRow.pop_id.in_(pop_ids))
        await self.session.flush()
        rows = await self.session.execute(
            statement.returning(PopRow.pop_id, PopRow.config_revision).execution_options(synchronize_session=False)
        )
        counted = [(pop_id, revision) for pop_id, revision in rows]
        self._revisions.update(counted)
        return counted

    def _add(self, pop_id: str, key: str, revision: int, payload: bytes | None) -> None:
        self.session.add(OutboxRow(pop_id=pop_id, key=key, revision=revision, payload=payload))


def queue_config(row: QueueRow) -> QueueConfig:
    return msgspec.convert({"queue_id": row.queue_id, **row.config}, QueueConfig)


def prompt_config(row: PromptVersionRow) -> PromptConfig:
    language, _, prompt_id = row.prompt_key.partition("/")
    return PromptConfig(prompt_id=prompt_id, language=language, sha256=row.sha256, duration_ms=row.duration_ms)


def agent_config(row: AgentRow) -> AgentConfig:
    return AgentConfig(
        agent_id=row.agent_id,
        name=row.name,
        phone_id=row.phone_id,
        ha1=row.ha1,
        skills=row.skills,
        country=row.country,
        cost=row.cost,
        weight=row.weight,
        extension=row.extension,
        supervises=row.supervises,
        shifts=None if row.shifts is None else msgspec.convert(row.shifts, HoursConfig),
        site=row.site,
        pops=[row.pop_id],
        phone_class=row.phone_class,
    )


def did_config(row: DidRow) -> DidConfig:
    return DidConfig(
        number=row.number,
        flow_id=row.flow_id,
        country=row.country,
        language=row.language,
        time_zone=row.time_zone,
        region=row.region,
    )


class UnitsOfWork:
    """Makes units of work. ``committed`` is called after each commit, to wake whoever publishes."""

    def __init__(self, database: Database, committed: Callable[[], None], clock: Callable[[], float] = time.time):
        self.database = database
        self._committed = committed
        self._clock = clock

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        async with self.database.write(config=True) as session:
            unit = UnitOfWork(session, self._clock())
            yield unit
            await unit.note_revisions()
        self._committed()
