"""The ``callplane`` command: ``callplane NAME ...`` hands the rest to the function that a package registered under
NAME in the entry point group ``callplane.commands``, or under ``NAME.VERB`` in ``callplane.verbs`` where another
package has that verb."""

from __future__ import annotations

import sys
from importlib import metadata

GROUP = "callplane.commands"
VERBS = "callplane.verbs"


def main(argv: list[str] | None = None) -> int:
    """0: done; 2: no such command."""
    words = sys.argv[1:] if argv is None else argv
    commands = {point.name: point for point in metadata.entry_points(group=GROUP)}
    if not words or words[0] in ("-h", "--help", "help"):
        print("usage: callplane COMMAND ...\n\ncommands:")
        for name in sorted(commands):
            print(f"  {name}")
        print("\n'callplane COMMAND --help' says more.")
        return 0 if words else 2
    if words[0] == "--version":
        print(metadata.version("callplane"))
        return 0
    if words[0] not in commands:
        print(f"callplane: there is no command {words[0]}; known are {', '.join(sorted(commands))}", file=sys.stderr)
        return 2
    verbs = {point.name: point for point in metadata.entry_points(group=VERBS)}
    function = verbs.get(".".join(words[:2]), commands[words[0]]).load()
    return int(function(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
