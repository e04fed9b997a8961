"""Routes with types: a handler's annotations are its contract. From the same models come the validation of requests
and the OpenAPI 3.1 document.

A handler takes ``services: Services`` and, as it needs, ``request``, ``body`` (a model), ``query`` (a model) and the
path's parameters by name (texts). It returns a model, None (204), or a response of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from orchestrator.api import access, errors
from orchestrator.domain.grants import Role
from orchestrator.domain.problems import FieldError, Invalid, one
from orchestrator.services.context import Services

Handler = Callable[..., Awaitable[BaseModel | web.StreamResponse | None]]
MAX_BODY = 1 << 20
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
    ) -> Callable[[Handler], Handler]:
        """``problems``: the error statuses besides 400, 401, 403, 404, 422, 429, 500 and 503 that the route may answer.

        ``roles``: who may use it; a route that is not ``public`` names some, or ``install`` fails. ``whole``: only with
        a grant for all units and regions. ``recorded``: in the audit log; all but GET unless told otherwise.
        ``purpose``: the caller has to say why (``X-Purpose``).
        """

        def add(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            returned = hints.get("return")
            model = returned if inspect.isclass(returned) and issubclass(returned, BaseModel) else None
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
                    tuple(_PARAMETER.findall(path)),
                    tuple(problems),
                    access.Needs(frozenset(roles), whole, method != "GET" if recorded is None else recorded, purpose),
                )
            )
            return handler

        return add

    def install(self, app: web.Application) -> None:
        self.check()
        for route in self.routes:
            app.router.add_route(route.method, route.path, _adapt(route))

    def check(self) -> None:
        """Raises Undeclared when there is a route that anybody could use because nobody said who may."""
        if lost := [f"{r.method} {r.path}" for r in self.routes if r.public == bool(r.needs.roles)]:
            raise access.Undeclared(f"these routes must be public or name roles, one of both: {', '.join(lost)}")

    @property
    def public_paths(self) -> frozenset[str]:
        return frozenset(route.path for route in self.routes if route.public)


def _adapt(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    wanted = inspect.signature(route.handler).parameters

    async def handle(request: web.Request) -> web.StreamResponse:
        if not route.public:
            access.enter(request, route.needs, route.operation_id)
        arguments: dict[str, Any] = {name: request.match_info[name] for name in route.parameters}
        for name, value in (*arguments.items(), *request.query.items()):
            if "\0" in value:
                raise one(name, NUL)
        if "services" in wanted:
            arguments["services"] = request.app[SERVICES]
        if "request" in wanted:
            arguments["request"] = request
        asked = {
            name: value for name, value in request.query.items() if not (route.needs.purpose and name == "purpose")
        }
        if route.query is not None:
            arguments["query"] = _validate(route.query, asked)
        elif asked:
            raise one(next(iter(asked)), "is not a parameter here")
        if route.body is not None:
            arguments["body"] = _validate(route.body, await _json(request))
        result = await route.handler(**arguments)
        if isinstance(result, web.StreamResponse):
            return result
        if result is None:
            return web.Response(status=204)
        return web.Response(body=result.model_dump_json(), status=route.status, content_type="application/json")

    return handle


async def _json(request: web.Request) -> Any:
    data = await request.read()
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
        raise Invalid([_field_error(item) for item in error.errors(include_url=False, include_input=False)]) from None


def _field_error(item: Any) -> FieldError:
    reason = {"missing": "is missing", "extra_forbidden": "is not known here"}.get(item["type"], str(item["msg"]))
    field = ".".join(str(part) for part in item["loc"] if part != "[key]")
    if not field and isinstance(item.get("type"), str):
        field = item["type"]
    return FieldError(field, reason)


def openapi(registry: Registry, title: str, version: str) -> dict[str, Any]:
    """The document of all routes; every model lies once under ``components``."""
    inputs = {m for r in registry.routes for m in (r.body, r.query) if m is not None}
    outputs = {r.response for r in registry.routes if r.response is not None} | {errors.ProblemBody}
    wanted: list[Any] = [(m, "validation") for m in inputs] + [(m, "serialization") for m in outputs]
    wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
    refs, schema = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for route in registry.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, schema.get("$defs", {}))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": schema.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, refs: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.parameters
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
    statuses |= {413, 422} if route.body is not None else {422}
    problem = {"application/problem+json": {"schema": refs[(errors.ProblemBody, "serialization")]}}
    responses: dict[str, Any] = {str(s): {"description": "Problem", "content": problem} for s in sorted(statuses)}
    if route.status in (204, 302):
        responses["204"] = {"description": "Done"}
    else:
        content_schema = refs[(route.response, "serialization")] if route.response is not None else {}
        content = {route.media_type: {"schema": content_schema} if content_schema else {}}
        responses[str(route.status)] = {"description": "Done", "content": content}
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
    if route.public:
        operation["security"] = []
    else:
        operation["security"] = [{"token": []}]
        operation["x-roles"] = sorted(route.needs.roles)
    return operation
