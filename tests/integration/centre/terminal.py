"""The command line as somebody types it, in this process; what it reads and says."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.command_line import any_request, commands, drain, imports, login, report, rights
from orchestrator.command_line.nouns import NOUNS

_OTHERS: dict[str, Callable[[list[str]], Awaitable[int]]] = {
    "api": any_request.execute,
    "drain": lambda words: drain.execute("drain", words),
    "undrain": lambda words: drain.execute("undrain", words),
    "import": imports.execute,
    "login": login.execute_login,
    "logout": login.execute_logout,
    "whoami": login.execute_whoami,
    "report": report.execute,
    "rights": rights.execute,
}


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Of a table: its cells, without the head."""
        return [line.split() for line in self.out.splitlines()[1:] if line.strip()]


class Terminal:
    """``await terminal("pops", "list")``: in a home directory of its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], home: Path, url: str, token: str
    ) -> None:
        self.home, self.url, self.token = home, url, token
        self._patch, self._captured = monkeypatch, capfd
        home.mkdir(exist_ok=True)
        for name in ("CALLPLANE_TOKEN_FILE", "CALLPLANE_CA_FILE", "CALLPLANE_ALLOW_PLAIN_HTTP", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        self.setenv(HOME=str(home), CALLPLANE_URL=url, CALLPLANE_TOKEN=token)

    def setenv(self, **values: str | None) -> None:
        for name, value in values.items():
            if value is None:
                self._patch.delenv(name, raising=False)
            else:
                self._patch.setenv(name, value)

    async def __call__(self, name: str, *words: str, stdin: str = "") -> Said:
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        self._captured.readouterr()
        try:
            if name in NOUNS:
                code = await commands.execute(name, list(words))
            else:
                code = await _OTHERS[name](list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._captured.readouterr()
        return Said(code, out, err)

    async def done(self, name: str, *words: str, stdin: str = "") -> Said:
        """A command that must not fail."""
        said = await self(name, *words, stdin=stdin)
        assert said.code == 0, said.err
        return said
