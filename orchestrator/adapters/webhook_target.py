"""One POST to a webhook's target by aiohttp: no redirect, no proxy, no cookie, one deadline over all.

Who may make a webhook need not know what else runs beside the centre, so nothing private is reached, and nothing
without TLS, but for the networks that the settings name. What counts is the address that the socket is about to connect
to, whatever the name resolved to a moment ago.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pbx.domain.public_address import is_public

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AddrInfo = tuple[Any, ...]
"""As getaddrinfo gives it: family, type, protocol, name, address."""
MOST_READ = 64 * 1024
"""Of an answer so much is read, so that its connection can be used again; what it says is not looked at."""


class _Forbidden(OSError):
    """The address is not one that webhooks may reach."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt."""

    status: int | None
    """Of HTTP; None when it did not come to an answer."""
    error: str | None
    """``not_allowed``, ``deadline``, ``certificate``, ``unreachable``, ``redirected``, ``status``; None: taken."""
    retry_after_s: float = 0.0


def within(text: str, networks: Collection[Network]) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    inside = getattr(address, "ipv4_mapped", None) or address
    return any(inside.version == network.version and inside in network for network in networks)


class _Resolver(AbstractResolver):
    """On threads of its own: names that resolve slowly keep nobody else's waiting."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(hostname=host, host=str(at[0]), port=port, family=kind, proto=proto, flags=_NUMERIC)
            for kind, _, proto, _, at in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Targets:
    """``networks``: addresses that may be private and need not speak TLS. ``at_once``: most requests in all."""

    def __init__(self, networks: Collection[Network], at_once: int, deadline_s: float) -> None:
        self._networks = tuple(networks)
        self._at_once = at_once
        self._deadline_s = deadline_s
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    def _socket(self, plain: bool, info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not within(address[0], self._networks) and (plain or not is_public(address[0])):
            raise _Forbidden("not an address that webhooks may reach")
        return socket.socket(family, kind, protocol)

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        """One for each scheme: what plain HTTP may reach is less."""
        if scheme not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=self._at_once,
                resolver=_Resolver(self._at_once),
                socket_factory=partial(self._socket, scheme != "https"),
            )
            self._sessions[scheme] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"Content-Type": "application/json", "User-Agent": "callplane", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._sessions[scheme]

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, now: float) -> Outcome:
        """``now``: what a ``Retry-After`` that names a moment is counted from."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._send(URL(url), headers, body, now)
        except TimeoutError:
            return Outcome(None, "deadline")
        except aiohttp.InvalidURL:
            return Outcome(None, "not_allowed")  # 127.1, say, which is an address by another name
        except aiohttp.ClientConnectorCertificateError:
            return Outcome(None, "certificate")
        except aiohttp.ClientConnectorError as error:
            return Outcome(None, "not_allowed" if isinstance(error.os_error, _Forbidden) else "unreachable")
        except (aiohttp.ClientError, OSError, ValueError):
            return Outcome(None, "unreachable")

    async def _send(self, url: URL, headers: Mapping[str, str], body: bytes, now: float) -> Outcome:
        request = self._session(url.scheme).post(url, data=body, headers=headers, allow_redirects=False, proxy=None)
        async with request as response:
            read = 0
            async for chunk in response.content.iter_any():
                read += len(chunk)
                if read > MOST_READ:
                    response.close()
                    break
        if 200 <= response.status < 300:
            return Outcome(response.status, None)
        redirected = 300 <= response.status < 400
        wish = _seconds(response.headers.get("Retry-After", ""), now)
        return Outcome(response.status, "redirected" if redirected else "status", wish)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _seconds(text: str, now: float) -> float:
    """What a Retry-After asks for; 0 where it asks for nothing that can be read."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
