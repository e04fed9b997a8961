"""Retention: each day what is past its time goes, and a report says what went, what was held, and what should have gone
and did not. A run that finds nothing where something was to be found is an alarm, not a success."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Text, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import CallRow, PopRow, QueueRow, RetentionPolicyRow, RetentionRunRow
from orchestrator.domain.grants import CENTRE, calling
from orchestrator.domain.problems import Problem
from orchestrator.domain.report_facts import country_of
from orchestrator.domain.retention import DAY_S, DEFAULTS, THINGS, Limit, Policy, limit, rules_of
from orchestrator.services import holds, retention_items
from orchestrator.services.holds import Holds
from orchestrator.services.pop_names import MARK, PopNames
from orchestrator.services.retention_items import Item
from orchestrator.services.rights_keys import RightsKeys
from pbx.domain.ids import ulid
from pbx.wire.telemetry.page import Page

log = logging.getLogger(__name__)

EVERY_S = DAY_S
LOOK_S = 600.0
"""How often it is looked whether a day is over."""
PAUSES = 9.0
"""The daily run takes a tenth of the time."""
LATE_DAYS = 2.0
"""What is so much past its time should have gone in a run before."""
WINDOW_DAYS = 60.0
"""How far back it is looked for what should have gone, in the records, whose count is another than that of the runs."""
BATCH = 100
CALLBACKS = 1000
"""Of one batch: for each a POP's journal is gone through."""
LISTED = 1000
Group = tuple[str, str | None, str | None]
"""Kind, country, queue."""


@dataclass(slots=True)
class Counts:
    limit: Limit | None = None
    kept: int = 0
    due: int = 0
    gone: int = 0
    held: int = 0
    failed: int = 0
    oldest_kept_at: float | None = None
    """Of what is not due, or stays although it is."""

    def stays(self, at: float) -> None:
        self.oldest_kept_at = at if self.oldest_kept_at is None else min(self.oldest_kept_at, at)


@dataclass(slots=True)
class Run:
    """One look at everything; ``items``: what goes, as far as listed."""

    began_at: float
    groups: dict[Group, Counts] = field(default_factory=lambda: defaultdict(Counts))
    items: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    matched: dict[str, int] = field(default_factory=dict)
    """Policy -> things that it covers, due or not."""
    left: set[str] = field(default_factory=set)
    """Calls of which something stays although it is due."""

    def report(self) -> dict[str, Any]:
        groups = []
        for (kind, country, queue_id), one in sorted(self.groups.items(), key=lambda pair: tuple(map(str, pair[0]))):
            rule = one.limit
            groups.append(
                {
                    "kind": kind,
                    "country": country,
                    "queue_id": queue_id,
                    "days": None if rule is None else rule.days,
                    "decided_by": None if rule is None else rule.rule.source,
                    "why": None if rule is None else rule.rule.why,
                    "looked_at": [] if rule is None else [each.to_json() for each in rule.looked_at],
                    **{
                        name: getattr(one, name) for name in ("kept", "due", "gone", "held", "failed", "oldest_kept_at")
                    },
                }
            )
        return {"groups": groups, "items": self.items, "alarms": self.alarms, "matched": self.matched}


