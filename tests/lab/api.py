"""A client of the centre's REST API, for tests, demo and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import aiohttp

from tests.lab.errors import LabError


class ApiProblem(LabError):
    """The API answered with a problem. ``status`` and ``body`` are its answer."""

    def __init__(self, method: str, path: str, status: int, body: Any) -> None:
        super().__init__(f"{method} {path}: {status}: {body}")
        self.status = status
        self.body = body


class Api:
    """``async with Api.open(url, token) as api``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}", "X-Purpose": "the laboratory looks at its own calls"}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, token: str, ca_file: Path | None = None) -> AsyncIterator[Self]:
        """``ca_file``: the authority of the centre's certificate."""
        connector = None if ca_file is None else aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15), connector=connector) as session:
            yield cls(session, url, token)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, None where there is none. Raises ApiProblem."""
        async with self._session.request(
            method, f"{self.url}/api/v1/{path}", json=body, headers=self._headers
        ) as answer:
            json = "json" in answer.headers.get("Content-Type", "")
            content = await answer.json() if json else None
            if answer.status >= 400:
                raise ApiProblem(method, path, answer.status, content)
            return content

    async def wait_up(self, deadline_s: float = 15.0) -> None:
        """Wait until the API answers."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                await self.get("health")
            except aiohttp.ClientConnectionError as error:
                if time.monotonic() > end:
                    raise LabError(f"the API at {self.url} does not answer: {error}") from error
                await asyncio.sleep(0.05)
            else:
                return

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path)

    async def post(self, path: str, body: Any = None) -> Any:
        return await self.ask("POST", path, body)

    async def upload(self, path: str, data: bytes, kind: str) -> Any:
        """PUT a file; the answer's JSON. Raises ApiProblem."""
        headers = {**self._headers, "Content-Type": kind}
        async with self._session.put(f"{self.url}/api/v1/{path}", data=data, headers=headers) as answer:
            if answer.status >= 400:
                raise ApiProblem("PUT", path, answer.status, await answer.text())
            return await answer.json()

    async def download(self, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        asked = {**self._headers, **headers}
        async with self._session.get(f"{self.url}/api/v1/{path}", headers=asked) as answer:
            if answer.status >= 400:
                raise ApiProblem("GET", path, answer.status, await answer.text())
            return await answer.read()

    async def events(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """The live stream of everything that happens, for ever; from the very first event by default."""
        url = f"{self.url}/api/v1/events?after={after}"
        forever = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, headers=self._headers, timeout=forever) as answer:
            if answer.status >= 400:
                raise ApiProblem("GET", "events", answer.status, await answer.text())
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    async def items(self, path: str) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            mark = "&" if "?" in path else "?"
            page = await self.get(f"{path}{mark}limit=200{f'&cursor={cursor}' if cursor else ''}")
            found += page["items"]
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return found

    async def until(self, path: str, ready: Any, deadline_s: float = 10.0) -> Any:
        """GET ``path`` until ``ready(answer)``; LabError with the last answer at the deadline."""
        end = time.monotonic() + deadline_s
        while True:
            answer = await self.get(path)
            if ready(answer):
                return answer
            if time.monotonic() > end:
                raise LabError(f"GET {path} did not come to what was waited for; it says {answer}")
            await asyncio.sleep(0.05)
