"""Another POP of a stack's centre, on a host of its own, with the same carrier."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dialplans import prompts
from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Engine, Pop
from tests.lab.host import Host
from tests.lab.media_server import START, MediaServer
from tests.lab.process import Process
from tests.lab.programs import pop_settings, start_controller, uploaded_prompts
from tests.lab.stack import Stack


@dataclass(slots=True)
class AnotherPop:
    pop_id: str
    host: Host
    settings: Pop
    server: MediaServer
    controller: Process

    def stop(self) -> None:
        if self.controller.poll() is None:
            self.controller.stop()
        if self.server.process.poll() is None:
            self.server.stop()


async def add_pop(stack: Stack, pop_id: str, backs_up: str | None = None, engine: Engine = "asterisk") -> AnotherPop:
    """A POP that works, with its configuration applied. ``backs_up``: whose backup it is from the beginning."""
    host = stack.lab.host(f"{stack.lab.prefix()}pop")
    created = await stack.api.post("pops", {"pop_id": pop_id, "name": pop_id, "country": "DE"})
    if backs_up is not None:
        former = await stack.api.get(f"pops/{backs_up}")
        change = {name: former[name] for name in ("name", "country", "region")} | {"backup_pop_id": pop_id}
        await stack.api.ask("PUT", f"pops/{backs_up}", change)
    settings = pop_settings(host, stack.carrier, (), engine).model_copy(update={"pop_id": pop_id})
    recordings = host.shm / "recordings"
    for directory in (recordings, Path(settings.phone_dir), uploaded_prompts(host)):
        directory.mkdir(exist_ok=True)
    host.bind(prompts.default_dir())
    server = START[engine](host, render(load_pack("DE"), settings), stack.lab)
    if engine == "asterisk" and stack.lab.asterisk is None:
        host.run(["chown", "asterisk:asterisk", recordings])
    controller = start_controller(host, stack.centre, settings, created["key"])
    since = time.time()

    def works(pop: dict[str, Any]) -> bool:
        if not (pop["connected"] and pop["engine_up"] and pop["revision_lag"] == 0 and pop["phones_pending"] == 0):
            return False
        return datetime.fromisoformat(pop["last_seen_at"]).timestamp() > since

    await stack.api.until(f"pops/{pop_id}", works, 60)
    return AnotherPop(pop_id, host, settings, server, controller)
