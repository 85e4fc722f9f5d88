"""From DOT to SVG: the layout engine, and the SVG made fit for a page.

Two engines: Graphviz inside the pygraphviz wheel, which pip brings, or a `dot` command. They agree on everything but
the course of arrows.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec

from thplab.errors import BadInput, ThplabError
from thplab.show.diagrams.cells import PAD, SIZE
from thplab.show.diagrams.roles import ROLES, stylesheet

ENGINES = ("pygraphviz", "dot")
VARIABLE = "THPLAB_ENGINE"
"""Environment variable that chooses the engine."""


class NoEngine(ThplabError):
    """Neither engine is installed, or not the one that was asked for."""


def engine() -> str:
    """The name of the engine in use: THPLAB_ENGINE if it is set, else "pygraphviz" if it is installed, else "dot".

    Raises BadInput if THPLAB_ENGINE names no engine, and NoEngine, which says how to install one, if there is none.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in ENGINES:
        raise BadInput(VARIABLE, f"is {wanted!r}", " or ".join(ENGINES))
    for name in (wanted,) if wanted else ENGINES:
        if find_spec("pygraphviz") if name == "pygraphviz" else shutil.which("dot"):
            return name
    raise NoEngine(
        f"pictures need a layout engine, and {wanted or 'none'} is {'not ' if wanted else ''}installed. Install "
        "one of:\n"
        "  pip install 'pygraphviz>=2.0'   (Linux, macOS, Windows on 64-bit Intel: no other program needed)\n"
        "  apt install graphviz            (Debian, Ubuntu; dnf install graphviz on Fedora)\n"
        "  brew install graphviz           (macOS)\n"
        "  conda install -c conda-forge graphviz\n"
        "  choco install graphviz          (Windows)"
    )


def render(sources: Sequence[str]) -> list[str]:
    """The SVG of each DOT source, in order, as text without a prolog. Equal sources are laid out once.

    Raises NoEngine as engine() does, and BadInput for a source that Graphviz cannot read.
    """
    unique = list(dict.fromkeys(sources))
    if not unique:
        return []
    drawn = dict(zip(unique, _drawn(engine(), tuple(unique)), strict=True))
    return [drawn[source] for source in sources]


@lru_cache(maxsize=4)
def _drawn(name: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Cleaned SVGs from the engine of that name. The last batches are kept:
    several steppers of a lesson show the same trace.
    """
    drawn = _pygraphviz(sources) if name == "pygraphviz" else _dot(sources)
    return tuple(map(_clean, drawn))


def _pygraphviz(sources: Sequence[str]) -> list[str]:
    from pygraphviz import AGraph

    try:
        with _without_font_warnings():
            return [AGraph(string=source).draw(format="svg", prog="dot").decode() for source in sources]
    except ValueError as error:
        raise BadInput("source", f"cannot be drawn: {error}", "DOT text") from None


@contextlib.contextmanager
def _without_font_warnings() -> Iterator[None]:
    """Keep back what the wheel's fontconfig says about a system's font files that are newer than itself.

    It writes to the process's stderr, which a notebook shows under the cell.
    Whatever else is written there is passed on.
    """
    with tempfile.TemporaryFile() as heard:
        stderr = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            heard.seek(0)
            os.write(2, b"".join(line for line in heard if not line.startswith(b"Fontconfig")))


def _dot(sources: Sequence[str]) -> list[str]:
    """One process for all: it writes one SVG after the other."""
    done = subprocess.run(
        ["dot", "-Tsvg"], input="\n".join(sources), capture_output=True, encoding="utf-8", check=False
    )
    drawn = re.findall(r"<svg.*?</svg>", done.stdout, re.DOTALL)
    if len(drawn) != len(sources):
        raise BadInput("source", f"cannot be drawn: {done.stderr.strip()[:300]}", "DOT text")
    return drawn


# --- cleaning ---------------------------------------------------------------------------------------------------------

_OPEN = re.compile(r'<g id="a_[^"]*"><a xlink:href="#([^"]+)" xlink:title="(\w+)">')
_POINTS = re.compile(r'<polygon .*points="([^"]+)"')
_TEXT = re.compile(r"<text (.*?)>(.*)</text>")


def _clean(svg: str) -> str:
    """The SVG without prolog, comments, tooltips and fixed size, with a stylesheet,
    and with each cell as `<g id class="cell">`.
    """
    svg = re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*" class="graph"', '<g class="graph"', svg)  # numbers the graphs of one process
    svg = (
        re.sub(r"<title>.*?</title>\n?", "", svg, flags=re.DOTALL)
        .replace(' xml:space="preserve"', "")
        .replace("&#45;", "-")
    )
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None, "Graphviz writes a viewBox"
    width, height = (float(v) for v in box.group(1).split()[2:])
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    roles = frozenset(name for name, role in ROLES.items() if f'"{role.light}"' in body)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="thp" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"'
    )
    style = (
        "<style>\n.thp{max-width:100%;height:auto;font-family:Helvetica,Arial,'Liberation Sans','DejaVu "
        "Sans',sans-serif}\n"
    )
    return f"{head}>\n{style}{stylesheet(roles)}\n</style>{_cells(body)}"


def _cells(body: str) -> str:
    """Turn the links that carry the ids of cells into plain groups, and put each text where its cell's alignment says.

    Graphviz places pieces of text by the widths of its own font; in one <text> the reader's font does.
    """
    out: list[str] = []
    align: list[str] = []
    box = (0.0, 0.0, 0.0)
    for line in body.splitlines():
        opened = _OPEN.match(line)
        if opened:
            align.append(opened.group(2))
            kind = "row" if align[-1] == "row" else "cell"
            out.append(f'<g id="{opened.group(1)}" class="{kind}">')
        elif line == "</a>":
            align.pop()
        elif align and align[-1] != "row" and (points := _POINTS.match(line)):
            xs, ys = zip(*(map(float, point.split(",")) for point in points.group(1).split()), strict=True)
            box = (min(xs), max(xs), (min(ys) + max(ys)) / 2)
            out.append(line)
        elif align and (text := _TEXT.match(line)):
            out.append(_text(text.group(1), text.group(2), out, align[-1], box))
        else:
            out.append(line)
    return "\n".join(out)


def _text(attributes: str, content: str, out: list[str], align: str, box: tuple[float, float, float]) -> str:
    """One piece of text in a cell with these left and right edges and middle;
    it joins the piece before it in the same cell.
    """
    style = " ".join(re.findall(r'(?:font-weight|font-size|fill)="[^"]*"', attributes))
    piece = f"<tspan {style}>{content}</tspan>"
    if out[-1].endswith("</text>"):
        return out.pop()[: -len("</text>")] + piece + "</text>"
    x = {"start": box[0] + PAD, "middle": (box[0] + box[1]) / 2, "end": box[1] - PAD}[align]
    return f'<text x="{x:g}" y="{box[2] + 0.35 * SIZE:.4g}" text-anchor="{align}">{piece}</text>'
