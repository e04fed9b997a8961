"""What happens in every transaction that writes: nobody writes outside of the own scope, and what a caller changed is
in the audit log when it is in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from orchestrator.domain.grants import current
from orchestrator.services import audit, scope_check

_CHANGES = "callplane_changes"
_UNRECORDED = frozenset(
    {
        "config_outbox",
        "pop_revisions",
        "idempotent_requests",
        "settings",
        "audit_log",
        "audit_head",
        "call_units",
        "events",
    }
)
"""Written on the way: they say nothing that the change itself does not."""


class WriteWatch:
    def begun(self, session: AsyncSession) -> None:
        session.sync_session.info[_CHANGES] = {}
        event.listen(session.sync_session, "before_flush", scope_check.before_flush)
        event.listen(session.sync_session, "before_flush", _collect)

    async def ending(self, session: AsyncSession) -> None:
        await session.flush()
        caller, changes = current(), session.sync_session.info[_CHANGES]
        if caller.recorded and changes:
            await audit.append(session, caller, audit.DONE, list(changes))


def _collect(session: Session, _context: Any, _instances: Any) -> None:
    for how, rows in (("new", session.new), ("changed", session.dirty), ("deleted", session.deleted)):
        for row in rows:
            table = row.__tablename__
            if table in _UNRECORDED or (how == "changed" and not session.is_modified(row)):
                continue
            state = inspect(row)
            key = "/".join(str(part) for part in state.mapper.primary_key_from_instance(row))
            fields = sorted(a.key for a in state.attrs if how == "changed" and a.history.has_changes())
            words = [how, f"{table}/{key}", *([",".join(fields)] if fields else [])]
            session.info[_CHANGES][" ".join(words)] = None
