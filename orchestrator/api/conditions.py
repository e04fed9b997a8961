"""Conditional and repeatable requests (RFC 9110, 13; Idempotency-Key): for all routes alike, from what the registry
knows of them.

The ETag of a resource is a hash of what its GET answers, but for the fields that its model calls ``volatile``: what
changes by itself, such as a POP's heartbeat, makes nobody's change stale. If-Match is compared inside the transaction
that changes, so that of two who have read the same thing only one can change it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from aiohttp import web
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.domain.grants import current
from orchestrator.domain.problems import Stale, one
from orchestrator.services import audit, commands, guards, idempotency
from orchestrator.services.context import Services

_ONE = r'(?:W/)?"[!#-~]*"'
TAGS = rf"\*|{_ONE}(?:, *{_ONE})*"
"""What If-Match and If-None-Match may say; of RFC 9110's tags those of ASCII."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("ETag", "Location")


class Read(Protocol):
    """The GET route of a single resource."""

    @property
    def handler(self) -> Callable[..., Awaitable[Any]]: ...

    @property
    def response(self) -> type[BaseModel] | None: ...

    @property
    def parameters(self) -> tuple[str, ...]: ...


def volatile(model: type[BaseModel]) -> frozenset[str]:
    found: frozenset[str] = getattr(model, "volatile", frozenset())
    return found


def etag(model: type[BaseModel], value: BaseModel) -> str:
    """Of the resource that ``value`` shows, as ``model`` shows it: an answer to a POST may say more."""
    shown = value.model_dump(mode="json", include=set(model.model_fields) - volatile(model))
    return f'"{hashlib.sha256(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]}"'


def shows(value: BaseModel, model: type[BaseModel]) -> bool:
    return set(model.model_fields) <= set(type(value).model_fields)


def _tags(header: str, name: str) -> frozenset[str] | None:
    """The entity tags of a header; None for ``*``. A weak one matches nothing that is to be changed."""
    if header == "*":
        return None
    if not re.fullmatch(TAGS, header):
        raise one(name, "is not a list of entity tags")
    tags = re.findall(_ONE, header)
    return frozenset(tag.removeprefix("W/") for tag in tags if name != "If-Match" or not tag.startswith("W/"))


def not_modified(request: web.Request, tag: str) -> bool:
    header = request.headers.get("If-None-Match")
    if header is None:
        return False
    tags = _tags(header, "If-None-Match")
    return tags is None or tag in tags


def precondition(request: web.Request, read: Read | None) -> Callable[[Services], Awaitable[None]] | None:
    """What the request wants to hold, to be asked of a resource as the given services see it."""
    header = request.headers.get("If-Match")
    if header is None:
        return None
    if read is None or read.response is None:
        raise one("If-Match", "cannot be asked for here")
    tags, model = _tags(header, "If-Match"), read.response
    wanted = {name: request.match_info[name] for name in read.parameters}

    async def holds(services: Services) -> None:
        found = await read.handler(services=services, **wanted)
        if tags is not None and etag(model, found) not in tags:
            raise Stale

    return holds


def conditional(services: Services, holds: Callable[[Services], Awaitable[None]]) -> Services:
    """``services`` in whose transactions ``holds`` is asked first."""

    async def first(session: AsyncSession) -> None:
        await holds(guards.within(services, session))

    return guards.guarded(services, first=first)


def asked_once(request: web.Request, body: bytes) -> idempotency.Asked | None:
    """The request under its Idempotency-Key; None when it has none."""
    key = request.headers.get("Idempotency-Key")
    credential = request.headers.get("Authorization", "")
    if key is None or not credential:
        return None
    if not _KEY.fullmatch(key):
        raise one("Idempotency-Key", "is not 1 to 255 printable ASCII characters without blanks")
    words = (request.method.encode(), request.raw_path.encode(), request.content_type.encode(), body)
    fingerprint = hashlib.sha256(b"\0".join(hashlib.sha256(word).digest() for word in words)).hexdigest()
    return idempotency.Asked(key, credential, fingerprint)


async def once(
    services: Services, asked: idempotency.Asked, carry_out: Callable[[Services], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Carry the request out, or give the answer that was given to it before. What failed was not done and may be
    asked again."""
    claimed = await idempotency.claim(services.database, asked)
    if isinstance(claimed, bytes):
        await current().note(audit.REPLAYED)
        return _again(claimed)
    try:
        with commands.keyed(asked.key_hash):
            response = await carry_out(guards.guarded(services, last=claimed.mark))
        if isinstance(response, web.Response) and response.status < 400:
            await claimed.keep(_kept(response))
        else:
            await claimed.release()
        return response
    except Exception:
        await claimed.release()
        raise


def _kept(response: web.Response) -> bytes:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    body = response.body or b""
    if not isinstance(body, bytes):
        raise TypeError("a POST answers with a model or with bytes")
    return orjson.dumps({"status": response.status, "headers": headers, "body": body.decode()})


def _again(answer: bytes) -> web.Response:
    kept = orjson.loads(answer)
    headers = {**kept["headers"], REPLAYED: "true"}
    if kept["status"] == 204:
        return web.Response(status=204, headers=headers)
    return web.Response(
        body=kept["body"].encode(), status=kept["status"], headers=headers, content_type="application/json"
    )


def described(method: str, *, resource: bool, live: bool, public: bool) -> list[tuple[dict[str, Any], int]]:
    """For OpenAPI: each header that the route reads, and the status that comes of it."""
    text = {"type": "string"}
    tags = {"type": "string", "pattern": f"^({TAGS})$"}
    found: list[tuple[dict[str, Any], int]] = []
    if method == "POST" and not public:
        words = "Asked again with the same key within a day, the request is not done again and its answer is the same."
        schema = {**text, "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"}
        found.append((_header("Idempotency-Key", schema, words), 409))
    if method == "GET" and resource and not live:
        found.append((_header("If-None-Match", tags, "304 if its ETag is one of these."), 304))
    if method in ("PUT", "PATCH", "DELETE") and resource:
        words = "Change it only if its ETag is one of these; 412 `stale` otherwise."
        found.append((_header("If-Match", tags, words), 412))
    return found


def _header(name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": words}


def describe_answer(responses: dict[str, Any], method: str, status: int) -> None:
    headers: dict[str, Any] = {"ETag": {"schema": {"type": "string"}, "description": "For If-Match."}}
    if method == "POST":
        headers["Location"] = {"schema": {"type": "string"}}
    responses[str(status)]["headers"] = headers
