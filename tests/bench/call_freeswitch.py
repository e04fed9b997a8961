"""``make bench-call-freeswitch``: CPU per queued, rung, bridged and ended call, ours on FreeSWITCH against its own
mod_callcenter.

Its strategy is the longest idle agent, as ours; its database is in memory. It now and then rings two agents for one
caller: ``legs/call`` is how many agents' legs each made for a call. At 40 calls a second either of them fills two
cores: 25 it is. ``bridge alone`` is what the same calls cost there without any queue. How it is
measured: ``queued.py``.
"""

from __future__ import annotations

import sys

from tests.bench import callcenter, queued
from tests.bench.queued import Plan, Rival
from tests.lab.freeswitch import ABSENT, find_freeswitch

RIVAL = Rival(
    name="call-freeswitch",
    title="mod_callcenter",
    engine="freeswitch",
    plans={100: Plan(20.0, 600, 200, 3000), 1000: Plan(25.0, 750, 200, 3000)},
    start=callcenter.start,
    sessions=callcenter.sessions,
    bare=callcenter.start_bare,
)

if __name__ == "__main__":
    if find_freeswitch() is None:
        sys.exit(ABSENT)
    sys.exit(queued.main(RIVAL, __doc__))
