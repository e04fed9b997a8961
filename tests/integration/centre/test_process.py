"""The centre as its own process: start, stop, kill, command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.integration.centre.support import Api, graph, until
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]


def _environment(state: Path, **more: str) -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith("CALLPLANE_")}
    return {
        **mine,
        "CALLPLANE_CENTRE_STATE_DIR": str(state),
        "CALLPLANE_CENTRE_API_PORT": "0",
        **{f"CALLPLANE_CENTRE_{name.upper()}": value for name, value in more.items()},
    }


async def _command(environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", *words,
        env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


class Running:
    def __init__(self, process: asyncio.subprocess.Process, state: Path) -> None:
        self.process = process
        self.state = state

    def port(self) -> int:
        try:
            return int((self.state / "centre.port").read_text())
        except (OSError, ValueError):
            return 0

    async def healthy(self) -> bool:
        if not self.port():
            return False
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port()}/health") as response,
            ):
                return bool((await response.json())["bus"])
        except aiohttp.ClientError:
            return False

    def nats_pid(self) -> int:
        return int((self.state / "bus" / "nats.pid").read_text())


@asynccontextmanager
async def started(environment: dict[str, str]) -> AsyncIterator[Running]:
    state = Path(environment["CALLPLANE_CENTRE_STATE_DIR"])
    (state / "centre.port").unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", "centre", "run",
        env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        made = Running(process, state)
        await until(made.healthy, 30)
        yield made
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _alive(pid: int) -> bool:
    try:
        return b"nats" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_starts_soon_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    environment = _environment(tmp_path / "centre", bus_port=str(free_port()))
    began = time.monotonic()
    async with started(environment) as running:
        took = time.monotonic() - began
        nats_pid = running.nats_pid()
        running.process.send_signal(number)
        out, err = await asyncio.wait_for(running.process.communicate(), 15)
        assert running.process.returncode == 0
        token = out.decode().strip().rsplit(" ", 1)[1]
        assert out.decode().count("\n") == 1
        assert token not in err.decode()
        assert not _alive(nats_pid)
    for path in (tmp_path / "centre").rglob("*"):
        if path.name in ("nats.conf", "centre.secret", "centre.db"):
            assert path.stat().st_mode & 0o077 == 0, path
            assert token.encode() not in path.read_bytes()
    print(f"cold start {took:.2f} s")


async def test_it_recovers_from_kill_9(tmp_path: Path) -> None:
    """Nothing that was answered is lost, no server is left over, and a live stream ends with the process."""
    environment = _environment(tmp_path / "centre", bus_port=str(free_port()))
    async with started(environment) as running:
        assert running.process.stdout is not None
        token = (await running.process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session:
            await Api(session).new_pop()
        orphan = running.nats_pid()
        running.process.kill()
        await running.process.wait()
    async with started(environment) as running:
        assert running.nats_pid() != orphan
        assert not _alive(orphan)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session:
            assert (await Api(session).get("/pops/de-fra-1")).status == 200
        running.process.terminate()
        out, _ = await asyncio.wait_for(running.process.communicate(), 15)
        assert out == b""


async def test_a_live_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "centre", bus_port=str(free_port()))
    async with started(environment) as running:
        assert running.process.stdout is not None
        token = (await running.process.stdout.readline()).decode().strip().rsplit(" ", 1)[1]
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session,
            session.get("/api/v1/events") as response,
        ):
            await response.content.readline()
            running.process.terminate()
            await asyncio.wait_for(running.process.wait(), 10)


async def test_the_packaged_prompts_are_the_catalogue(tmp_path: Path) -> None:
    from orchestrator.bootstrap import packaged_prompts

    assert {"de", "en"} <= set(packaged_prompts())
    assert graph()["nodes"]["wait"]["type"] == "queue"


async def test_tokens_from_the_command_line(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "centre")
    code, out, err = await _command(environment, "centre", "token", "create", "lab")
    assert code == 0, err
    stored = sqlite3.connect(tmp_path / "centre" / "centre.db").execute("SELECT name, sha256 FROM tokens").fetchall()
    assert stored[0][0] == "lab"
    assert out.strip() not in str(stored)


async def test_centres_that_start_at_once_take_turns_at_the_schema(tmp_path: Path, empty_database_url: str) -> None:
    environments = [_environment(tmp_path / name, database_url=empty_database_url) for name in ("one", "two", "three")]
    made = await asyncio.gather(*(_command(e, "centre", "token", "create", "x") for e in environments))
    assert [code for code, _, _ in made] == [0, 0, 0], made


async def test_a_database_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    url = f"postgresql://someone:hush@127.0.0.1:{free_port()}/nothing"
    code, _, err = await _command(_environment(tmp_path / "centre", database_url=url), "centre", "run")
    assert code == 1
    assert len(err.strip().splitlines()) == 1, err
    assert "hush" not in err


async def test_the_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "centre", api_host="0.0.0.0")
    code, _, err = await _command(environment, "centre", "run")
    assert code == 1
    assert "CALLPLANE_CENTRE_ALLOW_PLAIN_HTTP=true" in err
    del environment["CALLPLANE_CENTRE_STATE_DIR"]
    code, _, err = await _command({**environment, "CALLPLANE_CENTRE_API_HOST": "127.0.0.1"}, "centre", "run")
    assert (code, err.strip()) == (1, "CALLPLANE_CENTRE_STATE_DIR: Field required")
    code, out, _ = await _command(environment, "--help")
    assert code == 0
    assert "centre" in out
    code, _, err = await _command(environment, "nothing")
    assert code == 2
    assert "no command nothing" in err


async def test_the_command_makes_tokens_with_limits(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "centre", bus_port=str(free_port()))
    limits = ("--role", "supervisor", "--unit", "sales", "--region", "eu", "--days", "30")
    code, token, _ = await _command(environment, "centre", "token", "create", "wall", *limits)
    assert code == 0
    for wrong in (("--role", "king"), ("--role", "agent"), ("--role", "admin", "--agent", "x"), ("--unit", "No Unit")):
        assert (await _command(environment, "centre", "token", "create", "x", *wrong))[0] == 2
    code, _, err = await _command(environment, "centre", "token", "create", "x", "--role", "agent", "--agent", "nobody")
    assert (code, "names no agent" in err) == (1, True)
    async with started(environment) as running:
        headers = {"Authorization": f"Bearer {token.strip()}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session:
            me = (await Api(session).get("/session")).body
            assert (await Api(session).get("/users")).status == 403
    limit = {"role": "supervisor", "units": ["sales"], "regions": ["eu"], "agent_id": None}
    assert (me["name"], me["grants"]) == ("wall", [limit])
    code, out, _ = await _command(environment, "audit", "verify")
    assert (code, out.startswith("1 rows, whole")) == (0, True)
