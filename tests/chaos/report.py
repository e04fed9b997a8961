"""What a drill found, as one HTML file that needs nothing else: for those who decide, and to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from jinja2 import Environment

_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Callplane drill</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ccc; padding: .4em .8em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.good { color: #060; } .bad { color: #a00; }
</style>
<h1>What fails, and what happens to calls</h1>
<p>{{ when }}. {{ machine }}.</p>
{% if wrong %}
<p class="bad"><strong>The drill is not passed.</strong> An independent check of all {{ calls }} calls found:</p>
<ul class="bad">
{% for line in wrong %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% else %}
<p class="good"><strong>The drill is passed.</strong> An independent check of all {{ calls }} calls, on the wire, in the
journal and in the centre's tables: each has one record, no agent was offered two calls, nobody lost a place, nobody was
recorded without consent.</p>
{% endif %}
<table>
<tr><th>what fails</th><th>calls under way</th><th>went on</th><th>cut off</th><th>next call taken after</th></tr>
{% for row in rows %}
<tr><td>{{ row.said }}</td><td>{{ row.live }}</td><td>{{ row.live - row.cut_off }}</td><td>{{ row.cut_off }}</td>
<td>{{ "%.1f"|format(row.back_s) }} s</td></tr>
{% endfor %}
</table>
{% for why in left_out.values() %}
<p>Left out: {{ why }}.</p>
{% endfor %}
</html>
""")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault."""

    fault: str
    said: str
    live: int
    """Calls under way when it struck."""
    cut_off: int
    """Of these."""
    new: int
    """Calls that were answered while it lasted."""
    back_s: float
    """From the fault to the first new call that was answered after it."""


def page(
    rows: Sequence[Row],
    calls: int,
    wrong: Sequence[str],
    when: str,
    machine: str,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """``wrong``: what the checker found. ``when``: the drill's time, in words. ``left_out``: faults that this lab
    cannot have, and why."""
    return _PAGE.render(rows=rows, calls=calls, wrong=wrong, when=when, machine=machine, left_out=left_out)
