"""A country's page: every fact of its pack, with where it comes from and how far it can be trusted."""

from __future__ import annotations

import html
from collections.abc import Iterator

from pydantic import BaseModel

from dialplans.pack import CountryPack, Fact

Row = tuple[str, str, str, str]
"""Field, value, confidence, source."""


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, BaseModel):
        parts = ((name, getattr(value, name)) for name in type(value).model_fields)
        return ", ".join(f"{name} {_plain(part)}" for name, part in parts if part is not None)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_plain(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value) or "none"
    return str(value)


def _fact(name: str, fact: Fact[object]) -> Row:
    value = _plain(fact.value) if fact.value is not None else f"none ({fact.null_reason})"
    if fact.minimum_days is not None:
        value += f"; keep at least {fact.minimum_days} days ({fact.minimum_source})"
    if fact.other is not None:
        value += f"; {_plain(fact.other)}"
    if fact.note is not None:
        value += f" - {fact.note}"
    return name, value, f"{fact.confidence}, {fact.basis}", " ".join(filter(None, (fact.source, fact.url)))


def rows(pack: CountryPack) -> Iterator[tuple[str, list[Row]]]:
    """Section -> its rows, in the pack's order; first what the program makes of the facts."""
    derived = f"from recording.engine_default and the confidence of recording.regime ({pack.name})"
    yield (
        "applied",
        [
            ("recording regime", pack.regime, "", derived),
            *((f"recording regime in {state}", pack.regime_in(state), "", "") for state in pack.recording.subdivisions),
            ("prompt languages", ", ".join(pack.languages), "", ""),
            ("international prefixes", ", ".join(pack.numbering.international_prefixes), "", ""),
        ],
    )
    for section in ("numbering", "locale", "media", "recording", "data_protection", "outbound"):
        part: BaseModel = getattr(pack, section)
        found: list[Row] = []
        for name in type(part).model_fields:
            value = getattr(part, name)
            if isinstance(value, Fact):
                found.append(_fact(name, value))
            elif name == "subdivisions":
                found += [_fact(f"{name} {state}", fact) for state, fact in value.items()]
            elif value is not None:
                found.append((name, _plain(value), "", ""))
        yield section, found


def html_page(pack: CountryPack) -> str:
    """The page as one HTML file without scripts or foreign parts."""
    out = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{html.escape(pack.name)}</title>',
        "<style>body{font:15px sans-serif;margin:2em}td,th{text-align:left;vertical-align:top;padding:.2em .8em}"
        "tr:nth-child(even){background:#f2f2f2}</style>",
        f"<h1>{html.escape(pack.name)} ({pack.iso_alpha2})</h1>",
        "<p>Engineering defaults, not legal advice.</p>",
    ]
    for section, found in rows(pack):
        out.append(f"<h2>{html.escape(section.replace('_', ' '))}</h2><table>")
        out.append("<tr><th>fact</th><th>value</th><th>confidence</th><th>source</th></tr>")
        out += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in found]
        out.append("</table>")
    return "\n".join([*out, "</html>", ""])
