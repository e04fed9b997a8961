"""``make bench-provision``: bare Debian machines of the lab to the first call, by one play; then the play again.

The first call comes from a carrier to one POP, waits in a queue of both and is answered by an agent of the other, with
TLS and SRTP on all three ways. The budget is five minutes for the play; Debian's packages come from this machine's
cache once it has them.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.bench.machine import describe, summary_line
from tests.lab.errors import LabError
from tests.lab.hosts.centre import SPANNING, Centre
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.lab import Lab


async def first_call(site: SiteOfLab) -> None:
    """Configure the centre, and talk once. Raises LabError when nobody hears anybody."""
    async with Centre.open(site) as centre:
        await centre.configure()
        agent = await centre.add_agent("pop2", "anna")
        async with centre.phone("pop2", agent) as phone:
            await phone.wait_registered()
            await centre.available(agent)
            async with centre.caller("pop1", SPANNING) as caller:
                await caller.wait_for("CALL_ESTABLISHED", deadline_s=30)
                await phone.hears(1000, deadline_s=20)
                await caller.hears(600, deadline_s=20)


def report(installed: Run, talked_s: float, again: Run) -> None:
    changed = sum(counts["changed"] for counts in again.recap().values())
    print(f"The play took {installed.seconds:.0f} s, until somebody talked {talked_s:.0f} s, the play again", end=" ")
    print(f"{again.seconds:.0f} s. What took longest of the first:")
    print(installed.longest(12))
    print(describe())
    print(summary_line("provision", seconds=round(talked_s), changed_second_run=changed))


def main() -> int:
    print(describe())
    try:
        with Lab.start() as lab, SiteOfLab.start(lab) as site:
            began = time.monotonic()
            installed = site.play("site")
            asyncio.run(first_call(site))
            talked_s = time.monotonic() - began
            again = site.play("site")
            report(installed, talked_s, again)
    except LabError as error:
        print(f"bench-provision: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
