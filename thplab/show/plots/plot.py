"""A plot as it is shown: an SVG that follows the theme of its page, its title and description,
and the numbers as a table.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from thplab.show.diagrams.roles import ROLES, light, stylesheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ("process-0", "process-1", "process-2", "process-3")
"""Colour roles of what is compared, in their order. A shape or a dash always tells the same as the colour."""
DASHES = ("-", "--", "-.", ":")
MARKS = ("o", "s", "^", "D")
HATCHES = ("", "///", "\\\\\\\\", "xx")
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "thplab", "font.family": "sans-serif", "font.size": 10.0}

_LINES_END = "stroke-linejoin: round; stroke-linecap: butt"


def blank(width: float, height: float) -> Figure:
    """A figure of this size, in inches, with nothing in it.

    matplotlib is loaded here and not above: it takes 20 MiB and half a second of each notebook, and most plot nothing.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True)
class Plot:
    """A matplotlib figure with its text twin:
    what it shows in one sentence, and its numbers as rows of texts, the first a heading.
    """

    figure: Figure
    title: str
    text: str
    table: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return f"<Plot {self.title}: {self.text}>"

    def svg(self) -> str:
        """The figure as SVG. Colours are CSS variables, so that it is legible in a light page and in a dark one."""
        from matplotlib import rc_context

        with rc_context(_STYLE):
            file = io.StringIO()
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = file.getvalue()
        text = text[text.index("<svg") :]
        text = text.replace(
            f'<style type="text/css">*{{{_LINES_END}}}</style>', ""
        )  # a rule for all elements of a page
        for name, role in ROLES.items():
            variable = f"var(--thp-{name},{role.light})"
            text = re.sub(
                rf'(fill|stroke)="{role.light}"',
                rf'style="\1: {variable}"',
                text.replace(f": {role.light}", f": {variable}"),
            )
        named = f'style="{_LINES_END}" role="img" aria-label="{escape(f"{self.title}. {self.text}", quote=True)}"'
        return re.sub(r"<svg ", f"<svg {named} ", text, count=1)

    def _repr_html_(self) -> str:
        variables = "".join(f"--thp-{name}:{role.light};" for name, role in ROLES.items())
        rows = "".join(_row(row, "td") for row in self.table[1:])
        return (
            f"<style>:where(:root){{{variables}}}\n{stylesheet()}</style>"
            f'<figure style="margin:0;background:var(--thp-paper,{light("paper")});color:var(--thp-ink,{light("ink")})">'
            f'{self.svg()}<figcaption style="padding:0 12px 8px">{escape(self.text)}'
            "<details><summary>The "
            f"numbers</summary><table>{_row(self.table[0], 'th')}{rows}</table></details></figcaption></figure>"
        )


def _row(texts: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"
