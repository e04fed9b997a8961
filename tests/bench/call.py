"""``make bench-call``: CPU per queued, rung, bridged and ended call, ours against Asterisk's own Queue().

1000 agents talk for 3 s; 10 agents talk for 0.3 s, or they could not take more than 3 calls a second and the figures
would be those of two idle programs. How it is measured: ``queued.py``.
"""

from __future__ import annotations

import sys

from tests.bench import app_queue, queued
from tests.bench.queued import Plan, Rival

RIVAL = Rival(
    name="call",
    title="Queue()",
    engine="asterisk",
    plans={10: Plan(15.0, 450, 100, 300), 1000: Plan(80.0, 1600, 200, 3000)},
    start=app_queue.start,
)

if __name__ == "__main__":
    sys.exit(queued.main(RIVAL, __doc__))
