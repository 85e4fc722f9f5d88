"""The layout engine: where things go.

Two engines: Graphviz inside the pygraphviz wheel, which pip brings, or a `dot` command. They agree on everything but
the course of arrows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec

from thplab.errors import BadInput, ThplabError
from thplab.show.diagrams.drawn import Drawn, read_back

ENGINES = ("pygraphviz", "dot")
VARIABLE = "THPLAB_ENGINE"
"""Environment variable that chooses the engine."""


class NoEngine(ThplabError):
    """Neither engine is installed, or not the one that was asked for."""


def engine() -> str:
    """The name of the engine in use: THPLAB_ENGINE if it is set, else "pygraphviz" if it can be loaded, else "dot".

    Raises BadInput if THPLAB_ENGINE names no engine, and NoEngine, which says how to install one, if there is none.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted and wanted not in ENGINES:
        raise BadInput(VARIABLE, f"is {wanted!r}", " or ".join(ENGINES))
    lacks = ""
    for name in (wanted,) if wanted else ENGINES:
        if name == "dot":
            if shutil.which("dot"):
                return name
        elif find_spec("pygraphviz"):
            lacks = _lacks()
            if not lacks:
                return name
    raise NoEngine(
        f"pictures need a layout engine, and {wanted or 'none'} is {'not ' if wanted else ''}installed"
        f"{f' (pygraphviz is, but cannot be loaded: {lacks})' if lacks else ''}. Install one of:\n"
        "  pip install 'pygraphviz>=2.0'   (Linux, macOS, Windows on 64-bit Intel: no other program needed)\n"
        "  apt install graphviz            (Debian, Ubuntu; dnf install graphviz on Fedora)\n"
        "  brew install graphviz           (macOS)\n"
        "  conda install -c conda-forge graphviz\n"
        "  choco install graphviz          (Windows)"
    )


def _lacks() -> str:
    """Why the wheel cannot be loaded, if so: it takes libraries of X from the system, and a bare container has none."""
    try:
        import pygraphviz  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


@lru_cache(maxsize=64)
def lay_out(source: str) -> Drawn:
    """Where Graphviz puts what a DOT source has. The last layouts are kept: several steppers of a lesson show the same
    trace.

    Raises NoEngine as engine() does, and BadInput for a source that Graphviz cannot read.
    """
    return read_back(_pygraphviz(source) if engine() == "pygraphviz" else _dot(source))


def _pygraphviz(source: str) -> str:
    from pygraphviz import AGraph

    try:
        with _without_font_warnings():
            svg: str = AGraph(string=source).draw(format="svg", prog="dot").decode()
            return svg
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


def _dot(source: str) -> str:
    done = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, encoding="utf-8", check=False)
    if "</svg>" not in done.stdout:
        raise BadInput("source", f"cannot be drawn: {done.stderr.strip()[:300]}", "DOT text")
    return done.stdout
