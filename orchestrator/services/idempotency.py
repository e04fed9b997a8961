"""Requests that are done once however often they are sent: the answer to an Idempotency-Key, kept for a day.

A key is claimed before the request is carried out, marked in the transaction that carries it out, and gets its answer
afterwards. Who dies in between leaves a claim: nothing was done under one that is not marked, so that after
``CLAIM_S`` the next may take it over; one that is marked was done, and its answer is lost.

Answers hold secrets that are shown once. They are sealed under the bearer token, of which only the hash is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import CursorResult, Table, delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.models import IdempotentRow
from orchestrator.domain.problems import Conflict, KeyReused

KEPT_S = 24 * 3600.0
CLAIM_S = 60.0
WAIT_S = 10.0
"""How long a second request waits for the first one's answer."""
PURGE_EVERY_S = 600.0
_POLL_S = 0.05
_ROWS = cast(Table, IdempotentRow.__table__)


@dataclass(frozen=True, slots=True)
class Asked:
    """``credential`` is the bearer token: a key is one of a token's, and nobody else opens its answer."""

    key: str
    credential: str
    fingerprint: str
    """Hash of what the request says."""

    @property
    def key_hash(self) -> str:
        return hashlib.sha256(b"\0".join((self.credential.encode(), self.key.encode()))).hexdigest()

    def _sealer(self) -> AESGCM:
        derived = HKDF(SHA256(), 32, salt=bytes.fromhex(self.key_hash), info=b"callplane answer")
        return AESGCM(derived.derive(self.credential.encode()))

    def seal(self, answer: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._sealer().encrypt(nonce, answer, self.fingerprint.encode())

    def open(self, sealed: bytes) -> bytes:
        try:
            return self._sealer().decrypt(sealed[:12], sealed[12:], self.fingerprint.encode())
        except InvalidTag:
            raise Conflict("idempotency_answer_lost", "the answer to this key cannot be opened") from None


class Claim:
    """This request's right to be carried out under its key."""

    def __init__(self, database: Database, asked: Asked) -> None:
        self._database, self._asked = database, asked
        self.attempt = secrets.token_hex(8)

    def _mine(self, *states: str) -> Any:
        same = (_ROWS.c.key_hash == self._asked.key_hash) & (_ROWS.c.attempt == self.attempt)
        return same & _ROWS.c.state.in_(states)

    async def mark(self, session: AsyncSession) -> None:
        """In the transaction that carries the request out. Refuses when another has taken the claim over."""
        statement = update(_ROWS).where(self._mine("running", "committed")).values(state="committed")
        result = cast("CursorResult[Any]", await session.execute(statement))
        if result.rowcount != 1:
            raise Conflict("idempotency_superseded", "the request took so long that another with its key began anew")

    async def keep(self, answer: bytes) -> None:
        values = {"state": "done", "answer": self._asked.seal(answer)}
        async with self._database.write() as session:
            await session.execute(update(_ROWS).where(self._mine("running", "committed")).values(**values))

    async def release(self) -> None:
        """The request failed. What was carried out before it did stays marked."""
        async with self._database.write() as session:
            await session.execute(delete(_ROWS).where(self._mine("running")))


async def claim(database: Database, asked: Asked) -> Claim | bytes:
    """The claim, or the answer that was given before. Raises KeyReused for another request under the key, and Conflict
    when the first one does not end or lost its answer."""
    made = Claim(database, asked)
    until = time.monotonic() + WAIT_S
    while True:
        found = await _try(database, asked, made)
        if found is not None:
            return found
        if time.monotonic() > until:
            raise Conflict("idempotency_in_progress", "the first request with this key is still being carried out")
        await asyncio.sleep(_POLL_S)


async def _try(database: Database, asked: Asked, made: Claim) -> Claim | bytes | None:
    now = time.time()
    fresh = {
        "key_hash": asked.key_hash,
        "attempt": made.attempt,
        "fingerprint": asked.fingerprint,
        "state": "running",
        "started_at": now,
        "answer": None,
    }
    async with database.write() as session:
        row = await session.get(IdempotentRow, asked.key_hash, with_for_update=True)
        if row is None:
            new = await database.insert_new(session, _ROWS, [fresh], ("key_hash",))
            return made if new else None
        if row.started_at < now - KEPT_S or (row.state == "running" and row.started_at < now - CLAIM_S):
            for name, value in fresh.items():
                setattr(row, name, value)
            return made
        if row.fingerprint != asked.fingerprint:
            raise KeyReused()
        if row.answer is not None:
            return asked.open(row.answer)
        if row.state == "committed" and row.started_at < now - CLAIM_S:
            lost = "the request with this key was carried out, and its answer was lost: read what it made"
            raise Conflict("idempotency_answer_lost", lost)
        return None


async def purge(database: Database) -> None:
    """Forget keys older than a day, for ever."""
    while True:
        async with database.write() as session:
            await session.execute(delete(_ROWS).where(_ROWS.c.started_at < time.time() - KEPT_S))
        await asyncio.sleep(PURGE_EVERY_S)
