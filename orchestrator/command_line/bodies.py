"""What is sent: from ``--set``, a file or standard input; secrets from where nobody else can read them."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from dialplans.documents import Unusable, parse, read
from orchestrator.command_line.document import Body
from orchestrator.command_line.failures import Misused


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it holds ('fields' names the fields)")
    group.add_argument("--file", metavar="FILE", help="as YAML or JSON; - reads standard input")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="one field; may be given again; a.b=VALUE, too",
    )
    group.add_argument(
        "--secret-file", action="append", default=[], metavar="FIELD=FILE", help="a secret; - reads standard input"
    )
    group.add_argument("--ask", action="append", default=[], metavar="FIELD", help="ask for a secret at the terminal")


def given(options: argparse.Namespace) -> bool:
    return bool(options.file or options.set or options.secret_file or options.ask)


def assembled(options: argparse.Namespace, body: Body, base: dict[str, Any]) -> dict[str, Any]:
    """``base``, or the file's content, with what is set. Raises Misused."""
    if not given(options):
        raise Misused("what it is to hold is missing", "--set FIELD=VALUE or --file FILE; 'fields' names the fields")
    made = document_in(options.file) if options.file else dict(base)
    if not isinstance(made, dict):
        raise Misused(f"{_place(options.file)} holds no object")
    for text in options.set:
        place, value = _pair(text, "--set")
        name = place.partition(".")[0]
        if body.secret(name):
            raise Misused(
                f"{name} is a secret, and a command's arguments are everybody's on this machine",
                f"--ask {name}, --secret-file {name}=FILE, or --file",
            )
        put(made, place, body.value(place, value))
    for text in options.secret_file:
        name, path = _pair(text, "--secret-file")
        put(made, name, secret_in(path))
    for name in options.ask:
        put(made, name, asked(name))
    return made


def put(made: dict[str, Any], place: str, value: Any) -> None:
    *outer, last = place.split(".")
    for name in outer:
        inner = made.get(name)
        made[name] = dict(inner) if isinstance(inner, dict) else {}
        made = made[name]
    made[last] = value


def document_in(name: str) -> Any:
    try:
        return parse(_standard_input(), _place(name)) if name == "-" else read(Path(name))
    except Unusable as error:
        raise Misused(str(error)) from None


def secret_in(name: str) -> str:
    """The first line of a file."""
    try:
        text = _standard_input() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise Misused(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misused(f"{_place(name)} is not UTF-8") from None
    secret = text.split("\n", 1)[0].removesuffix("\r")
    if not secret:
        raise Misused(f"{_place(name)} begins with an empty line")
    return secret


def asked(name: str) -> str:
    """Of whoever sits at the terminal; of standard input where there is none."""
    if not sys.stdin.isatty():
        return secret_in("-")
    try:
        return getpass.getpass(f"{name}: ")
    except EOFError:
        raise Misused(f"no {name} was given") from None


def _standard_input() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("reading standard input; Ctrl-D ends it\n")
    return sys.stdin.read()


def _place(name: str) -> str:
    return "standard input" if name == "-" else name


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise Misused(f"{option} is not FIELD=VALUE")
    return name, value
