"""A PostgreSQL server on a lab host, for a centre on the same host."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import asyncpg

from tests.lab.errors import LabError, wait_until
from tests.lab.host import Host
from tests.lab.process import Process
from tests.support.postgres import binaries

READY = "database system is ready to accept connections"
DATABASE = "callplane"
USER = "postgres"
START_S = 30


class PostgresServer:
    """Runs as soon as it is made. It listens on the host's own loopback; the machine reaches it by its socket.

    Commits are not synced to the disk: the server's processes are killed here, not the machine."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._programs = binaries()
        self._directory = host.state_dir / "postgres"
        self._directory.mkdir()
        user = pwd.getpwnam(USER)
        os.chown(self._directory, user.pw_uid, user.pw_gid)
        host.run(self._as_user("initdb", "-A", "trust", "-U", USER, "-N"), rootfs=False, cwd=self._directory)
        self.process = self._spawn()
        host.run(["psql", "-h", self._directory, "-U", USER, "-c", f"CREATE DATABASE {DATABASE}"], rootfs=False)

    @property
    def url(self) -> str:
        """For programs on the host."""
        return f"postgresql://{USER}@127.0.0.1/{DATABASE}"

    async def connect(self) -> asyncpg.Connection:
        """A connection from the machine. Raises OSError or asyncpg.PostgresError while the server is away."""
        return await asyncpg.connect(host=str(self._directory), user=USER, database=DATABASE)

    def kill(self) -> None:
        """kill -9 of the server; its children see it and end."""
        self.process.kill()

    def start(self) -> None:
        """After a kill: as soon as the former one's children are gone. Raises LabError after half a minute."""

        def started() -> bool:
            try:
                self.process = self._spawn()
            except LabError:
                return False  # children of the killed one still hold its memory
            return True

        wait_until(started, START_S, "PostgreSQL to start again", self.process.log_text)

    def stop(self) -> None:
        self.process.stop()

    def _spawn(self) -> Process:
        log = self._host.logs_dir / "postgres.log"
        before = log.read_text(errors="replace").count(READY) if log.exists() else 0
        options = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._directory}", "fsync=off")
        settings = [word for option in options for word in ("-c", option)]
        process = self._host.spawn(self._as_user("postgres", *settings), name="postgres", cwd=self._directory)

        def ready() -> bool:
            process.require_running()
            return process.log_text().count(READY) > before

        wait_until(ready, START_S, "PostgreSQL to start", process.log_text)
        return process

    def _as_user(self, program: str, *words: str | Path) -> list[str | Path]:
        become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        return [*become, self._programs / program, "-D", self._directory / "data", *words]
