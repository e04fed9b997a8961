"""``callplane consent``: which law rules the recording of a call, and why. Engineering defaults, not legal advice."""

from __future__ import annotations

import argparse
import dataclasses
import html
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from dialplans import numbering
from dialplans.pack import PackError, countries
from dialplans.regimes import Rule, places, rule_of
from pbx.bootstrap import regimes
from pbx.domain.consent import Regime, RegimeTable, regime_of
from pbx.domain.errors import BadValue

ASKS = {
    Regime.NONE: "Nothing has to be said or asked.",
    Regime.NOTICE: "Everybody is told, to the end of the prompt; staying on the line is enough.",
    Regime.OPT_OUT: "Everybody is told, to the end of the prompt, and can refuse with a key at any time.",
    Regime.OPT_IN: "Nothing is recorded before the caller heard the whole question and pressed the key; silence is no.",
    Regime.PROHIBITED: "Nothing is recorded.",
}
WITHHELD = frozenset({numbering.WITHHELD, numbering.UNKNOWN, "anonymous"})
NOT_ADVICE = "Engineering defaults, not legal advice."


@dataclass(frozen=True, slots=True)
class Party:
    """One who takes part. ``place`` None: nobody knows where, which counts as the strictest. ``rule`` None: there is
    no pack for the place."""

    role: str
    place: str | None
    why: str
    regime: Regime
    rule: Rule | None


def _party(role: str, place: str | None, why: str, table: RegimeTable) -> Party:
    try:
        rule = rule_of(place) if place is not None else None
    except PackError:
        rule, why = None, f"{why}; there is no pack for it, so it counts as the strictest"
    return Party(role, place, why, table.of(place), rule)


def _by_number(role: str, number: str, table: RegimeTable) -> Party:
    """Raises BadValue naming ``role`` when it is no number."""
    if number.lower() in WITHHELD:
        return _party(role, None, "the number is withheld, which counts as the strictest", table)
    if not numbering.E164.fullmatch(number):
        raise BadValue(role, "is neither E.164 (such as +493012345) nor withheld")
    place = numbering.country_of(number)
    if place is None:
        return _party(role, None, "the number is of no one country, which counts as the strictest", table)
    return _party(role, table.placed(number, place), "by its number", table)


def _by_place(role: str, place: str, table: RegimeTable) -> Party:
    """Raises BadValue naming ``role`` for a word that is no place."""
    country, dash, state = place.partition("-")
    if not (re.fullmatch(r"[A-Z]{2}", country) and (not dash or re.fullmatch(r"[A-Z0-9]{1,3}", state))):
        raise BadValue(role, "is no ISO 3166 code, such as DE or US-CA")
    if dash and country in countries() and place not in places():
        why = f"as configured; {state} has no rule of its own, so the country's holds"
        return _party(role, country, why, table)
    return _party(role, place, "as configured", table)


def parties(caller: str, did: str, agents: Sequence[str], table: RegimeTable) -> list[Party]:
    """Who takes part in a call, as the POP would place them. Raises BadValue naming the one at fault."""
    return [
        _by_number("caller", caller, table),
        _by_number("did", did, table),
        *(_by_place("agent-country", place, table) for place in agents),
    ]


def _lines(party: Party) -> Iterator[str]:
    """What is told of one party. The first line is the result, the others are what it rests on."""
    rule = party.rule
    name = f" ({rule.name})" if rule is not None else ""
    yield f"[bold]{party.role}[/bold]: {party.place or 'unknown'}{name}, {party.why}: [bold]{party.regime.word}[/bold]"
    if rule is not None:
        law = rule.law if rule.law == rule.read_as else f"{rule.law}, read as {rule.read_as}"
        doubt = ", which counts one step stricter" if rule.doubted else ""
        yield f"  law: {law}; confidence {rule.confidence}{doubt}; {rule.basis}"
        yield f"  source: {escape(rule.source)}"
        if rule.url is not None:
            yield f"  {rule.url}"
        if rule.note is not None:
            yield f"  note: {escape(rule.note)}"


