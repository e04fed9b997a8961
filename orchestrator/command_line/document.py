"""The centre's own OpenAPI document: what a body may hold. A centre of another version than this program's is asked
for its own fields, so that nothing it knows is lost when a resource is written back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dialplans.documents import Unusable, parse
from orchestrator.command_line.client import PREFIX, Client
from orchestrator.command_line.failures import Failure, Misused

SECRETS = frozenset({"password", "secret", "token", "key"})


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    """In words: ``text``, ``whole number or null``."""
    required: bool
    default: Any
    about: str
    secret: bool
    """Never to be given in the arguments of a command, which other users of the machine can read."""


class Document:
    def __init__(self, data: dict[str, Any]) -> None:
        self._paths: dict[str, Any] = data.get("paths", {})
        self._schemas: dict[str, Any] = data.get("components", {}).get("schemas", {})

    def body(self, method: str, path: str) -> Body:
        """Of a route, its path as in the document. Raises Failure where the centre has no such route."""
        operation = self._paths.get(PREFIX + path, {}).get(method.lower())
        if operation is None:
            raise Failure(f"this centre has no {method} {path}", "it is older or newer than this program")
        content = operation.get("requestBody", {}).get("content", {})
        return Body(self, content.get("application/json", {}).get("schema", {}))

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def alternatives(self, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        schema = self.resolved(schema)
        for part in schema.get("anyOf") or schema.get("oneOf") or ():
            yield from self.alternatives(part)
        if "anyOf" not in schema and "oneOf" not in schema:
            yield schema


class Body:
    def __init__(self, document: Document, schema: dict[str, Any]) -> None:
        self._document = document
        self._schema = document.resolved(schema)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._schema.get("properties", {}))

    def fields(self) -> list[Field]:
        required = self._schema.get("required", ())
        return [
            Field(
                name,
                " or ".join(dict.fromkeys(map(self._words, self._document.alternatives(schema)))),
                name in required,
                schema.get("default"),
                " ".join(schema.get("description", "").split()),
                self.secret(name),
            )
            for name, schema in self._schema.get("properties", {}).items()
        ]

    def secret(self, name: str) -> bool:
        schema = self._schema.get("properties", {}).get(name, {})
        formats = {part.get("format") for part in self._document.alternatives(schema)}
        return "password" in formats or (name in SECRETS and name in self.names)

    def value(self, place: str, text: str) -> Any:
        """``text`` as the field at ``place`` (``skills.lang:de``) holds it: as it stands where that is a text, else as
        JSON or YAML. Raises Misused."""
        schemas = [self._schema]
        for name in place.split("."):
            schemas = [part for schema in schemas for inner in self._inner(schema, name) for part in inner]
        kinds = {schema.get("type") for schema in schemas}
        if text == "null" and ("null" in kinds or not kinds):
            return None
        if kinds and kinds <= {"string", "null"}:
            return text
        try:
            return parse(text, place)
        except Unusable as error:
            raise Misused(str(error)) from None

    def _inner(self, schema: dict[str, Any], name: str) -> Iterator[list[dict[str, Any]]]:
        found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if isinstance(found, dict):
            yield list(self._document.alternatives(found))

    def _words(self, schema: dict[str, Any]) -> str:
        if "enum" in schema:
            return " or ".join(map(str, schema["enum"]))
        if "const" in schema:
            return str(schema["const"])
        match schema.get("type"):
            case "string":
                return {"date-time": "time", "date": "day"}.get(schema.get("format", ""), "text")
            case "integer":
                return "whole number"
            case "number":
                return "number"
            case "boolean":
                return "true or false"
            case "array":
                inner = " or ".join(dict.fromkeys(map(self._words, self._document.alternatives(schema["items"]))))
                return f"list of {inner}"
            case "object":
                return "object"
            case None:
                return "anything"
            case other:
                return str(other)


async def fetch(client: Client) -> Document:
    return Document((await client.ask("GET", "/openapi.json")).json)
