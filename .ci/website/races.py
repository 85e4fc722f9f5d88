"""The races as data: every named pair, what meets there, and how it ends."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from thplab.kernel.policies import Kernel
from thplab.study.explore import PAIRS
from thplab.study.explore.pair import Pair
from website.frame import own_page

_ROW = re.compile(r"^\| `([a-z0-9-]+)` \|(.*)\|$", re.M)


def pages(root: Path) -> dict[str, str]:
    """Page -> HTML: all pairs on one page, with the counts that docs/races.md has of them."""
    found = {name: [cell.strip() for cell in row.split("|")] for name, row in _ROW.findall((root / "docs/races.md").read_text())}
    losing = sum(bool(pair.loses) for pair in PAIRS.values())
    body = f"""<h1>Races</h1>
<p>{len(PAIRS)} pairs of routines that meet on two CPUs or three. In every order that locks allow: {losing} of them, each wrong in one way,
lose something; {len(PAIRS) - losing} hold. <a href="docs/races.md">Their stories</a> say how to read a schedule, and why each of them is lost.
<code>thplab races</code> explores all of them again.</p>
{"".join(_pair(pair, found.get(pair.name, [])) for pair in _in_order())}"""
    return {"races.html": own_page("races.html", "Races", body, "races")}


def _in_order() -> Iterator[Pair]:
    """The pairs; one that is the same as the next but for something comes after that."""
    waiting: list[Pair] = []
    for pair in PAIRS.values():
        if pair.about.startswith("The same"):
            waiting.append(pair)
            continue
        yield pair
        yield from waiting
        waiting.clear()
    yield from waiting


def _pair(pair: Pair, row: list[str]) -> str:
    kernel = pair.kernel.name if isinstance(pair.kernel, Kernel) else pair.kernel
    cpus = "".join(f"<dt>CPU {cpu}</dt><dd><code>{html.escape(pair.does(cpu))}</code></dd>" for cpu in range(len(pair.cpus)))
    verdict = {True: "loses", False: "holds", None: "nobody has said"}[pair.loses]
    counts = ""
    if len(row) == 6:
        states, schedules, failing, simplest = row[2:]
        fail = f", {failing} of them fail; the simplest is {simplest.replace('`', '')}" if failing else ""
        counts = f"<dt>Explored</dt><dd>{states} states, {schedules} schedules{fail}</dd>"
    return (
        f'<section id="{pair.name}" class="race {verdict.split()[0]}"><h2>{pair.name} <b>{verdict}</b></h2><p>{html.escape(pair.about)}</p>'
        f'<dl><dt>Kernel</dt><dd><a href="kernels/{kernel}.html">{kernel}</a>, <span class="why">{html.escape(pair.source)}</span></dd>'
        f"<dt>Before</dt><dd><code>{html.escape(pair.prepare)}</code></dd>{cpus}{counts}"
        f"<dt>Play it</dt><dd><code>RaceStepper(&quot;{pair.name}&quot;)</code>, or <code>thplab races {pair.name}</code></dd></dl></section>\n"
    )
