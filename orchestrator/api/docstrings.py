"""What the docstrings after a model's fields say, for OpenAPI: read from the source once, when the document is made."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel


def describe(definitions: dict[str, Any]) -> None:
    """Gives the properties of ``definitions`` (by the name of their model) the description that their docstring is."""
    models = {model.__name__: model for model in _models(BaseModel)}
    for name, schema in definitions.items():
        model = models.get(name)
        if model is None:
            continue
        for field, said in _said(model).items():
            property_ = schema.get("properties", {}).get(field)
            if property_ is not None and "description" not in property_:
                property_["description"] = said


def _models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in kind.__subclasses__():
        if model.__module__.startswith(("orchestrator.", "dialplans.")):
            yield model
        yield from _models(model)


def _said(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        found |= _fields_of(base.__module__).get(base.__qualname__, {})
    return found


@cache
def _fields_of(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> docstring."""
    if not module.startswith(("orchestrator.", "dialplans.")):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found.setdefault(node.name, {})
        for before, after in zip(node.body, node.body[1:], strict=False):
            name = before.target if isinstance(before, ast.AnnAssign) else None
            words = after.value if isinstance(after, ast.Expr) else None
            if isinstance(name, ast.Name) and isinstance(words, ast.Constant) and isinstance(words.value, str):
                fields[name.id] = inspect.cleandoc(words.value)
    return found
