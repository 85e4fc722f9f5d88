"""The one writer of files: a file is written whole or not at all, and never over what it was made from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from thplab.errors import BadInput


def refuse_input(path: Path, made_from: Iterable[Path]) -> None:
    """Raise BadInput if `path`, which is to be written, is one of the files that are read for it."""
    if any(source.exists() and source.resolve() == path.resolve() for source in made_from):
        raise BadInput("output", f"{str(path)!r} is what is read", "another file")


def write_file(path: Path, text: str | bytes) -> None:
    """Write `text` (a str as UTF-8) to `path`: to a file beside it first, which then takes its place.

    What is no ordinary file, as a pipe, is written at once. Raises BadInput if it cannot be written; then everything is
    as it was.
    """
    target = path.resolve()
    data = text.encode("utf-8") if isinstance(text, str) else text
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        beside.write_bytes(data)
        if target.exists():
            beside.chmod(target.stat().st_mode)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise BadInput("output", f"{str(path)!r} cannot be written ({why})", "a file in a folder that exists") from None
