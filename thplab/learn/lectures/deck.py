"""A lecture as one HTML file: slides in reveal.js that step without Python, without Jupyter and without a network."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn.lectures.slide import Lecture
from thplab.learn.widgets.page import once

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
frame-src 'self' file:; font-src data:; img-src data: blob:; script-src 'unsafe-inline'; style-src 'unsafe-inline'"/>
<title>{title}</title>
<style>{reveal}</style>
<style>{own}</style>
</head>
<body data-jp-theme-light="true">
"""


def write_deck(lecture: Lecture, output: str | Path) -> Path:
    """Write a lecture as one HTML file and return where.

    Raises BadInput, having written nothing, if the folder is not there or something on a slide does not exist.
    """
    path = Path(output)
    if not path.parent.is_dir():
        raise BadInput("output", f"is {str(output)!r}", "a file in a folder that exists")
    write_file(path, deck(lecture))
    return path


def deck(lecture: Lecture) -> str:
    """The page of a lecture. Equal lectures give equal texts."""
    slides = [lecture.slide(slide.id, live=False) for slide in lecture.slides]
    sections = [_opening(lecture)]
    for slide in slides:
        places = '<span class="fragment"></span>' * (slide.places - 1)
        notes = f'<aside class="notes">{slide.notes_html()}</aside>'
        sections.append(f'<section>{slide.html()}<div class="thp-places">{places}</div>{notes}</section>')
    head = _HEAD.format(title=html.escape(lecture.title), reveal=_file("reveal/reveal.css"), own=_file("deck.css"))
    codes = map(_file, ("reveal/reveal.js", "reveal/notes.js", "deck.js"))
    scripts = "".join(f"<script>{code}</script>\n" for code in codes)
    body = f'<div class="reveal"><div class="slides">\n{once("".join(sections))}\n</div></div>\n'
    return f"{head}{body}{scripts}</body>\n</html>\n"


def _opening(lecture: Lecture) -> str:
    aims = "".join(f"<li>{html.escape(aim)}</li>" for aim in lecture.objectives)
    about = f"{lecture.minutes:g} minutes. {html.escape(lecture.audience)}"
    keys = "PageDown and PageUp: on and back. B: blank. S: notes. O: all slides. T: light or dark. A: answer."
    prepare = "".join(f"<p>Prepare: {html.escape(each)}</p>" for each in lecture.prepare)
    return (
        f'<section><div class="thp-opening"><h1>{html.escape(lecture.title)}</h1><ul>{aims}</ul></div>'
        f'<aside class="notes"><p>{about}</p>{prepare}<p>{keys}</p></aside></section>'
    )


def _file(name: str) -> str:
    text = files("thplab.learn.lectures").joinpath(*name.split("/")).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script") if name.endswith(".js") else text
