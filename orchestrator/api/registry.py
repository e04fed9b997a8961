"""Routes with types: a handler's annotations are its contract. From the same models come the validation of requests
and the OpenAPI 3.1 document.

A handler takes ``services: Services`` and, as it needs, ``request``, ``body`` (a model), ``content`` (bytes, where the
route names ``content_types``), ``query`` (a model) and the path's parameters by name (texts). It returns a model, None
(204), or a response of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints
from urllib.parse import quote

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from orchestrator.api import access, conditions, docstrings, errors
from orchestrator.domain.grants import Role
from orchestrator.domain.problems import Invalid, NotReadable, one
from orchestrator.domain.rows import errors_of
from orchestrator.services.context import Services

Handler = Callable[..., Awaitable[BaseModel | web.StreamResponse | None]]
MAX_BODY = 1 << 20
"""Bytes of a request's body, where the route says nothing else."""
LONGEST_BODY = 32 << 20
NUL = "holds the character NUL"
SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    response: type[BaseModel] | None
    media_type: str
    public: bool
    parameters: tuple[str, ...]
    problems: tuple[int, ...]
    needs: access.Needs
    tagged: bool = False
    """Its answer is a resource with an ETag."""
    checked: Literal["within", "before"] = "within"
    """Whether If-Match is asked in the handler's transactions, or before a handler that sends commands."""
    content_types: tuple[str, ...] = ()
    max_body: int = MAX_BODY

    @property
    def operation_id(self) -> str:
        return self.handler.__module__.rsplit(".", 1)[1] + "_" + getattr(self.handler, "__name__", "handler")


