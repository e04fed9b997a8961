"""``callplane audit verify``: whether the audit log says what it said when it was written."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys

from orchestrator.config import CentreSettings, load_settings


def main(argv: list[str] | None = None) -> int:
    """0: whole; 1: broken, with the first broken row named, or not to be read; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="callplane audit", description="The audit log. Settings: CALLPLANE_CENTRE_*.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verify = verbs.add_parser("verify", help="follow the chain; name the first broken row and the end of the log")
    verify.add_argument("--end", metavar="ROW:HASH", help="an end that an earlier run printed, still to be in the log")
    options = parser.parse_args(argv)
    noted = None
    if options.end is not None:
        found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", options.end)
        if found is None:
            parser.error("--end is not ROW:HASH as an earlier run printed it")
        noted = (int(found[1]), found[2])
    settings = load_settings()
    return 1 if settings is None else asyncio.run(_verify(settings, noted))


async def _verify(settings: CentreSettings, noted: tuple[int, str] | None) -> int:
    from orchestrator.bootstrap import DatabaseUnusable, open_database
    from orchestrator.services import audit

    try:
        database = await open_database(settings)
    except (DatabaseUnusable, OSError) as error:
        sys.stderr.write(f"callplane audit: {error}\n")
        return 1
    try:
        async with database.read() as session:
            broken, seq, end = await audit.verify(session, noted)
    finally:
        await database.close()
    if broken is not None:
        sys.stdout.write(f"row {broken.seq} {broken.reason}\n")
        return 1
    sys.stdout.write(f"{seq} rows, whole; the end is {seq}:{end}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
