"""What is explained, as text for a terminal and as one HTML page with a picture."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator

from thplab.show.describe import describe
from thplab.show.diagrams import NoEngine, svg
from thplab.show.diagrams.roles import stylesheet
from thplab.show.explained.words import off_words, state_words, ways_words
from thplab.study.explain.apart import Telling
from thplab.study.explain.explanation import Explained, Passage
from thplab.study.explain.fit import Fit

_LETTERS = "abcdefghij"
_MOST = 8
"""Names that are told of a longer row."""

_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; line-height: 1.4; }
.wrong { color: #b00020; } code { background: #8882; padding: 0 .2em; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #8886; padding: 2px 10px; text-align: left; vertical-align: top; }
"""


def explained_text(explained: Explained, width: int = 100, picture: bool = True) -> str:
    """All of it in words. `picture`: the nearest state is told below, as `thplab run` would tell it."""
    lines = [f"on {explained.kernel.name}"]
    for part in explained.parts:
        lines += ["", part.title]
        apart = [(1, "What tells them apart:")] * bool(part.apart) + [(2, _apart(row)) for row in part.apart]
        for indent, text in (*_certain(part), *_possible(part, explained.kernel.name), *apart):
            first, rest = "  " * indent, "  " * (indent + 1)
            lines += textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    text = "\n".join(lines) + "\n"
    fit = explained.nearest
    if not picture or fit is None:
        return text
    return f"{text}\nThe nearest: {_run(fit, explained.kernel.name)}\n\n{describe(fit.example.state, fit.example.was)}"


Line = tuple[int, str]
"""How far a line is indented, and the line."""


def _certain(part: Passage) -> Iterator[Line]:
    """What cannot be, what is certain, and who raises what."""
    yield from ((1, f"cannot be: {text}") for text in part.wrong)
    yield from ((1, f"- {text}") for text in part.facts)
    for one in part.raised:
        more = f" and {len(one.kinds) - _MOST} more" if len(one.kinds) > _MOST else ""
        by = f"raised in {', '.join(one.routines)}; " if one.routines else ""
        yield 1, f"- {one.name} {one.times:+d}: {by}by {', '.join(one.kinds[:_MOST]) or 'no short scenario'}{more}"


def _possible(part: Passage, kernel: str) -> Iterator[Line]:
    """What fits."""
    yield from ((1, f"- as a sum: {made.words}") for made in part.sums)
    if part.found:
        yield 1, _headline(part)
    for letter, each in zip(_LETTERS, part.found, strict=False):
        differs = off_words(each.best)
        yield 2, f"{letter}) {state_words(each)}" + (f" (differs in {differs})" if differs else "")
        yield 3, f"by {ways_words(each)}: {_run(each.best, kernel)}"
    if part.rest:
        yield 2, f"{len(part.rest)} more that fit as well"
    if any(each.pinned is None for each in part.found):
        yield 2, "a pin would change nothing of this"


def _apart(row: Telling) -> str:
    return f"{row.where}: " + "; ".join(f"{letter} {shows}" for letter, shows in zip(_LETTERS, row.shows, strict=False))


def _headline(part: Passage) -> str:
    if not part.found[0].exact:
        return "Nothing fits. The nearest:"
    return "One explanation fits:" if len(part.found) == 1 and not part.rest else "These fit, the simplest first:"


def _run(fit: Fit, kernel: str) -> str:
    """The command that carries out the scenario of an example."""
    swap = f" --swap {fit.example.swap}" if fit.example.swap else ""
    return f'thplab run "{fit.example.line}" --kernel {kernel} --geometry X86_64{swap}'


# --- a page -----------------------------------------------------------------------------------------------------------


def explained_html(explained: Explained) -> str:
    """The same as a page of its own, with a picture of the nearest state as far as something here can draw it."""
    title = f"explained on {explained.kernel.name}"
    head = f'<meta charset="utf-8"/><title>{html.escape(title)}</title><style>{_STYLE}{stylesheet()}</style>'
    page = f"<h1>{html.escape(title)}</h1>{body(explained)}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{page}</body></html>\n'


def body(explained: Explained) -> str:
    """What stands in the page, and in a cell of a notebook."""
    return "".join(_section(part, explained.kernel.name) for part in explained.parts) + _picture(explained)


def _section(part: Passage, kernel: str) -> str:
    lines = [*_certain(part), *_possible(part, kernel)]
    told = "".join(f'<p style="margin:.3em 0 .3em {indent - 1}em">{_marked(text)}</p>' for indent, text in lines)
    return f"<section><h2>{html.escape(part.title)}</h2>{told}{_table(part) if part.apart else ''}</section>"


def _marked(text: str) -> str:
    return f'<b class="wrong">{html.escape(text)}</b>' if text.startswith("cannot be") else html.escape(text)


def _table(part: Passage) -> str:
    head = "".join(f"<th>{letter}</th>" for letter, _ in zip(_LETTERS, part.found, strict=False))
    cells = ((row.where, *row.shows) for row in part.apart)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in cells)
    return f"<h3>What tells them apart</h3><table><tr><th></th>{head}</tr>{rows}</table>"


def _picture(explained: Explained) -> str:
    fit = explained.nearest
    if fit is None:
        return ""
    told = html.escape(describe(fit.example.state, fit.example.was))
    command = html.escape(_run(fit, explained.kernel.name))
    try:
        drawn = svg(fit.example.state, fit.example.was)
    except NoEngine:
        drawn = ""
    words = f"<details><summary>in words</summary><pre>{told}</pre></details>"
    return f"<h2>The nearest state</h2><p><code>{command}</code></p>{drawn}{words}"
