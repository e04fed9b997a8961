"""What POPs may touch on a bus of your own: a JSON list of `pop_id` and `nkey` on standard input, the users of a
nats-server's configuration on standard output. Run by role nats: the same rights as at the embedded server."""

from __future__ import annotations

import json
import sys
from typing import Any

from orchestrator.adapters.bus.accounts import permissions


def users(pops: list[dict[str, str]]) -> list[dict[str, Any]]:
    """One for each POP, in the order of their ids."""
    ordered = sorted(pops, key=lambda pop: pop["pop_id"])
    return [{"nkey": pop["nkey"], "permissions": permissions(pop["pop_id"])} for pop in ordered]


def main() -> int:
    print(json.dumps(users(json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
