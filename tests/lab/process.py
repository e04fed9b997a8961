"""A program running on a lab host."""

import os
import signal
import subprocess
from pathlib import Path

from tests.lab.errors import LabError, log_tail, wait_until
from tests.lab.warden import child_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process:
    """A program in a lab host's namespaces; its output goes to `log_path`.

    `entered` is the shell that started it and ends with its status; `pid` is the program itself, as the
    machine numbers it.
    """

    def __init__(self, entered: "subprocess.Popen[bytes]", name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._entered = entered
        self._cpu_s = 0.0
        found: list[int] = []

        def started() -> bool:
            child = child_of(entered.pid)
            if child is not None:
                found.append(child)
            return bool(found) or entered.poll() is not None

        wait_until(started, 10, f"{name} to start", self._tail)
        self._pid = found[0] if found else None

    @property
    def pid(self) -> int:
        """The program's process id on the machine; `LabError` when it ended before it was seen."""
        if self._pid is None:
            raise LabError(f"{self.name} ended at once with {self._entered.returncode}\n{self._tail()}")
        return self._pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._entered.poll()

    def wait(self, timeout_s: float = 10) -> int:
        """Exit status, once it has ended. Raises `LabError` after `timeout_s`."""
        try:
            return self._entered.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name} still runs after {timeout_s:g} s\n{self._tail()}") from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        if self.poll() is None and self._pid is not None:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                return  # ended between the question and the signal

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program without its help (SIGKILL) and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, timeout_s: float = 10) -> int:
        """SIGTERM, then SIGKILL after `timeout_s`; returns the exit status."""
        self.terminate()
        try:
            return self._entered.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()

    def log_text(self) -> str:
        """Everything it wrote to standard output and error so far."""
        return self.log_path.read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """User and system time of the program's threads; the last known value once it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return self._cpu_s
        self._cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        return self._cpu_s

    def require_running(self) -> None:
        """Raise `LabError` with the log's end when the program has ended."""
        if self.poll() is not None:
            raise LabError(f"{self.name} ended with {self.poll()}\n{self._tail()}")

    def _tail(self) -> str:
        return log_tail(self.log_path)