def explain(found: list[Party], floor: Regime, table: RegimeTable, as_json: bool) -> None:
    result = table.strictest([party.place for party in found], floor)
    strictest = [party.role for party in found if party.regime is result]
    if floor is result:
        strictest.append("the queue's floor")
    if as_json:
        shown = [
            {
                "role": party.role,
                "place": party.place,
                "regime": party.regime.word,
                "why": party.why,
                "rule": dataclasses.asdict(party.rule) if party.rule is not None else None,
            }
            for party in found
        ]
        print(json.dumps({"parties": shown, "floor": floor.word, "regime": result.word, "ruled_by": strictest}))
        return
    console = Console(highlight=False, soft_wrap=True)
    for party in found:
        for line in _lines(party):
            console.print(line)
    console.print(f"[bold]queue's floor[/bold]: [bold]{floor.word}[/bold]")
    console.print(f"\n[bold]{result.word}[/bold], because of: {', '.join(strictest)}. {ASKS[result]}")
    console.print(NOT_ADVICE)


def html_table(table: RegimeTable) -> str:
    """Every place against every place: a call between the two, an agent at either; and below, each place's source.
    With more than two parties the strictest of all of them holds, so that no further table is needed."""
    known = places()
    head = "".join(f"<th>{place}</th>" for place in known)
    body = []
    for one in known:
        cells = []
        for other in known:
            word = table.strictest((one, other)).word
            cells.append(f'<td class="{word}" title="{one}, {other}: {word}">{word.replace("_", "-")}</td>')
        body.append(f"<tr><th>{one}</th>{''.join(cells)}</tr>")
    sources = []
    for place in known:
        rule = rule_of(place)
        cited = html.escape(rule.source)
        if rule.url is not None:
            cited += f' <a href="{html.escape(rule.url, quote=True)}">link</a>'
        note = html.escape(rule.note or "")
        sources.append(
            f"<tr><th>{place}</th><td>{html.escape(rule.name)}</td>"
            f'<td class="{rule.regime}">{rule.regime}</td><td>{rule.law}</td><td>{rule.read_as}</td>'
            f"<td>{rule.confidence}, {rule.basis}</td><td>{cited}</td><td>{note}</td></tr>"
        )
    asks = "".join(f'<li><b class="{regime.word}">{regime.word}</b> {ASKS[regime]}</li>' for regime in Regime)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Recording: which rule holds</title><style>'
        "body{font:14px/1.4 system-ui,sans-serif;margin:2em}table{border-collapse:collapse;font-size:11px}"
        "td,th{border:1px solid #ccc;padding:2px 4px;text-align:left}thead th{position:sticky;top:0;background:#fff}"
        ".none{background:#e5f5e0}.notice{background:#fff7bc}.opt_out{background:#fec44f}.opt_in{background:#fc8d59}"
        ".prohibited{background:#d7301f;color:#fff}</style>"
        f"<h1>Recording a call: which rule holds</h1><p>{NOT_ADVICE} The strictest rule of all parties holds: the"
        " caller's place, the dialled number's, each agent's and supervisor's, and the queue's own floor. A withheld"
        f" number and a place without a pack count as <b>{table.unknown.word}</b>.</p><ul>{asks}</ul>"
        f"<h2>Two parties</h2><table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        "<h2>What each rests on</h2><table><thead><tr><th>place</th><th>name</th><th>applied</th><th>law</th>"
        "<th>read as</th><th>confidence</th><th>source</th><th>note</th></tr></thead>"
        f"<tbody>{''.join(sources)}</tbody></table></html>\n"
    )


def main(argv: list[str] | None = None) -> int:
    """0: done. 1: refused, with the argument named. 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="callplane consent", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("explain", help="each party's rule, its source, and what results")
    one.add_argument("--caller", required=True, metavar="NUMBER", help="E.164, or 'withheld'")
    one.add_argument("--did", required=True, metavar="NUMBER", help="the number that was dialled, E.164")
    one.add_argument(
        "--agent-country", action="append", default=[], metavar="PLACE", help="such as PH or US-CA; may be repeated"
    )
    one.add_argument("--floor", default="none", metavar="REGIME", help="what the queue asks at least")
    one.add_argument("--json", action="store_true")
    verbs.add_parser("table", help="all places against all places and their sources: an HTML page on standard output")
    args = parser.parse_args(argv)
    table = regimes()
    if args.verb == "table":
        print(html_table(table), end="")
        return 0
    try:
        found = parties(args.caller, args.did, args.agent_country, table)
        explain(found, regime_of(args.floor, "floor"), table, args.json)
    except BadValue as error:
        print(f"callplane: --{error.field}: {error.reason}", file=sys.stderr)
        return 1
    return 0
