"""Lookups by aiohttp: one request, no redirect, no proxy, no cookie, 64 KiB of JSON at most, one deadline over all.

Flows are written by people who may not know what else runs beside the POP, so nothing private is reached unless the
POP's settings name it. What counts is the address that the socket is about to connect to, whatever the name resolved
to a moment ago.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from pbx.domain.commands import Lookup
from pbx.domain.errors import BadValue, LookupFailed
from pbx.domain.public_address import is_public
from pbx.ports.lookups import Answer

MAX_ANSWER = 64 * 1024

Origin = tuple[str, str, int]
AddrInfo = tuple[Any, ...]
"""As getaddrinfo gives it: family, type, protocol, name, address."""


class _Forbidden(OSError):
    """The address is not one that flows may reach."""


def _public_socket(info: AddrInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise _Forbidden("not a public address")
    return socket.socket(family, kind, protocol)


def _origin(url: URL) -> Origin:
    return url.scheme, (url.host or "").lower(), url.port or 0


def _origin_of(text: str) -> Origin:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host or url != url.origin():
        raise BadValue("lookup_origins", "must be a list of origins, as http://crm.internal:8080 is")
    return _origin(url)


class HttpLookups:
    """Implements ``pbx.ports.lookups.Lookups``. ``origins`` may be private addresses and need not be TLS."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        try:
            self._origins = frozenset(map(_origin_of, origins))
        except ValueError as error:
            raise BadValue("lookup_origins", getattr(error, "reason", str(error))) from error
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def _session(self, *, private: bool) -> aiohttp.ClientSession:
        """Two of them, so that no connection to a private address is ever there for a public name."""
        if private not in self._sessions:
            connector = aiohttp.TCPConnector(socket_factory=None if private else _public_socket)
            self._sessions[private] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "callplane"},
            )
        return self._sessions[private]

    async def ask(self, lookup: Lookup) -> Answer:
        try:
            url = URL(lookup.url, encoded=True)
            named = _origin(url) in self._origins
        except ValueError:
            raise LookupFailed("not_allowed") from None
        if url.scheme != "https" and not named:
            raise LookupFailed("not_allowed")
        try:
            async with asyncio.timeout(lookup.deadline_s):
                return await self._ask(self._session(private=named), url, lookup)
        except aiohttp.InvalidURL:
            raise LookupFailed("not_allowed") from None
        except TimeoutError:
            raise LookupFailed("deadline") from None
        except aiohttp.ClientConnectorCertificateError:
            raise LookupFailed("certificate") from None
        except aiohttp.ClientConnectorError as error:
            raise LookupFailed("not_allowed" if isinstance(error.os_error, _Forbidden) else "unreachable") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise LookupFailed("unreachable") from None

    async def _ask(self, session: aiohttp.ClientSession, url: URL, lookup: Lookup) -> Answer:
        request = session.request(
            lookup.method, url, headers=lookup.headers, json=lookup.body, allow_redirects=False, proxy=None
        )
        async with request as response:
            if not 200 <= response.status < 300:
                raise LookupFailed("status", response.status)
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER:
                    response.close()
                    raise LookupFailed("too_big", response.status)
        try:
            return Answer(response.status, msgspec.json.decode(body))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise LookupFailed("not_json", response.status) from None

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
