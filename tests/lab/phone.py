"""A SIP phone on a lab host: baresip from the root file system, driven over its control port.

    async with Phone.start(phones, "anna", server=pop.address, password="...", tone_hz=440) as anna:
        await anna.wait_registered()
        await anna.dial("sip:bob@" + pop.address)
        await anna.wait_for("CALL_ESTABLISHED", deadline_s=5)
        assert await anna.hears(880, deadline_s=5)

Event types used most: REGISTER_OK, REGISTER_FAIL, CALL_INCOMING, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED
(`param` is the reason), CALL_DTMF_START (`param` is the digit).
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from tests.lab.audio import PRESENT_DB, Samples, read_wav, tone_level_db
from tests.lab.baresip_control import Control, PhoneEvent
from tests.lab.errors import POLL_S, LabError, LabTimeoutError, log_tail
from tests.lab.host import Host

START_S = 30
RATE = 8000
"""Of what it plays, as its configuration has it."""
HEADER_BYTES = 44
"""Of a WAV file."""
MODULES = ("g711", "ausine", "aubridge", "sndfile")
APPLICATIONS = ("account", "menu", "ctrl_tcp")

CONFIG = """\
poll_method epoll
sip_listen {address}:{sip_port}
call_local_timeout 120
call_max_calls 4
audio_player aubridge,ear
audio_alert aubridge,bell
audio_source ausine,{tone_hz}
ausrc_srate 48000
ausrc_channels 1
auplay_srate 8000
auplay_channels 1
audio_telev_pt 101
rtp_ports {rtp_first}-{rtp_last}
statmode_default off
module_path /usr/lib/baresip/modules
module_tmp uuid.so
ctrl_tcp_listen {address}:{control_port}
snd_path {directory}
"""


@dataclass(frozen=True)
class Account:
    """Who the phone is and how it speaks.

    `server` is the registrar; without one the phone does not register and is only a caller or a direct
    callee. `uri` is the address of record and so the From: its user part is the CLI. TLS and SRTP are passed
    on to baresip.
    """

    uri: str
    server: str | None = None
    password: str | None = None
    auth_user: str | None = None
    """The digest user, where it is not the user part of `uri`."""
    display_name: str = ""
    answer: Literal["auto", "manual"] = "manual"
    transport: Literal["udp", "tcp", "tls"] = "udp"
    media_encryption: Literal["srtp", "srtp-mand"] | None = None
    ca_file: Path | None = None
    certificate: Path | None = None
    """Key and certificate that it shows, in one file."""
    renew_s: int = 600
    """How long a registration is asked for; it is renewed a little earlier."""
    name_server: str | None = None
    """``server`` is a name, whose SRV records are asked for there; none: it is an address."""
    codecs: tuple[str, ...] = ()
    """What it offers and takes, in order, as in SDP (`GSM/8000/1`); none: what its modules can."""

    def line(self) -> str:
        """The account in baresip's notation."""
        name = f'"{self.display_name}" ' if self.display_name else ""
        parts = [f"{name}<{self.uri};transport={self.transport}>"]
        parts.append(f"regint={self.renew_s if self.server else 0}")
        parts.append(f"answermode={self.answer}")
        if self.password is not None:
            parts.append(f"auth_pass={self.password}")
        if self.auth_user is not None:
            parts.append(f"auth_user={self.auth_user}")
        if self.server is not None:
            parts.append(f'outbound="sip:{self.server};transport={self.transport}"')
        if self.media_encryption is not None:
            parts.append(f"mediaenc={self.media_encryption}")
        if self.codecs:
            parts.append(f"audio_codecs={','.join(self.codecs)}")
        return ";".join(parts)


