"""Bulk callers and agents: sipp from the root file system, with scenarios in scenarios/.

with Sipp.agents(phones, ring_ms=200, talk_ms=3000, port=5080) as agents:
    Sipp.register(phones, pop.address, {"agent1": "secret"},
    contact_port=5080).finish(10).require_success() result = Sipp.callers(carrier, pop.address,
    [("+4917012345", "+49305550100")] * 50, rate=10).finish(60) result.require_success()
"""

import contextlib
import csv
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab import rtp_digits, rtp_sound
from tests.lab.errors import LabError, log_tail, wait_until
from tests.lab.host import Host
from tests.lab.process import Process

SCENARIOS = Path(__file__).with_name("scenarios")
WAIT_S = 60  # for the next message, e.g. for the far end's BYE
LIMIT_S = 600  # no run goes on for longer, unless it says so, whatever happens to this process
HOLD = '<recv request="BYE" timeout="{ms}" ontimeout="bye" next="byed"/>\n  <label id="bye"/>'
WAIT = '<recv request="BYE" next="byed"/>'
SPEAKS_MS = 20_000
SPEAKING = """<label id="waits"/>
  <recv request="BYE" timeout="{ms}" ontimeout="speaks" next="byed"/>
  <label id="speaks"/>
  <nop next="waits"><action><exec play_pcap_audio="speaks.pcap"/></action></nop>"""
PAUSE = '<pause milliseconds="{ms}"/>'
SOUND = '<nop><action><exec play_pcap_audio="sound.pcap"/></action></nop>'
DIGIT = '<nop><action><exec play_pcap_audio="digit-{index}.pcap"/></action></nop>'


