"""``callplane api``: any request, for what has no command of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from orchestrator.command_line import bodies
from orchestrator.command_line.client import PREFIX, Client
from orchestrator.command_line.failures import OK, Misused
from orchestrator.command_line.output import Output
from orchestrator.command_line.program import common, guarded, run, with_client


def main(argv: Sequence[str]) -> int:
    return run(execute(argv))


async def execute(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane api",
        description="One request to the API, its answer as it came. GET /docs at the centre says what there is.",
        parents=[common()],
    )
    parser.add_argument("method", choices=("GET", "POST", "PUT", "DELETE"))
    parser.add_argument("path", metavar="PATH", help="below /api/v1, with its query: /queues?limit=5")
    parser.add_argument("--file", metavar="FILE", help="the body, as YAML or JSON; - reads standard input")
    parser.add_argument("--if-match", metavar="ETAG", help="only if it still has this ETag")
    options = parser.parse_args(argv)

    async def work(client: Client, out: Output) -> int:
        path = options.path.removeprefix(PREFIX)
        if not path.startswith("/"):
            raise Misused("PATH begins with /")
        body = None if options.file is None else bodies.document_in(options.file)
        headers = {} if options.if_match is None else {"If-Match": options.if_match}
        answer = await client.ask(options.method, path, body=body, headers=headers)
        if answer.content:
            out.raw(answer.content)
        return OK

    return await guarded("api", with_client(options, work))
