"""The demo: starts the whole product on lab hosts, places calls, shows them live, and proves what was said of them.

``python -m tests.lab.demo --once`` ends after that; without ``--once`` the stack stays up for a person's softphone.
Needs root. The exit status is 0 when every line of the proof is true, 1 when one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from dialplans import prompts
from dialplans.schema import Engine
from tests.chaos.door import opened
from tests.lab import demo_softphone as softphone
from tests.lab.demo_feed import Board
from tests.lab.demo_proof import download, prove, wav_dir
from tests.lab.demo_scenario import AGENT_TONES, CALLS, Scenario
from tests.lab.demo_view import View, cdr_panel, drawing, make_console
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.media_server import ENGINES
from tests.lab.stack import API_PORT, Stack


@contextlib.asynccontextmanager
async def following(board: Board) -> AsyncIterator[None]:
    """The board follows the event stream while the block runs; when the stream breaks, so does the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(board.follow())
        yield
        task.cancel()


async def show_records(stack: Stack, view: View, cdrs: list[dict[str, Any]], curl_config: Path) -> dict[str, Path]:
    """Print every call's record and where its recording is; CLI -> downloaded file."""
    names = {agent.agent_id: name for name, agent in stack.agents.items()}
    files = await download(stack, cdrs)
    for cdr in cdrs:
        view.console.print(cdr_panel(cdr, names))
    view.console.print("\nRecordings (caller left, agent right), from the POP through the centre:")
    for cdr in cdrs:
        for recording in cdr["recordings"]:
            url = f"http://{stack.centre.address}:{API_PORT}/api/v1/recordings/{recording['recording_id']}/content"
            view.console.print(f"  {cdr['cli']}: {url}", soft_wrap=True)
            view.console.print(f"    curl -K {curl_config} -o call.wav {url}", soft_wrap=True, markup=False)
            view.console.print(f"    downloaded: {files[cdr['cli']]}", soft_wrap=True, markup=False)
    return files


def show_proof(view: View, scenario: Scenario, cdrs: list[dict[str, Any]], files: dict[str, Path]) -> bool:
    """Print the proof; whether all of it is true."""
    checks = prove(scenario, cdrs, files)
    view.console.print("\nProof, measured on the samples, the records and the POP's disk:")
    for check in checks:
        mark = "[green]  ok  [/green]" if check.ok else "[bold red]FAILED[/bold red]"
        view.console.print(f"{mark} {escape(check.text)}", soft_wrap=True)
    failed = sum(not check.ok for check in checks)
    if failed:
        view.console.print(f"[bold red]PROOF FAILED: {failed} of {len(checks)} lines are not true[/bold red]")
    else:
        view.console.print(f"[bold green]PROOF COMPLETE: all {len(checks)} lines are true[/bold green]")
    return failed == 0


async def demo(lab: Lab, console: Console, once: bool, engine: Engine) -> bool:
    """Whether the proof holds. Without ``once`` it returns only when it is cancelled."""
    view = View(console)
    trunk = softphone.customer_trunk()
    async with AsyncExitStack() as until:
        started = Stack.start(lab, more_trunks=[trunk], starting=view.starting, engine=engine)
        stack = await until.enter_async_context(started)
        board = Board(stack.api, view.changed)
        scenario = Scenario(stack, board)
        view.starting(f"agents' phones: {', '.join(AGENT_TONES)}")
        await scenario.start_agents(until)
        console.print(drawing(stack), markup=False)
        curl_config = softphone.write_curl_config(stack)
        await until.enter_async_context(following(board))
        with view.live(board):
            await scenario.run()
        cdrs = await stack.ended_calls(CALLS)
        files = await show_records(stack, view, cdrs, curl_config)
        proven = show_proof(view, scenario, cdrs, files)
        if not once:
            await softphone.hand_over(stack)
            await board.know_agents()
            console.print(softphone.settings(stack, trunk, curl_config), soft_wrap=True, markup=False)
            number = await until.enter_async_context(opened(stack))
            console.print(f"  To see what it survives: callplane drill --running {number}\n", soft_wrap=True)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is the way to end it
                await asyncio.Event().wait()
    console.print(f"The recordings stay in {wav_dir()}.", soft_wrap=True, markup=False)
    return proven


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="demo", description="Callplane on this machine: calls, live table, proof.")
    parser.add_argument("--once", action="store_true", help="end after the calls and the proof")
    parser.add_argument("--engine", choices=ENGINES, default="asterisk", help="the POP's media server")
    parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk (22.5 or newer) instead of Debian's")
    arguments = parser.parse_args()
    console = make_console()
    status = 1
    try:
        if not (prompts.default_dir() / prompts.MANIFEST).exists():
            console.print("Making the voice prompts (once, some seconds)")
        prompts.build(prompts.default_dir())
        with Lab.start(arguments.asterisk, console) as lab:
            status = 0 if asyncio.run(demo(lab, console, arguments.once, arguments.engine)) else 1
    except* (LabError, prompts.PromptError) as errors:
        for error in _leaves(errors):
            console.print(f"error: {error}", markup=False, soft_wrap=True)
    except* KeyboardInterrupt:
        status = 130
    if not arguments.once or status == 130:
        console.print("Stopped; nothing is left but the cache.")
    return status


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


if __name__ == "__main__":
    raise SystemExit(main())
