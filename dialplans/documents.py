"""What people write for a program to read: YAML or JSON, read as JSON would be."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml


class Unusable(Exception):
    """A file that cannot be used. ``place`` is the file, or the field in it; ``reason`` says why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class _Loader(yaml.SafeLoader):
    """YAML with JSON's scalars: ``no`` and ``on`` are words and 17:30 is not a number, as they are in YAML 1.1. Keys
    are texts, so that ``1: support`` means the digit; no key may be there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        made: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key_node.value in made:
                problem = f"the key {key_node.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            made[key_node.value] = self.construct_object(value_node, deep=True)
        return made


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", ["t", "f"]),
    ("int", r"^(0|-?[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$", list("-0123456789")),
):
    yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first, _Loader)


def read(path: Path) -> Any:
    """What the file holds. Raises Unusable."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unusable(str(path), error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise Unusable(str(path), "is not UTF-8") from error
    return parse(text, str(path), is_json=path.suffix == ".json")


def parse(text: str, place: str, *, is_json: bool = False) -> Any:
    """What ``text`` holds, which is from ``place``. Raises Unusable."""
    try:
        if is_json:
            return json.loads(text)
        data = yaml.load(text, _Loader)  # noqa: S506
        json.dumps(data)  # refuses what JSON cannot hold, such as dates and sets
    except TypeError as error:
        raise Unusable(place, f"holds what JSON cannot hold: {error}") from error
    except yaml.MarkedYAMLError as error:
        at = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise Unusable(f"{place}{at}", f"is not YAML: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise Unusable(place, f"is not {'JSON' if is_json else 'YAML'}: {error}") from error
    except RecursionError as error:
        raise Unusable(place, "is nested too deep") from error
    return data


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads back as it was."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(data: Any) -> str:
    """``data`` as YAML, in its own order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def graph_in(data: Any) -> Any:
    """The graph of a flow's file: the file itself, or what the REST API takes and gives as ``graph``."""
    return data["graph"] if isinstance(data, dict) and "graph" in data and "nodes" not in data else data