class Retention:
    def __init__(
        self,
        database: Database,
        bus: Bus,
        keys: RightsKeys,
        names: PopNames,
        *,
        erases: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``erases``: the daily run does; else it only reports."""
        self._database, self._bus, self._keys, self._names, self._clock = database, bus, keys, names, clock
        self.erases = erases
        self._last: RetentionRunRow | None = None
        self._running = asyncio.Lock()

    async def run(self) -> None:
        """Each day, until cancelled."""
        async with self._database.read() as session:
            self._last = await newest(session)
        while True:
            await asyncio.sleep(LOOK_S)  # a centre that starts has more urgent things to do
            async with self._database.read() as session:
                self._last = await newest(session)
            if self._last is None or self._clock() - self._last.began_at >= EVERY_S:
                await self.once(erase=self.erases, pauses=PAUSES)

    async def once(self, *, erase: bool, pauses: float = 0.0) -> RetentionRunRow:
        """Look, let go what is due, report. ``pauses``: between pages, as many times as long as each takes."""
        async with self._running:
            with calling(CENTRE):
                run = await self._look(pauses)
                if erase:
                    await self._let_go(run, pauses)
                row = RetentionRunRow(
                    run_id=ulid(run.began_at, secrets.randbits(80)),
                    began_at=run.began_at,
                    ended_at=self._clock(),
                    erased=erase,
                    alarms=len(run.alarms),
                    report=run.report() | {"items": []},
                )
                async with self._database.write() as session:
                    session.add(row)
        for alarm in run.alarms:
            log.error("ALARM retention: %s", alarm["alarm"])
        self._last = row
        return row

    async def plan(self) -> dict[str, Any]:
        """What would go now."""
        with calling(CENTRE):
            return (await self._look()).report()

    # --- what is due ------------------------------------------------------------------------------------------------

    async def _look(self, pauses: float = 0.0) -> Run:
        run = Run(self._clock())
        active = await self._holds()
        async with self._database.read() as session:
            policies = await in_force(session)
            run.matched = {policy.policy_id: 0 for policy in policies}
            for kind in THINGS:
                async for item in retention_items.of_kind(session, kind, pauses=pauses):
                    self._count(run, policies, active, item)
            await self._alarms(session, run, policies, active)
        return run

    def _count(self, run: Run, policies: list[Policy], active: Holds, item: Item) -> None:
        for policy in policies:
            run.matched[policy.policy_id] += policy.covers(item.rules, item.country, item.queue_id)
        allowed = limit(policies, item.rules, item.country, item.queue_id, item.caller_country)
        counts = run.groups[item.kind, item.country, item.queue_id]
        counts.limit = allowed if counts.limit is None or allowed.days < counts.limit.days else counts.limit
        if item.at > run.began_at - allowed.days * DAY_S:
            counts.kept += 1
            counts.stays(item.at)
        elif self._hold(active, item) is not None:
            counts.held += 1
            counts.stays(item.at)
            run.left.add(item.call_id)
        else:
            counts.due += 1
            if len(run.items) < LISTED:
                found = {"kind": item.kind, "id": item.key, "call_id": item.call_id or None, "at": item.at}
                run.items.append({**found, "decided_by": allowed.rule.source})

    async def _holds(self, pops: Collection[str] | None = None) -> Holds:
        """Those in force, with what these POPs (None: all) call the numbers that are held."""
        async with self._database.read() as session:
            active = await holds.active(session, self._clock())
            asked = list(await session.scalars(select(PopRow.pop_id))) if pops is None else pops
        return await holds.with_pseudonyms(active, self._keys, self._names, asked)

    def _hold(self, active: Holds, item: Item) -> str | None:
        if item.number is not None and active.numbers:
            hold_id = active.of_number(self._keys, item.pop_id, item.number)
            if hold_id is not None:
                return hold_id
        if item.kind in ("recording", "voicemail"):
            return active.of_recording(item.key, item.call_id)
        return active.of_call(item.call_id)

    # --- what should have been found --------------------------------------------------------------------------------

    async def _alarms(self, session: AsyncSession, run: Run, policies: list[Policy], active: Holds) -> None:
        queues = set(await session.scalars(select(QueueRow.queue_id)))
        for policy in policies:
            if policy.queue_id is not None and policy.queue_id not in queues:
                text = (
                    f"policy {policy.policy_id} names queue {policy.queue_id}, which does not exist: it matches nothing"
                )
                run.alarms.append({"alarm": text, "policy_id": policy.policy_id, "what": "unknown_queue"})
            elif not run.matched[policy.policy_id] and self._of_kind(run, policy.kind):
                text = f"policy {policy.policy_id} matches nothing, though there are things of its kind ({policy.kind})"
                run.alarms.append({"alarm": text, "policy_id": policy.policy_id, "what": "matches_nothing"})
        late = await self._late(session, run, policies, active)
        if late:
            text = f"{late} calls have recordings that should have gone in an earlier run"
            run.alarms.append({"alarm": text, "policy_id": None, "what": "overdue"})
        due = sum(one.due for one in run.groups.values())
        if due and not self.erases:
            text = f"{due} things are due, and the daily run erases nothing: set CALLPLANE_CENTRE_RETENTION=erase"
            run.alarms.append({"alarm": text, "policy_id": None, "what": "not_erasing"})

    @staticmethod
    def _of_kind(run: Run, kind: str) -> bool:
        return any(rules_of(group[0]) == kind for group in run.groups)

    async def _late(self, session: AsyncSession, run: Run, policies: list[Policy], active: Holds) -> int:
        """By the records of calls, not by the table that a run goes through: what a run does not see, this does."""
        former = await newest(session, erased=True)
        if former is None:
            return 0
        days = [policy.keep_days for policy in policies if policy.kind == "recording"] or [DEFAULTS["recording"][0]]
        upto = min(former.began_at, run.began_at) - (max(days) + LATE_DAYS) * DAY_S
        kept = cast(CallRow.cdr, Text).regexp_match('"discarded": ?false')
        chosen = select(CallRow.call_id, CallRow.did, CallRow.queue_id, CallRow.cdr, CallRow.offered_at)
        window = CallRow.offered_at.between(upto - WINDOW_DAYS * DAY_S, upto)
        late = 0
        for row in await session.execute(chosen.where(window, kept)):
            allowed = limit(policies, "recording", country_of(row.did), row.queue_id)
            past = row.offered_at < min(former.began_at, run.began_at) - (allowed.days + LATE_DAYS) * DAY_S
            late += past and row.call_id not in run.left and active.of_call(row.call_id) is None
        return late

    # --- letting go -------------------------------------------------------------------------------------------------

    async def _let_go(self, run: Run, pauses: float) -> None:
        async with self._database.read() as session:
            policies = await in_force(session)
            due = [
                item
                for kind in THINGS
                async for item in retention_items.of_kind(session, kind, run.began_at, pauses)
                if self._is_due(run, policies, item)
            ]
        for kind in THINGS:
            mine = [item for item in due if item.kind == kind]
            size = CALLBACKS if kind == "callback" else BATCH
            for start in range(0, len(mine), size):
                await self._batch(run, kind, mine[start : start + size])

    def _is_due(self, run: Run, policies: list[Policy], item: Item) -> bool:
        allowed = limit(policies, item.rules, item.country, item.queue_id, item.caller_country)
        return item.at <= run.began_at - allowed.days * DAY_S

    async def _batch(self, run: Run, kind: str, items: list[Item]) -> None:
        active = await self._holds({item.pop_id for item in items})  # one may have been placed meanwhile
        free = [item for item in items if self._hold(active, item) is None]
        unsure = [item for item in free if item.pop_id in active.silent and (item.number or "").startswith(MARK)]
        if unsure:  # whose they are nobody says, and a number is held
            self._failed(run, unsure)
            free = [item for item in free if item not in unsure]
        if kind in ("recording", "voicemail"):
            for item in free:
                try:
                    await retention_items.erase_sound(self._bus, item)
                except Problem:
                    self._failed(run, [item])
                else:
                    run.groups[item.kind, item.country, item.queue_id].gone += 1
            return
        by_pop: dict[str, list[Item]] = defaultdict(list)
        for item in free:
            by_pop[item.pop_id].append(item)
        for pop_id, mine in by_pop.items():
            try:
                if kind in ("cdr", "callback"):
                    run_id = ulid(run.began_at, 0)
                    await retention_items.forget_at_pop(self._bus, self._keys, run_id, pop_id, mine)
            except Problem:
                self._failed(run, mine)
                continue
            if kind == "callback":
                await retention_items.clear_callbacks(self._database, mine)
            else:
                await retention_items.clear(self._database, kind, mine)
            for item in mine:
                run.groups[item.kind, item.country, item.queue_id].gone += 1

    @staticmethod
    def _failed(run: Run, items: Iterable[Item]) -> None:
        """The POP is away: in the next run, then."""
        for item in items:
            counts = run.groups[item.kind, item.country, item.queue_id]
            counts.failed += 1
            counts.stays(item.at)

    # --- being watched ----------------------------------------------------------------------------------------------

    def page(self, page: Page) -> None:
        row = self._last
        if row is None:
            return
        page.gauge("callplane_retention_last_run_timestamp_seconds", "When the last run began.", row.began_at)
        page.gauge("callplane_retention_alarms", "Of the last run: it should have matched more.", row.alarms)
        sums: dict[str, dict[str, float]] = {kind: defaultdict(float) for kind in THINGS}
        oldest: dict[str, float] = {}
        for group in row.report["groups"]:
            for name in ("due", "gone", "held", "failed"):
                sums[group["kind"]][name] += group[name]
            if group["oldest_kept_at"] is not None:
                oldest[group["kind"]] = min(group["oldest_kept_at"], oldest.get(group["kind"], group["oldest_kept_at"]))
        for kind in THINGS:
            for name in ("due", "gone", "held", "failed"):
                about = "Things of the last run: past their time, erased, held, or left because a POP was away."
                page.gauge("callplane_retention_things", about, sums[kind][name], kind=kind, state=name)
            if kind in oldest:
                about = "Age of the oldest thing that was kept, at the last run."
                page.gauge("callplane_retention_oldest_seconds", about, row.began_at - oldest[kind], kind=kind)


async def in_force(session: AsyncSession) -> list[Policy]:
    rows = await session.scalars(select(RetentionPolicyRow).where(RetentionPolicyRow.enabled))
    names = ("policy_id", "kind", "country", "queue_id", "keep_days", "why")
    return [Policy(**{name: getattr(row, name) for name in names}) for row in rows]


async def newest(session: AsyncSession, *, erased: bool | None = None) -> RetentionRunRow | None:
    chosen = select(RetentionRunRow).order_by(RetentionRunRow.began_at.desc()).limit(1)
    if erased is not None:
        chosen = chosen.where(RetentionRunRow.erased.is_(erased))
    return (await session.scalars(chosen)).first()
