"""A browser's phone on a lab host (``browser_phone.py``), in an environment of its own that is made once and kept in
the cache.

`python -m tests.support.browser` makes the environment if the cache has none and prints its path.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playbooks import environment
from tests.lab.audio import Samples, read_wav
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.process import Process

LOCK = Path(__file__).parents[2] / ".requirements" / "browser.txt"
PHONE = Path(__file__).with_name("browser_phone.py")
HEAR_S = 2.0


def ensure() -> Path:
    """The environment's Python. Two that ask at once make it once."""
    return environment.ensure("browser", LOCK) / "python"


class Browser:
    def __init__(self, process: Process, heard: Path) -> None:
        self.process, self._heard = process, heard

    def events(self) -> list[dict[str, Any]]:
        lines = self.process.log_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"event"')]

    def wait_for(self, event: str, deadline_s: float = 20, **fields: Any) -> dict[str, Any]:
        """The first event of this name with these fields."""

        def found() -> dict[str, Any] | None:
            self.process.require_running()
            fitting = (one for one in self.events() if one["event"] == event)
            return next((one for one in fitting if fields.items() <= one.items()), None)

        return wait_until(found, deadline_s, f"{event} {fields}", self.process.log_text)

    def heard(self) -> tuple[Samples, int]:
        """The first ``HEAR_S`` seconds of what it heard, once they are over."""
        self.wait_for("heard")
        (samples,), rate = read_wav(self._heard)
        return samples, rate


@contextlib.contextmanager
def phone(
    host: Host, server: str, port: int, ca: bytes, user: str, password: str, tone_hz: float, name: str | None = None
) -> Iterator[Browser]:
    """Registers, and answers each call. ``name``: whose certificate it wants to see, where that is not the address."""
    directory = host.state_dir / f"browser-{user}"
    directory.mkdir()
    ca_file, heard, settings = directory / "ca.pem", directory / "heard.wav", directory / "settings.json"
    ca_file.write_bytes(ca)
    settings.touch(0o600)
    settings.write_text(
        json.dumps(
            {
                "server": server,
                "name": name or server,
                "port": port,
                "ca_file": str(ca_file),
                "user": user,
                "password": password,
                "tone_hz": tone_hz,
                "heard": str(heard),
                "hear_s": HEAR_S,
            }
        )
    )
    process = host.spawn([ensure(), PHONE, settings], name=f"browser-{user}")
    try:
        yield Browser(process, heard)
    finally:
        process.stop()


if __name__ == "__main__":
    print(ensure().parents[1])
