"""Takes one JSON object apart, field by field; what is refused is named by its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pbx.domain import variables
from pbx.domain.errors import BadValue
from pbx.domain.variables import Value

DIGITS = frozenset("0123456789*#")


class Reader:
    """Takes fields out of one JSON object; what is left over at the end is refused."""

    def __init__(self, data: Any, field: str) -> None:
        if not isinstance(data, Mapping):
            raise BadValue(field, "must be an object")
        self.data = dict(data)
        self.field = field

    def take(self, name: str, kind: type | tuple[type, ...], what: str, default: Any) -> Any:
        if name not in self.data:
            if default is ...:
                raise BadValue(f"{self.field}.{name}", "is missing")
            return default
        value = self.data.pop(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadValue(f"{self.field}.{name}", f"must be {what}")
        return value

    def text(self, name: str, default: Any = ...) -> Any:
        value = self.take(name, str, "a text", default)
        if value == "":
            raise BadValue(f"{self.field}.{name}", "must not be empty")
        return value

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.take(name, bool, "true or false", default))

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self.take(name, int, "a whole number", default)
        if not low <= value <= high:
            raise BadValue(f"{self.field}.{name}", f"must be from {low} to {high}")
        return int(value)

    def seconds(self, name: str, default: Any, low: float, high: float) -> Any:
        value = self.take(name, (int, float), "a number of seconds", default)
        if value is not None and not low <= value <= high:
            raise BadValue(f"{self.field}.{name}", f"must be from {low} to {high} seconds")
        return value

    def texts(self, name: str, default: Any = ...) -> tuple[str, ...]:
        value = self.take(name, list, "a list of texts", default)
        for at, item in enumerate(value):
            if not isinstance(item, str) or not item:
                raise BadValue(f"{self.field}.{name}.{at}", "must be a text")
        return tuple(value)

    def digit(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if value not in DIGITS:
            raise BadValue(f"{self.field}.{name}", "must be one of 0-9, * and #")
        return str(value)

    def choices(self, name: str) -> dict[str, str]:
        value = self.take(name, Mapping, "an object of digit to target", ...)
        if not value:
            raise BadValue(f"{self.field}.{name}", "must offer at least one digit")
        for digit, target in value.items():
            if digit not in DIGITS:
                raise BadValue(f"{self.field}.{name}.{digit}", "is not one of 0-9, * and #")
            if not isinstance(target, str) or not target:
                raise BadValue(f"{self.field}.{name}.{digit}", "must be a text")
        return dict(value)

    def one_of(self, name: str, allowed: tuple[str, ...], default: Any = ...) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise BadValue(f"{self.field}.{name}", f"must be one of {', '.join(allowed)}")
        return str(value)

    def variable(self, name: str, default: Any = ..., *, writable: bool = True) -> Any:
        value = self.text(name, default)
        return value and variables.variable_name(value, f"{self.field}.{name}", writable=writable)

    def mapping(self, name: str, what: str, default: Any = ...) -> dict[str, Any]:
        return dict(self.take(name, Mapping, f"an object of {what}", default))

    def templates(self, name: str, what: str) -> dict[str, str]:
        """An object of texts that may name variables; empty when it is not there."""
        values = self.mapping(name, what, {})
        for key, value in values.items():
            if not isinstance(value, str):
                raise BadValue(f"{self.field}.{name}.{key}", "must be a text")
            variables.template(value, f"{self.field}.{name}.{key}")
        return values

    def objects(self, name: str, what: str, default: Any = ...) -> Iterator[Reader]:
        """A reader for each object of a list; what it leaves over is refused when the next one is asked for."""
        for at, data in enumerate(self.take(name, list, f"a list of {what}", default)):
            reader = Reader(data, f"{self.field}.{name}.{at}")
            yield reader
            reader.done()

    def done(self) -> None:
        if self.data:
            raise BadValue(f"{self.field}.{min(self.data)}", "is not known here")


def literal(value: Any, field: str) -> Value:
    """A text, a finite number, true or false. Raises BadValue, naming ``field``."""
    found = variables.plain(value)
    if found is None or found != value:
        raise BadValue(field, "must be a text, a number, true or false")
    return found
