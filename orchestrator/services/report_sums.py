"""Sums for reports, carried on by differences, and made again from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Integer, cast, delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db import bulk
from orchestrator.adapters.db.report_models import FACTS, SUMS
from orchestrator.domain.report_facts import AGENT_MEASURES, DAY_S, DIMENSIONS, MEASURES, QUARTER_S

ALL = "all"
SPANS = (QUARTER_S, DAY_S)
COLUMNS = (*MEASURES, *AGENT_MEASURES)
_PLACE = {name: place for place, name in enumerate(COLUMNS)}
_EMPTY = [SUMS.c[name] == 0 for name in COLUMNS]

Key = tuple[str, str, int, int]


@dataclass(slots=True)
class Deltas:
    """What is to be added to the sums, by (dimension, value, span, start)."""

    sums: dict[Key, list[int]] = field(default_factory=dict)

    def add_fact(self, fact: Mapping[str, Any], sign: int) -> None:
        changes = [(place, sign * fact[name]) for place, name in enumerate(MEASURES) if fact[name]]
        if changes:
            values = [(name, fact[name]) for name in DIMENSIONS if fact[name] is not None]
            self._add([(ALL, ""), *values], fact["start_at"], changes)

    def add_time(self, values: Iterable[tuple[str, str]], start_at: int, measures: Mapping[str, int]) -> None:
        """Of an agent; ``values``: (dimension, value) that it is for."""
        self._add(values, start_at, [(_PLACE[name], value) for name, value in measures.items()])

    def change(self, fact: Mapping[str, Any], changes: Mapping[str, int]) -> None:
        """The fact's measures are to be more by ``changes``."""
        self.add_fact({**fact, **dict.fromkeys(MEASURES, 0), **changes}, 1)

    def _add(self, values: Iterable[tuple[str, str]], start_at: int, changes: list[tuple[int, int]]) -> None:
        for dimension, value in values:
            for span in SPANS:
                key = (dimension, value, span, start_at // span * span)
                row = self.sums.get(key)
                if row is None:
                    row = self.sums[key] = [0] * len(COLUMNS)
                for place, change in changes:
                    row[place] += change

    async def store(self, session: AsyncSession) -> None:
        """In the order of their keys, so that two writers cannot wait for one another."""
        rows = [
            {"dimension": d, "value": v, "span": s, "start_at": at, **dict(zip(COLUMNS, values, strict=True))}
            for (d, v, s, at), values in sorted(self.sums.items())
            if any(values)
        ]
        await bulk.add(session, SUMS, rows)
        taken = {key[3] for key, values in self.sums.items() if min(values) < 0}
        if taken:
            await session.execute(delete(SUMS).where(SUMS.c.start_at.in_(taken), *_EMPTY))
        self.sums.clear()


async def from_facts(session: AsyncSession) -> None:
    """All sums anew from all facts; agents' time is for the caller to add."""
    await session.execute(delete(SUMS))
    measures = [cast(func.sum(FACTS.c[name]), SUMS.c[name].type).label(name) for name in MEASURES]
    for dimension in (ALL, *DIMENSIONS):
        value = literal("") if dimension == ALL else FACTS.c[dimension]
        for span in SPANS:
            start_at = (FACTS.c.start_at - FACTS.c.start_at % span).label("start_at")
            columns = [literal(dimension), value, cast(literal(span), Integer), start_at, *measures]
            chosen = (
                select(*columns).group_by(start_at) if dimension == ALL else select(*columns).group_by(value, start_at)
            )
            if dimension != ALL:
                chosen = chosen.where(value.is_not(None))
            await session.execute(insert(SUMS).from_select([*(c.name for c in SUMS.primary_key), *MEASURES], chosen))
    await session.execute(delete(SUMS).where(*_EMPTY))
