"""``callplane drill --running``: strikes in a lab that is running, and leaves it as it was."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.chaos.door import opened
from tests.chaos.drill_run import statuses
from tests.chaos.load import QUEUE
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import Stack


async def drill(*words: str) -> tuple[int, str, str]:
    """As another program: exit code, output, errors."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos.drill"),
        *words,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await program.communicate()
    return program.returncode or 0, said.decode(), errors.decode()


async def test_a_running_lab_is_struck_and_left_as_it_was(lab: Lab, tmp_path: Path) -> None:
    page = tmp_path / "drill.html"
    async with Stack.start(lab, queue=QUEUE) as stack, opened(stack) as number:
        await stack.add_agent("anna")
        await stack.status("anna", "AVAILABLE")
        code, _, errors = await drill("--running", "de-ber-1")
        assert code == 2
        assert "'de-ber-1' is no running lab" in errors
        former = stack.controller.pid

        kill = ("--fault", "controller killed", "--fault", "database killed")
        code, said, errors = await drill("--running", str(number), "--json", "--html", str(page), *kill)
        assert code == 0, said + errors
        found = json.loads(said)
        assert [row["fault"] for row in found["faults"]] == ["controller killed"]
        assert list(found["left_out"]) == ["database killed"], "this lab's centre has none"
        assert found["wrong"] == []
        assert found["calls"] > 20
        assert found["faults"][0]["live"] > 0
        assert "The program that decides about calls is killed" in page.read_text()

        assert stack.controller.pid != former, "it was killed, and there is another"
        assert [agent["name"] for agent in await stack.api.items("agents")] == ["Anna"]
        assert statuses(stack)[stack.agents["anna"].agent_id] == "AVAILABLE"
