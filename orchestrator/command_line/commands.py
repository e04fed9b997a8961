"""The commands of every noun, made from its entry in ``nouns``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from orchestrator.command_line import bodies, verbs
from orchestrator.command_line.failures import About
from orchestrator.command_line.noun import FLAGS, Action, Argument, Context, Noun, Run, option, parameters
from orchestrator.command_line.nouns import NOUNS
from orchestrator.command_line.program import common, guarded, run, with_client

HELP = ("-h", "--help")
FOLLOW = "--follow"


def main(noun: str, argv: Sequence[str]) -> int:
    return run(execute(noun, argv))


async def execute(name: str, argv: Sequence[str]) -> int:
    """The exit code. ``argparse`` ends the process with 2 itself."""
    noun = NOUNS[name]
    options = parser(noun).parse_args(words(noun, argv))
    path_values: Any = {p: getattr(options, p) for p in options.parameters}

    async def work(client: Any, out: Any) -> int:
        options.values = path_values
        chosen: Run = options.run
        return await chosen(Context(client, out, noun), options)

    return await guarded(name, with_client(options, work, About(name, "create" in noun.verbs)))


def words(noun: Noun, argv: Sequence[str]) -> list[str]:
    """``callplane pops`` lists them, ``callplane calls --follow`` follows them."""
    given = list(argv)
    if FOLLOW in given and any(special.verb == "follow" for special in noun.specials):
        given.remove(FOLLOW)
        return ["follow", *given]
    if given and (given[0] in HELP or not given[0].startswith("-")):
        return given
    listed = bool(noun.columns) and not parameters(noun.every)
    return [*([noun.listed] if listed else ["follow"] if not noun.columns else []), *given]


def parser(noun: Noun) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"callplane {noun.name}", description=noun.about)
    found = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    shared = common()

    def verb(name: str, about: str, path: str, chosen: Run) -> argparse.ArgumentParser:
        sub = found.add_parser(name, help=about, description=about, parents=[shared])
        for parameter in parameters(path):
            sub.add_argument(parameter, metavar=parameter.removesuffix("_id").upper())
        sub.set_defaults(run=chosen, parameters=parameters(path), path=path)
        return sub

    if noun.columns:
        _list(verb(noun.listed, "list them", noun.every, verbs.listing), noun)
    if "show" in noun.verbs and noun.one is not None:
        verb("show", "one of them, with all its fields", noun.one, verbs.show)
    if "create" in noun.verbs:
        bodies.add_options(verb("create", "make one", noun.every, verbs.create))
    if "update" in noun.verbs and noun.one is not None:
        _update(verb("update", "change fields of one; the others stay", noun.one, verbs.update))
        verb("edit", "change one in your editor", noun.one, verbs.edit)
    if "delete" in noun.verbs and noun.one is not None:
        sub = verb("delete", "delete one", noun.one, verbs.delete)
        sub.add_argument("--if-match", metavar="ETAG", help="only the one that has this ETag")
    if "create" in noun.verbs:
        verb("fields", "the fields that may be set", "", verbs.fields)
    for action in noun.actions:
        _action(verb(action.verb, action.about, action.path, verbs.doing(action)), action)
    for special in noun.specials:
        special.options(verb(special.verb, special.about, special.path, special.run))
    return made


def _list(sub: argparse.ArgumentParser, noun: Noun) -> None:
    group = sub.add_argument_group("which")
    for name in noun.filters:
        if name in FLAGS:
            group.add_argument(option(name), dest=name, action=argparse.BooleanOptionalAction, default=None)
        else:
            group.add_argument(option(name), dest=name, metavar=name.removesuffix("_id").upper())
    group.add_argument("--limit", metavar="N", help="so many; 100 if not given")
    if noun.paged:
        group.add_argument("--all", action="store_true", help="all pages; with --json each on a line")
        group.add_argument("--cursor", help="the page that begins there")


def _update(sub: argparse.ArgumentParser) -> None:
    bodies.add_options(sub)
    sub.add_argument("--if-match", metavar="ETAG", help="only what has this ETag; else what was read just before")


def _action(sub: argparse.ArgumentParser, action: Action) -> None:
    for argument in action.arguments:
        _argument(sub, argument)


def _argument(sub: argparse.ArgumentParser, argument: Argument) -> None:
    about = argument.about or None
    if argument.flag:
        sub.add_argument(option(argument.name), dest=argument.name, action="store_const", const=True, help=about)
        return
    kind: dict[str, Any] = {"help": about, "type": argument.kind, "choices": argument.choices}
    shown = argument.name.removesuffix("_id").upper()
    if argument.choices is None:
        kind["metavar"] = shown
    if argument.needed:
        sub.add_argument(argument.name, **kind)
    else:
        sub.add_argument(option(argument.name), dest=argument.name, **kind)
