"""A notebook as one HTML page that is complete in itself:
its steppers step without a kernel, and it asks no server for anything.

A series of notebooks becomes a folder of such pages, with an index page over them.
"""

from __future__ import annotations

import base64
import html
import mimetypes
import os
import posixpath
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat.v4 import new_markdown_cell, new_notebook, new_output
from traitlets.config import Config

from thplab.errors import BadInput, ThplabError
from thplab.files import refuse_input, write_file
from thplab.learn import EXPORTING
from thplab.learn.widgets.page import once

TIMEOUT = 600
"""Seconds that one cell may take."""

# nbformat and nbconvert have types, but not on these calls: hence the ignores below.

# What a cell shows, best first. The live widget is not among them: the HTML that thplab's widgets carry takes its
# place.
_PRIORITY = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain"]

# nbconvert's own page without the scripts that it fetches, and with both themes: the reader's system chooses. Its content
# security policy allows no request, whatever a notebook's own HTML tries; the checks below name what would be missing.
_TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
font-src data:; img-src data: blob:; media-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'"/>
{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_css -%}
{{ resources.include_css("static/theme-dark.css") | replace('<style type="text/css">', '<style media="(prefers-color-scheme: dark)">') }}
<style>
.jp-Notebook :is(.jp-InputPrompt, .jp-OutputPrompt) { color: var(--jp-ui-font-color1) !important; opacity: 1 !important; }
.jp-RenderedHTMLCommon a { text-decoration: underline !important; }
@page { size: A4 landscape; margin: 12mm; }
.thp-skip { position: absolute; left: -999em; padding: 8px; }
.thp-skip:focus { left: 8px; top: 8px; z-index: 9; background: var(--jp-layout-color1); }
</style>
{%- endblock -%}
{%- block body_header -%}
<body class="jp-Notebook" data-jp-theme-light="true">
<a class="thp-skip" href="#first-widget">Skip to the first widget</a>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => { document.body.dataset.jpThemeLight = `${!dark.matches}`; };
dark.addEventListener("change", follow);
follow();
</script>
<main>
{%- endblock -%}
"""

_SCRIPT = re.compile(r"(<script\b[^>]*>).*?</script>", re.S | re.I)
_STYLE = re.compile(r"""<style\b[^>]*>(.*?)</style>|\sstyle=(?:"([^"]*)"|'([^']*)')""", re.S | re.I)
_IN_STYLE = re.compile(r"""(?:@import\s+(?:url\()?|\burl\()["']?(?!data:|#)([^"')\s;]+)""", re.I)
_ATTRIBUTE = r"""(<(?:%s)\b[^>]*?\s(?:xlink:href|href|src|srcset|data|poster|background)=)(?:"([^"]*)"|'([^']*)')"""
_LOADING = re.compile(_ATTRIBUTE % "img|image|use|script|link|iframe|source|video|audio|object|embed|input|body", re.I)
_LEAVES = re.compile(r"""<meta\b[^>]*?http-equiv\s*=\s*["']?refresh[^>]*>""", re.I)
_SKIP = re.compile(r'<a class="thp-skip".*?</a>\n')
_PICTURE = re.compile(_ATTRIBUTE % "img", re.I)
_LINK = re.compile(r"""(<a\b[^>]*?\shref=)"([^":?#]+\.ipynb)(#[^"]*)?"([^>]*>)(.*?)</a>""", re.S | re.I)
_TITLE = re.compile(r"^# (.+)$", re.M)
_ABOUT = re.compile(r"^\*\*Time:\*\* [^\n]*", re.M)
_SHOWN = re.compile(r"!\[[^\]]*\]\([^)]+\)")


class ExportFailed(ThplabError):
    """A notebook did not run to its end, which its page shows, or its page would not be complete in itself."""


def export(notebook_path: str | Path, output_path: str | Path | None = None, execute: bool = True) -> Path:
    """Write a notebook as one HTML page and return where: `output_path`, or beside the notebook with the ending .html.

    The notebook is run first, in its own folder, unless `execute` is False; its file is left as it is. Pictures that
    its texts name are put into the page. Links to other notebooks lead to their pages beside this one; where there is
    none, the other's title stands in for the link. Formulas stay as they were typed, and widgets that are not thplab's
    are shown as text. Raises BadInput if the notebook cannot be read or the output's folder is not there, and
    ExportFailed, having written nothing, if it cannot be run or the page would load a file or ask a server. A cell that
    fails raises ExportFailed, too, which names it, but at the end: the page is there, with the error in its place.
    """
    path = Path(notebook_path)
    output = path.with_suffix(".html") if output_path is None else Path(output_path)
    if not output.parent.is_dir():
        raise BadInput("output_path", f"is {str(output)!r}", "a file in a folder that exists")
    refuse_input(output, (path,))
    page, failed = _whole(path, execute)
    write_file(output, _linked(page, path, output.parent, set()))
    _tell(failed)
    return output


