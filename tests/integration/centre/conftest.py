"""A centre on each database with a real nats-server; a POP's link on a real journal. A missing server fails."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.db.migrate import upgrade
from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from tests.integration.centre.support import PROMPTS, Api
from tests.integration.centre.terminal import Terminal
from tests.support.ports import free_port
from tests.support.postgres import binaries


class Postgres:
    """A PostgreSQL of our own, on a loopback port, in a directory that goes away with it."""

    def __init__(self, options: str = "-c fsync=off") -> None:
        self.binaries, self.port, self._options = binaries(), free_port(), options
        self.directory = Path(tempfile.mkdtemp(prefix="callplane-pg-"))
        user = pwd.getpwnam("postgres")
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._migrated = ""
        self._run("initdb", "-A", "trust", "-U", "postgres", "-N")
        self.start()

    @property
    def prefix(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.directory}"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-w", "-l", log, "-o", f"{options} {self._options}", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """kill -9 of the server, as the kernel would do it; its children follow."""
        pid = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        shutil.rmtree(self.directory)

    async def new_database(self, template: str = "template1") -> str:
        """An empty one, or a copy of ``template``."""
        name = "t" + os.urandom(6).hex()
        connection = await asyncpg.connect(self.prefix + "postgres")
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await connection.close()
        return self.prefix + name

    async def migrated_database(self) -> str:
        """One with the newest schema: the migrations run once for all."""
        if not self._migrated:
            url = await self.new_database()
            await _migrate(url)
            self._migrated = url.removeprefix(self.prefix)
        return await self.new_database(self._migrated)

    def _run(self, program: str, *words: str) -> None:
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        command = [*become, str(self.binaries / program), "-D", str(self.directory / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.directory)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()
    server.remove()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "centre.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path) -> str:
    """A database with the newest schema and nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'test.db')}"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.migrated_database()


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return await server.new_database()


async def _migrate(url: str) -> None:
    settings = CentreSettings(state_dir=Path(), database_url=SecretStr(url))
    database = Database(settings.sqlalchemy_url())
    await upgrade(database.engine)
    await database.close()


@asynccontextmanager
async def running(settings: CentreSettings) -> AsyncIterator[tuple[Centre, list[str]]]:
    said: list[str] = []
    centre = Centre(settings, prompts=lambda: PROMPTS, tell=said.append)
    try:
        await centre.start()
        yield centre, said
    finally:
        await centre.stop()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> CentreSettings:
    return CentreSettings(
        state_dir=tmp_path / "centre",
        database_url=SecretStr(database_url),
        api_port=0,
        bus_port=free_port(),
    )


@pytest.fixture
async def centre(settings: CentreSettings) -> AsyncIterator[tuple[Centre, str]]:
    """A running centre and its first admin token."""
    async with running(settings) as (made, said):
        yield made, said[0].rsplit(" ", 1)[1]


@pytest.fixture
async def api(centre: tuple[Centre, str]) -> AsyncIterator[Api]:
    made, token = centre
    headers = {"Authorization": f"Bearer {token}", "X-Purpose": "a test"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{made.port}", headers=headers) as session:
        yield Api(session)


@pytest.fixture
def terminal(
    centre: tuple[Centre, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    """The command line of somebody with the first admin token."""
    made, token = centre
    return Terminal(monkeypatch, capfd, tmp_path / "home", f"http://127.0.0.1:{made.port}", token)
