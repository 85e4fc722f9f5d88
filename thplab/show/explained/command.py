"""The command `thplab explain`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from thplab.errors import BadInput
from thplab.files import refuse_input, write_file
from thplab.foreign import read_text
from thplab.kernel.kernels import KERNELS
from thplab.show.explained.text import explained_html, explained_text
from thplab.study.explain import DEFAULT_KERNEL, Given, dump, explain_texts
from thplab.study.explain.explanation import LONGEST

_STDIN = "-"
_RIGHT = "smaps, /proc/vmstat or a dump, as text"


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The arguments of `thplab explain`."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="smaps (an entry or all), /proc/vmstat, a dump; two of a kind are before and after; - is standard input",
    )
    parser.add_argument(
        "--kernel", metavar="K", default=DEFAULT_KERNEL, help=f"{', '.join(KERNELS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--at",
        metavar="ADDRESS",
        default="",
        help="explain the entry that holds this address (hexadecimal, as smaps has it)",
    )
    parser.add_argument("--text-only", action="store_true", help="leave out the state that is nearest")
    parser.add_argument(
        "-o", "--output", metavar="FILE.html", type=Path, help="write a page with a picture of the nearest state"
    )
    parser.add_argument(
        "--dump",
        nargs=3,
        metavar=("PID", "ADDRESS", "LENGTH"),
        help="print what a process maps (bytes from ADDRESS, 0x... or decimal)",
    )


def explain_command(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Carry the command out; returns the exit status: 0, or 1 if what was given cannot be. Raises BadInput."""
    if options.dump:
        if options.files or options.output:
            raise BadInput("--dump", "is given with files or -o", "it alone; its output is a file to explain")
        tell(dump(*options.dump))
        return 0
    explained = explain_texts([_read(name) for name in options.files], options.kernel, options.at)
    if options.output:
        refuse_input(options.output, [Path(name) for name in options.files if name != _STDIN])
        write_file(options.output, explained_html(explained))
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    tell(explained_text(explained, width, picture=not (options.text_only or options.output)))
    return 1 if explained.wrong else 0


def _read(name: str) -> Given:
    if name != _STDIN:
        path = Path(name)
        # What lies in /proc says that it is empty: it is read as it comes.
        return Given(read_text(path, _RIGHT), name)
    try:
        text = sys.stdin.read(LONGEST + 1)
    except ValueError:
        raise BadInput("standard input", "is no text in UTF-8", _RIGHT) from None
    return Given(text, "standard input")