@dataclass(frozen=True)
class SippResult:
    """What a run did. `answer_ms` are the times from INVITE (or REGISTER) to its 200, in milliseconds."""

    name: str
    successful: int
    failed: int
    answer_ms: tuple[float, ...] = field(repr=False)
    elapsed_s: float
    calls_s: float
    errors: str

    def require_success(self, calls: int | None = None) -> Self:
        """Raise `LabError` unless there were calls (`calls` of them, if given) and none failed."""
        wanted = self.successful > 0 if calls is None else self.successful == calls
        if self.failed or not wanted:
            raise LabError(
                f"{self.name}: {self.successful} calls succeeded"
                f" (wanted {'some' if calls is None else calls}), {self.failed} failed\n{self.errors}"
            )
        return self

    def answer_quantile_ms(self, share: float) -> float:
        """The answer time that `share` (0 to 1) of the calls stayed within; `LabError` if none was."""
        if not self.answer_ms:
            raise LabError(f"{self.name}: no call was answered\n{self.errors}")
        ordered = sorted(self.answer_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Sipp:
    """A sipp process with one scenario."""

    def __init__(
        self,
        host: Host,
        name: str,
        scenario: str,
        options: Sequence[str],
        lines: Sequence[Sequence[str]] = (),
        port: int | None = None,
        files: Mapping[str, bytes] | None = None,
        limit_s: int = LIMIT_S,
        wait_s: int = WAIT_S,
    ) -> None:
        number = host.serial()
        self.name = f"{name}-{number}"
        self.directory = host.state_dir / "sipp" / self.name
        self.directory.mkdir(parents=True)
        self.port = port if port is not None else 8000 + number
        (self.directory / f"{name}.xml").write_text(scenario)
        for file, content in (files or {}).items():
            (self.directory / file).write_bytes(content)
        if lines:
            rows = [";".join(fields) for fields in lines]
            (self.directory / "calls.csv").write_text("\n".join(["SEQUENTIAL", *rows]) + "\n")
            options = ["-inf", "calls.csv", *options]
        self.process: Process = host.spawn(
            [
                *("sipp", "-sf", f"{name}.xml", "-i", host.address, "-p", str(self.port)),
                *(
                    "-mp",
                    str(40000 + 10 * number),
                    "-nostdin",
                    "-timeout",
                    f"{limit_s}s",
                    "-recv_timeout",
                    str(1000 * wait_s),
                ),
                *("-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_rtt", "-rtt_freq", "1"),
                *("-trace_err", "-error_file", "errors.log", "-t", "u1", *options),
            ],
            name=f"sipp-{self.name}",
            rootfs=True,
            cwd=self.directory,
        )

    @classmethod
    def callers(
        cls,
        host: Host,
        target: str,
        calls: Sequence[tuple[str, str]],
        *,
        rate: float = 10,
        at_once: int = 1000,
        digits: Sequence[tuple[int, str]] = (),
        hold_ms: int | None = 1000,
        echo: bool = False,
        speaks: bool = False,
        limit_s: int = LIMIT_S,
        wait_s: int = WAIT_S,
    ) -> Self:
        """Callers for the (calling, called) numbers in `calls`, `rate` of them a second.

        `digits` are (ms since the digit before or the answer, at least 200; digit), sent by RFC 4733. After
        them the caller holds for `hold_ms` and hangs up, or waits for the far end's BYE when that is None or
        comes first, for `wait_s` at most. With `echo` it sends back the audio it gets. Who waits longer than a media
        server bears silence (`rtp_timeout`) `speaks`: a sound now and then, until the far end's BYE, without limit.
        """
        steps = [PAUSE.format(ms=ms) + DIGIT.format(index=index) for index, (ms, _) in enumerate(digits)]
        media = "\n  ".join([*steps, *([PAUSE.format(ms=rtp_digits.DURATION_MS)] if digits else [])])
        files = {f"digit-{index}.pcap": rtp_digits.capture(digit, index) for index, (_, digit) in enumerate(digits)}
        hold = WAIT if hold_ms is None else HOLD.format(ms=hold_ms)
        if speaks:
            files["speaks.pcap"] = rtp_sound.capture(300, 100)
            hold = SPEAKING.format(ms=SPEAKS_MS)
        scenario = _scenario("caller", {"<!-- MEDIA -->": media, "<!-- HOLD -->": hold})
        options = [f"{target}:5060", "-m", str(len(calls)), "-r", str(rate), "-l", str(at_once)]
        return cls(
            host,
            "caller",
            scenario,
            [*options, *(["-rtp_echo"] if echo else [])],
            calls,
            files=files,
            limit_s=limit_s,
            wait_s=wait_s,
        )

    @classmethod
    @contextlib.contextmanager
    def agents(
        cls,
        host: Host,
        *,
        ring_ms: int = 200,
        talk_ms: int | None = 3000,
        port: int = 5080,
        echo: bool = False,
        trace: bool = False,
        sound_ms: int = 0,
        limit_s: int = LIMIT_S,
    ) -> Iterator[Self]:
        """Agents that answer on one port, whatever user is called, until the block ends or ``limit_s`` are over.

        With `talk_ms` None they never hang up themselves. For `sound_ms` after the answer they send a tone.
        """
        values = {"RING_MS": str(max(1, ring_ms)), "TALK_MS": str(LIMIT_S * 1000 if talk_ms is None else talk_ms)}
        values["<!-- MEDIA -->"] = SOUND if sound_ms else ""
        scenario = _scenario("agent", values)
        files = {"sound.pcap": rtp_sound.capture(600, sound_ms)} if sound_ms else {}
        options = [*(["-rtp_echo"] if echo else []), *(["-trace_msg"] if trace else [])]
        running = cls(host, "agent", scenario, options, port=port, files=files, limit_s=limit_s)
        try:
            running.wait_listening()
            yield running
        finally:
            running.stop()

    @classmethod
    @contextlib.contextmanager
    def refusing(cls, host: Host, status: int, *, port: int = 5080) -> Iterator[Self]:
        """A far end that refuses every call with a SIP status (400 to 699), until the block ends."""
        running = cls(host, "refuse", _scenario("refuse", {"STATUS": str(status)}), [], port=port)
        try:
            running.wait_listening()
            yield running
        finally:
            running.stop()

    @classmethod
    def register(
        cls,
        host: Host,
        target: str,
        users: Mapping[str, str],
        *,
        contact_port: int,
        rate: float = 100,
        expires_s: int = 3600,
    ) -> Self:
        """Register users (name -> password) at `target`; the contact is `host:contact_port`. `expires_s` 0: no more."""
        lines = [
            (user, f"[authentication username={user} password={password}]", str(contact_port))
            for user, password in users.items()
        ]
        options = [f"{target}:5060", "-m", str(len(lines)), "-r", str(rate)]
        return cls(host, "register", _scenario("register", {"EXPIRES_S": str(expires_s)}), options, lines)

    def wait_listening(self, deadline_s: float = 5) -> None:
        """Wait until it has its port."""

        def listening() -> bool:
            self.process.require_running()
            table = Path(f"/proc/{self.process.pid}/net/udp").read_text()
            return f":{self.port:04X} " in table

        wait_until(listening, deadline_s, f"{self.name} to listen on {self.port}", self.errors)

    def finish(self, timeout_s: float) -> SippResult:
        """Wait until all calls are done and return the figures; after that time kill it and raise."""
        try:
            self.process.wait(timeout_s)
        except LabError as error:
            self.process.kill()
            raise LabError(f"{self.name} did not finish within {timeout_s:g} s: {self.result()}") from error
        return self.result()

    def end(self, timeout_s: float = 30) -> SippResult:
        """Begin no more calls, wait until those that are there have hung up, and return the figures."""
        self.process.signal(signal.SIGUSR1)
        return self.finish(timeout_s)

    def stop(self) -> SippResult:
        """End it now, its calls without a BYE, and return the figures so far."""
        self.process.stop(5)
        return self.result()

    def result(self) -> SippResult:
        """The figures so far; sipp writes them every second and at its end."""
        path = self.directory / "stat.csv"
        rows = list(csv.DictReader(path.open(), delimiter=";")) if path.exists() else []
        row = rows[-1] if rows else {}
        hours, minutes, seconds = (row.get("ElapsedTime(C)") or "0:0:0").split(":")[:3]
        return SippResult(
            name=self.name,
            successful=int(row.get("SuccessfulCall(C)") or 0),
            failed=int(row.get("FailedCall(C)") or 0),
            answer_ms=self._answer_ms(),
            elapsed_s=int(hours) * 3600 + int(minutes) * 60 + float(seconds),
            calls_s=float(row.get("CallRate(C)") or 0),
            errors=self.errors(),
        )

    def messages(self) -> str:
        """Every SIP message it sent and received; there when it was made with ``trace``."""
        return "".join(path.read_text(errors="replace") for path in self.directory.glob("*_messages.log"))

    def errors(self) -> str:
        """The end of what sipp complained about."""
        path = self.directory / "errors.log"
        return log_tail(path, 12) if path.exists() else log_tail(self.process.log_path, 12)

    def _answer_ms(self) -> tuple[float, ...]:
        times: list[float] = []
        for path in self.directory.glob("*_rtt.csv"):
            for line in path.read_text().splitlines()[1:]:
                fields = line.split(";")
                if len(fields) >= 3:  # the last line may be half-written
                    times.append(float(fields[1]))
        return tuple(times)


def _scenario(name: str, values: Mapping[str, str]) -> str:
    text = (SCENARIOS / f"{name}.xml").read_text()
    for key, value in values.items():
        text = text.replace(key, value)
    return text