class Registry:
    def __init__(self) -> None:
        self.routes: list[Route] = []

    def route(
        self,
        method: str,
        path: str,
        *,
        tag: str,
        status: int = 200,
        media_type: str = "application/json",
        public: bool = False,
        problems: Sequence[int] = (),
        roles: Collection[Role] = (),
        whole: bool = False,
        recorded: bool | None = None,
        purpose: bool = False,
        tagged: bool | None = None,
        checked: Literal["within", "before"] = "within",
        content_types: Sequence[str] = (),
        max_body: int = MAX_BODY,
    ) -> Callable[[Handler], Handler]:
        """``problems``: the error statuses besides 400, 401, 403, 404, 422, 429, 500 and 503 that the route may answer,
        and those of conditions. ``tagged``: whether a GET's answer has an ETag; that of one resource has, unless told
        otherwise.

        ``roles``: who may use it; a route that is not ``public`` names some, or ``install`` fails. ``whole``: only with
        a grant for all units and regions. ``recorded``: in the audit log; all but GET unless told otherwise.
        ``purpose``: the caller has to say why (``X-Purpose``).
        """

        def add(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            returned = hints.get("return")
            model = returned if inspect.isclass(returned) and issubclass(returned, BaseModel) else None
            parameters = tuple(_PARAMETER.findall(path))
            resource = method == "GET" and model is not None and bool(parameters) and "items" not in model.model_fields
            self.routes.append(
                Route(
                    method,
                    path,
                    handler,
                    (inspect.getdoc(handler) or "").strip(),
                    tag,
                    status,
                    hints.get("body"),
                    hints.get("query"),
                    model,
                    media_type,
                    public,
                    parameters,
                    tuple(problems),
                    access.Needs(frozenset(roles), whole, method != "GET" if recorded is None else recorded, purpose),
                    resource if tagged is None else tagged,
                    checked,
                    tuple(content_types),
                    max_body,
                )
            )
            return handler

        return add

    def install(self, app: web.Application) -> None:
        self.check()
        for route in self.routes:
            app.router.add_route(route.method, route.path, _adapt(route, self.resource_of(route)))

    def resource_of(self, route: Route) -> Route | None:
        """The GET of the resource that the route reads, changes or makes, if it has an ETag."""
        for other in self.routes:
            made = route.method == "POST" and re.fullmatch(re.escape(route.path) + r"/{\w+}", other.path)
            if other.tagged and other.method == "GET" and (other.path == route.path or made):
                return other
        return None

    def check(self) -> None:
        """Raises Undeclared when there is a route that anybody could use because nobody said who may."""
        if lost := [f"{r.method} {r.path}" for r in self.routes if r.public == bool(r.needs.roles)]:
            raise access.Undeclared(f"these routes must be public or name roles, one of both: {', '.join(lost)}")

    @property
    def public_paths(self) -> frozenset[str]:
        return frozenset(route.path for route in self.routes if route.public)


def _adapt(route: Route, resource: Route | None) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    wanted = inspect.signature(route.handler).parameters

    async def handle(request: web.Request) -> web.StreamResponse:
        if not route.public:
            access.enter(request, route.needs, route.operation_id)
        arguments: dict[str, Any] = {name: request.match_info[name] for name in route.parameters}
        for name, value in (*arguments.items(), *request.query.items()):
            if "\0" in value:
                raise one(name, NUL)
        if "request" in wanted:
            arguments["request"] = request
        given_apart = ("purpose", "link") if route.needs.purpose else ()
        asked = {name: value for name, value in request.query.items() if name not in given_apart}
        if route.query is not None:
            arguments["query"] = _validate(route.query, asked)
        elif asked:
            raise one(next(iter(asked)), "is not a parameter here")
        if route.content_types and request.content_type not in route.content_types:
            raise NotReadable(f"the body must be one of {', '.join(route.content_types)}")
        body = await _body(request, route.max_body) if request.method != "GET" else b""
        if "content" in wanted:
            arguments["content"] = body
        if route.body is not None:
            arguments["body"] = _validate(route.body, _json(body))

        async def carry_out(services: Services) -> web.StreamResponse:
            if "services" in wanted:
                arguments["services"] = services
            return _response(route, resource, request, await route.handler(**arguments))

        services = request.app[SERVICES]
        if route.method != "GET":
            holds = conditions.precondition(request, resource if route.method != "POST" else None)
            if holds is not None and route.checked == "within":
                services = conditions.conditional(services, holds)
            elif holds is not None:
                await holds(services)
        once = conditions.asked_once(request, body) if route.method == "POST" and not route.public else None
        if once is not None:
            return await conditions.once(services, once, carry_out)
        return await carry_out(services)

    return handle


def _response(
    route: Route, resource: Route | None, request: web.Request, result: BaseModel | web.StreamResponse | None
) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=204)
    headers: dict[str, str] = {}
    if resource is not None and resource.response is not None and conditions.shows(result, resource.response):
        headers["ETag"] = conditions.etag(resource.response, result)
        if route.method == "GET" and not conditions.volatile(resource.response):
            if conditions.not_modified(request, headers["ETag"]):
                return web.Response(status=304, headers=headers)
        elif route.method == "POST" and route.status == 201 and resource.path != route.path:
            name = resource.parameters[-1]
            there = {**request.match_info, name: getattr(result, name)}
            headers["Location"] = _PARAMETER.sub(lambda found: quote(there[found[1]], safe=""), resource.path)
    return web.Response(
        body=result.model_dump_json().encode(), status=route.status, headers=headers, content_type="application/json"
    )


async def _body(request: web.Request, most: int) -> bytes:
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    data = await request.read()
    if len(data) > most:
        raise web.HTTPRequestEntityTooLarge(most, len(data))
    return data


def _json(data: bytes) -> Any:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise errors.NotJson("the body is not JSON") from None
    if not isinstance(value, dict):
        raise errors.NotJson("the body is not a JSON object")
    if b"\\u0000" in data and (place := _nul(value, "")) is not None:
        raise one(place, NUL)
    return value


def _nul(value: Any, place: str) -> str | None:
    """Where a text in ``value`` holds the character NUL, which PostgreSQL cannot store."""
    if isinstance(value, str):
        return place if "\0" in value else None
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return place or "body"
        found = (_nul(item, f"{place}.{key}" if place else key) for key, item in value.items())
    elif isinstance(value, list):
        found = (_nul(item, f"{place}.{at}") for at, item in enumerate(value))
    else:
        return None
    return next((at for at in found if at is not None), None)


