"""Who served a caller last in a queue. Bounded; a caller is known by a keyed hash of number and queue only, so that
what rests on the disk names nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pbx.domain.decisions import Remembered
from pbx.domain.ids import AgentId, QueueId

MAX_REMEMBERED = 100_000
"""Callers; of more, those are forgotten who were served longest ago."""
DAY_S = 86_400.0


class LastAgents:
    def __init__(self, secret: bytes = b"", known: Iterable[Remembered] = ()) -> None:
        """``secret``: up to 64 bytes, the same for one journal; ``known``: from the last run, oldest first."""
        self._secret = secret
        self._served = {one.key: (one.agent_id, one.at) for one in known if one.agent_id is not None}

    def __len__(self) -> int:
        return len(self._served)

    def who(self, queue_id: QueueId, caller: str, days: float, now: float) -> AgentId | None:
        """The agent of the last conversation, if it began within ``days``."""
        agent_id, at = self._served.get(self._key(queue_id, caller), (None, 0.0))
        return agent_id if now - at <= days * DAY_S else None

    def served(self, queue_id: QueueId, caller: str, agent_id: AgentId, now: float) -> list[Remembered]:
        """What is to be kept on the disk, and what no longer."""
        key = self._key(queue_id, caller)
        self._served.pop(key, None)
        self._served[key] = (agent_id, now)
        kept = [Remembered(key, agent_id, now)]
        if len(self._served) > MAX_REMEMBERED:
            oldest = next(iter(self._served))
            del self._served[oldest]
            kept.append(Remembered(oldest, None, now))
        return kept

    def forget(self, queues: Iterable[QueueId], callers: Iterable[str], now: float) -> list[Remembered]:
        """What is to be kept no longer on the disk: nobody served these callers."""
        wanted, gone = list(callers), []
        for queue_id in queues:
            for caller in wanted:
                key = self._key(queue_id, caller)
                if self._served.pop(key, None) is not None:
                    gone.append(Remembered(key, None, now))
        return gone

    def _key(self, queue_id: QueueId, caller: str) -> str:
        return hashlib.blake2b(f"{queue_id}\0{caller}".encode(), key=self._secret, digest_size=16).hexdigest()
