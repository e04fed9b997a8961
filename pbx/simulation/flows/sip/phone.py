"""A real phone: baresip as a child process, driven over its control port (JSON in netstrings, on the loopback)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pbx.simulation.flows.files import Unusable

START_S, REPLY_S, STOP_S = 10.0, 5.0, 5.0
MAX_MESSAGE = 1_000_000
PORTS, TRIES = range(12_000, 32_768), 100
MODULE_PATHS = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules", "/usr/lib64/baresip/modules")
CONFIG = """\
poll_method epoll
sip_listen {address}:{sip_port}
call_local_timeout 120
call_max_calls 1
audio_player aubridge,ear
audio_alert aubridge,bell
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 1
auplay_srate 8000
auplay_channels 1
audio_telev_pt 101
statmode_default off
module_path {modules}
module_tmp uuid.so
ctrl_tcp_listen 127.0.0.1:{control_port}
snd_path {directory}
module g711.so
module ausine.so
module aubridge.so
module sndfile.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
"""


def program() -> str:
    """Where baresip is. Raises Unusable."""
    found = shutil.which("baresip")
    if found is None:
        raise Unusable("--sip", "needs the program baresip on PATH: install it (Debian: baresip-core)")
    return found


class SipPhone:
    """``closed`` is the far end's or baresip's word for why the call is over; None while it is not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.established = False
        self.closed: str | None = None
        self._writer: asyncio.StreamWriter
        self._tokens = itertools.count(1)
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, directory: Path, uri: str, far_end: tuple[str, int]) -> AsyncIterator[SipPhone]:
        """A phone that calls from ``uri``; ``far_end`` decides by which of this machine's addresses."""
        control_port = _prepare(directory, far_end)
        with (directory / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program(), "-4", "-f", str(directory),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        phone = cls(directory)
        reading: asyncio.Task[None] | None = None
        try:
            reader = await phone._connect(process, control_port)
            reading = asyncio.create_task(phone._read(reader))
            await phone._command("uanew", f"<{uri};transport=udp>;regint=0;answermode=manual")
            yield phone
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                phone._writer.close()
            await _end(process)

    async def dial(self, uri: str) -> None:
        await self._command("dial", uri)

    async def press(self, digit: str) -> None:
        await self._command("sndcode", digit)

    async def hang_up(self) -> None:
        await self._command("hangupall")

    def recording(self) -> Path | None:
        """What it hears, while it is being written."""
        return next(iter(sorted(self._directory.glob("dump-*-dec.wav"))), None)

    async def _connect(self, process: asyncio.subprocess.Process, port: int) -> asyncio.StreamReader:
        end = asyncio.get_running_loop().time() + START_S
        while True:
            try:
                reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
                return reader
            except ConnectionRefusedError:
                if process.returncode is not None or asyncio.get_running_loop().time() > end:
                    why = _last_words(self._directory / "log")
                    raise Unusable("--sip", f"baresip did not start: {why}") from None
            await asyncio.sleep(0.05)

    async def _command(self, name: str, parameters: str = "") -> None:
        token = str(next(self._tokens))
        reply = self._replies[token] = asyncio.get_running_loop().create_future()
        message = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(message), message))
        try:
            async with asyncio.timeout(REPLY_S):
                answer = await reply
        except TimeoutError:
            raise Unusable("--sip", f"baresip does not answer to {name}") from None
        finally:
            del self._replies[token]
        if not answer.get("ok") and self.closed is None:
            raise Unusable("--sip", f"baresip refuses {name}: {str(answer.get('data')).strip()}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int((await reader.readuntil(b":"))[:-1])
                if size > MAX_MESSAGE:
                    break
                self._take(json.loads((await reader.readexactly(size + 1))[:-1].decode(errors="replace")))
        self.closed = self.closed or "baresip ended"

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("response"):
            waiting = self._replies.get(str(message.get("token")))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif message.get("type") == "CALL_ESTABLISHED":
            self.established = True
        elif message.get("type") == "CALL_CLOSED":
            self.closed = str(message.get("param") or "hung up")


def _prepare(directory: Path, far_end: tuple[str, int]) -> int:
    """Writes the phone's configuration; its control port. Raises Unusable for a far end that is nowhere."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            towards.connect(far_end)
            address = towards.getsockname()[0]
    except OSError as error:
        raise Unusable("--pop", f"cannot be reached from here: {error.strerror or 'no such name'}") from error
    control_port = _free_port(socket.SOCK_STREAM, "127.0.0.1")
    config = CONFIG.format(
        address=address,
        sip_port=_free_port(socket.SOCK_DGRAM, address),
        control_port=control_port,
        modules=next((path for path in MODULE_PATHS if Path(path).is_dir()), MODULE_PATHS[0]),
        directory=directory,
    )
    (directory / "config").write_text(config, encoding="utf-8")
    for name in ("accounts", "contacts"):
        (directory / name).write_text("", encoding="utf-8")  # else baresip writes one with examples in it
    return control_port


def _last_words(log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


def _free_port(kind: socket.SocketKind, address: str) -> int:
    """Below the range that the kernel gives out: out of that, any program's connection may have taken it meanwhile."""
    for port in random.sample(PORTS, TRIES):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind((address, port))
            return port
    raise Unusable("--sip", f"no port of {address} is free between {PORTS.start} and {PORTS.stop - 1}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
