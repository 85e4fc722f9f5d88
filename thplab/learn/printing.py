"""Pages for paper: written as HTML to be printed, or as PDF by a browser that is there."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from thplab.errors import BadInput, ThplabError
from thplab.files import write_file
from thplab.show.diagrams.roles import stylesheet

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""What can print a page; the environment variable CHROMIUM names another one."""
_PATIENCE = 120


class NoBrowser(ThplabError):
    """Nothing is here that prints a page as PDF."""


def for_paper(title: str, style: str, body: str) -> str:
    """A page with the styles of pictures and these."""
    head = f'<meta charset="utf-8"/><title>{html.escape(title)}</title><style>{stylesheet()}{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def paper_file(output: str | Path) -> Path:
    """Where a page goes. Raises BadInput for another ending than .pdf or .html, or a folder that is not there."""
    path = Path(output)
    if path.suffix not in (".pdf", ".html") or not path.parent.is_dir():
        raise BadInput("output", f"is {str(output)!r}", "a file .pdf or .html in a folder that exists")
    return path


def write_paper(page: str, output: str | Path) -> Path:
    """Write a page as PDF, or as it is if the file ends in .html; return where.

    Raises BadInput as paper_file() does, and NoBrowser if a PDF is wanted and nothing can print one; then nothing has
    been written.
    """
    path = paper_file(output)
    if path.suffix == ".html":
        write_file(path, page)
    else:
        write_file(path, _printed(page))
    return path


def _printed(page: str) -> bytes:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise NoBrowser(f"a PDF needs one of {', '.join(BROWSERS)} on PATH; write a .html and print it instead")
    with tempfile.TemporaryDirectory(prefix="thplab-paper-") as name:
        source, target = Path(name) / "page.html", Path(name) / "page.pdf"
        source.write_text(page, encoding="utf-8")
        own = [f"--user-data-dir={name}/profile", "--headless", "--disable-gpu", "--no-first-run"]
        if getattr(os, "geteuid", lambda: 1)() == 0:
            own.append("--no-sandbox")  # Chromium has none for root
        printing = ("--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri())
        done = subprocess.run((found, *own, *printing), capture_output=True, text=True, timeout=_PATIENCE, check=False)
        if not target.is_file():
            raise NoBrowser(f"{found} printed nothing: {done.stderr.strip()[-300:]}")
        return target.read_bytes()
