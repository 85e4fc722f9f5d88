"""From the repository to a folder of pages: all of them made first, then looked through, then written."""

from __future__ import annotations

import posixpath
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from thplab.errors import BadInput, ThplabError
from thplab.files import write_file
from thplab.learn.export import export_tree
from thplab.learn.lectures.deck import deck
from thplab.learn.lectures.reading import LECTURES, lecture
from website import documents, front, kernels, races
from website.frame import framed, policed
from website.links import Places, dead, led
from website.reading import Reading
from website.search import search_index
from website.shared import in_common

ROOT = Path(__file__).parents[2]
_OWN = Path(__file__).parent / "page"


class SiteFailed(ThplabError):
    """A link of the site leads nowhere, or a part of it could not be made."""


class Built(NamedTuple):
    """What was made."""

    front: Path
    pages: int
    links: int
    bytes: int


def notebooks() -> list[Path]:
    """Every notebook that has a page: all but the one that shows a learner her own file."""
    found = sorted((ROOT / "notebooks").rglob("*.ipynb"))
    return [path for path in found if path.stem != "progress" and ".ipynb_checkpoints" not in path.parts]


def build(output: Path, execute: bool = True) -> Built:
    """Write the site into a new or empty folder. The notebooks are run, unless `execute` is False.

    Raises BadInput if the folder holds something, ExportFailed if a notebook cannot be shown or a cell of one fails, and
    SiteFailed if a link of any page leads nowhere; then nothing has been written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BadInput("folder", f"{str(output)!r} holds something", "a new or empty folder")
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        export_tree(ROOT, notebooks(), made, execute)
        _reference(made / "reference")
        return assemble(made, output, tuple(LECTURES))


def _reference(folder: Path) -> None:
    """The API reference, made in a process of its own: pdoc keeps its settings in its module."""
    command = [sys.executable, str(ROOT / ".ci" / "reference.py"), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SiteFailed(f"the API reference: {done.stderr.strip().splitlines()[-1:]}")
    (folder / "index.html").unlink()  # which only leads on to thplab.html


def assemble(made: Path, output: Path, lectures: Sequence[str]) -> Built:
    """Make a site of the notebooks' pages and the reference in the folder `made`, with the slides of these lectures, and
    write it. Raises SiteFailed as build() does.
    """
    pages = {path.relative_to(made).as_posix(): path.read_text(encoding="utf-8") for path in sorted(made.rglob("*.html"))}
    files: dict[str, str | bytes] = {"reference/search.js": (made / "reference" / "search.js").read_text(encoding="utf-8")}
    foreign = list(pages)
    pages |= {f"slides/{each}.html": policed(deck(lecture(each))) for each in lectures}
    pages |= documents.pages(ROOT)
    pages |= kernels.pages(ROOT)
    pages |= races.pages(ROOT)
    pages["index.html"] = front.page(ROOT, pages)
    places = Places(pages, ROOT)
    pages = {name: led(text, name, places, name not in foreign) for name, text in pages.items()}
    pages |= {name: framed(name, pages[name]) for name in foreign}
    pages, common = in_common(pages)
    files |= common
    files |= {path.name: path.read_text(encoding="utf-8") for path in sorted(_OWN.iterdir())}
    readings = {name: Reading(text) for name, text in pages.items()}
    files["searched.js"] = search_index(readings)
    files |= {name: (ROOT / name).read_bytes() for name in _pictures(readings)}
    wrong = dead(readings, files)
    if wrong:
        raise SiteFailed("dead links: " + "; ".join(wrong[:20]) + (f"; and {len(wrong) - 20} more" if wrong[20:] else ""))
    written = {**files, **pages}
    for name, text in written.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(output / name, text)
    size = sum(len(text.encode() if isinstance(text, str) else text) for text in written.values())
    return Built(output / "index.html", len(pages), sum(len(each.links) for each in readings.values()), size)


def _pictures(readings: Mapping[str, Reading]) -> set[str]:
    """The pictures of the repository that pages show; a picture has the name that its file has there."""
    shown = {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), load)) for name, each in readings.items() for load in each.loads
    }
    return {name for name in shown if name.startswith(("assets/", "docs/")) and (ROOT / name).is_file()}
