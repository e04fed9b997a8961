"""The ``callplane`` command: ``callplane NAME ...`` hands the rest to the function that a package registered under
NAME in the entry point group ``callplane.commands``, or under ``NAME.VERB`` in ``callplane.verbs`` where another
package has that verb."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata

from orchestrator.command_line import entry

GROUP = "callplane.commands"
VERBS = "callplane.verbs"


def _help(commands: dict[str, metadata.EntryPoint], verbs: Iterable[str]) -> str:
    asking = {name for name, point in commands.items() if point.module == entry.__name__}
    known = entry.about()
    lines = ["usage: callplane COMMAND ...", "", "on this machine:", f"  {', '.join(sorted(commands.keys() - asking))}"]
    lines += ["", "of a centre, over its API (callplane login):"]
    told = {name: known.get(name, "") for name in asking}
    for name, _, verb in (word.partition(".") for word in sorted(verbs)):
        told[name] = f"{told[name]}, {verb}" if name in told else verb
    lines += [f"  {name:<11} {what}".rstrip() for name, what in sorted(told.items())]
    return "\n".join([*lines, "", "'callplane COMMAND --help' says more."])


def main(argv: list[str] | None = None) -> int:
    """0: done; 2: no such command."""
    words = sys.argv[1:] if argv is None else argv
    commands = {point.name: point for point in metadata.entry_points(group=GROUP)}
    verbs = {point.name: point for point in metadata.entry_points(group=VERBS)}
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(commands, verbs))
        return 0 if words else 2
    if words[0] == "--version":
        print(metadata.version("callplane"))
        return 0
    if words[0] not in commands:
        print(f"callplane: there is no command {words[0]}; known are {', '.join(sorted(commands))}", file=sys.stderr)
        return 2
    function = verbs.get(".".join(words[:2]), commands[words[0]]).load()
    return int(function(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
