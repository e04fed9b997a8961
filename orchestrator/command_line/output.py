"""What a command says: the API's JSON as it came, or tables. Into a pipe nothing is coloured, folded or cut."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialplans.documents import written

NOTHING = "-"
UNBOUNDED = 100_000
"""Columns of a table that nobody looks at on a screen."""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    value: str | Callable[[dict[str, Any]], Any]
    """The field's name, or how it is made of the item."""
    right: bool = False

    def of(self, item: dict[str, Any]) -> str:
        return cell(item.get(self.value) if isinstance(self.value, str) else self.value(item))


def cell(value: Any) -> str:
    """On one line; what is not printable is escaped, so that no name can steer a terminal."""
    if value is None or value in ("", [], {}):
        return NOTHING
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case list():
            return ", ".join(cell(item) for item in value) if _flat(value) else _compact(value)
        case dict():
            return (
                " ".join(f"{clean(str(k))}={cell(v)}" for k, v in value.items())
                if _flat(value.values())
                else _compact(value)
            )
        case _:
            return clean(str(value))


def clean(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _flat(values: Iterable[Any]) -> bool:
    return not any(isinstance(value, list | dict) for value in values)


def _compact(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False))


class Output:
    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        screen = Console()
        self.on_screen = screen.is_terminal
        self.console = screen if self.on_screen else Console(width=UNBOUNDED)

    def raw(self, content: bytes) -> None:
        """The API's own answer."""
        sys.stdout.flush()
        sys.stdout.buffer.write(content if content.endswith(b"\n") else content + b"\n")
        sys.stdout.buffer.flush()

    def json(self, data: Any) -> None:
        """What the API has no answer of its own for."""
        self.raw(json.dumps(data, ensure_ascii=False).encode())

    def table(self, columns: Sequence[Column], items: Iterable[dict[str, Any]]) -> None:
        rows = [[column.of(item) for column in columns] for item in items]
        self.print(self.drawn([(column.title, column.right) for column in columns], rows))

    def drawn(self, titles: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Table:
        """A table with a rule below its head; in a pipe, where programs count lines, without."""
        made = Table(
            box=box.SIMPLE_HEAD if self.on_screen else None,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1 if self.on_screen else 2, 0, 0),
            header_style="bold",
        )
        for place, (title, right) in enumerate(titles):  # the first says which one it is
            made.add_column(title, justify="right" if right else "left", no_wrap=right or place == 0, overflow="fold")
        for row in rows:
            made.add_row(*map(Text, row))
        return made

    def record(self, fields: dict[str, Any]) -> None:
        """One resource: a line for each field; what has parts as YAML below."""
        flat = {name: value for name, value in fields.items() if _flat_enough(value)}
        grid = Table(box=None, show_header=False, pad_edge=False)
        for name, value in flat.items():
            grid.add_row(Text(name, "bold"), Text(cell(value), overflow="fold"))
        self.print(grid)
        for name, value in fields.items():
            if name not in flat:
                self.say(clean_lines(written({name: value}).rstrip("\n")))

    def print(self, what: Any) -> None:
        self.console.print(what, soft_wrap=False, crop=self.on_screen)

    def say(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def note(self, text: str) -> None:
        """To whoever reads along, not into the result."""
        sys.stderr.write(text + "\n")


def _flat_enough(value: Any) -> bool:
    if isinstance(value, list):
        return _flat(value)
    return not isinstance(value, dict) or _flat(value.values())


def clean_lines(text: str) -> str:
    return "\n".join(map(clean, text.split("\n")))
