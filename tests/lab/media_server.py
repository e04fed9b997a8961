"""What a stack asks of its media server, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, get_args

from dialplans.schema import Engine
from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import LabError
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.process import Process

ENGINES: tuple[Engine, ...] = get_args(Engine)


class MediaServer(Protocol):
    """A running media server on a lab host."""

    @property
    def process(self) -> Process: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def restart(self) -> None: ...

    def lease(self) -> int:
        """Seconds since the epoch until which its dialplan hands legs to the controller; 0: never had a lease."""

    def accounts(self) -> int:
        """How many SIP accounts of agents and trunks it knows now."""

    def leftovers(self) -> str:
        """Channels and bridges it still holds; empty when there is nothing."""

    def wait_idle(self, deadline_s: float = 10) -> None: ...

    def logs(self) -> str: ...


def _asterisk(host: Host, files: Mapping[str, bytes], lab: Lab) -> MediaServer:
    return AsteriskServer(host, files, lab)


def _freeswitch(host: Host, files: Mapping[str, bytes], lab: Lab) -> MediaServer:
    if lab.asterisk is not None:
        raise LabError("an installed Asterisk was named, but this stack runs FreeSWITCH")
    return FreeSwitchServer(host, files, lab)


START: dict[Engine, Callable[[Host, Mapping[str, bytes], Lab], MediaServer]] = {
    "asterisk": _asterisk,
    "freeswitch": _freeswitch,
}
"""Engine -> starts its server with these files and waits until it takes calls."""
