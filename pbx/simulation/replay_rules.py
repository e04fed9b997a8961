"""Files of changed rules for a replay: ``queue_id: {setting: value}`` and ``agent_id: {skills, cost, weight}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pbx.bootstrap import holidays_of
from pbx.controller.config_store import ConfigStore
from pbx.domain.consent import RegimeTable
from pbx.simulation.flows.files import Unusable, read
from pbx.wire.messages import AgentConfig, ConfigEntry, QueueConfig

Changes = Mapping[str, Mapping[str, Any]]
Config = TypeVar("Config", QueueConfig, AgentConfig)

_QUEUE = frozenset(QueueConfig.__struct_fields__) - {"queue_id"}
_AGENT = frozenset({"skills", "cost", "weight"})


class Rules:
    def __init__(self, queues: Changes, agents: Changes) -> None:
        self._queues, self._agents = queues, agents
        self._unused = {("queue", name) for name in queues} | {("agent", name) for name in agents}

    def __bool__(self) -> bool:
        return bool(self._queues or self._agents)

    def override(self, entity: QueueConfig | AgentConfig) -> QueueConfig | AgentConfig:
        """The recorded configuration with the changes. Raises Unusable."""
        match entity:
            case QueueConfig(queue_id=name):
                return self._changed(entity, self._queues.get(name), ("queue", name))
            case AgentConfig(agent_id=name):
                return self._changed(entity, self._agents.get(name), ("agent", name))

    def unused(self) -> list[str]:
        """Queues and agents that the journal does not know."""
        return sorted(f"{kind} {name}" for kind, name in self._unused)

    def _changed(self, entity: Config, change: Mapping[str, Any] | None, which: tuple[str, str]) -> Config:
        if change is None:
            return entity
        self._unused.discard(which)
        kind, name = which
        try:
            changed = msgspec.convert(msgspec.to_builtins(entity) | dict(change), type(entity))
        except msgspec.ValidationError as error:
            raise Unusable(f"{kind} {name}", str(error)) from error
        store = ConfigStore(RegimeTable({}), {}, holidays_of)
        if store.put(name, ConfigEntry(revision=0, entity=changed)) is None:
            raise Unusable(f"{kind} {name}", store.errors[name])
        return changed


def rules(queues: Path | None, agents: Path | None) -> Rules:
    """Raises Unusable."""
    return Rules(_changes(queues, "queue", _QUEUE), _changes(agents, "agent", _AGENT))


def _changes(path: Path | None, kind: str, fields: frozenset[str]) -> Changes:
    if path is None:
        return {}
    data = read(path)
    if not isinstance(data, dict) or not data or not all(isinstance(change, dict) for change in data.values()):
        raise Unusable(str(path), f"must hold {kind} ids, each with the settings to change")
    for name, change in data.items():
        for field in change.keys() - fields:
            known = ", ".join(sorted(fields))
            raise Unusable(f"{path}, {kind} {name}", f"{field} is not a setting; there are {known}")
    return data
