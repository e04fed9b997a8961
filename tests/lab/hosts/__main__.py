"""`make lab-hosts`: bare machines for inventory/lab, until Ctrl-C. Prints how to reach them."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.lab.errors import LabError
from tests.lab.hosts.site import SiteOfLab
from tests.lab.lab import Lab


def main() -> int:
    # As Ctrl-C: the lab is taken down by leaving the block.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Lab.start() as lab, SiteOfLab.start(lab) as site:
            environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in site.environment().items())
            print(f"Machines: {', '.join(f'{m.name} {m.address}' for m in site.site.machines.values())}")
            print(f"Install:  {environment} make provision INVENTORY=inventory/lab")
            print(f"Log in:   ssh {shlex.join(site.site.ssh_options())} root@ADDRESS", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except LabError as error:
        print(f"callplane: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
