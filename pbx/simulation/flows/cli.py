"""``callplane flow``: what is wrong with a flow, what it looks like, and whether it does what its cases say."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialplans import prompts
from pbx.domain.flow import Flow
from pbx.domain.flow_check import examine, references
from pbx.domain.flow_schema import schema
from pbx.simulation.flows.case_file import Suite, read_suite
from pbx.simulation.flows.drawing import mermaid, svg
from pbx.simulation.flows.files import Unusable, graph_in, read
from pbx.simulation.flows.runner import Outcome, run_suite
from pbx.simulation.flows.sip import runner as sip_runner

FINE, FAULTY, UNUSABLE = 0, 1, 2


def _catalogue(directory: Path | None) -> tuple[Mapping[str, frozenset[str]] | None, str]:
    """Language -> ids of its prompts, and where that is from. Without a directory: the prompts that were made here;
    if none were, the texts of this release, which are what the centre asks. Raises Unusable for a directory that has
    none."""
    try:
        manifest = prompts.load_manifest(directory or prompts.default_dir())
        found = {language: frozenset(made) for language, made in manifest.prompts.items()}
        return found, f"those made in {directory or prompts.default_dir()}"
    except (prompts.PromptError, OSError) as error:
        if directory is not None:
            raise Unusable(str(directory), f"holds no prompts: {error}") from error
    try:
        return prompts.catalogue(), "the texts of this release (no prompt has been made here yet)"
    except prompts.PromptError as error:
        return None, str(error)


def _draw(path: Path | None, text: str) -> None:
    if path is not None:
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Unusable(str(path), error.strerror or "cannot be written") from error


def check(args: argparse.Namespace) -> int:
    """All problems of a flow, and its picture."""
    graph = graph_in(read(args.file))
    examined = examine(graph)
    found, flow = list(examined.problems), examined.flow
    catalogue, source = _catalogue(args.prompts)
    queues = None if args.queues is None else {word for word in args.queues.replace(" ", "").split(",") if word}
    if flow is not None:
        found += references(flow, graph, queues, catalogue)
        if flow.nodes:
            _draw(args.svg, svg(flow, graph))
            _draw(args.mermaid, mermaid(flow, graph))
    for problem in found:
        print(problem)
    if flow is not None:
        _say_what_was_checked(flow, queues is None, catalogue is None, source)
    else:
        print("prompts and queues: not checked, for the graph could not be read")
    print(f"{args.file}: {len(found)} problem{'' if len(found) == 1 else 's'}")
    return FAULTY if found else FINE


def _say_what_was_checked(flow: Flow, queues_unknown: bool, prompts_unknown: bool, source: str) -> None:
    if prompts_unknown:
        print(f"prompts: NOT CHECKED, there is no catalogue: {source}")
    else:
        print(f"prompts: checked against {source}")
    if queues_unknown:
        print(f"queues: not checked (--queues); needed: {', '.join(sorted(flow.queue_ids())) or 'none'}")


def test(args: argparse.Namespace) -> int:
    """Run the cases and say what each came to."""
    suite = read_suite(args.file)
    outcomes = sip_runner.run_suite(suite, _target(args)) if args.sip else run_suite(suite)
    _show(suite, outcomes)
    failed = sum(outcome.failure is not None for outcome in outcomes)
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    passed = len(outcomes) - failed - skipped
    print(f"{args.file}: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return FAULTY if failed or not passed else FINE


def _target(args: argparse.Namespace) -> sip_runner.Target:
    for option in ("centre", "token_file", "did", "pop"):
        if getattr(args, option) is None:
            raise Unusable(f"--{option.replace('_', '-')}", "is missing; --sip needs it")
    return sip_runner.Target(args.centre, args.token_file, args.did, args.pop, args.prompts)


def _show(suite: Suite, outcomes: list[Outcome]) -> None:
    table = Table("case", "steps", "call s", "result")
    for outcome in outcomes:
        result = Text("passed", "green") if outcome.failure is None else Text("FAILED", "red")
        if outcome.skipped is not None:
            result = Text("skipped", "yellow")
        table.add_row(Text(outcome.case.name), str(len(outcome.case.steps)), f"{outcome.seconds:.1f}", result)
    Console().print(table)
    for outcome in outcomes:
        if outcome.failure is not None:
            print(f"{outcome.case.name}: {outcome.failure}")
        if outcome.skipped is not None:
            print(f"{outcome.case.name}: skipped, {outcome.skipped}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="callplane flow", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    checking = verbs.add_parser("check", help="all problems of a flow's graph", description=check.__doc__)
    checking.add_argument("file", type=Path, metavar="FILE", help="the graph, as YAML or JSON")
    checking.add_argument("--svg", type=Path, metavar="OUT", help="draw the flow")
    checking.add_argument("--mermaid", type=Path, metavar="OUT", help="the flow as Mermaid text")
    checking.add_argument("--queues", metavar="A,B", help="the queues there are; any other is refused")
    checking.add_argument("--prompts", type=Path, metavar="DIR", help="where 'callplane prompts build' made them")
    testing = verbs.add_parser("test", help="run a flow's cases, simulated or as real calls", description=test.__doc__)
    testing.add_argument("file", type=Path, metavar="FILE", help="the cases, as YAML or JSON")
    real = testing.add_argument_group(
        "real calls, by the program baresip, to a POP that takes this machine for a carrier"
    )
    real.add_argument("--sip", action="store_true", help="place real calls; needs the next four options")
    real.add_argument("--centre", metavar="URL", help="of the REST API")
    real.add_argument("--token-file", type=Path, metavar="FILE", help="holds a token of the centre")
    real.add_argument("--did", metavar="NUMBER", help="to call, in E.164; its published flow must be that of FILE")
    real.add_argument("--pop", metavar="HOST[:PORT]", help="where the POP takes calls by SIP over UDP")
    real.add_argument("--prompts", type=Path, metavar="DIR", help="where 'callplane prompts build' made them")
    verbs.add_parser("schema", help="the JSON Schema of a graph")
    return parser


def main(argv: list[str] | None = None) -> int:
    """0: fine; 1: problems, or a case that fails; 2: wrong usage, or a file that cannot be used."""
    args = _parser().parse_args(argv)
    try:
        if args.verb == "schema":
            print(json.dumps(schema(), indent=2))
            return FINE
        return check(args) if args.verb == "check" else test(args)
    except Unusable as error:
        print(f"callplane: {error}", file=sys.stderr)
        return UNUSABLE
