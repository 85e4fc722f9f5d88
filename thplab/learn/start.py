"""A folder of the learner's own with the series in it, made and brought up to date by `thplab start`."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn.folders import notebook_folder
from thplab.learn.progress import FILE, NAME, begin, changing

NOT_FOR_LEARNERS = {"instructor", "lectures", ".ipynb_checkpoints"}

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^()\s]+(?:\(\))?)\)")
_HTML_LINK = re.compile(r"""<a\b[^>]*?\shref=["']([^"']*)["'][^>]*>(.*?)</a>""", re.S | re.I)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|//", re.I)


@dataclass
class Copied:
    """What start() has done, file by file."""

    folder: Path
    brought: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What the learner has changed, and the series, too."""

    def text(self) -> str:
        """The same in words."""
        groups = {"new": self.brought, "brought up to date": self.refreshed}
        lines = [f"{_counted(names)} {what}" for what, names in groups.items() if names]
        told = [f"{self.folder}: {', '.join(lines) or 'everything is as it was'}"]
        if self.left:
            told += ["There is something newer of these, but you have changed them, so they were left as they are:"]
            told += [f"  {name}" for name in self.left]
            told += ["Rename or delete one of them and run this again to get the new one."]
        return "\n".join([*told, f"Open it: thplab lab {self.folder}"]) + "\n"


def start(folder: str | Path, name: str = "") -> Copied:
    """Make a folder of the learner's own with the series in it, without what is for instructors; or bring one up to
    date.

    A notebook in which the learner has changed a cell's source is left as it is. Raises BadInput, and nothing has
    changed, if the folder holds something else, its file of progress makes no sense, or the name is too long.
    """
    NAME.check(name, "name")
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(
                "folder", f"{str(folder)!r} holds something else", "a new or empty one, or one that thplab start made"
            )
        folder.mkdir(parents=True, exist_ok=True)
        begin(path, name)
    copied = Copied(folder)
    with changing(path) as kept:
        kept["name"] = name or kept["name"]
        for file, text in _series():
            _bring(file, text, copied, kept["copied"])
    return copied


def home(folder: str | Path) -> Path:
    """Where the notebooks are in a learner's folder. Raises BadInput if it is none."""
    folder = Path(folder)
    if not (folder / FILE).is_file() or not (folder / "notebooks").is_dir():
        raise BadInput("folder", f"{str(folder)!r} is no folder with the series", "one that thplab start made")
    return folder / "notebooks"


def _bring(file: str, text: str, copied: Copied, hashes: dict[str, str]) -> None:
    """Write a file of the series, unless it is there and the learner's, and keep the hash of what was written."""
    target, new = copied.folder / file, _hash(file, text)
    here = _hash(file, target.read_text(encoding="utf-8", errors="replace")) if target.exists() else None
    if here is not None and here not in (new, hashes.get(file)):
        if hashes.get(file) != new:
            copied.left.append(file)
        return
    if here == hashes.get(file) == new:
        return
    if here != new:
        (copied.brought if here is None else copied.refreshed).append(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, text)
    hashes[file] = new


def _series() -> Iterator[tuple[str, str]]:
    """What a learner gets: the path of each file in her folder, and its text."""
    source = notebook_folder()
    found = {path.relative_to(source.parent).as_posix(): path for path in _files(source)}
    for file, path in found.items():
        text = path.read_text(encoding="utf-8")
        yield file, with_links_that_lead(text, file, set(found)) if path.suffix == ".ipynb" else text


def _files(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*.ipynb")):
        if not NOT_FOR_LEARNERS.intersection(path.relative_to(source).parts):
            yield path
    yield from sorted(path for path in (source.parent / "assets").rglob("*.svg"))


def with_links_that_lead(text: str, file: str, files: set[str]) -> str:
    """A notebook whose links to files that are not among `files` are plain text."""

    def leads(target: str) -> bool:
        name = unquote(target.partition("#")[0])
        there = posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
        return bool(_ELSEWHERE.match(target)) or there in files

    notebook: dict[str, Any] = json.loads(text)
    changed = False
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        before = "".join(cell["source"])
        after = _LINK.sub(lambda link: link[0] if leads(link[2]) else link[1], before)
        after = _HTML_LINK.sub(lambda link: link[0] if leads(link[1]) else link[2], after)
        if after != before:
            cell["source"], changed = after.splitlines(keepends=True), True
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n" if changed else text


def _hash(file: str, text: str) -> str:
    """Of a notebook's sources, for JupyterLab rewrites what is around them when a cell runs; of another file's text."""
    if file.endswith(".ipynb"):
        try:
            cells = json.loads(text)["cells"]
            text = json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in cells])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # somebody has changed it
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _counted(names: list[str]) -> str:
    notebooks = sum(name.endswith(".ipynb") for name in names)
    numbers = {"notebook": notebooks, "picture": len(names) - notebooks}
    return " and ".join(f"{number} {what}{'s' * (number > 1)}" for what, number in numbers.items() if number)
