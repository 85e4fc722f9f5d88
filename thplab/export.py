"""A notebook as one HTML page that is complete in itself: its steppers step without a kernel, and it asks no server for anything."""

from __future__ import annotations

import base64
import mimetypes
import re
from functools import partial
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

from thplab.errors import BadInput, ThplabError

TIMEOUT = 600
"""Seconds that one cell may take."""

# nbformat and nbconvert have types, but not on these calls: hence the ignores below.

# What a cell shows, best first. The live widget is not among them: the HTML that thplab's widgets carry takes its place.
_PRIORITY = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain"]

# nbconvert's own page without the scripts that it fetches, and with both themes: the reader's system chooses.
_TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_css -%}
{{ resources.include_css("static/theme-dark.css") | replace('<style type="text/css">', '<style media="(prefers-color-scheme: dark)">') }}
{%- endblock -%}
{%- block body_header -%}
<body class="jp-Notebook" data-jp-theme-light="true">
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => { document.body.dataset.jpThemeLight = `${!dark.matches}`; };
dark.addEventListener("change", follow);
follow();
</script>
<main>
{%- endblock -%}
"""

_LOADED = re.compile(
    r"""<(?:img|script|link|iframe|source|video|audio|object|embed)\b[^>]*?\s(?:src|href|data)=["'](?!data:|#)([^"'>]*)""", re.I
)
_IMPORTED = re.compile(r"""@import\s+(?:url\()?["']?([^"');]+)|url\(["']?((?:https?:)?//[^"')]+)""")
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?![a-z]+:)([^)\s]+)\)")
_OWN_CODE = re.compile(r"<script\b.*?</script>", re.S)


class ExportFailed(ThplabError):
    """A notebook did not run to its end, or its page would not be complete in itself."""


def export(notebook_path: str | Path, output_path: str | Path | None = None, execute: bool = True) -> Path:
    """Write a notebook as one HTML page and return where: `output_path`, or beside the notebook with the ending .html.

    The notebook is run first, in its own folder, unless `execute` is False; its file is left as it is. Pictures that its texts
    name are put into the page. Formulas stay as they were typed, and widgets that are not thplab's are shown as text.
    Raises BadInput if the notebook cannot be read, and ExportFailed, having written nothing, if a cell fails or the page would
    load a file or ask a server.
    """
    path = Path(notebook_path)
    output = path.with_suffix(".html") if output_path is None else Path(output_path)
    notebook = _read(path)
    if execute:
        _run(notebook, path)
    notebook.metadata.pop("widgets", None)
    _attach_pictures(notebook, path.parent)
    page = _page(notebook, path)
    outside = sorted(set(_loads(page)))
    if outside:
        raise ExportFailed(f"{path}: the page would load {', '.join(outside)}; a picture must be a file that is there")
    output.write_text(page, encoding="utf-8")
    return output


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        return notebook
    except (OSError, ValueError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise BadInput("notebook_path", f"{str(path)!r} cannot be read ({error})", "a notebook, .ipynb") from None


def _run(notebook: nbformat.NotebookNode, path: Path) -> None:
    try:
        runner = ExecutePreprocessor(timeout=TIMEOUT)  # type: ignore[no-untyped-call]
        runner.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    except (CellExecutionError, CellTimeoutError) as error:
        raise ExportFailed(f"{path}: {error}") from None


def _attach_pictures(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Make attachments of the picture files that texts name: nbconvert puts those in the page, but no file outside the folder."""

    def attach(cell: nbformat.NotebookNode, link: re.Match[str]) -> str:
        file = folder / link.group(2)
        if not file.is_file():
            return link.group()  # reported as what the page would load
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        cell.setdefault("attachments", {})[file.name] = {kind: base64.b64encode(file.read_bytes()).decode()}
        return f"![{link.group(1)}](attachment:{file.name})"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _PICTURE.sub(partial(attach, cell), cell.source)


def _page(notebook: nbformat.NotebookNode, path: Path) -> str:
    config = Config()
    config.NbConvertBase.display_data_priority = _PRIORITY
    exporter = HTMLExporter(config=config, embed_images=True, raw_template=_TEMPLATE)  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem, "path": str(path.parent)}})
    return str(page)


def _loads(page: str) -> list[str]:
    """What a browser would fetch to show the page."""
    texts = _OWN_CODE.sub(lambda script: script.group().split(">", 1)[0] + "></script>", page)
    return [*_LOADED.findall(texts), *(first or second for first, second in _IMPORTED.findall(texts))]