def export_series(folder: str | Path, output_folder: str | Path, execute: bool = True) -> Path:
    """Write each notebook of a folder as export() does, with the links between them, and an index page;
    return the index's path.

    The pages have the notebooks' names with the ending .html; the index is index.html and shows each notebook's title,
    what stands before its objectives, and its first picture. The output folder is made if need be. Raises BadInput if
    the folder holds no notebook, and otherwise as export() does: nothing has been written, unless all that is wrong is
    that cells fail.
    """
    source, output = Path(folder), Path(output_folder)
    paths = sorted(source.glob("*.ipynb"))
    if not paths or source / "index.ipynb" in paths:
        wrong = "an index.ipynb, whose page would be the index" if paths else "no notebook"
        raise BadInput("folder", f"{str(source)!r} holds {wrong}", "a folder of other notebooks, .ipynb")
    return _written(source, paths, output, execute, _index(paths)) / "index.html"


def export_tree(folder: str | Path, paths: Sequence[Path], output_folder: str | Path, execute: bool = True) -> None:
    """Write the notebooks `paths`, which are in a folder or below it, as export_series() does, each at its place below
    the output folder, and no index page.

    Raises BadInput if there are none, and otherwise as export() does, at the end as export_series() does.
    """
    if not paths:
        raise BadInput("paths", "holds no notebook", "one or more")
    _written(Path(folder), paths, Path(output_folder), execute)


def _written(
    source: Path, paths: Sequence[Path], output: Path, execute: bool, index: nbformat.NotebookNode | None = None
) -> Path:
    """Run and write notebooks, and the index page if there is one; return the output folder."""
    with ProcessPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
        whole = list(pool.map(_whole, paths, [execute] * len(paths)))
    made = [(path, page) for path, (page, _) in zip(paths, whole, strict=True)]
    if index is not None:
        made.append((source / "index.ipynb", _complete(index, source / "index.ipynb")))
    names = {_there(path) for path in paths}
    places = [(output / path.relative_to(source)).with_suffix(".html") for path, _ in made]
    pages = [_linked(page, path, place.parent, names) for (path, page), place in zip(made, places, strict=True)]
    for place, page in zip(places, pages, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, page)
    _tell([cell for _, failed in whole for cell in failed])
    return output


def _there(path: Path) -> str:
    """One name for a file, however it is named; links in the file system are not followed."""
    return os.path.abspath(path)


def _whole(path: Path, execute: bool) -> tuple[str, list[str]]:
    """The page of a notebook, and which of its cells fail, in words."""
    notebook = _read(path)
    failed = _run(notebook, path) if execute else []
    notebook.metadata.pop("widgets", None)
    return _complete(notebook, path), failed


def _tell(failed: Sequence[str]) -> None:
    """Raises ExportFailed that names the cells that fail, if there are any."""
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise ExportFailed(f"{failed[0]}{more}; everything is written, with the error in its place")


def _complete(notebook: nbformat.NotebookNode, path: Path) -> str:
    """The page of a notebook that has been run. Raises ExportFailed if it would load anything."""
    page = once(_with_pictures(_page(notebook, path), path.parent))
    page = page.replace("<th></th>", "<td></td>")  # as a table in Markdown has it above its first column
    page = page.replace('<div id="thp-', '<div id="first-widget"></div><div id="thp-', 1)
    if 'id="first-widget"' not in page:
        page = _SKIP.sub("", page)
    outside = sorted(set(_loads(page)))
    if outside:
        raise ExportFailed(
            f"{path}: the page would load {', '.join(outside)}; a picture must be a file "
            "in the notebook's folder or in the assets beside it"
        )
    return page


def _linked(page: str, path: Path, folder: Path, names: set[str]) -> str:
    """The page of the notebook `path` with its links to notebooks leading to their pages: those of the files `names`,
    which are written, too, and those that are in `folder` already. Where there is none, a link to a notebook as a whole becomes
    its title, and any other plain text.
    """

    def lead(link: re.Match[str]) -> str:
        before, file, place, after, text = link.groups(default="")
        name = posixpath.normpath(unquote(html.unescape(file)))
        there = posixpath.splitext(name)[0] + ".html"
        if _there(path.parent / name) in names or (folder / there).is_file():
            return f'{before}"{html.escape(quote(there))}{place}"{after}{text}</a>'
        title = "" if place else _title(path.parent / name)
        return html.escape(title) or text

    return _LINK.sub(lead, page)


