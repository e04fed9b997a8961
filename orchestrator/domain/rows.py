"""Imported files: CSV or JSON lines to rows, each checked by the model that a single request is checked by."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from orchestrator.domain.problems import FieldError, Invalid, one
from orchestrator.domain.strict import Strict

CSV = "text/csv"
JSON_LINES = "application/x-ndjson"
KINDS = (CSV, JSON_LINES)
MAX_ROWS = 10_000
MAX_ERRORS = 500
"""So many are told; a file with more is refused all the same."""

Spec = TypeVar("Spec", bound=Strict)


@dataclass(frozen=True, slots=True)
class Row(Generic[Spec]):
    line: int
    """Where it begins in the file, from 1."""
    spec: Spec


def read(content: bytes, kind: str, model: type[Spec]) -> tuple[list[Row[Spec]], list[FieldError]]:
    """The rows that are well formed, and what is wrong with the others. Raises Invalid for a file that has no rows."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise one("file", f"is not UTF-8 at byte {error.start}") from None
    if "\0" in text:
        raise one("file", "holds the character NUL")
    found: list[Row[Spec]] = []
    errors: list[FieldError] = []
    lines = _csv(text, model) if kind == CSV else _json_lines(text)
    if not lines:
        raise one("file", "has no rows")
    if len(lines) > MAX_ROWS:
        raise one("file", f"has more than {MAX_ROWS} rows")
    for line, values in lines:
        if isinstance(values, FieldError):
            errors.append(values)
            continue
        try:
            found.append(Row(line, model.model_validate(values)))
        except ValidationError as error:
            errors += errors_of(error, line)
    return found, errors


def errors_of(error: ValidationError, line: int | None = None) -> list[FieldError]:
    """In the words of the API: the field's path, and what is wrong with it."""
    return [_field_error(item, line) for item in error.errors(include_url=False, include_input=False)]


def _field_error(item: Any, line: int | None) -> FieldError:
    reason = {"missing": "is missing", "extra_forbidden": "is not known here"}.get(item["type"], str(item["msg"]))
    field = ".".join(str(part) for part in item["loc"] if part != "[key]")
    if not field and isinstance(item.get("type"), str):
        field = item["type"]
    return FieldError(field, reason, line)


def refuse(errors: list[FieldError]) -> None:
    if errors:
        raise Invalid(sorted(errors, key=lambda error: (error.row or 0, error.field))[:MAX_ERRORS])


def _json_lines(text: str) -> list[tuple[int, dict[str, Any] | FieldError]]:
    found: list[tuple[int, dict[str, Any] | FieldError]] = []
    for line, words in enumerate(text.split("\n"), 1):
        if not words.strip():
            continue
        try:
            value = json.loads(words)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and "\\u0000" not in words:
            found.append((line, value))
        else:
            found.append((line, FieldError("row", "is not a JSON object", line)))
    return found


def _csv(text: str, model: type[Strict]) -> list[tuple[int, dict[str, Any] | FieldError]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, dict[str, Any] | FieldError]] = []
    names: list[str] | None = None
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _names(cells, model)
            elif len(cells) > len(names):
                found.append((line, FieldError("row", f"has {len(cells)} cells for {len(names)} names", line)))
            else:
                found.append((line, _values(dict(zip(names, cells, strict=False)), model, line)))
    except csv.Error as error:
        raise Invalid([FieldError("file", f"is not CSV: {error}", reader.line_num)]) from None
    return found


def _names(cells: list[str], model: type[Strict]) -> list[str]:
    names = [cell.strip() for cell in cells]
    unknown = [name for name in names if name not in model.model_fields]
    if unknown or len(set(names)) != len(names):
        reason = "is not known here" if unknown else "is there twice"
        shown = unknown or sorted(name for name in names if names.count(name) > 1)[:1]
        raise Invalid([FieldError(name[:63] or "file", reason, 1) for name in shown])
    return names


def _values(cells: dict[str, str], model: type[Strict], line: int) -> dict[str, Any] | FieldError:
    """Empty cells are left out. Texts are taken as they are, ``skills`` as ``lang:de=5 sales=3``, all else as JSON."""
    texts = _texts(model)
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if not cell.strip():
            continue
        if name in texts:
            values[name] = cell
            continue
        short = _skills(cell) if name == "skills" else None
        try:
            values[name] = json.loads(cell) if short is None else short
        except (ValueError, RecursionError):
            hint = "is not written as lang:de=5 sales=3" if name == "skills" else "is not JSON"
            return FieldError(name, hint, line)
        if "\\u0000" in cell:
            return FieldError(name, "holds the character NUL", line)
    return values


def _texts(model: type[Strict]) -> set[str]:
    properties = model.model_json_schema()["properties"]
    kinds = {
        name: {part.get("type") for part in (field, *field.get("anyOf", ()))} for name, field in properties.items()
    }
    return {name for name, kind in kinds.items() if "string" in kind}


def _skills(cell: str) -> dict[str, int] | None:
    """None for what is not written in short."""
    found: dict[str, int] = {}
    for word in cell.split():
        name, equals, least = word.rpartition("=")
        if not equals or not least.isdecimal() or len(least) > 3:
            return None
        found[name] = int(least)
    return found
