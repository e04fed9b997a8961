"""How a noun of the API is described: one entry of ``nouns`` makes all of its commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.command_line.client import Client
from orchestrator.command_line.output import Column, Output

_PARAMETER = re.compile(r"{(\w+)}")
FLAGS = frozenset({"live", "discarded", "active", "lifted"})
"""Filters that are yes or no."""


def parameters(path: str) -> tuple[str, ...]:
    return tuple(_PARAMETER.findall(path))


def option(name: str) -> str:
    """Of a filter or a field: ``pop_id`` is ``--pop``."""
    return "--" + name.removesuffix("_id").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Context:
    client: Client
    out: Output
    noun: Noun


Run = Callable[[Context, argparse.Namespace], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Argument:
    """A field of an action's body, or of its query."""

    name: str
    about: str = ""
    needed: bool = False
    """Given by its place, not as an option."""
    kind: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One request about one resource. ``columns``: of the answer's items; without them the answer is shown field by
    field, or ``done`` is said where there is none."""

    verb: str
    about: str
    method: str
    path: str
    arguments: tuple[Argument, ...] = ()
    done: str = "done"
    columns: tuple[Column, ...] = ()
    once: str | None = None


@dataclass(frozen=True, slots=True)
class Special:
    """A command that is more than one request."""

    verb: str
    about: str
    path: str
    """Whose parameters are given by their place."""
    run: Run
    options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


@dataclass(frozen=True, slots=True)
class Noun:
    name: str
    about: str
    every: str
    """The path of the list."""
    one: str | None = None
    """The path of a single resource."""
    columns: tuple[Column, ...] = ()
    filters: tuple[str, ...] = ()
    can: str = "show create update delete"
    """Of these what the API has."""
    once: str | None = None
    """Field of the answer to ``create`` that is never shown again; ``sip.password`` is inside of another."""
    actions: tuple[Action, ...] = ()
    specials: tuple[Special, ...] = field(default=())
    paged: bool = True
    listed: str = "list"
    """The verb of the list."""

    @property
    def verbs(self) -> tuple[str, ...]:
        return tuple(self.can.split())