def _title(path: Path) -> str:
    """The first heading of a notebook; "" if it has none, or cannot be read."""
    try:
        texts = [cell.source for cell in _read(path).cells if cell.cell_type == "markdown"]
    except BadInput:
        return ""
    found = _TITLE.search("\n".join(texts))
    return found[1] if found else ""


def _index(paths: list[Path]) -> nbformat.NotebookNode:
    """A notebook that names the others: a heading, the beginning and the first picture of each."""
    cells = [new_markdown_cell("# thplab: the series\n\nEach page works on its own and without a network.")]
    for path in paths:
        texts = [cell.source for cell in _read(path).cells if cell.cell_type == "markdown"]
        first = texts[0] if texts else ""
        title = _TITLE.search(first)
        found = [_ABOUT.search(first), _SHOWN.search("\n".join(texts))]
        heading = f"## [{title[1] if title else path.stem}]({path.name})"
        cells.append(new_markdown_cell("\n\n".join([heading, *(match[0] for match in found if match)])))
    index: nbformat.NotebookNode = new_notebook(cells=cells)
    return index


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
        return notebook
    except (OSError, ValueError, AttributeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise BadInput("notebook_path", f"{str(path)!r} cannot be read ({error})", "a notebook, .ipynb") from None


def _run(notebook: nbformat.NotebookNode, path: Path) -> list[str]:
    """Run all cells, and say which of them fail; the error is among their results. Where a cell ends the kernel, or
    takes too long, those after it keep the results that they had.
    """
    begun = -1

    def note(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal begun
        begun = cell_index

    # A kernel on loopback warns that its line is not encrypted, once for each notebook.
    settings: dict[str, Any] = {"timeout": TIMEOUT, "allow_errors": True, "extra_arguments": ["--log-level=ERROR"]}
    try:
        os.environ[EXPORTING] = "1"  # which the notebook's kernel inherits
        runner = ExecutePreprocessor(on_cell_start=note, **settings)  # type: ignore[no-untyped-call]
        runner.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    except (CellTimeoutError, DeadKernelError) as error:
        if begun < 0:
            raise ExportFailed(f"{path}: {error}") from None
        name, told = type(error).__name__, str(error).splitlines()[0]
        notebook.cells[begun].outputs = [new_output("error", ename=name, evalue=told, traceback=[f"{name}: {told}"])]
    except NoSuchKernel as error:
        raise ExportFailed(f"{path}: {error}") from None
    finally:
        os.environ.pop(EXPORTING, None)
    errors = [
        (number, output)
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", ())
        for output in cell.outputs
        if output.output_type == "error"
    ]
    return [f"{path}: cell {number} fails ({output.ename}: {output.evalue})" for number, output in errors]


def _page(notebook: nbformat.NotebookNode, path: Path) -> str:
    config = Config()
    config.NbConvertBase.display_data_priority = _PRIORITY
    exporter = HTMLExporter(config=config, raw_template=_TEMPLATE)  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem, "path": str(path.parent)}})
    return str(page)


def _with_pictures(page: str, folder: Path) -> str:
    """The page with the picture files that it names put into it, from the notebook's folder and the `assets` beside it,
    or beside the folder above: a page is passed on, and must not take along what else its writer could read. Links are
    followed first.
    """

    rooms = [folder.resolve(), *(above / "assets" for above in folder.resolve().parents[:2])]

    def put(tag: re.Match[str]) -> str:
        source = tag[2] or tag[3] or ""
        name = unquote(html.unescape(source))
        if source.startswith("data:") or "\0" in name:
            return tag[0]
        file = (folder / name).resolve()
        kind = mimetypes.guess_type(file.name)[0] or ""
        if not any(map(file.is_relative_to, rooms)) or not kind.startswith("image/") or not file.is_file():
            return tag[0]  # what is still to be loaded is reported later
        return f'{tag[1]}"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"'

    return _PICTURE.sub(put, page)


def _loads(page: str) -> list[str]:
    """What a browser would fetch to show the page, as far as its elements and styles say."""
    page = _SCRIPT.sub(r"\1", page)
    named = (tag[2] or tag[3] or "" for tag in _LOADING.finditer(page))
    styles = (style[1] or style[2] or style[3] or "" for style in _STYLE.finditer(page))
    asked_for = [name for name in named if name and not name.startswith(("data:", "#"))]
    asked_for += _LEAVES.findall(page)
    return asked_for + [url for style in styles for url in _IN_STYLE.findall(style)]
