"""Where the ``callplane`` program comes in: ``entry:pops`` of pyproject.toml is the command of the noun ``pops``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Main = Callable[[list[str]], int]
ABOUT = {
    "api": "any request",
    "drain": "a POP takes no new calls; wait for the live ones",
    "import": "DIDs and agents from a file",
    "login": "keep a centre's address and a token",
    "logout": "forget them",
    "hold": "the same as holds",
    "rights": "a person's data: export, erase, rectify; verify certificates",
    "report": "figures, heat map, the report of a month",
    "token": "the same as tokens",
    "undrain": "a POP takes calls again",
    "whoami": "whose the token is, and what it is good for",
}


def about() -> dict[str, str]:
    """Command -> what it is for."""
    from orchestrator.command_line.nouns import NOUNS

    return ABOUT | {noun.name: noun.about for noun in NOUNS.values()}


def __getattr__(name: str) -> Main:
    from orchestrator.command_line import any_request, commands, drain, imports, login, report, rights
    from orchestrator.command_line.nouns import NOUNS

    others: dict[str, Any] = {
        "api": any_request.main,
        "drain": drain.drain,
        "undrain": drain.undrain,
        "import_": imports.main,
        "login": login.login,
        "logout": login.logout,
        "whoami": login.whoami,
        "report": report.main,
        "rights": rights.main,
    }
    if name in others:
        main: Main = others[name]
        return main
    noun = name.replace("_", "-")
    if noun in NOUNS:
        return partial(commands.main, noun)
    raise AttributeError(name)