class Phone:
    """A running phone. `Phone.start` makes one."""

    def __init__(self, host: Host, name: str, account: Account, tone_hz: int, port: int | None = None) -> None:
        self.name = name
        self.account = account
        self.tone_hz = tone_hz
        self.directory = host.state_dir / "phones" / name
        self._address = host.address
        self._number = host.serial()
        self._port = port
        self._write_config()
        # -s: every SIP message stands in its log.
        self.process = host.spawn(["baresip", "-4", "-s", "-f", self.directory], name=f"phone-{name}", rootfs=True)
        self._control: Control | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls,
        host: Host,
        name: str,
        *,
        tone_hz: int,
        server: str | None = None,
        password: str | None = None,
        uri: str | None = None,
        answer: Literal["auto", "manual"] = "manual",
        account: Account | None = None,
        port: int | None = None,
    ) -> AsyncIterator[Self]:
        """A phone that sends a tone of `tone_hz` in every call and records what it hears.

        With `server` it registers there as `name`, else it calls from `uri` without registering. `account`
        replaces both for what they cannot say; `port` is its SIP port, where it must be a certain one. Raises
        `LabError` with baresip's output when it does not start.
        """
        if account is None:
            own = uri or f"sip:{name}@{server or host.address}"
            account = Account(uri=own, server=server, password=password, answer=answer)
        phone = cls(host, name, account, tone_hz, port)
        try:
            await phone._connect()
            yield phone
        finally:
            await phone.close()

    @property
    def events(self) -> list[PhoneEvent]:
        """All events so far."""
        return list(self._controlled().events)

    @property
    def port(self) -> int:
        """Its SIP port."""
        return 6000 + self._number if self._port is None else self._port

    async def wait_for(self, *types: str, deadline_s: float = 10) -> PhoneEvent:
        """The next event of one of these types, each returned once. Raises `LabTimeoutError`."""
        return await self._controlled().wait_for(*types, deadline_s=deadline_s)

    async def wait_registered(self, deadline_s: float = 10) -> None:
        """Wait until the registrar accepted it. Raises `LabError` with its answer when refused."""
        event = await self.wait_for("REGISTER_OK", "REGISTER_FAIL", deadline_s=deadline_s)
        if event.type == "REGISTER_FAIL":
            raise LabError(f"{self.name}: registration refused: {event.param}\n{self.log_tail()}")

    async def register_at(self, server: str) -> None:
        """Register at another server too, with the same user and password; what it is in stays as it is. The former
        registration is kept as long as that server answers."""
        account = replace(self.account, uri=f"sip:{self.name}@{server}", server=server)
        await self._controlled().command("uanew", account.line())
        await self.wait_registered()

    async def dial(self, uri: str) -> None:
        """Call a SIP address."""
        await self._controlled().command("dial", uri)

    async def connect(self, uri: str) -> None:
        """Have a connection to a SIP address (by OPTIONS): baresip does not open one for an ACK."""
        await self._controlled().command("options", uri)

    async def answer(self) -> None:
        """Answer the call that rings."""
        await self._controlled().command("accept")

    async def reject(self) -> None:
        """Refuse the call that rings, as busy (486)."""
        await self._controlled().command("hangup")

    async def hang_up(self) -> None:
        """End the current call, or give up dialling."""
        await self._controlled().command("hangup")

    async def give_up(self) -> None:
        """End the call that is being dialled, also before the far end rings (baresip has no current call then)."""
        await self._controlled().command("hangupall")

    async def send_digits(self, digits: str) -> None:
        """Send digits as RFC 4733 events, one after the other."""
        for digit in digits:
            await self._controlled().command("sndcode", digit)

    async def mute(self) -> None:
        """Say nothing from now on, or the tone again."""
        await self._controlled().command("mute")

    def recordings(self) -> list[Path]:
        """What it heard, one file a call, oldest first (their names have the second the call began)."""
        return sorted(self.directory.glob("dump-*-dec.wav"))

    def heard(self, last_s: float | None = None) -> tuple[Samples, int]:
        """Samples, and their rate, of its latest call, or of the last `last_s` seconds of it."""
        files = self.recordings()
        if not files:
            raise LabError(f"{self.name} has heard nothing: it had no call with media\n{self.log_tail()}")
        if files[-1].stat().st_size < HEADER_BYTES:
            return np.zeros(0), RATE  # its file is there a moment before its header
        (samples,), rate = read_wav(files[-1])
        return (samples if last_s is None else samples[-round(last_s * rate) :]), rate

    async def hears(
        self, freq_hz: float, *, deadline_s: float = 5, for_s: float = 1.0, at_least_db: float = PRESENT_DB
    ) -> float:
        """Wait until the tone was there for the last `for_s` seconds; returns its level in dB.

        Raises `LabTimeoutError` that says what was heard instead.
        """
        level: float | None = None
        heard_s = 0.0
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    if self.recordings():
                        samples, rate = self.heard(for_s)
                        heard_s = len(samples) / rate
                        if heard_s >= for_s:
                            level = tone_level_db(samples, rate, freq_hz)
                            if level >= at_least_db:
                                return level
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            last = "nothing" if level is None else f"{level:.0f} dB"
            raise LabTimeoutError(
                f"{self.name} does not hear {freq_hz:g} Hz within {deadline_s:g} s: {last} in the last"
                f" {heard_s:.1f} s; recorded: {self._recorded()}\n{self.log_tail()}"
            ) from error

    def _recorded(self) -> str:
        return ", ".join(f"{path.name} {path.stat().st_size} bytes" for path in self.recordings()) or "no call"

    async def close(self) -> None:
        """End the phone (it unregisters and hangs up) and its control connection."""
        if self._control is not None:
            await self._control.close()
        await asyncio.to_thread(self.process.stop, 5)

    def log_tail(self) -> str:
        """The end of its log, for error messages."""
        return log_tail(self.process.log_path)

    def _controlled(self) -> Control:
        if self._control is None:
            raise LabError(f"phone {self.name} is not started")
        return self._control

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                while True:
                    self.process.require_running()
                    with contextlib.suppress(ConnectionRefusedError):
                        reader, writer = await asyncio.open_connection(self._address, self._control_port)
                        break
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise LabTimeoutError(f"phone {self.name} did not start\n{self.log_tail()}") from error
        self._control = Control(reader, writer, f"phone {self.name}", self.log_tail)
        # Made only now, else the answer to its registration could come before anyone listens.
        await self._control.command("uanew", self.account.line())

    @property
    def _control_port(self) -> int:
        return 7000 + self._number

    def _write_config(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)  # of an earlier phone of this name
        self.directory.mkdir(parents=True)
        modules = [*MODULES, *(("srtp",) if self.account.media_encryption else ())]
        modules += [name for name in ("gsm", "opus", "g722") if any(name in one.lower() for one in self.account.codecs)]
        config = CONFIG.format(
            address=self._address,
            sip_port=self.port,
            control_port=self._control_port,
            rtp_first=20000 + 20 * self._number,
            rtp_last=20018 + 20 * self._number,
            tone_hz=self.tone_hz,
            directory=self.directory,
        )
        config += "".join(f"module {name}.so\n" for name in modules)
        config += "".join(f"module_app {name}.so\n" for name in APPLICATIONS)
        if self.account.ca_file is not None:
            config += f"sip_cafile {self.account.ca_file}\n"
        if self.account.name_server is not None:
            config += f"dns_server {self.account.name_server}\ndns_getaddrinfo no\n"
        if self.account.certificate is not None:
            config += f"sip_certificate {self.account.certificate}\n"
        (self.directory / "config").write_text(config)
        for name in ("accounts", "contacts"):
            (self.directory / name).write_text("")  # else baresip writes one with examples in it
