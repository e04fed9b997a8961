"""The REST API, asked over HTTP. What is not an answer is a Failure."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from orchestrator.command_line.connection import Connection
from orchestrator.command_line.failures import About, Misused, Refused, Unreachable

PREFIX = "/api/v1"
LONGEST_LINE = 1 << 20
"""Bytes of one event; aiohttp refuses longer ones."""
IDLE_S = 45.0
"""A stream is kept alive every 15 s: after this it is dead."""


_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)
"""A connection that was there and is no more, or never was; of aiohttp's errors ``ClientOSError`` is an OSError."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def etag(self) -> str | None:
        return self.headers.get("ETag")


def path_of(template: str, values: Mapping[str, str]) -> str:
    """``/pops/{pop_id}`` with its parameters."""
    return template.format_map({name: quote(value, safe="") for name, value in values.items()})


class Client:
    def __init__(
        self,
        connection: Connection,
        *,
        about: About | None = None,
        purpose: str | None = None,
        key: str | None = None,
    ) -> None:
        """``about``: what advice names; ``purpose`` goes to the audit log; ``key``: an Idempotency-Key
        instead of one made here."""
        if purpose is not None and not purpose.isprintable():
            raise Misused("--purpose holds a line break or another control character")
        self.connection = connection
        self._about, self._purpose, self._key = about or About(), purpose, key
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = self.connection.tls()
        connector = aiohttp.TCPConnector(ssl=True if context is None else context)
        headers = {"Authorization": f"Bearer {self.connection.token}"} if self.connection.token else {}
        if self._purpose is not None:
            headers["X-Purpose"] = self._purpose
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        # aiohttp would ask PUT and DELETE again by itself: what was done the first time would be told as stale or gone.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer of a status below 400. A connection that breaks is tried once more where that does nothing
        twice: what is read, and what carries an Idempotency-Key. Raises Refused and Unreachable."""
        given = dict(headers or {})
        if method == "POST":
            given.setdefault("Idempotency-Key", self._key or uuid.uuid4().hex)
            body = {} if body is None and content is None else body
        options: dict[str, Any] = {"params": query, "headers": given, "data": content}
        if body is not None:
            options["data"] = json.dumps(body).encode()
            given["Content-Type"] = "application/json"
        for last in (method not in ("GET", "POST"), True):
            try:
                return await self._once(method, path, options)
            except _BROKEN as error:
                if last or isinstance(error, (aiohttp.ClientConnectorError, TimeoutError)):
                    raise self._away(error) from None
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, path: str, options: dict[str, Any]) -> Answer:
        timeout = aiohttp.ClientTimeout(total=self.connection.timeout_s)
        try:
            async with self._open.request(
                method, self._url(path), timeout=timeout, allow_redirects=False, **options
            ) as response:
                answer = Answer(response.status, await response.read(), response.headers)
        except _BROKEN:
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None
        if answer.status >= 300:
            raise Refused(answer.status, answer.content, answer.headers.get("Retry-After"), self._about)
        return answer

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A long answer, to be read as it comes."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.connection.timeout_s, sock_read=IDLE_S)
        try:
            async with self._open.request(
                method,
                self._url(path),
                params=query,
                json=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                read_bufsize=LONGEST_LINE,
            ) as response:
                if response.status >= 300:
                    body = await response.read()
                    raise Refused(response.status, body, response.headers.get("Retry-After"), self._about)
                yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise self._away(error) from None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not open")
        return self._session

    def _url(self, path: str) -> str:
        return self.connection.url + PREFIX + path

    def _away(self, error: BaseException) -> Unreachable:
        url = self.connection.url
        match error:
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                advice = "--ca-file FILE names the certificate to believe"
                return Unreachable(f"{url}: its certificate is not to be trusted", advice)
            case TimeoutError():
                reason = f"no answer within {self.connection.timeout_s:g} s"
            case aiohttp.ClientConnectorError(os_error=cause):
                reason = cause.strerror or type(cause).__name__
            case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | OSError():
                reason = "the connection broke"
            case _:
                reason = type(error).__name__
        return Unreachable(f"{url} does not answer: {reason}", "is the centre running, and is this its address?")