def _validate(model: type[BaseModel], value: Any) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(errors_of(error)) from None


def openapi(
    registry: Registry, title: str, version: str, messages: Mapping[str, tuple[str, type[BaseModel]]]
) -> dict[str, Any]:
    """The document of all routes, and of the ``messages`` that are sent (name -> what it says, its model); every model
    lies once under ``components``."""
    inputs = {m for r in registry.routes for m in (r.body, r.query) if m is not None}
    outputs = {r.response for r in registry.routes if r.response is not None} | {errors.ProblemBody}
    outputs |= {model for _, model in messages.values()}
    wanted: list[Any] = [(m, "validation") for m in inputs] + [(m, "serialization") for m in outputs]
    wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
    refs, schema = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    docstrings.describe(schema.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for route in registry.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, registry.resource_of(route), refs, schema.get("$defs", {})
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "webhooks": {name: _message(name, said, refs[(m, "serialization")]) for name, (said, m) in messages.items()},
        "components": {
            "schemas": schema.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "link": {"type": "apiKey", "in": "query", "name": "link"},
            },
        },
        "security": [{"token": []}],
    }


def _message(name: str, said: str, model: Any) -> dict[str, Any]:
    schema = {"allOf": [model, {"properties": {"type": {"const": name}}}]}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {"summary": said, "requestBody": body, "responses": {"2XX": {"description": "Taken"}}}}


def _operation(route: Route, resource: Route | None, refs: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "maxLength": 200}}
        for name in route.parameters
    ]
    if route.query is not None:
        query = definitions[refs[(route.query, "validation")]["$ref"].rsplit("/", 1)[1]]
        for name, field in query.get("properties", {}).items():
            required = name in query.get("required", [])
            parameters.append({"name": name, "in": "query", "required": required, "schema": field})
    statuses = {400, 500, 503, *route.problems}
    statuses |= set() if route.public else {401, 403, 429}
    parameters += access.PURPOSE_PARAMETERS if route.needs.purpose else ()
    statuses |= {404} if route.parameters else set()
    statuses |= {413, 422} if route.body is not None or route.content_types else {422}
    statuses |= {415} if route.content_types else set()
    for header, status in _conditions(route, resource):
        parameters.append(header)
        statuses.add(status)
    problem = {"application/problem+json": {"schema": refs[(errors.ProblemBody, "serialization")]}}
    responses: dict[str, Any] = {str(s): {"description": "Problem", "content": problem} for s in sorted(statuses)}
    if 304 in statuses:
        responses["304"] = {"description": "Unchanged"}
    if route.status in (204, 302):
        responses["204"] = {"description": "Done"}
    else:
        content_schema = refs[(route.response, "serialization")] if route.response is not None else {}
        content = {route.media_type: {"schema": content_schema} if content_schema else {}}
        responses[str(route.status)] = {"description": "Done", "content": content}
        if resource is not None and resource.response is not None and route.response is not None:
            conditions.describe_answer(responses, route.method, route.status)
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary.split("\n", 1)[0],
        "description": route.summary,
        "tags": [route.tag],
        "parameters": parameters,
        "responses": responses,
    }
    if route.body is not None:
        schema = refs[(route.body, "validation")]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.content_types:
        content = {kind: {"schema": _content_schema(kind)} for kind in route.content_types}
        operation["requestBody"] = {"required": True, "content": content}
    if route.public:
        operation["security"] = []
    else:
        links: list[dict[str, Any]] = [{"link": []}] if route.needs.purpose and route.media_type == "audio/wav" else []
        operation["security"] = [{"token": []}, *links]
        operation["x-roles"] = sorted(route.needs.roles)
    return operation


def _conditions(route: Route, resource: Route | None) -> list[tuple[dict[str, Any], int]]:
    live = resource is not None and resource.response is not None and bool(conditions.volatile(resource.response))
    return conditions.described(route.method, resource=resource is not None, live=live, public=route.public)


def _content_schema(kind: str) -> dict[str, Any]:
    return {"type": "string"} if kind.startswith("text/") or kind.endswith("ndjson") else {}
