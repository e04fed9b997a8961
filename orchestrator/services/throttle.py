"""Who fails too often has to wait: failures are counted by account and by address, and after too many of them a lock
holds, longer each time. What is kept is bounded: keys share a fixed number of buckets, by a hash that nobody outside
can foresee, so that no flood of made-up names pushes out the lock of a real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.domain.problems import TooMany

BUCKETS = 1 << 14


@dataclass(frozen=True, slots=True)
class Limit:
    failures: int
    """So many within ``window_s`` lock."""
    window_s: float = 300.0
    lock_s: float = 60.0
    """The first lock; each following one, without a quiet ``forget_s`` between, is twice as long."""
    longest_s: float = 3600.0
    forget_s: float = 86_400.0


@dataclass(slots=True)
class _Count:
    failures: int = 0
    since: float = 0.0
    locks: int = 0
    until: float = 0.0


class Throttle:
    def __init__(self, limit: Limit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._counts: dict[int, _Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def check(self, key: str) -> None:
        """Raises TooMany while the key is locked."""
        count, now = self._counts.get(self._bucket(key)), self._clock()
        if count is not None and count.until > now:
            raise TooMany("too many failures: wait before you try again", count.until - now)

    def failed(self, key: str) -> None:
        limit, now = self._limit, self._clock()
        count = self._counts.setdefault(self._bucket(key), _Count(since=now))
        if now - max(count.since, count.until) > limit.forget_s:
            count.locks = 0
        if now - count.since > limit.window_s:
            count.failures, count.since = 0, now
        count.failures += 1
        if count.failures >= limit.failures and count.until <= now:
            count.until = now + min(limit.longest_s, limit.lock_s * 2.0 ** min(count.locks, 30))
            count.locks += 1
            count.failures, count.since = 0, count.until

    def succeeded(self, key: str) -> None:
        """The one who is meant has come: earlier failures were slips."""
        self._counts.pop(self._bucket(key), None)

    def _bucket(self, key: str) -> int:
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=4, key=self._secret).digest()
        return int.from_bytes(digest) % BUCKETS


def network_of(source: str) -> str:
    """What one subscriber has: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Gate:
    """The throttles of everything that can be guessed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = Throttle(Limit(failures=5), clock)
        self._sources = Throttle(Limit(failures=20), clock)
        self._bearers = Throttle(Limit(failures=30), clock)
        self._last: dict[int, bytes] = {}
        self.failures: Counter[str] = Counter({"password": 0, "token": 0, "locked": 0})
        self.hashing = asyncio.Semaphore(2)
        """For passwords: each check takes 64 MiB and a core for some hundredths of a second."""

    def may_log_in(self, account: str, source: str) -> None:
        with self._counted():
            self._sources.check(network_of(source))
            self._accounts.check(account.casefold())

    def log_in_failed(self, account: str, source: str) -> None:
        self.failures["password"] += 1
        self._sources.failed(network_of(source))
        self._accounts.failed(account.casefold())

    def logged_in(self, account: str) -> None:
        self._accounts.succeeded(account.casefold())

    def bad_bearer(self, token: str, source: str) -> None:
        """Raises TooMany when too many different tokens that nobody has came from there. The same one again, of a
        program whose token was revoked, is no guess; and a good token gets in from everywhere."""
        network = network_of(source)
        with self._counted():
            self._bearers.check(network)
        self.failures["token"] += 1
        place, digest = hash(network) % BUCKETS, hashlib.sha256(token.encode("utf-8", "replace")).digest()[:8]
        if self._last.get(place) != digest:
            self._last[place] = digest
            self._bearers.failed(network)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except TooMany:
            self.failures["locked"] += 1
            raise
